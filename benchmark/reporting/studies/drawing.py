"""Figures of studies: lines over what varies, dots where that has names, and heat maps where two things vary."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.reporting.figures.style import (
    BLUE,
    GREEN,
    GREY,
    LINE,
    ORANGE,
    PAGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILLION,
    frame,
    new_figure,
    plain,
    styled,
    text_width,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What tells lines apart: a colour, a marker and a dash of each; grey ones are references.
COLOURS = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, SKY, "#000000", "#8C564B", "#7F7F00", "#4B0082")
MARKERS = "os^Dv<>Phx*p"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
#: With more lines than this intervals would hide them: they are in the table alone.
MOST_WITH_BARS = 8
#: Panels in a row, and the height of one in inches.
IN_A_ROW, HIGH = 3, 1.7
_LEFT, _TOP, _GAP, _BELOW = 0.5, 0.28, 0.55, 0.48


@dataclass(frozen=True)
class Series:
    """A line: means at places of the axis with the bounds of their intervals, None where there is none."""

    name: str
    x: tuple[float | str, ...]
    mean: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    reference: bool = False


@dataclass(frozen=True)
class Panel:
    """The lines of one metric; ``share``: of a whole, which is between 0 and 100 %."""

    title: str
    series: tuple[Series, ...]
    share: bool = False


@styled
def lines(panels: Sequence[Panel], x_label: str, log: bool) -> Figure:
    """A row of panels, or several, with one key below; dots without lines where the axis has names."""
    names = list(dict.fromkeys(s.name for panel in panels for s in panel.series))
    grey = {s.name for panel in panels for s in panel.series if s.reference}
    looks = _looks(names, grey)
    crowd = len(set(names) - grey)
    named = any(isinstance(x, str) for panel in panels for s in panel.series for x in s.x)
    order = list(dict.fromkeys(x for panel in panels for s in panel.series for x in s.x))
    deep = max((text_width(plain(str(x))) for x in order), default=0.0) * 0.65 if named else 0.0
    columns = _columns(len(panels))
    rows = math.ceil(len(panels) / columns)
    key = _rows_of_key(names)
    step = _TOP + HIGH + _BELOW + deep
    figure = new_figure(PAGE, rows * step + len(key) * LINE + 0.1)
    wide = (PAGE - _LEFT - 0.1 - (columns - 1) * _GAP) / columns
    for i, panel in enumerate(panels):
        axes = frame(figure, _LEFT + (i % columns) * (wide + _GAP), _TOP + (i // columns) * step, wide, HIGH)
        _panel(axes, panel, order, looks, log=log, named=named, with_bars=crowd <= MOST_WITH_BARS)
        axes.set_title(plain(panel.title, 60), loc="left")
        axes.set_xlabel("" if named else plain(x_label, 60))
    _key(figure, key, looks, rows * step)
    return figure


def _columns(panels: int) -> int:
    """Panels in a row: as many as fit, two where there are four."""
    return 2 if panels == 4 else min(IN_A_ROW, panels)


def _looks(names: Sequence[str], grey: set[str]) -> dict[str, dict[str, Any]]:
    coloured = [name for name in names if name not in grey]
    looks: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(coloured):
        dash = DASHES[(i // len(COLOURS)) % len(DASHES)]
        looks[name] = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "linestyle": dash}
    for i, name in enumerate(name for name in names if name in grey):
        looks[name] = {"color": GREY, "marker": "_|x+"[i % 4], "linestyle": DASHES[1 + i % 3]}
    return looks


def _panel(
    axes: Axes,
    panel: Panel,
    order: Sequence[float | str],
    looks: dict[str, Any],
    *,
    log: bool,
    named: bool,
    with_bars: bool,
) -> None:
    at = _positions(order, log=log, named=named)
    count = max(len(panel.series), 1)
    for i, series in enumerate(panel.series):
        look = looks[series.name]
        apart = (i - (count - 1) / 2) * 0.6 / count if named else 0.0
        x = [at(value) + apart for value in series.x]
        bars: Any = [
            [m - (m if low is None else low) for m, low in zip(series.mean, series.low, strict=True)],
            [(m if high is None else high) - m for m, high in zip(series.mean, series.high, strict=True)],
        ]
        how = {**look, "linestyle": "none"} if named else {**look, "marker": ""} if series.reference else look
        axes.errorbar(
            x,
            series.mean,
            yerr=bars if with_bars and not series.reference else None,
            markersize=3.2,
            linewidth=0.9,
            elinewidth=0.7,
            capsize=1.5,
            **how,
        )
    _limit(axes, panel, with_bars=with_bars)
    if named or log:
        shown = order if named else sorted(order, key=float)
        axes.set_xticks([at(value) for value in shown], [plain(_label(value)) for value in shown])
        axes.tick_params(axis="x", labelrotation=45 if named else 0)
        if named:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
        elif len(shown) > 6:
            for label in axes.get_xticklabels()[1::2]:
                label.set_visible(False)


def _limit(axes: Axes, panel: Panel, *, with_bars: bool) -> None:
    """The axis spans the means; intervals that are far wider leave it."""
    means = [m for series in panel.series for m in series.mean]
    shown = [s for s in panel.series if with_bars and not s.reference]
    ends = [b for s in shown for b in (*s.low, *s.high) if b is not None]
    low, high = min(means), max(means)
    span = max(high - low, 0.02 * max(abs(low), abs(high)), 1e-9)
    low, high = max(min([low, *ends]), low - 0.5 * span), min(max([high, *ends]), high + 0.5 * span)
    if panel.share:
        low, high = max(low, min(0.0, *means)), min(high, max(100.0, *means))
    axes.set_ylim(low - 0.06 * span, high + 0.06 * span)


def _positions(order: Sequence[float | str], *, log: bool, named: bool) -> Callable[[float | str], float]:
    """Where a value is on the axis; a logarithmic one has room for 0 left of the smallest value."""
    if named:
        place = {value: float(i) for i, value in enumerate(order)}
        return lambda value: place[value]
    if not log:
        return float
    positive = [float(value) for value in order if float(value) > 0]
    least = math.log10(min(positive, default=1.0))
    step = (math.log10(max(positive, default=1.0)) - least) / max(len(positive) - 1, 1) or 1.0
    return lambda value: math.log10(float(value)) if float(value) > 0 else least - step


def _label(value: float | str) -> str:
    """A place on an axis; powers of ten in short."""
    if isinstance(value, str):
        return value
    plain_enough = not value or 1e-3 <= abs(value) < 1e4
    return f"{value:g}" if plain_enough else f"{value:.0e}".replace("e+0", "e").replace("e-0", "e-")


def _rows_of_key(names: Sequence[str]) -> list[list[str]]:
    rows: list[list[str]] = [[]]
    left = PAGE - 0.2
    for name in names:
        width = 0.4 + text_width(plain(name, 40))
        if width > left and rows[-1]:
            rows.append([])
            left = PAGE - 0.2
        rows[-1].append(name)
        left -= width
    return rows


def _key(figure: Figure, rows: Sequence[Sequence[str]], looks: dict[str, Any], top: float) -> None:
    from matplotlib.lines import Line2D

    wide, high = figure.get_size_inches()
    for i, row in enumerate(rows):
        left, y = 0.1, top + (i + 0.5) * LINE
        for name in row:
            x = [(left + 0.02) / wide, (left + 0.15) / wide, (left + 0.28) / wide]
            figure.add_artist(
                Line2D(x, [1 - y / high] * 3, markersize=3.2, markevery=[1], linewidth=0.9, **looks[name])
            )
            write(figure, left + 0.33, y, plain(name, 40))
            left += 0.4 + text_width(plain(name, 40))


@dataclass(frozen=True)
class Map:
    """A heat map: means (rows, columns), None where there is none."""

    title: str
    rows: tuple[float | str, ...]
    columns: tuple[float | str, ...]
    means: tuple[tuple[float | None, ...], ...]


@styled
def maps(found: Sequence[Map], x_label: str, y_label: str) -> Figure:
    """Heat maps side by side, with their numbers in them."""
    columns = _columns(len(found))
    rows = math.ceil(len(found) / columns)
    high = max(HIGH, 0.24 * max(len(one.rows) for one in found))
    step = _TOP + high + _BELOW
    figure = new_figure(PAGE, rows * step + 0.05)
    wide = (PAGE - _LEFT - 0.15 - (columns - 1) * _GAP) / columns
    for i, one in enumerate(found):
        axes = frame(figure, _LEFT + (i % columns) * (wide + _GAP), _TOP + (i // columns) * step, wide, high)
        _map(axes, one)
        axes.set(xlabel=plain(x_label, 40), ylabel=plain(y_label, 40) if i % columns == 0 else "")
        axes.set_title(plain(one.title, 60), loc="left")
    return figure


def _map(axes: Axes, one: Map) -> None:
    import numpy as np

    values = np.array([[np.nan if v is None else v for v in row] for row in one.means], dtype=float)
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    axes.imshow(values, cmap="cividis", aspect="auto", vmin=low, vmax=high if high > low else low + 1, origin="lower")
    axes.grid(visible=False)
    axes.set_xticks(range(len(one.columns)), [plain(_label(value), 12) for value in one.columns])
    axes.set_yticks(range(len(one.rows)), [plain(_label(value), 12) for value in one.rows])
    for r, row in enumerate(one.means):
        for c, value in enumerate(row):
            if value is not None:
                dark = high > low and (value - low) / (high - low) < 0.55
                shown = f"{value:.{2 if high - low < 2 else 1 if abs(value) < 1000 else 0}f}"
                axes.text(c, r, shown, ha="center", va="center", fontsize=SMALL - 1, color="white" if dark else "black")


@styled
def drawn(draw: Callable[[Axes], None], size: tuple[float, float]) -> Figure:
    """A figure of an analysis: what ``draw`` puts on axes of ``size`` inches, labels and key aside."""
    figure = new_figure(size[0], size[1])
    axes = frame(figure, 0.7, 0.3, size[0] - 0.85, size[1] - 0.85)
    draw(axes)
    return figure
