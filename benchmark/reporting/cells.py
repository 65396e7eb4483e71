"""How numbers are written, the same in every table."""

from __future__ import annotations

from benchmark.metrics.catalogue import metric
from benchmark.reporting.board import MetricCell, Row
from benchmark.tasks import Task


def number(value: float, unit: str) -> str:
    """One decimal for percents, points and steps, two for nats, three for what lies in [0, 1]."""
    text = f"{value:.{DECIMALS.get(unit, 1)}f}"
    return text.replace("-0.0", "0.0") if float(text) == 0 else text


#: Digits after the point by unit.
DECIMALS = {"": 3, "nats": 2}


def interval(cell: MetricCell | None) -> str:
    """``mean ± half-width``; only the mean where there is no spread to tell; a dash where there is nothing."""
    if cell is None or cell.mean is None:
        return "-"
    text = number(cell.mean, cell.unit)
    if cell.low is None or cell.high is None or cell.high == cell.low:
        return text
    half = (cell.high - cell.low) / 2
    least = 0.001 if cell.unit == "" else 0.1
    return f"{text} ± {number(half, cell.unit) if half >= least else f'<{least}'}"


def columns(task: Task, rows: list[Row]) -> list[str]:
    """The task's headline metrics, without those that are blank in every row."""
    return [name for name in task.headline if any(_has(row, name) for row in rows)]


def _has(row: Row, name: str) -> bool:
    cell = row.metrics.get(name)
    return cell is not None and cell.mean is not None


def value(task: Task, row: Row, name: str) -> str:
    """A row's cell; where the task wants it with its gap to retraining in brackets."""
    text = interval(row.metrics.get(name))
    gap = row.metrics.get(f"{name}.gap")
    if not task.with_gaps or gap is None or gap.mean is None or row.method == task.reference:
        return text
    signed = number(gap.mean, gap.unit)
    return f"{text} ({signed if signed.startswith('-') or float(signed) == 0 else '+' + signed})"


def ranks(row: Row) -> str:
    """The rank among all rows, and among those that read no label."""
    own = "" if row.rank_label_free is None else f" ({row.rank_label_free})"
    return "" if row.rank is None else f"{row.rank}{own}"


def heading(name: str, task: Task | None = None) -> str:
    """A column's heading: label, unit and which way is better; no way where retraining is the aim throughout."""
    known = metric(name)
    arrow = {"higher": " ↑", "lower": " ↓", "zero": " →0", "reference": ""}[known.better]
    if task is not None and task.with_gaps and name != task.rank_by:
        arrow = ""
    unit = f" ({known.unit})" if known.unit else ""
    return f"{known.label}{unit}{arrow}"


def seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def ratio(row: Row) -> str:
    """The cost as a ratio to retraining; in brackets where something else of the run shared the cores."""
    value = row.cost.ratio_to_retrain
    if value is None:
        return "-"
    text = f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
    return text if row.cost.exclusive else f"({text})"


def reads(row: Row) -> str:
    """Distinct samples read by view, with ``+y`` where labels were read."""
    parts = []
    for view, counts in sorted(row.access.items()):
        labels = " +y" if counts.get("labels") else ""
        parts.append(f"{view} {counts.get('samples', 0):.0f}{labels}")
    return ", ".join(parts) or "none"


def note(row: Row) -> str:
    """What a reader must know of the row: status, and code that has moved on."""
    marks: list[str] = [row.status] if row.status != "ok" else []
    if row.code == "moved":
        marks.append("code moved")
    return ", ".join(marks)
