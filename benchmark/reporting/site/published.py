"""Papers' numbers beside ours, as tables of the site.

They come as the fields of ``beside.Beside``, with the names of suite and scenario; a field that is missing is blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from benchmark.metrics.catalogue import METRICS
from benchmark.reporting.cells import DISTANCE

#: Columns with the fields that they are made of, joined by a comma.
COLUMNS = {
    "metric": ("metric",),
    "method": ("method",),
    "device": ("device",),
    "in the paper": ("called",),
    "ours": ("ours",),
    "n": ("n",),
    "published": ("published",),
    "difference": ("difference",),
    "from": ("source",),
    "data": ("dataset", "setting"),
    "notes": ("_notes",),
}
#: Columns of numbers.
NUMBERS = ("ours", "n", "published", "difference")
#: What is said of many numbers, once below the table; the first of them in other words.
NEAREST = "The scenario is the nearest one, not the paper's: no difference is taken."
MARKED = "Not first-hand: {mark}."
NOTED = ("incomparable", "differs", "remarks")


@dataclass(frozen=True)
class PublishedTable:
    """One scenario's numbers: ``heads`` with whether they are of numbers, and ``rows`` of text.

    ``common``: what is said of all of them; ``notes``: what is said of some, which name them by their number from 1.
    """

    title: str
    heads: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[str]]
    common: Sequence[str]
    notes: Sequence[str]


def published_blocks(numbers: Iterable[Mapping[str, Any]]) -> list[PublishedTable]:
    """A table a suite and scenario (both may be missing), in the order given; columns that are empty are left out."""
    return [_table(title, list(block)) for title, block in groupby(numbers, key=_title)]


def _title(number: Mapping[str, Any]) -> str:
    return " / ".join(str(number[key]) for key in ("suite", "scenario") if number.get(key))


def _table(title: str, numbers: Sequence[Mapping[str, Any]]) -> PublishedTable:
    said = list(dict.fromkeys(note for number in numbers for note in _notes(number)))
    common = [note for note in said if all(note in _notes(number) for number in numbers)]
    notes = [note for note in said if note not in common]
    shown = [_shown(number, notes) for number in numbers]
    texts = {head: [_joined(number, fields) for number in shown] for head, fields in COLUMNS.items()}
    data = set(texts["data"])
    if len(numbers) > 1 and len(data) == 1 and (one := data.pop()):
        common.insert(0, f"In the paper: {one}.")
        texts["data"] = [""] * len(numbers)
    heads = [head for head, column in texts.items() if any(column)]
    rows = [[texts[head][i] for head in heads] for i in range(len(numbers))]
    return PublishedTable(title, [(head, head in NUMBERS) for head in heads], rows, common, notes)


def _notes(number: Mapping[str, Any]) -> list[str]:
    """Everything that is said of a number, a sentence or so each."""
    found = [NEAREST] if number.get("nearest") else []
    found += [MARKED.format(mark=number["mark"])] if number.get("mark") else []
    for field in NOTED:
        said = number.get(field) or []
        found += [said] if isinstance(said, str) else [str(one) for one in said]
    return found


def _shown(number: Mapping[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """A number with what tables call its metric, and the numbers of its notes."""
    return {
        **number,
        "metric": _label(number.get("metric", "")),
        "published": _marked(number),
        "device": "" if number.get("device") == "cpu" else number.get("device"),
        "_notes": ", ".join(str(notes.index(note) + 1) for note in _notes(number) if note in notes),
    }


def _marked(number: Mapping[str, Any]) -> str:
    """The number as printed, with why it is not first-hand where it is not."""
    mark = f" † {number['mark']}" if number.get("mark") else ""
    return f"{number.get('published', '')}{mark}"


def _label(name: str) -> str:
    if name not in METRICS:
        return name
    unit = METRICS[name].unit
    return METRICS[name].label + (f" ({unit})" if unit not in ("", DISTANCE) else "")


def _joined(number: Mapping[str, Any], fields: Sequence[str]) -> str:
    return ", ".join(str(number[field]) for field in fields if number.get(field))
