"""A figure as a sheet on which pictures, numbers and words lie where they are put, in inches from its top left corner.

Where panels need no ticks, that takes a fraction of the time that axes of their own take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.reporting.figures.style import SMALL, TEXT, frame, new_figure, plain, text_width

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path

#: Left, top, width and height, in inches.
Place = tuple[float, float, float, float]
#: How high and wide a scale is, in inches.
SCALE = 0.1, 1.6


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches, and axes of its size in inches, y downwards, of which nothing is seen."""
    figure = new_figure(width, height)
    axis = frame(figure, 0, 0, width, height)
    axis.axis("off")
    axis.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    return figure, axis


def picture(axis: Axes, pixels: np.ndarray, place: Place, **how: Any) -> None:
    """Pixels (H, W) or (H, W, 3) in a frame; ``how``: for ``imshow``."""
    left, top, wide, high = place
    extent = (left, left + wide, top + high, top)
    axis.imshow(pixels, extent=extent, aspect="auto", **{"interpolation": "none", **how})
    edge(axis, place)


def edge(axis: Axes, place: Place) -> None:
    """A frame around a place."""
    from matplotlib.patches import Rectangle

    left, top, wide, high = place
    axis.add_patch(Rectangle((left, top), wide, high, fill=False, linewidth=0.6))


def word(axis: Axes, x: float, y: float, text: str, **how: Any) -> None:
    """A label in the middle of ``x``, ``y`` unless told otherwise."""
    axis.text(x, y, text, **{"fontsize": SMALL, "ha": "center", "va": "center", **how})


def scale(axis: Axes, middle: float, top: float, shades: np.ndarray, ticks: Mapping[float, str], **how: Any) -> None:
    """A strip in the colours of ``shades`` (n,), centred on ``middle``; ``ticks``: words by how far along they are."""
    high, wide = SCALE
    left = middle - wide / 2
    picture(axis, shades[None], (left, top, wide, high), **how)
    for share, text in ticks.items():
        word(axis, left + share * wide, top + high + 0.09, text)


def numbers(axis: Axes, values: Sequence[tuple[float, float, float]], shade: str) -> None:
    """Each x, y and number, without decimals, in the colour ``shade``.

    Digits are the markers of lines, one line for all the same digits at the same place of a number: as many texts would
    take ten times as long.
    """
    places: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for x, y, value in values:
        text = f"{value:.0f}"
        for i, digit in enumerate(text):
            places.setdefault((digit, i - len(text) / 2), []).append((x, y))
    for (digit, place), points in places.items():
        outline, size = _outline(digit, place)
        axis.plot(
            *zip(*points, strict=True), linestyle="none", marker=outline, markersize=size, markerfacecolor=shade,
            markeredgewidth=0,
        )  # fmt: skip


@cache
def _outline(digit: str, place: float) -> tuple[Path, float]:
    """A digit that begins so many digits right of a number's middle, and its size as a marker."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    font = FontProperties(family=["DejaVu Sans"])
    half = 0.365 * SMALL  # of a digit's height
    outline = TextPath((place * text_width("0") * 72, -half), digit, size=SMALL, prop=font)
    vertices = np.asarray(outline.vertices)
    return Path(vertices, outline.codes), 2 * float(np.abs(vertices).max())


def wrapped(name: str, width: float, size: float = TEXT) -> str:
    """A name from outside on as many lines as it needs in ``width`` inches."""
    text = plain(name, 60)
    if text_width(text, size=size) <= width:
        return text
    return "\n".join(wrap(text, max(int(width / text_width("n", size=size)), 8)))
