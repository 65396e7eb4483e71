"""Differences to the reference, paired on the same base models: one figure a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmark.metrics.catalogue import metric
from benchmark.reporting.figures.ladder import Column, draw_bar, draw_status, ladder
from benchmark.reporting.figures.marks import Who, who
from benchmark.reporting.figures.scales import Bar, Scale, axis_text
from benchmark.reporting.figures.style import BLACK, plain, styled
from benchmark.reporting.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Forest(NamedTuple):
    """A scenario's rows, each with its difference (None without a whole result) and its p value as tables print it."""

    metric: str
    reference: str
    rows: tuple[tuple[Who, Bar | None, str], ...]


def forest(sheet: Sheet) -> Forest | None:
    """What a scenario's figure is drawn from; None where fewer than two methods have differences with an interval."""
    rows: list[tuple[Who, Bar | None, str]] = []
    for line in sheet.lines:
        one, found = who(sheet, line), line.difference
        if one.failed:
            rows.append((one, None, ""))
        elif found is not None:
            rows.append((one, Bar(*found.difference[:3]), "" if found.corrected is None else found.text))
    sure = [one for one, bar, _ in rows if one.competes and bar is not None and bar.low is not None]
    return Forest(sheet.ranked_by, sheet.compared_with, tuple(rows)) if len(sure) >= 2 else None


@styled
def forest_figure(shown: Forest) -> Figure:
    """A row a method with its difference to the reference and the 95 % interval; the right is better."""
    known = metric(shown.metric)
    unit = "points; " if known.unit == "%" else f"{known.unit}; " if known.unit not in ("", "distance") else ""
    label = f"{axis_text(shown.metric)} less {plain(shown.reference)}'s ({unit}right is better)"
    bars = [bar for _, bar, _ in shown.rows if bar is not None]
    drawn = ladder(
        [row for row, _, _ in shown.rows],
        Scale(rising=known.better == "higher"),
        [*bars, Bar(0.0)],
        label,
        Column("p", [p for _, _, p in shown.rows]),
    )
    drawn.axes.axvline(0, color=BLACK, linewidth=0.7, zorder=1)
    for height, (row, bar, _) in enumerate(shown.rows):
        if bar is None:
            draw_status(drawn.axes, height, row)
        else:
            draw_bar(drawn.axes, drawn.scale, height, row, bar)
    return drawn.figure
