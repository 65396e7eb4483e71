"""Points with intervals in both directions, numbered, with a key below that names them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.dot_key import Dot, draw_key, entries_of, shape
from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.placement import Box, Spot, middle, place
from benchmark.reporting.figures.scales import Bar, Scale, limits, set_axis, short
from benchmark.reporting.figures.style import (
    COLUMN,
    GREY,
    LINE,
    LOOKS,
    TEXT,
    VERMILLION,
    frame,
    new_figure,
    plain,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches: above, below and right of the axes, for the vertical axis' name, and how high the axes are.
_TOP, _BELOW, _RIGHT, _NAME, _HIGH = 0.06, 0.38, 0.07, 0.25, 2.35
#: How far from its point a number stands with a line to it, in points.
_FAR = 2.0
_NUMBER = 6.5
#: The most characters of a name within the axes.
_SHORT = 14
#: The share of an axis that is kept for what a logarithm has no place for.
_RIM = 0.08
#: By how much of what methods span an axis becomes longer at most, on each side, for references and cheats.
_MORE = 0.4


class Axis(NamedTuple):
    """An axis of a plot of points: ``rim`` is the name of the place for what lies at minus infinity."""

    label: str
    scale: Scale
    rim: str = ""


Span = tuple[float, float]


class Place(NamedTuple):
    """Where dots lie: positions that the axes span, and the axes' width in inches."""

    x: Axis
    y: Axis
    spans: tuple[Span, Span]
    wide: float

    def at(self, dot: Dot) -> tuple[float, float]:
        """A dot's position; what lies outside is a little inside the rim."""
        return _inside(self.x, dot.x, self.spans[0]), _inside(self.y, dot.y, self.spans[1])

    def outside(self, dot: Dot) -> str:
        """Which way a dot lies outside, as the marker that points there; empty for those inside or at a named rim."""
        for axis, value, (low, high), (below, above) in (
            (self.x, dot.x, self.spans[0], "<>"),
            (self.y, dot.y, self.spans[1], "v^"),
        ):
            position = axis.scale.at(value.mean)
            if position > high or (position < low and not axis.rim):
                return above if position > high else below
        return ""

    def points(self, dot: Dot) -> tuple[float, float]:
        """A dot's position from the axes' lower left corner, in points."""
        (left, right), (low, high) = self.spans
        x, y = self.at(dot)
        return (x - left) / (right - left) * self.wide * 72, (y - low) / (high - low) * _HIGH * 72


def _inside(axis: Axis, value: Bar, span: Span) -> float:
    space = (span[1] - span[0]) * (0.4 * _RIM if axis.rim else 0.02)
    position = axis.scale.at(value.mean)
    if axis.rim:
        return min(max(position, span[0] + space), span[1])
    return position if span[0] <= position <= span[1] else min(max(position, span[0] + space), span[1] - space)


#: Draws what lies behind the points.
Behind = Callable[["Axes", Place], None]


def scatter(dots: Sequence[Dot], x: Axis, y: Axis, failed: Sequence[Who] = (), behind: Behind | None = None) -> Figure:
    """A figure of a column's width; those in ``failed`` stand in the key alone, with what became of them.

    Methods are numbered in the order of ``dots``; references and cheats have no number. The axes span methods, the
    aim and what else is ``fixed``; others that lie far outside are arrows at the rim, with what they have there.
    """
    entries = entries_of(dots, failed)
    spans = _span(x, dots, [dot.x for dot in dots]), _span(y, dots, [dot.y for dot in dots])
    left = _NAME + max([text_width(text) for _, text in y.scale.ticks(*spans[1], 7)], default=0.0)
    place = Place(x, y, spans, COLUMN - left - _RIGHT)
    figure = new_figure(COLUMN, _TOP + _HIGH + _BELOW + entries.rows * LINE + 0.06)
    axes = frame(figure, left, _TOP, place.wide, _HIGH)
    _set_axes(axes, place)
    if behind is not None:
        behind(axes, place)
    for dot in dots:
        _draw(axes, dot, place)
    _label(axes, dots, place)
    draw_key(figure, entries, _TOP + _HIGH + _BELOW)
    return figure


def _span(axis: Axis, dots: Sequence[Dot], values: Sequence[Bar]) -> Span:
    """What the axis must show, and what is not too far from it."""
    must = [dot.fixed or dot.who.competes or dot.who.look == "aim" for dot in dots]
    low, high = limits(axis.scale, [value for value, fixed in zip(values, must, strict=True) if fixed])
    more, space = _MORE * (high - low), 0.06 * (high - low)
    others = [axis.scale.at(value.mean) for value, fixed in zip(values, must, strict=True) if not fixed]
    near = [position for position in others if low - more <= position <= high + more]
    low = min([low, *(position - space for position in near)])
    high = max([high, *(position + space for position in near)])
    return (low - _RIM * (high - low), high) if axis.rim else (low, high)


def _set_axes(axes: Axes, place: Place) -> None:
    x, (low, high) = place.x, place.spans[0]
    set_axis(axes.yaxis, place.y.scale, place.spans[1], 7)
    wide = text_width(x.rim) / place.wide  # no other tick mark so near that its text covers the rim's
    inner = low + (0.4 * _RIM + max(wide / 2 + 0.06, 0.6 * _RIM)) * (high - low) if x.rim else low
    set_axis(axes.xaxis, x.scale, (inner, high), 6)
    if x.rim:
        axes.set_xlim(low, high)
        ticks = [low + 0.4 * _RIM * (high - low), *axes.get_xticks()]
        axes.set_xticks(ticks, [x.rim, *(label.get_text() for label in axes.get_xticklabels())])
        axes.axvline(low + 0.8 * _RIM * (high - low), color=GREY, linewidth=0.6, linestyle=(0, (1, 1)))
    axes.set_xlabel(x.label, fontsize=min(TEXT, TEXT * (COLUMN - 0.3) / text_width(x.label, size=TEXT)))
    axes.set_ylabel(place.y.label, fontsize=min(TEXT, TEXT * _HIGH / text_width(place.y.label, size=TEXT)))


def _draw(axes: Axes, dot: Dot, place: Place) -> None:
    colour = VERMILLION if dot.who.look == "paper" else GREY
    x, y = place.at(dot)
    outside = place.outside(dot)
    for scale, bar, line, at in ((place.x.scale, dot.x, axes.hlines, y), (place.y.scale, dot.y, axes.vlines, x)):
        if bar.low is not None and not outside:
            low, high = (min(max(end, -1e9), 1e9) for end in scale.ends(bar))
            line(at, low, high, color=colour, linewidth=0.7, alpha=0.45, zorder=2)
    how = {**shape(dot), **({"marker": outside, "markersize": 4.5} if outside else {})}
    axes.plot(x, y, **how, zorder=4 if dot.who.competes else 3)


def _text(dot: Dot, number: int, place: Place) -> str:
    """A method's number, or a name; with the value where that lies outside."""
    outside = place.outside(dot)
    if dot.who.competes:
        return str(number)
    value = dot.x.mean if outside in ("<", ">") else dot.y.mean
    return f"{plain(dot.who.name, _SHORT)}{f' ({short(value)})' if outside else ''}"


def _label(axes: Axes, dots: Sequence[Dot], at: Place) -> None:
    """Numbers beside the methods' points, names beside the others, with lines to those that stand further away."""
    texts = [_text(dot, 1 + sum(other.who.competes for other in dots[:i]), at) for i, dot in enumerate(dots)]
    spots = [_spot(dot, text, at) for dot, text in zip(dots, texts, strict=True)]
    boxes = place(spots, Box(1.0, 1.0, at.wide * 72 - 1, _HIGH * 72 - 1))
    for dot, text, spot, box in zip(dots, texts, spots, boxes, strict=True):
        _write(axes, text, dot, spot, box, at.wide * 72)


def _spot(dot: Dot, text: str, at: Place) -> Spot:
    width = text_width(text, size=_NUMBER, bold=LOOKS[dot.who.look].bold) * 72 + 0.8
    return Spot(*at.points(dot), LOOKS[dot.who.look].size + 0.6, width, _NUMBER * 0.8)


def _write(axes: Axes, text: str, dot: Dot, spot: Spot, box: Box, wide: float) -> None:
    """A label in its box, on axes that are ``wide`` points."""
    x, y = middle(box)
    high = _HIGH * 72
    near = min(max(spot.x, box.left), box.right), min(max(spot.y, box.bottom), box.top)
    if math.dist(near, (spot.x, spot.y)) - spot.marker / 2 > _FAR:
        ends = (near[0] / wide, spot.x / wide), (near[1] / high, spot.y / high)
        axes.plot(*ends, color=GREY, linewidth=0.4, transform=axes.transAxes, zorder=3.5)
    axes.text(
        x / wide, y / high, text, transform=axes.transAxes, fontsize=_NUMBER, ha="center", va="center_baseline",
        fontweight="bold" if LOOKS[dot.who.look].bold else "normal", zorder=6,
        fontstyle="normal" if dot.who.competes else "italic",
    )  # fmt: skip
