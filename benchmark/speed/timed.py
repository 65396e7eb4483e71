"""Run the benchmarks of hot paths in a process of their own, with pytest-benchmark, and read what it measured."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmark.discovery.methods import package_folder

#: Rounds of each benchmark: the rank test needs some twenty on either side.
ROUNDS = 25
#: Seconds after which benchmarks that have not ended are given up.
LONGEST = 900.0
#: Variable of the environment with which works are of the size that tables are about.
FULL = "AMENDBENCH_SPEED_FULL"
#: What pytest says of a test that has ended: its name, and how far it is.
ENDED = re.compile(r"\S+::(\S+) .*\[\s*(\d+)%\]")
#: What it says at the end of a test that has failed.
FAILED = re.compile(r"(?:FAILED|ERROR) \S+?::(.+?)(?: - .*)?$")
#: pytest's exit codes where tests have failed, and where none was chosen.
SOME_FAILED, NONE_CHOSEN = 1, 5
Watch = Callable[[str, int], None]
#: Calibrations on either side of a round that its time is divided by, as their median.
AROUND = 2


class Times(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rounds of a benchmark: ``relative`` to the calibration; ``seconds`` is their median in seconds."""

    relative: list[float]
    seconds: float


def relative(rounds: Sequence[float], calibration: Sequence[float]) -> list[float]:
    """Each round over the median calibration around it; ValueError where they are not as many, or not positive."""
    if len(rounds) != len(calibration) or not rounds or min(*rounds, *calibration) <= 0:
        raise ValueError(f"{len(rounds)} rounds for {len(calibration)} calibrations")
    around = [median(calibration[max(0, i - AROUND) : i + AROUND + 1]) for i in range(len(rounds))]
    return [seconds / own for seconds, own in zip(rounds, around, strict=True)]


class Unmeasured(Exception):  # noqa: N818 - it says what became of the times
    """The benchmarks gave no times, and why: here they cannot run."""


class Broken(Unmeasured):
    """The benchmarks can run here, and crashed, hung or left nothing to read: a hot path does not work."""


class NoneChosen(Broken):
    """No benchmark has a name with any of the parts that were asked for."""


class Failed(Broken):
    """Some benchmarks failed, ``names``; ``content`` is pytest-benchmark's JSON, which may have rounds of them, too."""

    def __init__(self, message: str, names: Sequence[str], content: bytes) -> None:
        super().__init__(message)
        self.names, self.content = names, content


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
    return read_report(run_benchmarks(folder, device, only, rounds))


def run_benchmarks(
    folder: str,
    device: str,
    only: Sequence[str],
    rounds: int,
    *,
    full: bool = False,
    longest: float = LONGEST,
    watch: Watch = lambda name, percent: None,
) -> bytes:
    """pytest-benchmark's JSON of the benchmarks below ``folder`` of this checkout; empty where they left none.

    ``only``: parts of names, all if there are none. ``watch`` is told the name of each that has ended and what part of
    them that makes. Unmeasured where they cannot run, Broken where they fail or take more than ``longest`` seconds:
    Failed where the others went on, NoneChosen where nothing has such a name.
    """
    root = package_folder("benchmark").parent
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise Unmeasured("pytest-benchmark is not installed")
    if not (root / folder).is_dir():
        raise Unmeasured(f"this is no checkout: it has no {folder}/")
    with tempfile.TemporaryDirectory(prefix="amendbench-") as place:
        report = Path(place, "speed.json")
        command = [sys.executable, "-m", "pytest", folder, "--rootdir", str(root), "-vv", "-p", "no:xdist"]
        command += ["-p", "no:cacheprovider", "--basetemp", str(Path(place, "tests")), "--color=no"]
        command += ["--benchmark-only", f"--benchmark-json={report}"]
        command += ["--benchmark-timer=benchmark.gate.clock.synchronised"]
        if only:
            command += ["-k", " or ".join(only)]
        setting = {"AMENDBENCH_SPEED_ROUNDS": str(rounds), "AMENDBENCH_SPEED_DEVICE": device}
        plain = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_") and k != FULL}
        size = {FULL: "1"} if full else {}
        environ = {**plain, **setting, **size, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        code, lines = follow(command, root, environ, longest, watch)
        content = report.read_bytes() if report.exists() else b""
    _check(code, lines, content)
    return content


def _check(code: int, lines: Sequence[str], content: bytes) -> None:
    """Broken where pytest ended with another ``code`` than 0, and why, from the ``lines`` that it wrote."""
    if not code:
        return
    telling = [line.strip() for line in lines if line.startswith(("FAILED", "ERROR", "E  "))]
    told = f"the benchmarks failed: {'; '.join(telling or [line.strip() for line in lines[-3:]])[:500]}"
    names = [found[1] for found in map(FAILED.match, map(str.strip, lines)) if found is not None]
    if code == SOME_FAILED and names:
        raise Failed(told, names, content)
    raise NoneChosen(told) if code == NONE_CHOSEN else Broken(told)


def follow(
    command: Sequence[str], root: Path, environ: dict[str, str], longest: float, watch: Watch
) -> tuple[int, list[str]]:
    """The exit code of pytest, run in ``root``, and the lines that it wrote; ``watch`` as in ``run_benchmarks``.

    Broken after ``longest`` seconds. Whatever it started ends with it: it has a session, so a group, of its own, which
    is killed however this ends; Ctrl-C does not reach it otherwise.
    """
    lines: list[str] = []
    late = threading.Event()
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(command, cwd=root, env=environ, start_new_session=True, **pipes) as process:

        def give_up() -> None:
            late.set()
            _kill_group(process.pid)

        end = threading.Timer(longest, give_up)
        try:
            end.start()
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                ended = ENDED.match(line)
                if ended is not None:
                    watch(ended[1], int(ended[2]))
            process.wait()
        finally:
            end.cancel()
            _kill_group(process.pid)
    if late.is_set():
        raise Broken(f"the benchmarks did not end within {longest:.0f} s")
    return process.returncode, lines


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


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
