"""``amendbench speed``: time hot paths beside the plain way of writing them, print the table and keep it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmark import environment
from benchmark.discovery.methods import package_folder
from benchmark.errors import InputError, unknown
from benchmark.files import check_writable
from benchmark.hardware import hardware
from benchmark.reporting.speed import print_speeds, write_page
from benchmark.running.session import check_device
from benchmark.speed import timed
from benchmark.speed.measured import SCHEMA, Limited, Pair, Speeds, read_report, write

#: Where the works are, below the checkout; rounds of each, and seconds after which they are given up.
PAIRS = "tests/speed/pairs"
ROUNDS = 3
LONGEST = 3600.0
#: Packages that the times depend on.
PACKAGES = ("torch", "numpy", "scikit-learn", "scipy")
#: What a part of a work's name may be made of: pytest reads more as an expression, as it does its own words.
PART, WORDS = re.compile(r"[a-z0-9_][a-z0-9_-]*"), ("and", "or", "not")


def measure(
    results: Path, reports: Path, console: Console, *, device: str, rounds: int = ROUNDS, only: Sequence[str] = ()
) -> int:
    """The exit code: 0, 1 where a bar is missed or a work fails, 3 where nothing can be measured here.

    With ``only``, parts of the names of tests, nothing is kept, nor where a work fails. InputError for an unknown
    device, and for parts that are in no name.
    """
    check_device(device)
    check_parts(only)
    for folder in () if only else (results, reports):
        check_writable(folder)
    try:
        pairs, limits, failed = _measured(console, device, rounds, only)
    except timed.NoneChosen as problem:
        raise unknown("work", next(iter(only), ""), names_of_works()) from problem
    except timed.Unmeasured as problem:
        console.print(f"[red]nothing was kept[/]: {escape(str(problem))}", soft_wrap=True)
        return 1 if isinstance(problem, timed.Broken) else 3
    versions = environment.versions()
    packages = {name: versions[name] for name in PACKAGES if name in versions}
    speeds = Speeds(SCHEMA, hardware(device), datetime.now(UTC).isoformat(timespec="seconds"), packages, pairs, limits)
    print_speeds(speeds, console)
    if not failed and not only:
        console.print(f"wrote {write(speeds, results)} and {write_page(results, reports)}", soft_wrap=True)
    return _told(speeds, failed, console)


def _told(speeds: Speeds, failed: Sequence[str], console: Console) -> int:
    """The exit code, when what is wrong has been printed."""
    if failed:
        console.print(f"[red]failed, so nothing was kept[/]: {escape('; '.join(failed))}", soft_wrap=True)
    works: list[Pair | Limited] = [*speeds.pairs, *speeds.limits]
    missed = [work.title for work in works if work.missed]
    if missed:
        console.print(f"[red]bars that are not reached[/]: {escape('; '.join(missed))}", soft_wrap=True)
    return 1 if missed or failed else 0


def check_parts(only: Sequence[str]) -> None:
    """InputError where one of them can be no part of a test's name."""
    for part in only:
        if not PART.fullmatch(part) or part in WORDS:
            raise InputError(f"only: {part!r} is no part of a work's name, which is made of a-z, 0-9, _ and -")


def names_of_works() -> set[str]:
    """Of the tests that time works, and of their files, without ``test_``; none where this is no checkout."""
    found = set()
    for path in (package_folder("benchmark").parent / PAIRS).glob("test_*.py"):
        found.add(path.stem.removeprefix("test_").removesuffix("_speed"))
        found.update(re.findall(r"^def test_(\w+)", path.read_text("utf-8"), re.MULTILINE))
    return found


def _measured(
    console: Console, device: str, rounds: int, only: Sequence[str]
) -> tuple[list[Pair], list[Limited], list[str]]:
    """Pairs and limited works that passed, and the names of those that failed; Unmeasured where none passed."""
    try:
        content = _run(console, device, rounds, only)
    except timed.Failed as problem:
        try:
            return *read_report(problem.content, problem.names), list(problem.names)
        except timed.Broken:
            raise problem from None
    if only and not content:
        raise timed.Unmeasured(f"none of these works runs on {device} here")
    return *read_report(content), []


def _run(console: Console, device: str, rounds: int, only: Sequence[str]) -> bytes:
    """pytest-benchmark's JSON, with a bar while it is made."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console.print(f"hot paths beside the plain way of writing them on {device}, {rounds} rounds each: some minutes")
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("starting", total=100)

        def told(name: str, percent: int) -> None:
            progress.update(bar, description=escape(name[-40:].ljust(40)), completed=percent)

        watch: Callable[[str, int], None] = told
        return timed.run_benchmarks(PAIRS, device, only, rounds, full=True, longest=LONGEST, watch=watch)
