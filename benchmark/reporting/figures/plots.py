"""Figures of what is kept beside records: losses, decision regions, and accuracy by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.reporting.figures.canvas import SCALE, Place, canvas, numbers, picture, scale, word, wrapped
from benchmark.reporting.figures.style import (
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    LINE,
    ORANGE,
    PAGE,
    PURPLE,
    SMALL,
    TEXT,
    frame,
    new_figure,
    plain,
    styled,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours of classes and of lines.
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
#: Panels beside each other, at most.
ACROSS = 3
#: The widths of figures with so many panels beside each other, in inches.
WIDTHS = {1: COLUMN, 2: 5.0, 3: PAGE}
#: Steps of the scale of accuracy: few enough for a small file, and the numbers are there as well.
STEPS = 20


def framed(axis: Axes) -> None:
    """A frame all around, and no grid: for pictures and maps."""
    axis.grid(False)
    axis.spines[:].set_visible(True)
    axis.spines[:].set_color("black")


@styled
def loss_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """L_UE and L_RA of label-agnostic forgetting, mean over each epoch, below each other; each (epochs,).

    A column a scenario. A dashed line marks the epoch in which L_UE is lowest: the peak of the forget signal.
    """
    across = min(len(curves), ACROSS)
    down = -(-len(curves) // across)
    width, left, gap, high, below = WIDTHS[across], 0.68, 0.1, 0.95, 0.42
    wide = width / across - left - 0.05
    titles = [wrapped(name, wide) for name in curves]
    top = 0.1 + LINE * (2 + max(title.count("\n") for title in titles))
    block = top + 2 * high + gap + below
    figure = new_figure(width, down * block)
    for i, (title, losses) in enumerate(zip(titles, curves.values(), strict=True)):
        row, column = divmod(i, across)
        x, y = left + column * width / across, top + row * block
        upper, lower = (frame(figure, x, y + place, wide, high) for place in (0, high + gap))
        peak = _losses(upper, lower, losses)
        upper.set_title(f"{title}\nlowest L_UE: epoch {peak} of {len(losses[0])}")
        for axis in (upper, lower):
            axis.yaxis.set_label_coords((0.16 - left) / wide, 0.5)
    return figure


def _losses(upper: Axes, lower: Axes, losses: tuple[np.ndarray, np.ndarray]) -> int:
    """Both losses of a scenario; the epoch in which the first is lowest."""
    peak = int(losses[0].argmin()) + 1
    for axis, loss, label, colour in zip((upper, lower), losses, ("L_UE", "L_RA"), (BLUE, "#B07800"), strict=True):
        axis.plot(np.arange(1, len(loss) + 1), loss, color=colour)
        axis.axvline(peak, color=GREY, linestyle="--", linewidth=0.9)
        axis.set_ylabel(label, color=colour)
        axis.ticklabel_format(useOffset=False)
        axis.locator_params(nbins=4)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("epoch")
    return peak


@styled
def decision_regions(regions: Mapping[str, np.ndarray], forgotten: int) -> Figure:
    """Predicted class over [-3, 3]^2 for each model, side by side; (S, S) arrays of class indices."""
    left, gap = 0.3, 0.08
    width = max(min(PAGE, 1.35 * len(regions) + left), COLUMN)
    side = min((width - left - 0.05) / len(regions) - gap, 2.4)
    left = (width - len(regions) * (side + gap) + left) / 2
    titles = [wrapped(name, side, SMALL) for name in regions]
    top = 0.06 + LINE * max(title.count("\n") + 1 for title in titles)
    columns = 4 if width > 4.5 else 2
    figure = new_figure(width, top + side + 0.25 + 0.17 * (4 // columns))
    for i, (title, grid) in enumerate(zip(titles, regions.values(), strict=True)):
        axis = frame(figure, left + i * (side + gap), top, side, side)
        _region(axis, grid, forgotten)
        axis.set_title(title, fontsize=SMALL)
        axis.tick_params(labelleft=i == 0)
    _classes(figure, forgotten, columns)
    return figure


def _region(axis: Axes, grid: np.ndarray, forgotten: int) -> None:
    from matplotlib.colors import ListedColormap

    shown: dict[str, Any] = {"cmap": ListedColormap(_light()), "vmin": 0, "vmax": 3, "interpolation": "none"}
    axis.imshow(grid, origin="lower", extent=(-3, 3, -3, 3), aspect="auto", **shown)
    for c, (x, y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        axis.plot(x, y, "x" if c == forgotten else "o", color="black", markersize=5)
    axis.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    framed(axis)


def _light() -> list[tuple[float, float, float]]:
    """The colours of classes, so light that marks stand out on them."""
    from matplotlib.colors import to_rgb

    red, green, blue = (0.75 * np.array([to_rgb(colour) for colour in COLOURS]) + 0.25).T.tolist()
    return list(zip(red, green, blue, strict=True))


def _classes(figure: Figure, forgotten: int, columns: int) -> None:
    from matplotlib.patches import Patch

    names = [f"class {c}{' (forgotten)' if c == forgotten else ''}" for c in range(4)]
    patches = [Patch(facecolor=colour, label=name) for colour, name in zip(_light(), names, strict=True)]
    figure.legend(
        handles=patches, loc="lower center", ncols=columns, frameon=False, borderpad=0, borderaxespad=0.3,
        handlelength=1.4, columnspacing=1.2,
    )  # fmt: skip


@styled
def group_maps(
    classes: Sequence[str], attributes: Sequence[str], panels: Mapping[str, Sequence[Sequence[float]]]
) -> Figure:
    """Accuracy in percent by class (rows) and attribute (columns), a panel a method, all on one scale from 0 to 100.

    Each panel is (classes, attributes); NaN, of a group without samples, is left blank.
    """
    across = 2 if len(panels) == 4 else min(len(panels), ACROSS)
    down = -(-len(panels) // across)
    classes, attributes = [plain(c) for c in classes], [plain(a) for a in attributes]
    left, below = (max(map(text_width, names)) + 0.08 for names in (classes, attributes))
    gap, top, width = 0.08, 0.2, WIDTHS[across]
    cell = min((width - left - 0.03 - gap * (across - 1)) / across / len(attributes), 3.2 / len(classes))
    wide, high = cell * len(attributes), cell * len(classes)
    figure, axis = canvas(width, down * (top + high) + below + 0.35)
    for i, (name, grid) in enumerate(panels.items()):
        row, column = divmod(i, across)
        x, y = left + column * (wide + gap), top + row * (top + high)
        word(axis, x + wide / 2, y - 0.08, plain(name), fontsize=TEXT)
        _map(axis, np.asarray(grid, dtype=float), (x, y, wide, high))
        for k, text in enumerate(classes if column == 0 else ()):
            word(axis, x - 0.04, y + (k + 0.5) * cell, text, ha="right", va="center_baseline")
        for k, text in enumerate(attributes if i + across >= len(panels) else ()):
            word(axis, x + (k + 0.5) * cell, y + high + 0.04, text, rotation=90, va="top")
    _legend(axis, width / 2, down * (top + high) + below + 0.06)
    return figure


def _map(axis: Axes, accuracy: np.ndarray, place: Place) -> None:
    """One panel; its numbers are written where there is room for them."""
    from matplotlib import colormaps

    left, top, wide, _ = place
    picture(axis, accuracy, place, cmap=colormaps["cividis"].resampled(STEPS), vmin=0, vmax=100)
    cell = wide / accuracy.shape[1]
    if cell < text_width("100"):
        return
    for shade, here in (("black", accuracy > 50), ("white", accuracy <= 50)):
        where = [(left + (x + 0.5) * cell, top + (y + 0.5) * cell, float(accuracy[y, x])) for y, x in np.argwhere(here)]
        numbers(axis, where, shade)


def _legend(axis: Axes, middle: float, top: float) -> None:
    """What the colours of maps mean."""
    ticks = {value / 100: str(value) for value in range(0, 101, 25)}
    scale(axis, middle + 0.4, top, (np.arange(STEPS) + 0.5) * 100 / STEPS, ticks, cmap="cividis", vmin=0, vmax=100)
    word(axis, middle - SCALE[1] / 2 + 0.3, top + 0.05, "accuracy (%)", ha="right")
