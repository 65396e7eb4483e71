"""Figures, drawn from what is kept beside the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, which a colour-blind reader can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def loss_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """L_UE and L_RA of label-agnostic forgetting, mean over each epoch, a panel a scenario; each (epochs,).

    A dashed line marks the epoch in which L_UE is lowest: the peak of the forget signal.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(3.9 * len(curves), 3.1), squeeze=False)
    for axis, (name, (unlearn, align)) in zip(axes[0], curves.items(), strict=True):
        epochs = np.arange(1, len(unlearn) + 1)
        axis.plot(epochs, unlearn, color=COLOURS[0])
        peak = int(unlearn.argmin()) + 1
        axis.axvline(peak, color="grey", linestyle="--", linewidth=1)
        other = axis.twinx()
        other.plot(epochs, align, color=COLOURS[1])
        axis.set_title(f"{name}\nlowest L_UE in epoch {peak} of {len(unlearn)}", fontsize=9)
        axis.set_xlabel("epoch", fontsize=8)
        axis.set_ylabel("L_UE", color=COLOURS[0], fontsize=8)
        other.set_ylabel("L_RA", color=COLOURS[1], fontsize=8)
        for each in (axis, other):
            each.tick_params(labelsize=8)
    figure.tight_layout()
    save(figure, path)


def decision_regions(regions: Mapping[str, np.ndarray], forgotten: int, path: Path) -> None:
    """Predicted class over [-3, 3]^2 for each model, side by side; (S, S) arrays of class indices."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    centres = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    figure, axes = plt.subplots(1, len(regions), figsize=(2.3 * len(regions), 2.9), sharey=True, squeeze=False)
    for axis, (name, grid) in zip(axes[0], regions.items(), strict=True):
        axis.imshow(
            grid, origin="lower", extent=(-3, 3, -3, 3), cmap=ListedColormap(COLOURS), vmin=0, vmax=3,
            alpha=0.75, interpolation="nearest",
        )  # fmt: skip
        for c, (x, y) in enumerate(centres):
            axis.plot(x, y, "x" if c == forgotten else "o", color="black", markersize=6)
        axis.set_title(name, fontsize=9)
        axis.set_xticks([-2, 0, 2])
        axis.set_yticks([-2, 0, 2])
        axis.tick_params(labelsize=8)
    names = [f"class {c}{' (forgotten)' if c == forgotten else ''}" for c in range(4)]
    patches = [Patch(facecolor=colour, alpha=0.75, label=name) for colour, name in zip(COLOURS, names, strict=True)]
    figure.legend(handles=patches, loc="lower center", ncols=4, fontsize=8, frameon=False)
    figure.subplots_adjust(left=0.04, right=0.99, top=0.9, bottom=0.2, wspace=0.08)
    save(figure, path)


def group_maps(
    classes: Sequence[str], attributes: Sequence[str], panels: Mapping[str, Sequence[Sequence[float]]], path: Path
) -> None:
    """Accuracy in percent by class (rows) and attribute (columns), a panel a method, all on one scale from 0 to 100.

    Each panel is (classes, attributes); NaN, of a group without samples, is left blank.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    across = 2 if len(panels) == 4 else min(len(panels), 3)
    down = -(-len(panels) // across)
    classes, attributes = [plain(c) for c in classes], [plain(a) for a in attributes]
    wide, high = (3.3 + 0.07 * max(len(name) for name in names) for names in (classes, attributes))
    size = wide * across + 0.9, high * down
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (name, grid) in zip(axes.flat, panels.items(), strict=False):
        accuracy = np.asarray(grid, dtype=float)
        image = axis.imshow(accuracy, cmap="cividis", vmin=0, vmax=100)
        for y, x in np.argwhere(np.isfinite(accuracy)):
            shade = "black" if accuracy[y, x] > 50 else "white"
            axis.text(x, y, f"{accuracy[y, x]:.0f}", color=shade, fontsize=7, ha="center", va="center")
        axis.set_title(plain(name), fontsize=10, parse_math=False)
        axis.set_xticks(range(len(attributes)), attributes, rotation=90, parse_math=False)
        axis.set_yticks(range(len(classes)), classes, parse_math=False)
        axis.tick_params(labelsize=8)
    figure.colorbar(image, ax=axes, label="accuracy (%)", shrink=0.8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write the figure, the same bytes each time, and close it."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Software": None})
    plt.close(figure)


def plain(name: str, most: int = 20) -> str:
    """A name from outside as a label: short, and without what cannot be printed."""
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= most else f"{text[: most - 1]}…"
