"""Notes below a table in print: why a row has no rank, and what else must be known of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmark.boards.board import ABSENT, Row
from benchmark.metrics.catalogue import metric
from benchmark.reporting.latex.text import breakable, shortened
from benchmark.reporting.sheet import Sheet

MOVED = "code moved: source has changed since the run, the declared versions have not"
OUTSIDE = "from outside: a method that is none of AmendBench's own"
#: How many of a row's reasons are shown, and characters of each; all of them are in the other formats.
REASONS, LONGEST_REASON = 2, 160


class Notes(NamedTuple):
    """``by_line``: the letters behind each line's name, empty where it has none. ``texts``: the notes, in LaTeX."""

    by_line: list[str]
    texts: list[str]


def notes(sheet: Sheet) -> Notes:
    """A letter for each note in the order of the rows; what is to be said of all rows has none."""
    told = [_told(sheet, row) for row in sheet.rows]
    everywhere = [note for note in told[0] if len(told) > 1 and all(note in own for own in told)]
    letters: dict[str, str] = {}
    for note in (note for own in told for note in own if note not in everywhere):
        letters.setdefault(note, _letter(len(letters)))
    texts = [f"$^{{\\mathrm{{{letter}}}}}$\\,{breakable(note)}." for note, letter in letters.items()]
    by_line = [",".join(letters[note] for note in own if note in letters) for own in told]
    return Notes(by_line, [*texts, *(f"All rows: {breakable(note)}." for note in everywhere)])


def _letter(i: int) -> str:
    return (_letter(i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def _told(sheet: Sheet, row: Row) -> list[str]:
    found = [f"{row.status}{_because(row.reasons)}"] if row.status != "ok" else []
    if row.rank_by != sheet.ranked_by:
        found.append(f"ranked by {metric(row.rank_by).label}")
    found += [OUTSIDE] if row.origin.external else []
    return [*found, *{"moved": [MOVED], "absent": [ABSENT]}.get(row.code, [])]


def _because(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    more = f"; and {len(reasons) - REASONS} more" if len(reasons) > REASONS else ""
    return ": " + "; ".join(shortened(reason, LONGEST_REASON).rstrip(".") for reason in reasons[:REASONS]) + more
