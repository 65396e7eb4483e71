"""Figures of bias correction: what lambda does, and what the networks see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.reporting.examples import Examples
from benchmark.reporting.figures import COLOURS, plain, save
from benchmark.reporting.sweeps import METRICS, MOST, Sweep

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Rows of the sweep: what its axis is called, how high it is, and its metrics, each with label, colour and marker.
_STYLES = {
    name: (label, colour, marker)
    for (name, label), colour, marker in zip(
        zip(METRICS, ("clean", "attacked", "TCAV", "TCAVsens"), strict=True), COLOURS, "osD^", strict=True
    )
}
_CHOSEN, _AIM = "chosen λ", "TCAV 0.5"
_ROWS = (("accuracy (%)", 1.5, METRICS[:2]), ("TCAV", 1.0, METRICS[2:3]), ("TCAVsens", 1.0, METRICS[3:]))
#: What relevance is drawn in, from against to for: colours that a colour-blind reader can tell apart, white at 0. Where
#: there are no colours, what is darkest speaks for it.
_SIGNED = ("#56B4E9", "#FFFFFF", "#D55E00", "#4A1A00")


def lambda_sweeps(sweeps: Sequence[Sweep], path: Path) -> None:
    """Accuracy, TCAV and TCAVsens against lambda, a column a scenario; rows that no scenario has are left out."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in _ROWS if any(name in sweep.curves for sweep in sweeps for name in row[2])]
    size = max(0.9 + 1.3 * len(sweeps), 3.4), 0.9 + sum(high for _, high, _ in rows)
    figure, axes = plt.subplots(
        len(rows), len(sweeps), figsize=size, sharex=True, sharey="row", squeeze=False,
        layout="constrained", height_ratios=[high for _, high, _ in rows],
    )  # fmt: skip
    for column, sweep in zip(axes.T, sweeps, strict=True):
        column[0].set_title("\n".join(wrap(plain(sweep.scenario, 40), 18)), fontsize=8, parse_math=False)
        column[-1].set_xlabel("λ", fontsize=8)
        for axis, (_, _, names) in zip(column, rows, strict=True):
            _curves(axis, sweep, names)
    for axis, (label, _, names) in zip(axes[:, 0], rows, strict=True):
        axis.set_ylabel(label, fontsize=8)
        _scale(axis, names, sweeps)
    for axis in axes[:, 1:].flat:
        axis.tick_params(axis="y", which="both", left=False)
    for axis in axes[:-1].flat:
        axis.tick_params(axis="x", which="both", bottom=False)
    figure.align_ylabels()
    _legend(figure, axes, sweeps)
    save(figure, path)


def _curves(axis: Axes, sweep: Sweep, names: Sequence[str]) -> None:
    """Mean and band of each metric; hollow markers at the values of lambda that are refused."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(numticks=5))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(labelsize=7)
    if sweep.chosen is not None:
        axis.axvline(sweep.chosen, color="grey", linestyle="--", linewidth=1, label=_CHOSEN, zorder=1)
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
        lines.append(Line2D([], [], color="grey", label="below the floor", **hollow))
    shown = [*handles.values(), *lines]
    columns = len(shown) if len(sweeps) > 4 else 3
    figure.legend(
        handles=shown, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, columnspacing=1.2
    )


def _scale(axis: Axes, names: Sequence[str], sweeps: Sequence[Sweep]) -> None:
    """The axis of a row: accuracy and TCAV on their whole range, TCAVsens on a logarithm of what is above 0."""
    if "tcav.sensitivity" not in names:
        top = 1 if "tcav" in names else 100
        axis.set_ylim(-0.04 * top, 1.04 * top)
        axis.set_yticks([0, top / 2, top] if top == 1 else range(0, 101, 25))
        return
    points = [point for sweep in sweeps for point in sweep.curves.get("tcav.sensitivity", ())]
    above = [value for point in points for value in (point.mean, point.low) if value > 1 / MOST]
    if above:
        axis.set_yscale("log", nonpositive="clip")
        axis.set_ylim(min(above) / 1.5, max(point.high for point in points) * 1.5)


def example_pictures(shown: Examples, path: Path) -> None:
    """A column a picture: clean, attacked, and the relevance of output and concept before and after correction."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.colors import LinearSegmentedColormap

    before, after = shown.before, shown.after
    maps = {
        "output,\nbefore": before.relevance,
        "output,\nafter": after.relevance,
        "concept a · h,\nbefore": before.concept,
        "concept a · h,\nafter": after.concept,
    }
    n = len(shown.labels)
    high, wide = shown.attacked.shape[1:3]
    size = 1.6 + 1.1 * n, 0.7 + 6 * 1.1 * min(max(high / wide, 0.5), 2)
    figure, axes = plt.subplots(6, n, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for row, (name, pictures) in enumerate(
        (("clean", shown.clean), ("attacked,\npredicted\nbefore → after", shown.attacked))
    ):
        _name(axes[row, 0], name)
        for axis, picture in zip(axes[row], pictures, strict=True):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    for column, (label, old, new) in enumerate(zip(shown.labels, before.predictions, after.predictions, strict=True)):
        axes[0, column].set_title(f"label {label}", fontsize=8)
        axes[1, column].set_xlabel(f"{old} → {new}", fontsize=8, labelpad=2)
    signed = LinearSegmentedColormap.from_list("signed", list(zip((0, 0.5, 0.8, 1), _SIGNED, strict=True)))
    for row, (name, relevance) in enumerate(maps.items(), start=2):
        _name(axes[row, 0], name)
        for axis, amount in zip(axes[row], relevance, strict=True):
            image = axis.imshow(_scaled(amount), cmap=signed, vmin=-1, vmax=1)
    bar = figure.colorbar(image, ax=axes[2:], shrink=0.5, aspect=30, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["against", "0", "for"], fontsize=8)
    bar.set_label("relevance, each map on its own scale", fontsize=8)
    save(figure, path)


def _name(axis: Axes, text: str) -> None:
    """What a row shows, at its left."""
    axis.set_ylabel(text, fontsize=8, rotation=0, ha="right", va="center")


def _scaled(amount: np.ndarray) -> np.ndarray:
    """Relevance over its largest absolute value; what is not finite stays blank."""
    amount = np.where(np.isfinite(amount), amount, np.nan)
    most = np.nanmax(np.abs(amount), initial=0)
    return amount / most if most > 0 else amount
