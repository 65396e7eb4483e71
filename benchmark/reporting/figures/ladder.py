"""Figures with one row a method: names on the left, marks in the middle, a column of text on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.scales import Bar, Scale, limits, set_axis
from benchmark.reporting.figures.style import (
    COLUMN,
    GREY,
    LOOKS,
    SMALL,
    VERMILLION,
    frame,
    marker,
    new_figure,
    plain,
    text_width,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The height of a row, and what is left above and below them for headings, tick marks and the axis' name, in inches.
STEP, ABOVE, BELOW = 0.142, 0.17, 0.36
#: Inches between text and axes.
_GAP = 0.07


class Column(NamedTuple):
    """Text at the right of each row below a heading, as wide as it takes."""

    heading: str
    texts: Sequence[str]

    @property
    def width(self) -> float:
        """In inches."""
        return max(text_width(text) for text in (self.heading, *self.texts)) + 2 * _GAP if any(self.texts) else _GAP


class Ladder(NamedTuple):
    """A figure of rows, its axes, on which row i lies at height i from above, and the axes' scale."""

    figure: Figure
    axes: Axes
    scale: Scale


def ladder(
    rows: Sequence[Who], scale: Scale, bars: Sequence[Bar], label: str, column: Column | None = None, below: float = 0.0
) -> Ladder:
    """A figure of a column's width with nothing on its rows yet; ``below`` is more space there, in inches."""
    right = column.width if column else _GAP
    left = max([text_width(name(row), bold=LOOKS[row.look].bold) for row in rows]) + 2 * _GAP
    high = STEP * len(rows)
    above = ABOVE if column and any(column.texts) else 0.06
    figure = new_figure(COLUMN, above + high + BELOW + below)
    axes = frame(figure, left, above, COLUMN - left - right, high)
    set_rows(axes, len(rows))
    set_axis(axes.xaxis, scale, limits(scale, bars, pad=0.05), most_ticks(COLUMN - left - right))
    half = text_width(label, size=_fit(label)) / 2
    centre = min(max((left + COLUMN - right) / 2, half + 0.04), COLUMN - half - 0.04)
    write(figure, centre, above + high + 0.265, label, ha="center", fontsize=_fit(label))
    for i, row in enumerate(rows):
        write_name(figure, left - _GAP, above + (i + 0.5) * STEP, row)
    if column and any(column.texts):
        _write_column(figure, column, above)
    return Ladder(figure, axes, scale)


def name(row: Who) -> str:
    """What stands at the left of a row."""
    return plain(row.name)


def most_ticks(width: float) -> int:
    """How many tick marks have room on axes so many inches wide."""
    return max(3, int(width / 0.3))


def set_rows(axes: Axes, rows: int) -> None:
    """Limits of so many rows, the first one at the top, with a faint line each."""
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.hlines(range(rows), 0, 1, transform=axes.get_yaxis_transform(), color="#EEEEEE", linewidth=0.5, zorder=0)


def _fit(label: str) -> float:
    """The size of text at which a label is not wider than the figure."""
    return min(SMALL + 0.5, (SMALL + 0.5) * (COLUMN - 0.1) / text_width(label, size=SMALL + 0.5))


def write_name(figure: Figure, right: float, top: float, row: Who, **how: Any) -> None:
    """A row's name, which ends at ``right``: bold for papers' methods, italic for references and cheats."""
    style = "normal" if row.look in ("paper", "baseline") else "italic"
    weight = "bold" if LOOKS[row.look].bold else "normal"
    colour = GREY if row.failed else "black"
    how = {"ha": "right", "va": "center_baseline", "fontstyle": style, "fontweight": weight, "color": colour, **how}
    write(figure, right, top, name(row), **how)


def _write_column(figure: Figure, column: Column, above: float) -> None:
    for i, text in enumerate(column.texts):
        write(figure, COLUMN - _GAP / 2, above + (i + 0.5) * STEP, text, ha="right", va="center_baseline")
    write(figure, COLUMN - _GAP / 2, above - 0.07, column.heading, ha="right", color=GREY)


def draw_bar(axes: Axes, scale: Scale, height: float, row: Who, bar: Bar) -> None:
    """A mean with its interval on a row."""
    colour = VERMILLION if row.look == "paper" else GREY
    low, high = (min(max(end, -1e9), 1e9) for end in scale.ends(bar))
    if bar.low is not None:
        axes.hlines(height, low, high, color=colour, linewidth=1.0, zorder=2)
    axes.plot(scale.at(bar.mean), height, **marker(row.look), zorder=4)


def draw_status(axes: Axes, height: float, row: Who) -> None:
    """What became of a row without a whole result, in its place."""
    axes.text(
        0.02, height, plain(row.failed), transform=axes.get_yaxis_transform(), fontsize=SMALL, color=GREY,
        va="center_baseline", fontstyle="italic",
    )  # fmt: skip
