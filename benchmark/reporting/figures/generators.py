"""Figures of generators from which something was to go: their images, their points, and the premise of the method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.reporting.figures.canvas import Place, canvas, edge, word, wrapped
from benchmark.reporting.figures.pictures import DPI
from benchmark.reporting.figures.style import (
    BLUE,
    COLUMN,
    GREY,
    LINE,
    PAGE,
    SMALL,
    VERMILLION,
    frame,
    new_figure,
    plain,
    styled,
    text_width,
)
from benchmark.reporting.generated import ORIGINAL, Clouds, Grid, Premise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Images in a line; dots: how wide an image is at least and at most, and gaps between images, kinds and methods.
ACROSS, LEAST, MOST = 6, 40, 96
GAP, KINDS, METHODS = 2, 16, 12
#: Panels of points beside each other, at most.
PANELS = 7
#: Points that may be there, and those that may not: apart in brightness and form, too.
_WANTED, _UNWANTED = BLUE, VERMILLION
#: Dots around a canvas.
_MARGIN = 8


@styled
def image_grid(grid: Grid) -> Figure:
    """A row a method: images of latents at random at the left, of latents whose original was undesired at the right."""
    names = [_name(own.method, own.pul) for own in grid.methods]
    kinds = {"any latents": [own.any for own in grid.methods]}
    undesired = [own.undesired for own in grid.methods]
    if any(len(images) for images in undesired):
        kinds[f"latents whose original image was undesired ({plain(grid.removed)})"] = undesired
    step, times = _scale(grid.methods[0].any)
    gaps = _gaps(times)
    canvas = _canvas([[images[:, ::step, ::step] for images in kind] for kind in kinds.values()], gaps)
    wide = (canvas.shape[1] + gaps[1]) * times / len(kinds)
    heads = [wrapped(text, (wide - KINDS) / DPI, SMALL) for text in kinds]
    figure, axis = _around(canvas, times, names, heads)
    for i, head in enumerate(heads):
        middle = i * wide + (wide - gaps[1] * times) / 2
        axis.text(middle, -6, head, fontsize=SMALL, ha="center", va="bottom")
    high = (canvas.shape[0] + gaps[2]) * times / len(names)
    for i, name in enumerate(names):
        middle = i * high + (high - gaps[2] * times) / 2
        axis.text(-8, middle, name, fontsize=SMALL, ha="right", va="center")
    return figure


def _name(method: str, pul: float | None) -> str:
    return plain(method) if pul is None else f"{plain(method)}\nPUL {round(pul)} %"


def _scale(images: np.ndarray) -> tuple[int, int]:
    """Of how many pixels one is drawn, and how many dots wide."""
    step = max(-(-max(images.shape[1:3]) // MOST), 1)
    return step, max(-(-LEAST // -(-images.shape[2] // step)), 1)


def _gaps(times: int) -> tuple[int, int, int]:
    """Gaps between images, kinds and methods in pixels, each of so many dots."""
    between, kinds, methods = (-(-dots // times) for dots in (GAP, KINDS, METHODS))
    return between, kinds, methods


def _around(canvas: np.ndarray, times: int, names: Sequence[str], heads: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure of the canvas in whole dots, with room for names at its left and for headings above it."""
    left = round(max(text_width(line) for name in names for line in name.split("\n")) * DPI) + 16
    top = round(max(head.count("\n") + 1 for head in heads) * LINE * DPI) + 12
    high, wide = canvas.shape[0] * times, canvas.shape[1] * times
    figure = new_figure((wide + left + _MARGIN) / DPI, (high + top + _MARGIN) / DPI)
    axis = frame(figure, left / DPI, top / DPI, wide / DPI, high / DPI)
    axis.imshow(canvas, interpolation="none", aspect="auto", extent=(0, wide, high, 0))
    axis.axis("off")
    return figure, axis


def _canvas(kinds: Sequence[Sequence[np.ndarray]], gaps: tuple[int, int, int]) -> np.ndarray:
    """All images on white, (H, W, 3) uint8: below each other the methods, beside each other the kinds of images."""
    lines = max(-(-len(images) // ACROSS) for kind in kinds for images in kind)
    rows = [_joined([_sheet(images, lines, gaps[0]) for images in row], gaps[1], 1) for row in zip(*kinds, strict=True)]
    return _joined(rows, gaps[2], 0)


def _sheet(images: np.ndarray, lines: int, gap: int) -> np.ndarray:
    """Images (n, H, W) or (n, H, W, 3) in ``lines`` lines of ACROSS; white where there are too few."""
    colour = images if images.ndim == 4 else images[..., None].repeat(3, -1)
    sheet = np.full((lines * ACROSS, *colour.shape[1:]), 255, np.uint8)
    sheet[: len(colour)] = colour
    return _joined([_joined(list(sheet[i * ACROSS :][:ACROSS]), gap, 1) for i in range(lines)], gap, 0)


def _joined(parts: Sequence[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Pictures (H, W, 3) of one size beside (axis 1) or below each other (axis 0), with white between them."""
    shape = list(parts[0].shape)
    shape[axis] = gap
    white = np.full(shape, 255, np.uint8)
    return np.concatenate([each for part in parts for each in (white, part)][1:], axis)


@styled
def point_panels(clouds: Clouds) -> Figure:
    """A panel a method: its points over the real ones and over the original's that must go."""
    down = -(-len(clouds.methods) // PANELS)
    across = -(-len(clouds.methods) // down)
    width = max(PAGE * across / PANELS, COLUMN)
    gap, top, below = 0.06, 0.3, 0.1 + LINE * (1 if across > 5 else 2)
    side = min((width - gap) / across - gap, 1.2)
    left = (width - across * (side + gap) + gap) / 2
    figure, axis = canvas(width, down * (side + top) + below + 0.06)
    places = {
        own.method: (left + i % across * (side + gap), top + i // across * (top + side), side, side)
        for i, own in enumerate(clouds.methods)
    }
    for own in clouds.methods:
        x, y, *_ = places[own.method]
        word(axis, x + side / 2, y - 0.03, _name(own.method, own.pul), va="bottom")
        edge(axis, places[own.method])
    _points(axis, clouds, list(places.values()))
    figure.legend(
        *axis.get_legend_handles_labels(), loc="lower center", ncols=4 if across > 5 else 2, frameon=False,
        markerscale=2.5, columnspacing=1.2, handletextpad=0.2, borderpad=0, borderaxespad=0.3,
    )  # fmt: skip
    return figure


def _frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,) of a square around finite points, with some room."""
    fine = points[np.isfinite(points).all(1)]
    low, high = (fine.min(0), fine.max(0)) if len(fine) else (-np.ones(2), np.ones(2))
    half = max((high - low).max() * 0.55, 1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _points(axis: Axes, clouds: Clouds, places: Sequence[Place]) -> None:
    """Every kind in every panel, as pixels, since they are many; what lies outside a panel's frame is left out."""
    low, high = _frame(np.concatenate([clouds.real, *(own.points for own in clouds.methods if own.method == ORIGINAL)]))
    many = len(clouds.methods)
    for kind, colour, marker, size, label in (
        ([clouds.real] * many, "#DDDDDD", "o", 3, "real, to be kept"),
        ([clouds.gone] * many, "#F6D3B8", "o", 3, "original's, to go"),
        ([own.points[~own.undesired] for own in clouds.methods], _WANTED, ".", 0.9, "generated"),
        ([own.points[own.undesired] for own in clouds.methods], _UNWANTED, "x", 1.1, "generated, undesired"),
    ):
        shares = [(points - low) / (high - low) for points in kind]
        inside = [share[((share >= 0) & (share <= 1)).all(1)] for share in shares]
        drawn = [
            share * (wide, -tall) + (left, top + tall)
            for share, (left, top, wide, tall) in zip(inside, places, strict=True)
        ]
        style: dict[str, Any] = {"color": colour, "markersize": size, "markeredgewidth": 0.35}
        axis.plot(*np.concatenate(drawn).T, marker, label=label, zorder=0, **style)
    axis.set_rasterization_zorder(0.5)


@styled
def premise_curves(premises: Sequence[Premise]) -> Figure:
    """Percent undesired along the line through the original and the adapted generators, a panel a scenario."""
    across = min(len(premises), 3)
    down = -(-len(premises) // across)
    width, left, gap = 5.0 if across > 2 else COLUMN, 0.42, 0.12
    wide = (width - left - 0.05) / across - gap
    titles = [wrapped(premise.scenario, wide) for premise in premises]
    top, high, below = 0.06 + LINE * max(title.count("\n") + 1 for title in titles), 1.1, 0.36
    figure = new_figure(width, down * (top + high + below) + LINE * (2 if across > 2 else 3) + 0.05)
    most = max((float(np.nanmax(premise.undesired, initial=0)) for premise in premises), default=0)
    for i, (title, premise) in enumerate(zip(titles, premises, strict=True)):
        row, column = divmod(i, across)
        axis = frame(figure, left + column * (wide + gap), top + row * (top + high + below), wide, high)
        _curves(axis, premise)
        axis.set_title(title)
        axis.set_xlabel("s")
        axis.set_ylim(0, 1.05 * most or 1)
        axis.tick_params(labelleft=column == 0)
        axis.set_ylabel("" if column else "undesired (%)")
    _keys(figure, across)
    return figure


def _keys(figure: Figure, across: int) -> None:
    """What the lines of any panel mean, below all of them."""
    drawn = [axis.get_legend_handles_labels() for axis in figure.axes]
    shown = {label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        shown.values(), shown.keys(), loc="lower center", ncols=max(across, 2), frameon=False, columnspacing=1,
        handlelength=1.4, handletextpad=0.5, borderpad=0, borderaxespad=0.3,
    )  # fmt: skip


def _curves(axis: Axes, premise: Premise) -> None:
    """Seeds thin, their mean bold; marks at the original, the adapted generators and what the method took."""
    marks = [(0.0, "-", "s = 0: original"), (1.0, "--", "s = 1: adapted (mean)")]
    marks += [(premise.chosen, ":", "s of the baseline extrapolation")] if premise.chosen is not None else []
    for at, style, label in marks:
        axis.axvline(at, color=GREY, linestyle=style, linewidth=0.9, label=label, zorder=1)
    if len(premise.seeds) > 1:
        for i, shares in enumerate(premise.undesired):
            label = "_" if i else "one seed"
            axis.plot(premise.s, shares, color=BLUE, linewidth=0.7, alpha=0.45, label=label)
    axis.plot(premise.s, premise.undesired.mean(0), color=BLUE, linewidth=2, label="mean over seeds")
