"""What an amendment takes away against what it leaves: one figure a scenario."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.dot_key import Dot
from benchmark.reporting.figures.marks import Who, absolute, bar, who
from benchmark.reporting.figures.scales import Bar, axis_label, scale_of
from benchmark.reporting.figures.scatter import Axis, Place, scatter
from benchmark.reporting.figures.style import PALE, styled
from benchmark.reporting.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = "accuracy.train.forget.gap"


class Axes2(NamedTuple):
    """What a figure shows across, the amendment, and upwards, what it must leave; names of metrics."""

    across: str
    up: str


#: The axes by task; the first ones that a scenario has values of.
AXES: dict[str, tuple[Axes2, ...]] = {
    "class-forget": (Axes2("accuracy.test.forget", "accuracy.test.retain"),),
    "label-free-forget": (Axes2(GAP, "accuracy.test.retain"), Axes2(GAP, "accuracy.test.all")),
    "debias-known": (Axes2("accuracy.bias-conflicting", "accuracy.bias-aligned"),),
    "debias-unknown": (Axes2("accuracy.bias-conflicting", "accuracy.bias-aligned"),),
    "bias-correction": (Axes2("accuracy.attacked", "accuracy.clean"),),
    "gan-feature-removal": (Axes2("pul", "fid"),),
}
#: Instead of these where a scenario is ranked by the worst group.
WORST_GROUP = Axes2("accuracy.worst-group", "accuracy.mean")


class TradeOff(NamedTuple):
    """A scenario's points, the names of both metrics, and the rows that have no whole result."""

    axes: Axes2
    dots: tuple[Dot, ...]
    failed: tuple[Who, ...]


def trade_off(sheet: Sheet) -> TradeOff | None:
    """What a scenario's figure is drawn from; None where the task has no axes or fewer than two methods have values."""
    choices = AXES.get(sheet.task.name, ())
    if sheet.ranked_by == "accuracy.worst-group":
        choices = (WORST_GROUP, *choices)
    for axes in choices:
        dots, failed = _dots(sheet, axes)
        if sum(dot.who.competes for dot in dots) >= 2:
            return TradeOff(axes, dots, failed)
    return None


def _dots(sheet: Sheet, axes: Axes2) -> tuple[tuple[Dot, ...], tuple[Who, ...]]:
    dots, failed = [], []
    for line in sheet.lines:
        one = who(sheet, line)
        x, y = (_value(name)(line.row.metrics.get(name)) for name in axes)
        if one.failed:
            failed.append(one)
        elif x is not None and y is not None:
            dots.append(Dot(one, x, y))
    return tuple(dots), tuple(failed)


def _value(name: str) -> Callable[..., Bar | None]:
    """Gaps to retraining are taken by their size: to be off by much is as bad on either side."""
    return absolute if name.endswith(".gap") else bar


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other one is as good as in both coordinates and better in one; greater is better.

    By the means: that a point is on the front says nothing of how sure that is.
    """
    found: list[int] = []
    best = float("-inf")
    for i in sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1], i)):
        if points[i][1] > best or (found and points[i] == points[found[-1]]):
            found.append(i)
        best = max(best, points[i][1])
    return sorted(found)


def front(points: Sequence[tuple[Who, tuple[float, float]]]) -> list[int]:
    """Indices of the methods on the fronts, each of what it competes within; references and cheats are on none."""
    found: list[int] = []
    for field in dict.fromkeys(one.field for one, _ in points if one.competes):
        own = [i for i, (one, _) in enumerate(points) if one.competes and one.field == field]
        found += [own[i] for i in pareto([points[i][1] for i in own])]
    return sorted(found)


@styled
def trade_off_figure(shown: TradeOff) -> Figure:
    """The amendment across and what it must leave upwards: the upper right is best; grey lines are Pareto fronts."""

    def fronts(axes: Axes, place: Place) -> None:
        points = [(dot.who, place.at(dot)) for dot in shown.dots]
        chosen = front(points)
        compete = Counter(one.field for one, _ in points if one.competes)
        for field in (field for field, methods in compete.items() if methods > 1):
            _front_line(axes, [points[i][1] for i in chosen if points[i][0].field == field])

    across, up = (Axis(axis_label(name), scale_of(name)) for name in shown.axes)
    return scatter(shown.dots, across, up, shown.failed, fronts)


def staircase(points: Sequence[tuple[float, float]], start: tuple[float, float]) -> tuple[list[float], list[float]]:
    """The edge of what the points are at least as good as in both directions, from ``start`` on and back to it."""
    xs, ys = [start[0]], []
    for x, y in sorted(points):
        ys += [y, y]
        xs += [x, x]
    return xs, [*ys, start[1]]


def _front_line(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """The edge of a Pareto front, behind the points."""
    start = axes.get_xlim()[0], axes.get_ylim()[0]
    axes.plot(*staircase(points, start), color=PALE, linewidth=2.2, alpha=0.8, zorder=0.8)
