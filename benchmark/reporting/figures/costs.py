"""What methods cost against how well they do: one figure a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.dot_key import Dot
from benchmark.reporting.figures.marks import Who, bar, who
from benchmark.reporting.figures.scales import Bar, Scale, axis_label, scale_of, short
from benchmark.reporting.figures.scatter import Axis, Place, scatter
from benchmark.reporting.figures.style import GREY, styled
from benchmark.reporting.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Costs under this share of the cheapest method's have no place on the axis: nothing is trained there.
NOTHING = 0.1


class CostPlot(NamedTuple):
    """A scenario's points, device seconds across; the metric upwards; the index of the reference, and failed rows.

    ``nothing``: device seconds under which points lie at the rim, 0 where only those that cost nothing do.
    """

    metric: str
    dots: tuple[Dot, ...]
    reference: int | None
    failed: tuple[Who, ...]
    nothing: float


def cost_plot(sheet: Sheet) -> CostPlot | None:
    """What a scenario's figure is drawn from; None where fewer than two methods have a cost and a value."""
    dots: list[Dot] = []
    failed: list[Who] = []
    reference = None
    for line in sheet.lines:
        row, one = line.row, who(sheet, line)
        seconds, value = row.cost.device_seconds, bar(row.metrics.get(sheet.ranked_by))
        if one.failed:
            failed.append(one)
        elif seconds is not None and value is not None:
            compared = row.method == sheet.task.reference
            reference = len(dots) if compared and reference is None else reference
            dots.append(Dot(one, Bar(seconds), value, hollow=not row.cost.exclusive, fixed=compared))
    paid = [dot.x.mean for dot in dots if dot.who.competes and dot.x.mean > 0]
    if len(paid) < 2:
        return None
    low = NOTHING * min(paid)
    tiny = [dot.x.mean for dot in dots if 0 < dot.x.mean < low]
    return CostPlot(sheet.ranked_by, tuple(dots), reference, tuple(failed), low if tiny else 0.0)


@styled
def cost_figure(shown: CostPlot) -> Figure:
    """Device seconds across, in a logarithm, and what the scenario is ranked by upwards: the upper left is best.

    The lines are the reference's; hollow points shared the cores with something else of the run.
    """
    dots = [dot._replace(x=Bar(0.0)) if dot.x.mean < shown.nothing else dot for dot in shown.dots]

    def lines(axes: Axes, place: Place) -> None:
        if shown.reference is not None:
            x, y = place.at(dots[shown.reference])
            axes.axvline(x, color=GREY, linewidth=0.7, linestyle="--", zorder=1)
            axes.axhline(y, color=GREY, linewidth=0.7, linestyle="--", zorder=1)

    rim = f"<{short(shown.nothing, 1)}" if shown.nothing else "0"
    free = any(dot.x.mean <= 0 for dot in dots)
    across = Axis("device seconds, lower is better", Scale("log"), rim if free else "")
    up = Axis(axis_label(shown.metric), scale_of(shown.metric))
    return scatter(dots, across, up, shown.failed, lines)
