"""Papers' published numbers as they are printed, and what is said of them: one table and one file of joins a paper.

``NAME.csv`` has a row a number, in the paper's own words. ``NAME.toml`` says what the paper's methods and metrics are
called in this benchmark, beside which scenarios each number stands and what differs there, and why the others stand
beside none. ``benchmark.published.joining`` puts the two together.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from benchmark.config import convert, read_toml
from benchmark.errors import unknown

FOLDER = Path(__file__).parent
#: What a confidence counts as that stands for a number of the paper's authors, from the paper or their page.
FIRST_HAND = "first-hand"
#: What is printed behind a number that a paper repeats from another one.
QUOTED = "quoted"
#: Every other mark, and what a reader must know of a number that has it.
MARKS = {
    "second-hand": "not seen in the paper itself, but in someone else's copy or account of it",
    "second-hand, third party": "measured by somebody who is not an author of the paper, on own models",
    "notebook log": "logged by the authors in a notebook beside their code, one run, not printed in the paper",
    "read by eye": "read off a figure of the paper",
    "abstract": "said in the paper's abstract, as a bound or an approximate value",
    QUOTED: "repeated in the paper from another one, with that one's recipe",
}


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published number; ``value`` and ``std`` as they are printed, ``std`` empty where none is."""

    paper: str
    table: str
    dataset: str
    setting: str
    method: str
    metric: str
    value: str
    std: str
    source_confidence: str


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metric of this benchmark that a paper's is.

    ``features``: those that the paper's distance is in. ``bound``: the number is none but a bound, or approximate.
    ``unit``: that of the paper, where it is another. ``incomparable``: why no difference of values means anything.
    """

    name: str
    features: str = ""
    bound: Literal["", "lower", "upper", "approximate"] = ""
    unit: str = ""
    incomparable: str = ""


class Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some of a paper's numbers: those of a table, or fewer; an empty field takes all."""

    table: str
    datasets: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()

    def has(self, number: Number) -> bool:
        named = (
            (self.datasets, number.dataset),
            (self.settings, number.setting),
            (self.methods, number.method),
            (self.metrics, number.metric),
        )
        return number.table == self.table and all(not some or one in some for some, one in named)


class Apart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers that stand beside no scenario, and ``why``."""

    rows: Rows
    why: str


class Remark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must be known of some numbers wherever they stand, such as a slip of the paper."""

    rows: Rows
    says: str


class Join(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Scenarios of one suite and task beside which numbers of one table and data set stand.

    ``settings``: the paper's setting to the scenarios; ``methods``: what a method is called in this join, where it is
    not what the paper's table ``methods`` says; ``metrics``: the only ones that are joined, if any are named.
    ``compares``: same data set, and the same metrics in the same units, so that a difference may be printed; otherwise
    the scenarios are the nearest ones that there are. ``differs``: everything else that is not as in the paper,
    ``differs_at`` what is not in one scenario.
    """

    table: str
    dataset: str
    task: str
    suite: str
    settings: dict[str, list[str]]
    compares: bool
    differs: list[str]
    differs_at: dict[str, list[str]] = {}
    methods: dict[str, str | list[str]] = {}
    metrics: list[str] = []


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of a paper's numbers.

    ``paper`` as in its table and ``cite`` for readers; ``tasks`` that it is about; ``generator``: its, where images
    are generated. ``confidence``: every ``source_confidence`` of its numbers to ``first-hand`` or one of MARKS.
    ``methods``: its name to ours, to several of ours, or to none (``[]``). ``elsewhere``: tables that are none of the
    paper's own. ``quoted``: numbers of other papers.
    """

    paper: str
    cite: str
    tasks: list[str]
    confidence: dict[str, str]
    methods: dict[str, str | list[str]]
    metrics: dict[str, Measure]
    joins: list[Join]
    apart: list[Apart]
    generator: str = ""
    elsewhere: list[str] = []
    quoted: list[Rows] = []
    remarks: list[Remark] = []

    def source(self, number: Number) -> str:
        """Where a number stands, for readers; of the paper's own tables by its name."""
        if number.table in self.elsewhere:
            return f"{number.table}, not in {self.cite}"
        return f"{self.cite}, {number.table}"

    def mark(self, number: Number) -> str:
        """What is printed behind a number; empty for one of the paper's authors. InputError for a new confidence."""
        if number.source_confidence not in self.confidence:
            raise unknown(f"confidence of {self.paper}", number.source_confidence, self.confidence)
        own = self.confidence[number.source_confidence]
        if own != FIRST_HAND:
            return own
        return QUOTED if any(rows.has(number) for rows in self.quoted) else ""


@cache
def numbers() -> tuple[Number, ...]:
    """Every published number, in the order of the files and of their rows."""
    found: list[Number] = []
    for path in sorted(FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += [msgspec.convert(row, Number) for row in csv.DictReader(file)]
    return tuple(found)


@cache
def papers() -> dict[str, Paper]:
    """What is said of each paper, by its name in the tables; InputError where a file cannot be read as that."""
    found = [convert(read_toml(path), Paper, path.name) for path in sorted(FOLDER.glob("*.toml"))]
    return {paper.paper: paper for paper in found}
