"""How a method does on each class that was amended, or on each group: one figure a scenario, one dot each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.boards.board import Row
from benchmark.reporting.figures.ladder import Column, Ladder, draw_status, ladder
from benchmark.reporting.figures.marks import Who, who
from benchmark.reporting.figures.scales import Bar, Scale, axis_label, scale_of
from benchmark.reporting.figures.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    LINE,
    LOOKS,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILLION,
    YELLOW,
    plain,
    styled,
    text_width,
    write,
)
from benchmark.reporting.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Units that are drawn, by the beginnings of their names. Others are draws, which tell no more than seeds do.
UNITS = ("class", "hue", "mode")
#: Groups have shapes of their own up to so many.
MOST_GROUPS = 8
_SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, YELLOW, BLACK)


class DotPlot(NamedTuple):
    """Rows with values by unit or group; ``grouped`` tells which. ``metric`` names the rows' axis."""

    metric: str
    grouped: bool
    rows: tuple[tuple[Who, tuple[tuple[str, float], ...]], ...]

    @property
    def names(self) -> list[str]:
        """All units or groups, in order of appearance."""
        return list(dict.fromkeys(name for _, values in self.rows for name, _ in values))


def unit_plot(sheet: Sheet) -> DotPlot | None:
    """Values of what the scenario is ranked by, by unit; None where seeds amend the same one, or units are draws."""
    rows = [(who(sheet, line), _by_unit(line.row, sheet.ranked_by)) for line in sheet.lines]
    shown = tuple((one, values) for one, values in rows if values or one.failed)
    plot = DotPlot(sheet.ranked_by, False, shown)
    enough = sum(one.competes and len(values) > 2 for one, values in shown) >= 2
    return plot if enough and len(plot.names) > 2 else None


def _by_unit(row: Row, name: str) -> tuple[tuple[str, float], ...]:
    """A value a unit, the mean over the seeds that amended it; nothing for draws, and where a seed has several."""
    cell, units = row.metrics.get(name), row.origin.units
    if cell is None or any(len(own) != 1 or own[0].split("-")[0] not in UNITS for own in units.values()):
        return ()
    found: dict[str, list[float]] = {}
    for seed, value in cell.by_seed.items():
        found.setdefault(units[seed][0], []).append(value)
    return tuple((unit, sum(own) / len(own)) for unit, own in sorted(found.items()))


def group_plot(sheet: Sheet) -> DotPlot | None:
    """Accuracy by group, for scenarios of two to eight groups; None for the others."""
    rows = [(who(sheet, line), _by_group(line.row)) for line in sheet.lines]
    shown = tuple((one, values) for one, values in rows if values or one.failed)
    plot = DotPlot("accuracy.group-balanced", True, shown)
    enough = sum(one.competes and len(values) > 0 for one, values in shown) >= 2
    return plot if enough and 2 <= len(plot.names) <= MOST_GROUPS else None


def _by_group(row: Row) -> tuple[tuple[str, float], ...]:
    return tuple((name, cell.accuracy) for name, cell in row.groups.items())


@styled
def dot_figure(shown: DotPlot) -> Figure:
    """A row a method, a dot a unit or group, an upright line at their mean; the worst unit is named on the right."""
    scale = Scale(bounds=(0.0, 100.0)) if shown.grouped else scale_of(shown.metric)
    bars = [Bar(value) for _, values in shown.rows for _, value in values]
    label = "accuracy (%)" if shown.grouped else axis_label(shown.metric)
    column = Column("worst", [_worst(scale, values) if row.competes else "" for row, values in shown.rows])
    columns, wide = _legend_columns(shown.names)
    below = LINE * -(-len(shown.names) // columns) + 0.04 if shown.grouped else 0.0
    drawn = ladder([row for row, _ in shown.rows], scale, bars, label, None if shown.grouped else column, below)
    for height, (row, values) in enumerate(shown.rows):
        _row(drawn, height, row, values, shown.names if shown.grouped else ())
        if row.failed:
            draw_status(drawn.axes, height, row)
    if shown.grouped:
        _legend(drawn.figure, shown.names, columns, wide)
    return drawn.figure


def _worst(scale: Scale, values: Sequence[tuple[str, float]]) -> str:
    """The worst unit without what all are called; nothing where all are alike."""
    at = {unit: scale.at(value) for unit, value in values}
    if not at or max(at.values()) - min(at.values()) < 1e-9:
        return ""
    return plain(min(at, key=lambda unit: at[unit]).partition("-")[2].replace("-", ", "), 9)


def _row(drawn: Ladder, height: int, row: Who, values: Sequence[tuple[str, float]], groups: Sequence[str]) -> None:
    if not values or row.failed:
        return
    mean = drawn.scale.at(sum(value for _, value in values) / len(values))
    drawn.axes.vlines(mean, height - 0.4, height + 0.4, color=BLACK, linewidth=1.1, zorder=3)
    own = LOOKS[row.look]
    for name, value in values:
        plain_look: dict[str, Any] = {"marker": own.marker, "markerfacecolor": own.colour}
        look = _shape(groups.index(name)) if groups else plain_look
        size = 3.6 if groups else 3.2
        drawn.axes.plot(
            drawn.scale.at(value), height, **look, linestyle="none", markersize=size, markeredgecolor=BLACK,
            markeredgewidth=0.35, alpha=0.9 if groups else 0.7, zorder=4,
        )  # fmt: skip


def _shape(index: int) -> dict[str, Any]:
    return {"marker": _SHAPES[index], "markerfacecolor": _COLOURS[index]}


def _legend_columns(names: Sequence[str]) -> tuple[int, float]:
    """How many columns the key of groups has, and how wide each is in inches."""
    wide = max([text_width(plain(name)) for name in names], default=1.0) + 0.3
    columns = max(1, min(len(names), int((COLUMN - 0.1) / wide)))
    return columns, (COLUMN - 0.1) / columns


def _legend(figure: Figure, names: Sequence[str], columns: int, wide: float) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    rows = -(-len(names) // columns)
    for i, name in enumerate(names):
        left, top = 0.1 + (i % columns) * wide, height - 0.04 - (rows - 0.5 - i // columns) * LINE
        at = [(left + 0.05) / width], [1 - top / height]
        figure.add_artist(
            Line2D(*at, **_shape(i), linestyle="none", markersize=4, markeredgecolor=BLACK, markeredgewidth=0.35)
        )
        write(figure, left + 0.15, top, plain(name), va="center_baseline", fontsize=SMALL)
