"""Columns of a table in print, and how many of them go beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.reporting.latex.text import tex, width

#: Points that a table may be wide: 5.5 inches, the narrowest text of the usual venues; and those between two columns.
WIDTH = 397.0
SEPARATION = 5.0
#: The columns that a part begins with: rank, method and n in the first, the method in every further one.
FIRST, FURTHER = slice(0, 3), slice(1, 2)

NO_BREAK = "\u00a0"


@dataclass(frozen=True)
class Column:
    """A column in LaTeX: ``heading`` by line, ``cells`` by row, ``points`` wide."""

    align: str
    heading: list[str]
    cells: list[str]
    points: float

    @property
    def head(self) -> str:
        """The heading as the cell of a row that stands on its last line."""
        if len(self.heading) == 1:
            return self.heading[0]
        return rf"\begin{{tabular}}[b]{{@{{}}{self.align}@{{}}}}" + r"\\".join(self.heading) + r"\end{tabular}"


def headed(heading: str, cells: list[str], points: float) -> Column:
    """A column of numbers ``points`` wide; its heading is broken between words so as not to be wider, if it can be."""
    for arrow in "↑↓→":
        heading = heading.replace(f" {arrow}", NO_BREAK + arrow)
    lines = _wrapped(heading, points)
    return Column("r", [tex(line) for line in lines], cells, max(points, *map(width, lines)))


def beside(one: Column, other: Column) -> Column:
    """Two columns that always stand beside each other."""
    rows = [f"{left} & {right}" for left, right in zip(one.cells, other.cells, strict=True)]
    return Column(one.align + other.align, [f"{one.head} & {other.head}"], rows, one.points + other.points + SEPARATION)


def _wrapped(text: str, points: float) -> list[str]:
    lines: list[str] = []
    for word in text.split(" "):
        if lines and width(f"{lines[-1]} {word}") <= points:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def parts(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns side by side in as few parts as ``WIDTH`` allows, none much wider than it must be.

    Every part after the first stands below it, beside the methods again.
    """
    limit, found = WIDTH, _filled(columns, WIDTH)
    while limit > 0:
        limit -= 5.0
        narrower = _filled(columns, limit)
        if len(narrower) > len(found):
            return found
        found = narrower
    return found


def _filled(columns: Sequence[Column], limit: float) -> list[list[Column]]:
    found = [list(columns[FIRST])]
    fixed = FIRST.stop
    for column in columns[FIRST.stop :]:
        if _points([*found[-1], column]) > limit and len(found[-1]) > fixed:
            found.append(list(columns[FURTHER]))
            fixed = len(found[-1])
        found[-1].append(column)
    return found


def _points(columns: Sequence[Column]) -> float:
    return sum(column.points for column in columns) + SEPARATION * (len(columns) - 1)
