"""What a table of the site is made of, before it is HTML: columns, rows in groups, and what they are filtered by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: How a column's cells look and are sorted: ``number`` and ``rank`` by value with blanks last, the others as text.
ColumnKind = Literal["rank", "method", "text", "number", "interval", "note"]
Direction = Literal["asc", "desc"]
#: What one part of a row's details is: see ``site_details``.
Block = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column; ``key`` names it in links. ``first``: which way it is sorted when it is first asked for.

    ``optional``: blank in some scenarios, so that it is hidden where only these are shown.
    """

    key: str
    label: str
    kind: ColumnKind
    title: str = ""
    first: Direction = "asc"
    optional: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell: what is shown, and what it is sorted by if that is another text; a dash is blank.

    ``half`` and ``extra`` stand behind the text, less prominently. ``best``: best of its column or tied with that;
    ``leading``: in what the row is ranked by. ``badges`` are (class, text). ``strip``: mean, low and high of a small
    picture.
    """

    text: str
    order: str | None = None
    half: str = ""
    extra: str = ""
    best: bool = False
    leading: bool = False
    badges: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()
    strip: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class TableRow:
    """A row: ``facets`` is what it is filtered by, ``details`` what opens below it.

    Suite, task, scenario, track, device and method together name it in links.
    """

    kind: str
    cells: Sequence[Cell]
    facets: dict[str, str]
    details: Sequence[Block | int]
    unranked: bool = False


@dataclass(frozen=True)
class Section:
    """Rows of a group that are ranked together; ``title`` empty where there is but one such."""

    title: str
    rows: Sequence[TableRow]


@dataclass(frozen=True)
class Group:
    """Rows of one scenario or task: ``lead`` and ``title`` name it, ``facts`` are said of it, ``command`` makes it."""

    lead: str
    title: str
    facts: Sequence[str]
    sections: Sequence[Section]
    command: str = ""
    link: str = ""


@dataclass(frozen=True)
class Facet:
    """What rows are filtered by: ``options`` are its values in the order of the table."""

    key: str
    label: str
    options: Sequence[str]


@dataclass(frozen=True)
class BoardTable:
    """A table with all of its rows. ``shared``: details that many rows have, which name them by their number."""

    caption: str
    columns: Sequence[Column]
    groups: Sequence[Group]
    grouped_by: Sequence[str]
    facet_labels: dict[str, str]
    shared: Sequence[Block] = field(default_factory=list)

    @property
    def rows(self) -> list[TableRow]:
        return [row for group in self.groups for section in group.sections for row in section.rows]

    @property
    def facets(self) -> list[Facet]:
        """What can be filtered; not what is the same nowhere, as where no row has it."""
        found = []
        for key, label in self.facet_labels.items():
            options = list(dict.fromkeys(row.facets[key] for row in self.rows if key in row.facets))
            if options:
                found.append(Facet(key, label, options))
        return found

    @property
    def unshown(self) -> list[str]:
        """Filters that have no column of their own."""
        columns = {column.key for column in self.columns}
        return [key for key in self.facet_labels if key not in columns]

    @property
    def data(self) -> dict[str, Any]:
        """What the page's script needs: the details of each row, in the order of the rows."""
        return {"shared": list(self.shared), "rows": [list(row.details) for row in self.rows]}


#: What stands where there is nothing.
BLANK = "-"


def number(text: str, value: float | None, **more: Any) -> Cell:
    """A number's cell, sorted by its value; blank where there is none."""
    return Cell(BLANK) if value is None else Cell(text, f"{value:.7g}", **more)


class Shared:
    """Details that are written once for all rows that have them."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._known: dict[str, int] = {}

    def number(self, block: Block) -> int:
        """The number of a block, the same for an equal one; also of a part of blocks."""
        key = repr(block)
        if key not in self._known:
            self._known[key] = len(self.blocks)
            self.blocks.append(block)
        return self._known[key]
