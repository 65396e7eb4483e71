"""Figures of bias correction: what lambda does, and what the networks see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.reporting.examples import Examples
from benchmark.reporting.figures.canvas import canvas, picture, scale, word, wrapped
from benchmark.reporting.figures.pictures import DPI
from benchmark.reporting.figures.plots import COLOURS
from benchmark.reporting.figures.style import COLUMN, GREY, LINE, SKY, VERMILLION, new_figure, styled
from benchmark.reporting.sweeps import METRICS, MOST, Sweep

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

#: Rows of the sweep: what its axis is called, how high it is in inches, and its metrics, each with label, colour and
#: marker.
_STYLES = {
    name: (label, colour, marker)
    for (name, label), colour, marker in zip(
        zip(METRICS, ("clean", "attacked", "TCAV", "TCAVsens"), strict=True), COLOURS, "osD^", strict=True
    )
}
_CHOSEN, _AIM = "chosen λ", "TCAV 0.5"
_ROWS = (("accuracy (%)", 1.3, METRICS[:2]), ("TCAV", 0.85, METRICS[2:3]), ("TCAVsens", 0.85, METRICS[3:]))
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
#: What relevance is drawn in, from against to for: colours that a colour-blind reader can tell apart, white at 0. Where
#: there are no colours, what is darkest speaks for it.
_SIGNED = (SKY, "#FFFFFF", VERMILLION, "#4A1A00")
#: Shades of relevance: no more than a palette has room for beside shades of grey; white is that in the middle.
_SHADES = 65
#: Inches at the left of the sweeps, where the axes are labelled.
_LEFT = 0.52
#: Rows of examples, and how large a picture is at most, in dots.
_LINES, _WIDEST = 6, 170
#: Inches, in whole dots: the gap between two pictures, and the room for what rows are called at their left, for text
#: above them, and for the scale below them.
_GAP, _NAMES, _HEAD, _FOOT = 0.06, 0.92, 0.17, 0.4
_ATTACKED = "attacked,\npredicted\nbefore → after"


@styled
def lambda_sweeps(sweeps: Sequence[Sweep]) -> Figure:
    """Accuracy, TCAV and TCAVsens against lambda, a column a scenario; rows that no scenario has are left out."""
    rows = [row for row in _ROWS if any(name in sweep.curves for sweep in sweeps for name in row[2])]
    wide = 1.22 if len(sweeps) > 2 else (COLUMN - _LEFT - 0.1) / len(sweeps)
    titles = [wrapped(sweep.scenario, wide - 0.1) for sweep in sweeps]
    figure, axes = _panels(len(sweeps), [high for _, high, _ in rows], wide, max(t.count("\n") + 1 for t in titles))
    for title, column, sweep in zip(titles, axes.T, sweeps, strict=True):
        column[0].set_title(title)
        column[-1].set_xlabel("λ")
        for axis, (_, _, names) in zip(column, rows, strict=True):
            _curves(axis, sweep, names)
    for axis, (label, _, names) in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(label)
        _scale(axis, names, sweeps)
    for axis in axes[:, 1:].flat:
        axis.tick_params(axis="y", which="both", left=False)
    for axis in axes[:-1].flat:
        axis.tick_params(axis="x", which="both", bottom=False)
    figure.align_ylabels()
    _legend(figure, axes, sweeps)
    return figure


def _panels(across: int, heights: Sequence[float], wide: float, lines: int) -> tuple[Figure, np.ndarray]:
    """Axes in columns that share their x and rows that share their y, below titles of so many lines; all in inches."""
    gap, top, below = 0.13, 0.08 + LINE * lines, 0.42 + LINE * (1 if across > 4 else 3)
    width, height = _LEFT + wide * across, top + sum(heights) + gap * (len(heights) - 1) + below
    figure = new_figure(width, height)
    around = {
        "left": _LEFT / width, "right": 1 - 0.05 / width, "top": 1 - top / height, "bottom": below / height,
        "wspace": gap / (wide - gap), "hspace": gap / (sum(heights) / len(heights)),
    }  # fmt: skip
    axes = figure.subplots(
        len(heights), across, sharex=True, sharey="row", squeeze=False, height_ratios=heights, gridspec_kw=around
    )
    return figure, axes


def _curves(axis: Axes, sweep: Sweep, names: Sequence[str]) -> None:
    """Mean and band of each metric; hollow markers at the values of lambda that are refused."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(numticks=4))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(_power)
    if sweep.chosen is not None:
        axis.axvline(sweep.chosen, color=GREY, linestyle="--", linewidth=1, label=_CHOSEN, zorder=1)
    if "tcav" in names:
        axis.axhline(0.5, color="black", linestyle=":", linewidth=1, label=_AIM, zorder=1)
    for name in names:
        label, colour, marker = _STYLES[name]
        points = sweep.curves.get(name, ())
        if points:
            lam, mean, low, high = np.array(points).T
            axis.fill_between(lam, low, high, color=colour, alpha=0.2, linewidth=0)
            axis.plot(lam, mean, color=colour, linewidth=1.2)
            for refused in (False, True):
                here = [(value in sweep.refused) == refused for value in lam]
                style: dict[str, Any] = {"markerfacecolor": "white"} if refused else {"label": label}
                axis.plot(lam[here], mean[here], marker, color=colour, markersize=3.2, markeredgewidth=0.9, **style)


def _power(value: float, _: float) -> str:
    """A power of ten in letters: formulae take ten times as long."""
    return "10" + str(round(math.log10(value))).translate(_SUPERSCRIPTS) if value > 0 else ""


def _legend(figure: Figure, axes: np.ndarray, sweeps: Sequence[Sweep]) -> None:
    """What is drawn anywhere, metrics first, below all panels."""
    from matplotlib.lines import Line2D

    handles: dict[str, Artist] = {}
    for axis in axes.flat:
        drawn, labels = axis.get_legend_handles_labels()
        handles.update(zip(labels, drawn, strict=True))
    lines = [handles.pop(label) for label in (_CHOSEN, _AIM) if label in handles]
    if any(sweep.refused for sweep in sweeps):
        hollow: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markersize": 3.2, "linestyle": "none"}
        lines.append(Line2D([], [], color=GREY, label="below the floor", **hollow))
    shown = [*handles.values(), *lines]
    columns = len(shown) if len(sweeps) > 4 else 3
    figure.legend(
        handles=shown, loc="lower center", ncols=columns, frameon=False, columnspacing=1.2, handlelength=1.6,
        borderpad=0, borderaxespad=0.3,
    )  # fmt: skip


def _scale(axis: Axes, names: Sequence[str], sweeps: Sequence[Sweep]) -> None:
    """The axis of a row: accuracy and TCAV on their whole range, TCAVsens on a logarithm of what is above 0."""
    if "tcav.sensitivity" not in names:
        top = 1 if "tcav" in names else 100
        axis.set_ylim(-0.04 * top, 1.04 * top)
        axis.set_yticks([0, top / 2, top] if top == 1 else range(0, 101, 25))
        return
    from matplotlib.ticker import NullLocator

    points = [point for sweep in sweeps for point in sweep.curves.get("tcav.sensitivity", ())]
    above = [value for point in points for value in (point.mean, point.low) if value > 1 / MOST]
    if above:
        axis.set_yscale("log", nonpositive="clip")
        axis.set_ylim(min(above) / 1.5, max(point.high for point in points) * 1.5)
        axis.yaxis.set_major_formatter(_power)
        axis.yaxis.set_minor_locator(NullLocator())


@styled
def example_pictures(shown: Examples) -> Figure:
    """A column a picture: clean, attacked, and the relevance of output and concept before and after correction."""
    sheet = _Sheet(shown.attacked.shape[1:3], len(shown.labels))
    predictions = zip(shown.labels, shown.before.predictions, shown.after.predictions, strict=True)
    for column, (label, old, new) in enumerate(predictions):
        sheet.head(0, column, f"label {label}")
        sheet.head(2, column, f"{old} → {new}")
    for row, (name, pictures) in enumerate((("clean", shown.clean), (_ATTACKED, shown.attacked))):
        sheet.line(row, name, pictures, cmap="gray", vmin=0, vmax=255)
    seen = {
        "output,\nbefore": shown.before.relevance,
        "output,\nafter": shown.after.relevance,
        "concept a · h,\nbefore": shown.before.concept,
        "concept a · h,\nafter": shown.after.concept,
    }
    for row, (name, maps) in enumerate(seen.items(), start=2):
        sheet.line(row, name, [_scaled(amount) for amount in maps], cmap=_colours(), vmin=-1, vmax=1)
    return sheet.finished()


class _Sheet:
    """Pictures of one size (H, W) in whole dots, so that none of their pixels is wider than another."""

    def __init__(self, size: tuple[int, int], across: int) -> None:
        factor = _WIDEST // max(size) or _WIDEST / max(size)
        self._how = {"interpolation": "none" if factor >= 1 else "antialiased"}
        self._high, self._wide = (max(round(side * factor), 1) / DPI for side in size)
        width = max(_NAMES + across * (self._wide + _GAP), COLUMN)
        self._below = self._top(_LINES)
        self.figure, self._axis = canvas(round(width * DPI) / DPI, round((self._below + _FOOT) * DPI) / DPI)

    def _left(self, column: int) -> float:
        return _NAMES + column * (self._wide + _GAP)

    def _top(self, row: int) -> float:
        """The upper edge of a row; there is room for text above the first and the third."""
        return _HEAD + row * (self._high + _GAP) + (_HEAD - _GAP) * (row >= 2)

    def head(self, row: int, column: int, text: str) -> None:
        """Text above a picture."""
        word(self._axis, self._left(column) + self._wide / 2, self._top(row) - 0.03, text, va="bottom")

    def line(self, row: int, name: str, pictures: Sequence[np.ndarray] | np.ndarray, **colours: Any) -> None:
        """A row of pictures and, at its left, what it shows."""
        top = self._top(row)
        word(self._axis, _NAMES - 0.05, top + self._high / 2, name, ha="right")
        for column, pixels in enumerate(pictures):
            picture(self._axis, pixels, (self._left(column), top, self._wide, self._high), **self._how, **colours)

    def finished(self) -> Figure:
        """The figure, with a scale of relevance below the pictures."""
        middle = self.figure.get_size_inches()[0] / 2
        word(self._axis, middle, self._below + 0.06, "relevance, each map on its own scale")
        ticks = {0.0: "against", 0.5: "0", 1.0: "for"}
        scale(
            self._axis,
            middle,
            self._below + 0.15,
            np.linspace(-1, 1, 2 * _SHADES),
            ticks,
            cmap=_colours(),
            vmin=-1,
            vmax=1,
        )
        return self.figure


def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("signed", list(zip((0, 0.5, 0.8, 1), _SIGNED, strict=True)), _SHADES)


def _scaled(amount: np.ndarray) -> np.ndarray:
    """Relevance over its largest absolute value; what is not finite stays blank."""
    amount = np.where(np.isfinite(amount), amount, np.nan)
    most = np.nanmax(np.abs(amount), initial=0)
    return amount / most if most > 0 else amount
