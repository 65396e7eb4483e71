"""The points of a plot, and the key below it that tells which is which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.scales import Bar
from benchmark.reporting.figures.style import COLUMN, GREY, LINE, LOOKS, SMALL, marker, plain, text_width, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches that an entry of the key takes beside its name.
_INDENT = 0.34


class Dot(NamedTuple):
    """A point: both values, whether its marker is hollow, and whether the axes reach to it whatever it is."""

    who: Who
    x: Bar
    y: Bar
    hollow: bool = False
    fixed: bool = False


class Entry(NamedTuple):
    """A line of the key; without a point it has no marker."""

    number: str
    name: str
    dot: Dot | None

    @property
    def bold(self) -> bool:
        """Whether it stands out."""
        return self.dot is not None and LOOKS[self.dot.who.look].bold

    @property
    def width(self) -> float:
        """In inches."""
        return _INDENT + text_width(self.name, bold=self.bold)


class Entries(NamedTuple):
    """The lines of a key, filled column by column."""

    entries: tuple[Entry, ...]
    columns: int

    @property
    def rows(self) -> int:
        """Lines below each other."""
        return math.ceil(len(self.entries) / self.columns)


def shape(dot: Dot) -> dict[str, Any]:
    """Keywords of ``plot`` for a dot's marker."""
    return marker(dot.who.look, hollow=dot.hollow)


def entries_of(dots: Sequence[Dot], failed: Sequence[Who]) -> Entries:
    """Methods by number, then those without a result; references and cheats are named where they are."""
    numbered = [dot for dot in dots if dot.who.competes]
    entries = [Entry(str(n), plain(dot.who.name), dot) for n, dot in enumerate(numbered, start=1)]
    entries += [Entry("", f"{plain(one.name, 17)}: {plain(one.failed, 14)}", None) for one in failed]
    columns = 3 if all(entry.width < COLUMN / 3 - 0.04 for entry in entries) else 2
    return Entries(tuple(entries), columns)


def draw_key(figure: Figure, key: Entries, top: float) -> None:
    """The key at so many inches from the figure's upper edge."""
    for i, entry in enumerate(key.entries):
        left = 0.06 + (i // key.rows) * (COLUMN - 0.04) / key.columns
        _entry(figure, entry, left, top + (i % key.rows + 0.5) * LINE, COLUMN / key.columns)


def _entry(figure: Figure, entry: Entry, left: float, top: float, room: float) -> None:
    from matplotlib.lines import Line2D

    wide, high = figure.get_size_inches()
    how: dict[str, Any] = {"va": "center_baseline", "fontweight": "bold" if entry.bold else "normal"}
    if entry.dot is None:
        write(figure, left, top, entry.name, color=GREY, fontsize=_fit(entry, room), **how)
        return
    figure.add_artist(Line2D([(left + 0.05) / wide], [1 - top / high], **shape(entry.dot)))
    write(figure, left + 0.265, top, entry.number, ha="right", **how)
    write(figure, left + 0.3, top, entry.name, fontsize=_fit(entry, room), **how)


def _fit(entry: Entry, room: float) -> float:
    """The size of text at which a name is not wider than its column."""
    return min(SMALL, SMALL * (room - _INDENT + 0.02) / max(entry.width - _INDENT, 0.1))
