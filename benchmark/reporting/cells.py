"""How numbers are written, the same in every table."""

from __future__ import annotations

import math

from benchmark.boards.aggregates import CostCell, MetricCell
from benchmark.boards.board import Row
from benchmark.discovery.methods import METHODS
from benchmark.metrics.catalogue import metric
from benchmark.stats import Interval
from benchmark.tasks import Task


def number(value: float, unit: str) -> str:
    """One decimal for percents, points and steps, two for nats, three for what lies in [0, 1].

    Distances, whose scale is that of the features, have three digits that count, at most six decimals.
    """
    text = f"{value:.{_decimals(value, unit)}f}"
    return text.replace("-0.0", "0.0") if float(text) == 0 else text


#: Digits after the point by unit.
DECIMALS = {"": 3, "nats": 2, "s": 3}
#: The unit of what has none and no scale of its own; it is not printed.
DISTANCE = "distance"


def _decimals(value: float, unit: str) -> int:
    if unit != DISTANCE:
        return DECIMALS.get(unit, 1)
    return 6 if not value else min(6, max(0, 2 - math.floor(math.log10(abs(value)))))


def interval(cell: MetricCell | None) -> str:
    """``mean ± half-width``; only the mean where there is no spread to tell; a dash where there is nothing."""
    if cell is None or cell.mean is None:
        return "-"
    text = number(cell.mean, cell.unit)
    if cell.low is None or cell.high is None or cell.high == cell.low:
        return text
    half = (cell.high - cell.low) / 2
    decimals = _decimals(cell.mean, cell.unit)
    least = 10**-decimals
    return f"{text} ± {f'{half:.{decimals}f}' if half >= least else f'<{least:g}'}"


def columns(task: Task, rows: list[Row]) -> list[str]:
    """The task's headline metrics, without those that are blank in every row."""
    return [name for name in task.headline if any(has(row, name) for row in rows)]


def has(row: Row, name: str) -> bool:
    """Whether a row has a value of the metric."""
    cell = row.metrics.get(name)
    return cell is not None and cell.mean is not None


def value(task: Task, row: Row, name: str) -> str:
    """A row's cell; where the task wants it with its gap to retraining in brackets."""
    text = interval(row.metrics.get(name))
    gap = row.metrics.get(f"{name}.gap")
    if not task.with_gaps or gap is None or gap.mean is None or row.method == task.reference:
        return text
    return f"{text} ({signed(gap.mean, gap.unit)})"


def signed(value: float, unit: str) -> str:
    """A difference with its sign."""
    text = number(value, unit)
    return text if text.startswith("-") or float(text) == 0 else f"+{text}"


def difference(interval: Interval, unit: str) -> str:
    """A difference with its sign and the half-width of its interval."""
    text = signed(interval.mean, unit)
    if interval.low is None or interval.high is None or interval.low == interval.high:
        return text
    return f"{text} ± {number((interval.high - interval.low) / 2, unit)}"


def score(found: Interval | None) -> str:
    """A score or a mean rank with the half-width of its interval, two decimals."""
    if found is None:
        return "-"
    text = f"{found.mean:.2f}".replace("-0.00", "0.00")
    if found.low is None or found.high is None or found.high == found.low:
        return text
    half = (found.high - found.low) / 2
    return f"{text} ± {half:.2f}" if half >= 0.005 else f"{text} ± <0.01"


#: The heading above ``track``.
TRACK = "attributes (train/held out)"


def track(row: Row) -> str:
    """Whether attributes of the training set and of the held-out split were used; a question mark if none can tell."""
    return row.track or "?"


def ranks(row: Row) -> str:
    """The rank among all rows of a track, and among those of them that read no label."""
    own = "" if row.rank_label_free is None else f" ({row.rank_label_free})"
    return "" if row.rank is None else f"{row.rank}{own}"


def heading(name: str, task: Task | None = None) -> str:
    """A column's heading: label, unit and which way is better; no way where retraining is the aim throughout."""
    known = metric(name)
    arrow = {"higher": " ↑", "lower": " ↓", "zero": " →0", "half": " →0.5", "reference": "", "none": ""}[known.better]
    if task is not None and task.with_gaps and name != task.rank_by:
        arrow = ""
    unit = f" ({known.unit})" if known.unit not in ("", DISTANCE) else ""
    return f"{known.label}{unit}{arrow}"


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def ratio_heading(task: Task) -> str:
    """The heading above ``ratio``: what the cost is a ratio to."""
    return f"/ {task.reference}"


def ratio(row: Row) -> str:
    """A row's cost as a ratio to the reference's."""
    return cost_ratio(row.cost)


def cost_ratio(cost: CostCell) -> str:
    """A cost as a ratio to the reference's; in brackets where something else of the run shared the cores."""
    value = cost.ratio_to_retrain
    if value is None:
        return "-"
    text = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return text if cost.exclusive else f"({text})"


#: What marks a view of which more than images was read.
MARKS = {"labels": " +y", "attributes": " +a", "masks": " +m", "networks": " +w"}


def reads(row: Row) -> str:
    """Distinct samples read by view, marked where labels, attributes or masks were."""
    parts = []
    for view, counts in sorted(row.access.items()):
        marks = "".join(mark for what, mark in MARKS.items() if counts.get(what))
        parts.append(f"{view} {counts.get('samples', 0):.0f}{marks}")
    return ", ".join(parts) or "none"


def note(row: Row) -> str:
    """What a reader must know of the row: its status, its source, and that nobody tuned it."""
    return ", ".join([*([row.status] if row.status != "ok" else []), *source(row), *untuned(row)])


def untuned(row: Row) -> list[str]:
    """Whether a row that competes has its method's defaults, where others are tuned or search by themselves."""
    competes = row.kind in ("paper", "baseline") and bool(row.origin.parameters)
    searches = METHODS.has(row.method, row.task) and "selection" in METHODS.get(row.method, row.task).access.views
    return ["defaults"] if competes and not searches and row.origin.provenance == "defaults" else []


def source(row: Row) -> list[str]:
    """What a reader must know of the method's source: whose it is, that it has moved on, that it is not here."""
    marks = ["from outside"] if row.origin.external else []
    said = {"moved": ["code moved"], "absent": ["not installed here"]}
    return [*marks, *said.get(row.code, [])]
