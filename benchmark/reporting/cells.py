"""How numbers are written, the same in every table."""

from __future__ import annotations

from benchmark.metrics.catalogue import metric
from benchmark.reporting.board import MetricCell, Row


def number(value: float, unit: str) -> str:
    """One decimal for percents, points and steps, three for what lies in [0, 1]."""
    text = f"{value:.3f}" if unit == "" else f"{value:.1f}"
    return text.replace("-0.0", "0.0") if float(text) == 0 else text


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


def heading(name: str) -> str:
    """A column's heading: label, unit and which way is better."""
    known = metric(name)
    arrow = {"higher": " ↑", "lower": " ↓", "zero": " →0", "reference": ""}[known.better]
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
