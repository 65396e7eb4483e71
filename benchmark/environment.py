"""Where a result was produced: packages, device, commit, and an identity of this machine's cache."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import uuid
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path

from benchmark.errors import InputError

#: Packages whose version can change a result.
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "scikit-learn",
    "mlxtend",
    "xgboost-cpu",
    "xgboost",
    "pillow",
    "zennit",
)


def cache_root() -> Path:
    """Where artifacts are kept: AMENDBENCH_CACHE, default ~/.cache/amendbench."""
    return Path(os.environ.get("AMENDBENCH_CACHE", "~/.cache/amendbench")).expanduser()


def data_root() -> Path:
    """Where data sets lie that do not come with packages: AMENDBENCH_DATA, default ~/.cache/amendbench/data."""
    return Path(os.environ.get("AMENDBENCH_DATA", "~/.cache/amendbench/data")).expanduser()


@cache
def versions() -> dict[str, str]:
    """Installed versions of PACKAGES, without what names a build; empty where one is not installed."""
    installed = {name.lower(): version for name, version in _installed()}
    return {name: installed.get(name, "").partition("+")[0] for name in PACKAGES}


def _installed() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


@cache
def processor() -> str:
    """The processor's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def commit() -> str:
    """The checkout's git commit, with ``+`` where its source differs from it; empty outside a checkout."""
    head = _git("rev-parse", "--short=12", "HEAD")
    source = ("benchmark", "methods", "baselines", "pyproject.toml", "constraints.txt")
    return f"{head}+" if head and _git("status", "--porcelain", "--", *source) else head


def _git(*arguments: str) -> str:
    try:
        told = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip()


@cache
def machine() -> str:
    """A random identity kept in the cache folder: results of another machine are never taken for this one's."""
    path = cache_root() / "machine-id"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".machine-id.{os.getpid()}")
            fresh.write_text(uuid.uuid4().hex[:12])
            try:
                os.link(fresh, path)  # keeps what another process wrote first
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise InputError(
            f"the cache folder {cache_root()} cannot be written ({error.strerror}); set AMENDBENCH_CACHE"
        ) from error


def cores() -> list[int]:
    """CPUs that this process may use, one of each physical core first where the system tells them apart."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    allowed = sorted(os.sched_getaffinity(0))
    first: list[int] = []
    seen: set[str] = set()
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings = path.read_text().strip() if path.exists() else str(cpu)
        if siblings not in seen:
            seen.add(siblings)
            first.append(cpu)
    return first


def describe(device: str) -> dict[str, str]:
    """The environment as a record keeps it; ``device`` names what the cell ran on."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "device": device,
        "machine": machine(),
        "commit": commit(),
        **versions(),
    }
