"""Run the benchmarks of hot paths in a process of their own, with pytest-benchmark, and read what it measured."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import msgspec

from benchmark.discovery import package_folder
from benchmark.gate.speed import Times, relative

#: Rounds of each benchmark: the rank test needs some twenty on either side.
ROUNDS = 25
#: Seconds after which benchmarks that have not ended are given up.
LONGEST = 900.0


class Unmeasured(Exception):  # noqa: N818 - it says what became of the times
    """The benchmarks gave no times, and why: here they cannot run."""


class Broken(Unmeasured):
    """The benchmarks can run here, and crashed, hung or left nothing to read: a hot path does not work."""


class _Stats(msgspec.Struct):
    data: list[float]


class _Extra(msgspec.Struct):
    calibration: list[float] = []


class _Benchmark(msgspec.Struct):
    name: str
    stats: _Stats
    extra_info: _Extra


class _Report(msgspec.Struct):
    """What of pytest-benchmark's JSON is read."""

    benchmarks: list[_Benchmark]


def measure(folder: str, device: str, only: Sequence[str] = (), rounds: int = ROUNDS) -> dict[str, Times]:
    """Times of the benchmarks below ``folder`` of this checkout, or of those named.

    Unmeasured where they cannot run, Broken where they do and give none.
    """
    root = package_folder("benchmark").parent
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise Unmeasured("pytest-benchmark is not installed")
    if not (root / folder).is_dir():
        raise Unmeasured(f"this is no checkout: it has no {folder}/")
    with tempfile.TemporaryDirectory(prefix="amendbench-") as place:
        report = Path(place, "speed.json")
        command = [sys.executable, "-m", "pytest", folder, "--rootdir", str(root), "-q", "-p", "no:xdist"]
        command += ["-p", "no:cacheprovider", "--basetemp", str(Path(place, "tests")), "--benchmark-only"]
        command += [f"--benchmark-json={report}", "--benchmark-timer=benchmark.gate.clock.synchronised"]
        if only:
            command += ["-k", " or ".join(only)]
        setting = {"AMENDBENCH_SPEED_ROUNDS": str(rounds), "AMENDBENCH_SPEED_DEVICE": device}
        plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        _call(command, root, {**plain, **setting, "PYTHONDONTWRITEBYTECODE": "1"})
        return read_report(report.read_bytes() if report.exists() else b"")


def _call(command: Sequence[str], root: Path, environ: dict[str, str]) -> None:
    try:
        told = subprocess.run(
            command, cwd=root, env=environ, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"the benchmarks did not end within {LONGEST:.0f} s") from None
    if told.returncode:
        lines = [line for line in told.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))]
        last = lines or (told.stderr or told.stdout).splitlines()[-3:]
        raise Broken(f"the benchmarks failed: {'; '.join(last)[:500]}")


def read_report(content: bytes) -> dict[str, Times]:
    """Times by benchmark from pytest-benchmark's JSON; Broken where there are none."""
    try:
        report = msgspec.json.decode(content, type=_Report)
        found = {
            own.name: Times(relative(own.stats.data, own.extra_info.calibration), median(own.stats.data))
            for own in report.benchmarks
        }
    except ValueError as error:
        raise Broken(f"the benchmarks left no report that can be read: {error}") from error
    if not found:
        raise Broken("there are no benchmarks")
    return found


def pooled(runs: Sequence[dict[str, Times]]) -> dict[str, Times]:
    """Rounds of several runs together: what lies between processes is in a baseline, too."""
    return {
        name: Times([r for run in runs for r in run[name].relative], median(run[name].seconds for run in runs))
        for name in runs[0]
        if all(name in run for run in runs)
    }
