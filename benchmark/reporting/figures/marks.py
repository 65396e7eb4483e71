"""Who a mark in a figure stands for: what figures keep of a row, small enough to be handed to another process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmark.boards.aggregates import MetricCell
from benchmark.boards.board import UNRANKED, Row
from benchmark.boards.comparisons import losses
from benchmark.reporting.figures.scales import Bar
from benchmark.reporting.overview import aim
from benchmark.reporting.sheet import Line, Sheet
from benchmark.stats import t_interval
from benchmark.tasks import Task


class Who(NamedTuple):
    """A row: its name, its look (``style.LOOKS``), what it competes within, and its status where it is not ranked."""

    name: str
    look: str
    field: str = ""
    failed: str = ""

    @property
    def competes(self) -> bool:
        """Whether it is neither a reference nor a cheat, and has all of its results."""
        return self.look in ("paper", "baseline") and not self.failed


def look(task: Task, row: Row) -> str:
    """What a row looks like: by its kind, and for references by what they are for."""
    if row.kind == "reference":
        roles = {task.original: "start", aim(task): "aim"}
        return roles.get(row.method, "reference")
    return row.kind if row.kind in ("paper", "cheat") else "baseline"


def who(sheet: Sheet, line: Line) -> Who:
    """The row of a line; its track is told where the methods of the sheet are of several."""
    row = line.row
    fields = {(other.row.track, other.row.device) for other in sheet.lines if other.section == "ranked"}
    tracks, devices = {track for track, _ in fields}, {other.device for other in sheet.rows}
    kind = look(sheet.task, row)
    suffixes = [row.track] if len(tracks) > 1 and kind in ("paper", "baseline") else []
    suffixes += [row.device] if len(devices) > 1 else []
    name = f"{row.method} ({', '.join(suffixes)})" if suffixes else row.method
    return Who(name, kind, f"{row.track} {row.device}", row.status if row.status in UNRANKED else "")


def bar(cell: MetricCell | None) -> Bar | None:
    """A metric's mean and interval; None where it is blank."""
    return None if cell is None or cell.mean is None else Bar(cell.mean, cell.low, cell.high)


def absolute(cell: MetricCell | None) -> Bar | None:
    """The mean over seeds of a metric's absolute value, with its interval; None where it is blank."""
    if cell is None or not cell.by_seed:
        return None
    return Bar(*t_interval([abs(value) for value in cell.by_seed.values()])[:3])


def competitors(sheet: Sheet) -> Sequence[Row]:
    """The rows that compete and have a value of what the scenario is ranked by."""
    return [line.row for line in sheet.lines if line.section == "ranked" and losses(line.row, sheet.ranked_by)]
