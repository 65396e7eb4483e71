"""``amendbench verify``: whether published results are whole, what they say they are, and what their outputs give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmark.checking.checker import Checker, Tally, Verification
from benchmark.checking.folder import files_below
from benchmark.checking.text import plain
from benchmark.errors import InputError, unknown
from benchmark.running.records import STUDIES
from benchmark.suites.definition import NAME
from benchmark.tasks import TASKS

#: Called with how many files are done, and how many there are.
Progress = Callable[[int, int], None]
#: Lines of what is wrong, and of notes, that are printed.
MOST_WRONG, MOST_NOTES = 200, 20


def verify(
    results: Path, suite: str | None = None, task: str | None = None, report: Progress | None = None
) -> Verification:
    """Check every file below ``results``, or those of a suite, a study or a task; nothing is written.

    InputError for a folder that is not there, a name that is none, and a task that is not known.
    """
    if not results.is_dir():
        raise InputError(f"results: {results} is no folder")
    if task is not None:
        TASKS.get(task)
    if suite is not None and not NAME.fullmatch(suite):
        raise unknown("suite", suite, {found.group[0] for found in files_below(results)} - {""})
    found = Verification()
    folders = {"": results, f"{STUDIES}/": results / STUDIES}
    checkers = {below: Checker(folder, found, below) for below, folder in folders.items() if folder.is_dir()}
    work = [(checker, file) for checker in checkers.values() for file in files_below(checker.results, suite, task)]
    for done, (checker, file) in enumerate(work):
        if report is not None:
            report(done, len(work))
        checker.check(file)
    if report is not None:
        report(len(work), len(work))
    return found


def print_verification(found: Verification, console: Console) -> None:
    """A table with a line a suite and task, what could not be looked at, notes, and each thing that is wrong."""
    if found.empty:
        console.print("there is nothing to verify")
        return
    console.print(_table(found))
    _print_left_out(found, console)
    _print_lines(found.notes, MOST_NOTES, "yellow", console)
    _print_lines(found.wrong, MOST_WRONG, "red", console)
    files = len({file for file, _ in found.wrong})
    count = "1 file is" if files == 1 else f"{files:,} files are"
    console.print(f"[red]{count} wrong[/]" if files else "[green]nothing is wrong[/] in what can be looked at")
    console.print("costs, and metrics that are not re-scored, follow from nothing that is kept: amendbench reproduce")


def _table(found: Verification) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("suite")
    table.add_column("task", no_wrap=True)
    for heading in (
        "records",
        "hash ok",
        "outputs kept",
        "re-scored",
        "their metrics",
        "code moved",
        "other files",
        "wrong",
    ):
        table.add_column(heading, justify="right")
    for (suite, task), tally in sorted(found.tallies.items()):
        again = f"{tally.again:,} of {tally.metrics:,}" if tally.metrics else "-"
        numbers = (tally.records, tally.sound, tally.kept, tally.rescored, again, tally.moved, tally.others)
        wrong = f"[red]{tally.wrong:,}[/]" if tally.wrong else "0"
        cells = (number if isinstance(number, str) else f"{number:,}" for number in numbers)
        table.add_row(plain(suite), plain(task), *cells, wrong)
    return table


def _print_left_out(found: Verification, console: Console) -> None:
    """What was not looked at, and why."""
    for task in sorted({task for _, task in found.tallies}):
        _print_not_rescored(task, [tally for (_, other), tally in found.tallies.items() if other == task], console)
    unseen = sum(tally.unseen for tally in found.tallies.values())
    older = sum(tally.older for tally in found.tallies.values())
    moved = sum(tally.moved for tally in found.tallies.values())
    absent = sum(tally.absent for tally in found.tallies.values())
    foreign = sum(tally.foreign for tally in found.tallies.values())
    bare = sum(tally.records - tally.kept for tally in found.tallies.values())
    for count, what in (
        (bare, "records have no outputs here, so that their metrics were not scored again"),
        (unseen, "records: their data is not at hand, so that its checksum was not compared"),
        (older, "records were made by other declared versions of task or method"),
        (absent, "records: their method is from outside and not installed here: what it declares was not checked"),
        (foreign, "records: their data set is somebody's own and not known here: what depends on it was not checked"),
        (moved, "records were made by code that has moved since: current ones would be made again by a run"),
    ):
        if count:
            console.print(f"  {count:,} {what}")


def _print_not_rescored(task: str, tallies: list[Tally], console: Console) -> None:
    by_need: dict[str, list[str]] = {}
    for name, need in sorted({item for tally in tallies for item in tally.without.items()}):
        by_need.setdefault(need or "what is not kept", []).append(name)
    if not by_need:
        return
    again, every = sum(tally.again for tally in tallies), sum(tally.metrics for tally in tallies)
    parts = [f"{need} ({', '.join(names[:3])}{', ...' if names[3:] else ''})" for need, names in by_need.items()]
    said = f"re-scored {again:,} of {every:,} metrics; the others need {', '.join(parts)}"
    console.print(f"  {plain(task)}: {plain(said)}", soft_wrap=True)


def _print_lines(lines: list[tuple[str, str]], most: int, colour: str, console: Console) -> None:
    for file, what in lines[:most]:
        console.print(f"  [{colour}]{plain(file)}[/]: {plain(what)}", soft_wrap=True)
    if len(lines) > most:
        console.print(f"  ... and {len(lines) - most:,} more")
