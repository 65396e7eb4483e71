"""Figures of generators from which something was to go: their images, their points, and the premise of the method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from benchmark.reporting.figures import COLOURS, plain, save
from benchmark.reporting.generated import ORIGINAL, Cloud, Clouds, Grid, Premise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Dots an inch, as figures are saved: images are laid out in whole dots, so that none of their pixels is blurred.
DPI = 150
#: Images in a line; dots: how wide an image is at least and at most, and gaps between images, kinds and methods.
ACROSS, LEAST, MOST = 6, 40, 96
GAP, KINDS, METHODS = 2, 16, 10
#: Points that may be there, and those that may not: apart in brightness and form, too.
_WANTED, _UNWANTED = COLOURS[0], "#D55E00"


def image_grid(grid: Grid, path: Path) -> None:
    """A row a method: images of latents at random at the left, of latents whose original was undesired at the right."""
    names = [_name(own.method, own.pul) for own in grid.methods]
    kinds = {"any latents": [own.any for own in grid.methods]}
    undesired = [own.undesired for own in grid.methods]
    if any(len(images) for images in undesired):
        kinds[f"latents whose original image was undesired ({plain(grid.removed)})"] = undesired
    canvas = _canvas(list(kinds.values()))
    wide = (canvas.shape[1] + KINDS) / len(kinds)
    heads = ["\n".join(wrap(text, max(int(wide) // 9, 10))) for text in kinds]
    figure, axis = _around(canvas, names, heads)
    for i, head in enumerate(heads):
        middle = i * wide + (wide - KINDS) / 2
        axis.text(middle, -6, head, fontsize=7.5, ha="center", va="bottom", parse_math=False)
    high = (canvas.shape[0] + METHODS) / len(names)
    for i, name in enumerate(names):
        middle = i * high + (high - METHODS) / 2
        axis.text(-8, middle, name, fontsize=7, ha="right", va="center", parse_math=False)
    save(figure, path)


def _name(method: str, pul: float | None) -> str:
    return plain(method) if pul is None else f"{plain(method)}\nPUL {round(pul)} %"


def _around(canvas: np.ndarray, names: Sequence[str], heads: Sequence[str]) -> tuple[Figure, Axes]:
    """A figure of the canvas dot by dot, with room for names at its left and for headings above it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    left = 16 + 9 * max(len(line) for name in names for line in name.split("\n"))
    top = 14 + 19 * max(head.count("\n") + 1 for head in heads)
    high, wide = canvas.shape[0] + top + 8, canvas.shape[1] + left + 8
    figure = plt.figure(figsize=(wide / DPI, high / DPI))
    axis = figure.add_axes((left / wide, 8 / high, canvas.shape[1] / wide, canvas.shape[0] / high))
    axis.imshow(canvas, interpolation="nearest", aspect="auto")
    axis.axis("off")
    return figure, axis


def _canvas(kinds: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """All images on white, (H, W, 3) uint8: below each other the methods, beside each other the kinds of images."""
    lines = max(-(-len(images) // ACROSS) for kind in kinds for images in kind)
    rows = [_joined([_sheet(images, lines) for images in row], KINDS, 1) for row in zip(*kinds, strict=True)]
    return _joined(rows, METHODS, 0)


def _sheet(images: np.ndarray, lines: int) -> np.ndarray:
    """Images (n, H, W) or (n, H, W, 3) in ``lines`` lines of ACROSS; white where there are too few."""
    some = images[:, :: _step(images), :: _step(images)]
    times = max(-(-LEAST // some.shape[2]), 1)
    large = some.repeat(times, 1).repeat(times, 2)
    colour = large if large.ndim == 4 else large[..., None].repeat(3, -1)
    sheet = np.full((lines * ACROSS, *colour.shape[1:]), 255, np.uint8)
    sheet[: len(colour)] = colour
    return _joined([_joined(list(sheet[i * ACROSS :][:ACROSS]), GAP, 1) for i in range(lines)], GAP, 0)


def _step(images: np.ndarray) -> int:
    """Of how many pixels one is drawn."""
    return max(-(-max(images.shape[1:3]) // MOST), 1)


def _joined(parts: Sequence[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Pictures (H, W, 3) of one size beside (axis 1) or below each other (axis 0), with white between them."""
    shape = list(parts[0].shape)
    shape[axis] = gap
    white = np.full(shape, 255, np.uint8)
    return np.concatenate([each for part in parts for each in (white, part)][1:], axis)


def point_panels(clouds: Clouds, path: Path) -> None:
    """A panel a method: its points over the real ones and over the original's that must go."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    across = min(len(clouds.methods), 4)
    down = -(-len(clouds.methods) // across)
    size = max(0.95 * across + 0.1, 2.2), 1.2 * down + 0.75
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    low, high = _frame(np.concatenate([clouds.real, *(own.points for own in clouds.methods if own.method == ORIGINAL)]))
    for axis in axes.flat[len(clouds.methods) :]:
        axis.set_visible(False)
    for axis, cloud in zip(axes.flat, clouds.methods, strict=False):
        _panel(axis, cloud, clouds)
        axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[], aspect="equal")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=1 if across < 3 else 2, fontsize=7, frameon=False,
        markerscale=2.5, columnspacing=1, handletextpad=0.2,
    )  # fmt: skip
    save(figure, path)


def _frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,) of a square around finite points, with some room."""
    fine = points[np.isfinite(points).all(1)]
    low, high = (fine.min(0), fine.max(0)) if len(fine) else (-np.ones(2), np.ones(2))
    half = max((high - low).max() * 0.55, 1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _panel(axis: Axes, cloud: Cloud, clouds: Clouds) -> None:
    """Every kind is drawn everywhere, so that one legend serves all panels."""
    for points, colour, marker, size, label in (
        (clouds.real, "#DDDDDD", "o", 3, "real, to be kept"),
        (clouds.gone, "#F6D3B8", "o", 3, "original's, to go"),
        (cloud.points[~cloud.undesired], _WANTED, ".", 0.9, "generated"),
        (cloud.points[cloud.undesired], _UNWANTED, "x", 1.1, "generated, undesired"),
    ):
        axis.plot(*points.T, marker, color=colour, markersize=size, markeredgewidth=0.35, label=label)
    axis.set_title(_name(cloud.method, cloud.pul), fontsize=7, pad=2, parse_math=False)


def premise_curves(premises: Sequence[Premise], path: Path) -> None:
    """Percent undesired along the line through the original and the adapted generators, a panel a scenario."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    across = min(len(premises), 3)
    down = -(-len(premises) // across)
    size = max(1.9 * across + 0.3, 3.4), 1.8 * down + 0.8
    figure, axes = plt.subplots(down, across, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis in axes.flat[len(premises) :]:
        axis.set_visible(False)
    for axis, premise in zip(axes.flat, premises, strict=False):
        _curves(axis, premise)
        axis.set_title("\n".join(wrap(plain(premise.scenario, 40), 24)), fontsize=8, parse_math=False)
        axis.set_xlabel("s", fontsize=8)
        axis.tick_params(labelsize=7)
    for axis in axes[:, 0]:
        axis.set_ylabel("undesired (%)", fontsize=8)
    axes[0, 0].set_ylim(bottom=0)  # of all panels, once every curve is in them
    drawn = [axis.get_legend_handles_labels() for axis in axes.flat]
    shown = {label: handle for handles, labels in drawn for handle, label in zip(handles, labels, strict=True)}
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=max(across, 2),
        fontsize=7, frameon=False, columnspacing=1.2,
    )  # fmt: skip
    save(figure, path)


def _curves(axis: Axes, premise: Premise) -> None:
    """Seeds thin, their mean bold; marks at the original, the adapted generators and what the method took."""
    marks = [(0.0, "-", "s = 0: original"), (1.0, "--", "s = 1: adapted (mean)")]
    marks += [(premise.chosen, ":", "s of the baseline extrapolation")] if premise.chosen is not None else []
    for at, style, label in marks:
        axis.axvline(at, color="grey", linestyle=style, linewidth=0.9, label=label, zorder=1)
    if len(premise.seeds) > 1:
        for i, shares in enumerate(premise.undesired):
            label = "_" if i else "one seed"
            axis.plot(premise.s, shares, color=COLOURS[0], linewidth=0.7, alpha=0.45, label=label)
    axis.plot(premise.s, premise.undesired.mean(0), color=COLOURS[0], linewidth=2, label="mean over seeds")
