"""The board on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.boards.board import Row
from benchmark.reporting import cells
from benchmark.reporting.report import render
from benchmark.reporting.submitted import Submitted, by_metric
from benchmark.tasks import TASKS, Task

#: Width in characters from which on a terminal shows all of the headline columns.
WIDE = 220


def print_board(rows: list[Row], console: Console, submitted: Mapping[str, Sequence[Submitted]] | None = None) -> None:
    """One table a scenario; references above, cheats below, the rest ranked. Narrow terminals get fewer columns.

    ``submitted``: predictions from elsewhere by scenario, which stand below its table.
    """
    for (task, scenario), group in groupby(rows, key=lambda row: (row.task, row.scenario)):
        block = list(group)
        console.print(_table(task, scenario, block, 99 if console.width >= WIDE else 6 if console.width >= 130 else 2))
        for row in block:
            for reason in row.reasons[:3]:
                console.print(f"  [yellow]{escape(row.method)}[/]: {escape(reason)}")
        console.print()
        if submitted and scenario in submitted:
            console.print(_submitted(TASKS.get(task), submitted[scenario]))


def _submitted(task: Task, found: Sequence[Submitted]) -> Table:
    table = Table(title="submitted, not ranked", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("metric", no_wrap=True)
    table.add_column("method", no_wrap=True)
    for heading in ("n", "reported", "verified", "s, as reported"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for one, entry in by_metric(found):
        numbers = [cells.interval(entry.reported), cells.interval(entry.verified), cells.seconds(one.seconds)]
        table.add_row(cells.heading(entry.name, task), escape(one.method), str(one.n), *numbers, entry.verdict)
    return table


def publish(results: Path, reports: Path, console: Console) -> None:
    """Render every report, and say where they are."""
    console.print(f"rendering {escape(str(reports))}: figures that are new or have changed take longest")
    with console.status("drawing"):
        written = render(results, reports)
    console.print(f"wrote {escape(str(written[0]))} and {len(written) - 1} more files below {escape(str(reports))}")
    console.print(f"to sort and search: open {escape(str(reports / 'site' / 'index.html'))} in a browser")


def _table(task: str, scenario: str, block: list[Row], most: int) -> Table:
    known = TASKS.get(task)
    columns = cells.columns(known, block)[:most]
    table = Table(title=f"{task} / {escape(scenario)}", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("#", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("n", justify="right")
    if known.track:
        table.add_column(cells.TRACK, min_width=len("(train/held"))
    for name in columns:
        table.add_column(cells.heading(name, known), justify="right")
    for heading in ("s", cells.ratio_heading(known)):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for index, row in enumerate(block):
        last = index + 1 == len(block) or _section(block[index + 1]) != _section(row)
        values = [cells.value(known, row, name) for name in columns]
        track = [cells.track(row)] if known.track else []
        name = f"[bold]{escape(row.method)}[/]" if row.kind == "paper" else escape(row.method)
        cost = [cells.seconds(row.cost.seconds), cells.ratio(row)]
        table.add_row(cells.ranks(row), name, str(row.n), *track, *values, *cost, cells.note(row), end_section=last)
    return table


def _section(row: Row) -> tuple[str, str]:
    """Rows of one section stand together without a line between them."""
    return (row.kind, "") if row.kind in ("reference", "cheat") else ("ranked", row.track)
