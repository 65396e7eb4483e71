"""One scenario's board with everything that is said of it, before it is written as Markdown, LaTeX, CSV, JSON or HTML.

All of these are written from the same sheets, so that they say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from benchmark.boards.aggregates import MetricCell
from benchmark.boards.board import UNRANKED, Row
from benchmark.boards.comparisons import Comparison, compared_with, key, tied_with_best, to_reference
from benchmark.reporting import cells
from benchmark.reporting.selection import ranked_by
from benchmark.reporting.submitted import Submitted
from benchmark.tasks import TASKS, Task


@dataclass(frozen=True)
class Entry:
    """A metric of a row: ``gap`` to the reference where the task shows it, ``tied`` with the best of its column."""

    name: str
    cell: MetricCell | None
    gap: MetricCell | None
    tied: bool

    @property
    def text(self) -> str:
        """``mean ± half-width``, and the gap in brackets: what tables print."""
        shown = cells.interval(self.cell)
        if self.gap is None or self.gap.mean is None:
            return shown
        return f"{shown} ({cells.signed(self.gap.mean, self.gap.unit)})"


@dataclass(frozen=True)
class Line:
    """A row with its entries, one a column, and its difference in what the scenario is ranked by.

    That is a difference to the row of ``Sheet.compared_with``.
    """

    row: Row
    entries: tuple[Entry, ...]
    difference: Comparison | None

    @property
    def section(self) -> str:
        """Where the row stands: among ``references``, ``ranked``, ``unranked`` ones, or ``cheats``."""
        if self.row.kind in ("reference", "cheat"):
            return f"{self.row.kind}s"
        return "unranked" if self.row.status in UNRANKED else "ranked"


@dataclass(frozen=True)
class Sheet:
    """The board of one suite's scenario: ``columns`` are names of metrics, ``ranked_by`` that of the first of them.

    ``command`` makes all of it again, ``devices`` says in words on what it was made. ``submitted``: predictions from
    elsewhere, which are no lines of the board.
    """

    suite: str
    task: Task
    scenario: str
    columns: tuple[str, ...]
    ranked_by: str
    lines: tuple[Line, ...]
    submitted: tuple[Submitted, ...] = ()

    @property
    def name(self) -> str:
        """A name that no other sheet has."""
        return f"{self.suite}/{self.task.name}/{self.scenario}"

    @cached_property
    def rows(self) -> list[Row]:
        return [line.row for line in self.lines]

    @property
    def devices(self) -> str:
        return ", ".join(sorted({device for row in self.rows for device in row.devices}))

    @property
    def command(self) -> str:
        devices = "".join(sorted({f" DEVICE={row.device}" for row in self.rows if row.device != "cpu"}))
        return f"{self._command} SEEDS={max(row.cells for row in self.rows)}{devices}"

    def command_of(self, row: Row) -> str:
        """What makes one row again, and the references beside it; in whose file one from outside is, is not known."""
        device = "" if row.device == "cpu" else f" DEVICE={row.device}"
        method = f"FILE.py:{row.method}" if row.origin.external else row.method
        return f"{self._command} METHODS={method} SEEDS={max(row.origin.seeds) + 1}{device}"

    @property
    def _command(self) -> str:
        return f"make bench TASK={self.task.name} SUITE={self.suite} SCENARIOS={self.scenario}"

    @property
    def compared_with(self) -> str:
        """The method whose rows the differences are to."""
        return compared_with(self.task, self.ranked_by)

    @property
    def testable(self) -> bool:
        """Whether differences to the reference have p values."""
        return any(line.difference is not None and line.difference.p is not None for line in self.lines)


def sheets(suite: str, rows: Sequence[Row]) -> list[Sheet]:
    """One sheet a task and scenario, in the order of the rows."""
    blocks = groupby(rows, key=lambda row: (row.task, row.scenario))
    return [_sheet(suite, TASKS.get(task), scenario, list(block)) for (task, scenario), block in blocks]


def _sheet(suite: str, task: Task, scenario: str, rows: list[Row]) -> Sheet:
    columns = cells.columns(task, rows)
    tied = {name: tied_with_best(rows, name) for name in columns}
    by = ranked_by(rows)
    compared = to_reference(task, rows, by)
    lines = tuple(
        Line(row, tuple(_entry(task, row, name, key(row) in tied[name]) for name in columns), compared.get(key(row)))
        for row in rows
    )
    return Sheet(suite, task, scenario, tuple(columns), by, lines)


def _entry(task: Task, row: Row, name: str, tied: bool) -> Entry:
    shown = task.with_gaps and row.method != task.reference
    return Entry(name, row.metrics.get(name), row.metrics.get(f"{name}.gap") if shown else None, tied)
