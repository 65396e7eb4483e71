"""``amendbench speed``: time hot paths beside the plain way of writing them, print the table and keep it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark import environment
from benchmark.gate import timed
from benchmark.gate.hardware import hardware
from benchmark.reporting.speed import print_speeds, write_page
from benchmark.running.files import check_writable
from benchmark.running.session import check_device
from benchmark.speed.measured import SCHEMA, Speeds, read_report, write

#: Where the works are, below the checkout; rounds of each, and seconds after which they are given up.
PAIRS = "tests/speed/pairs"
ROUNDS = 3
LONGEST = 3600.0
#: Packages that the times depend on.
PACKAGES = ("torch", "numpy", "scikit-learn", "scipy")


def measure(
    results: Path, reports: Path, console: Console, *, device: str, rounds: int = ROUNDS, only: Sequence[str] = ()
) -> int:
    """The exit code: 0, 1 where a bar is missed or a work fails, 3 where nothing can be measured here.

    With ``only``, parts of the names of tests, nothing is kept.
    """
    check_device(device)
    for folder in () if only else (results, reports):
        check_writable(folder)
    try:
        pairs, limits = read_report(_run(console, device, rounds, only))
    except timed.Unmeasured as problem:
        console.print(f"[red]nothing was kept[/]: {escape(str(problem))}", soft_wrap=True)
        return 1 if isinstance(problem, timed.Broken) else 3
    kept = environment.versions()
    packages = {name: kept[name] for name in PACKAGES if name in kept}
    speeds = Speeds(SCHEMA, hardware(device), datetime.now(UTC).isoformat(timespec="seconds"), packages, pairs, limits)
    print_speeds(speeds, console)
    if not only:
        console.print(f"wrote {write(speeds, results)} and {write_page(results, reports)}", soft_wrap=True)
    missed = [pair.title for pair in pairs if pair.missed] + [one.title for one in limits if one.missed]
    if missed:
        console.print(f"[red]bars that are not reached[/]: {escape('; '.join(missed))}", soft_wrap=True)
    return 1 if missed else 0


def _run(console: Console, device: str, rounds: int, only: Sequence[str]) -> bytes:
    """pytest-benchmark's JSON, with a bar while it is made."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console.print(f"hot paths beside the plain way of writing them on {device}, {rounds} rounds each: some minutes")
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=100)

        def told(name: str, percent: int) -> None:
            progress.update(bar, description=escape(name)[-40:].ljust(40), completed=percent)

        watch: Callable[[str, int], None] = told
        return timed.run_benchmarks(PAIRS, device, only, rounds, full=True, longest=LONGEST, watch=watch)
