"""Papers' published numbers beside those of a run of the same scenario at full scale.

A file of ``published/`` holds one paper's tables, a row a number, under the names of this benchmark. Only the suite
that it names gets them, so that no run at another scale stands beside them.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import msgspec

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.board import Row
from benchmark.reporting.measured import Setting
from benchmark.reporting.tables import method, table
from benchmark.reporting.text import escape

FOLDER = Path(__file__).parent / "published"
#: The heading above the tables.
BESIDE = "#### Beside the paper"


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published number as it is printed; ``std`` is empty where none is. ``source``: the paper and its table.

    ``method`` is a method of this benchmark, or what the paper calls one that is not in it. ``generator``: the paper's,
    where images were generated; ``features``: those in which the number is a distance, where it is one.
    """

    suite: str
    scenario: str
    method: str
    metric: str
    value: str
    std: str
    source: str
    generator: str = ""
    features: str = ""

    @property
    def text(self) -> str:
        return f"{self.value} ± {self.std}" if self.std else self.value


@cache
def published() -> tuple[Published, ...]:
    """Every published number, in the order of the files."""
    found = []
    for path in sorted(FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            found += [msgspec.convert(row, Published) for row in csv.DictReader(file)]
    return tuple(found)


def beside_the_paper(suite: str, scenario: str, rows: Sequence[Row], setting: Setting | None = None) -> list[str]:
    """A table a metric of this run's and the published values; nothing where none are published.

    ``setting``: this run's generator and features, where images were generated.
    """
    own = [number for number in published() if (number.suite, number.scenario) == (suite, scenario)]
    lines = []
    for name in dict.fromkeys(number.metric for number in own):
        lines += _section(name, [number for number in own if number.metric == name], rows, setting)
    return [BESIDE, "", *lines] if lines else []


def _section(name: str, numbers: list[Published], rows: Sequence[Row], setting: Setting | None) -> list[str]:
    body = [_line(row, number, setting) for row in rows for number in numbers if number.method == row.method]
    first = numbers[0]
    own = "" if setting is None else _with(first.generator and setting.generator, first.features and setting.features)
    heads = ["method", f"this run{own}", f"published{_with(first.generator, first.features)}", "difference", "source"]
    here = {row.method for row in rows}
    elsewhere = [number for number in numbers if number.method not in here]
    return [
        f"{cells.heading(name)}. Behind ± stands for this run the half-width of the 95 % interval over n seeds, "
        f"for the paper its standard deviation.{_unlike(first, setting)}",
        "",
        *(table(heads, body, left=(0, 4)) if body else []),
        *([f"Published only: {_listed(elsewhere)}.", ""] if elsewhere else []),
    ]


def _with(generator: str, features: str) -> str:
    """What stands behind a column's heading."""
    named = [text for text in (escape(generator), features and f"{escape(features)} features") if text]
    return f" ({', '.join(named)})" if named else ""


def _unlike(number: Published, setting: Setting | None) -> str:
    """What a reader must know before the values of two generators are compared; nothing where none is at work."""
    if not number.generator:
        return ""
    here = "" if setting is None else f", this run's a {escape(setting.generator)}"
    models = f" The paper's generator is a {escape(number.generator)}{here}."
    if _compares(number, setting):
        return f"{models} Each has a judge of its own."
    own = "others" if setting is None else f"those of {escape(setting.features)}"
    return (
        f"{models} **The values do not compare**: the paper's distances are in features of {escape(number.features)}, "
        f"this run's in {own}."
    )


def _compares(number: Published, setting: Setting | None) -> bool:
    """Whether a published number is in the units of this run: distances in other features are not."""
    return not number.features or (setting is not None and setting.features == number.features)


def _line(row: Row, number: Published, setting: Setting | None) -> list[str]:
    """A row beside a published number; a run with other settings than the suite's is no reproduction of it."""
    cell = row.metrics.get(number.metric)
    if cell is None or cell.mean is None or row.status == "outdated":
        return [method(row), row.status if row.status != "ok" else "-", number.text, "-", escape(number.source)]
    status = "" if row.status == "ok" else f", {row.status}"
    apart = cells.signed(cell.mean - float(number.value), metric(number.metric).unit)
    difference = apart if _compares(number, setting) else "-"
    run = f"{cells.interval(cell)} (n {cell.n}{status})"
    return [method(row), run, number.text, difference, escape(number.source)]


def _listed(numbers: list[Published]) -> str:
    parts = []
    for source, group in groupby(numbers, key=lambda number: number.source):
        parts.append(", ".join(f"{escape(number.method)} {number.text}" for number in group) + f" ({escape(source)})")
    return "; ".join(parts)
