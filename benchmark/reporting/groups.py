"""Accuracy by group, label and attribute together: a column a group, or the worst of many and a map of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.boards.board import Row
from benchmark.reporting import cells
from benchmark.reporting.tables import method, table
from benchmark.reporting.text import escape

#: Up to so many groups have a column each.
COLUMNS = 8
#: The methods whose groups are shown where there are more, in this order.
SHOWN = {
    "debias-known": ("erm", "unbiased", "gerne", "resampling", "lff"),
    "debias-unknown": ("erm", "unbiased", "gerne", "jtt", "lff"),
}
#: A method's worst groups are listed, as many as there are words.
WORST = ("worst", "second", "third", "fourth", "fifth")
#: Accuracy in percent under which groups are counted.
LOW = 50.0


@dataclass(frozen=True)
class GroupMaps:
    """Accuracy in percent by class and attribute, a panel a method; each (classes, attributes), NaN where unknown."""

    classes: list[str]
    attributes: list[str]
    panels: dict[str, list[list[float]]]


def group_tables(rows: Sequence[Row]) -> list[str]:
    """A column a group, or where there are too many of them the worst ones of some methods; nothing without groups."""
    names = _names(rows)
    if not names:
        return []
    lines = ["#### By group", ""]
    return lines + (_columns(names, rows) if len(names) <= COLUMNS else _worst(names, _shown(rows) or list(rows)))


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.groups))


def _shown(rows: Sequence[Row]) -> list[Row]:
    wanted = SHOWN.get(rows[0].task, ()) if rows else ()
    found = [row for row in rows if row.method in wanted and row.groups]
    return sorted(found, key=lambda row: wanted.index(row.method))


def _columns(names: list[str], rows: Sequence[Row]) -> list[str]:
    samples = {name: sorted({row.groups[name].n for row in rows if name in row.groups}) for name in names}
    heads = [f"{escape(name)} (n {' or '.join(f'{n:,}' for n in samples[name])})" for name in names]
    body = [[method(row), *(_accuracy(row, name) for name in names)] for row in rows if row.groups]
    return [
        "Accuracy (%) on the n test samples of each group (label / attribute), mean over seeds.",
        "",
        *table(["method", *heads], body),
    ]


def _accuracy(row: Row, name: str) -> str:
    cell = row.groups.get(name)
    return "-" if cell is None else cells.number(cell.accuracy, "%")


def _worst(names: list[str], rows: Sequence[Row]) -> list[str]:
    heads = ["method", f"groups under {LOW:.0f} %", *WORST]
    body = []
    for row in (row for row in rows if row.groups):
        ordered = sorted(row.groups.items(), key=lambda item: item[1].accuracy)
        low = sum(cell.accuracy < LOW for cell in row.groups.values())
        worst = [f"{escape(name)}: {_accuracy(row, name)} (n {cell.n:,})" for name, cell in ordered[: len(WORST)]]
        blank = ["-"] * (len(WORST) - len(worst))
        body.append([method(row), f"{low} of {len(row.groups)}", *worst, *blank])
    drawn = " All of them are in a figure." if group_maps(rows) is not None else ""
    return [
        f"There are {len(names)} groups (label / attribute). Of some methods the {len(WORST)} worst, with accuracy (%) "
        f"on the n test samples of the group, mean over seeds.{drawn}",
        "",
        *table(heads, body, left=(0, *range(2, len(heads)))),
    ]


def group_maps(rows: Sequence[Row]) -> GroupMaps | None:
    """What a map of all groups shows; None where there are few enough for a table."""
    shown = _shown(rows)
    names = _names(shown)
    if len(names) <= COLUMNS:
        return None
    pairs = {name: (name.partition(" / ")[0], name.partition(" / ")[2]) for name in names}
    classes = list(dict.fromkeys(label for label, _ in pairs.values()))
    attributes = list(dict.fromkeys(attribute for _, attribute in pairs.values()))
    panels = {}
    for row in shown:
        known = {pairs[name]: cell.accuracy for name, cell in row.groups.items()}
        device = "" if row.device == "cpu" else f" ({row.device})"
        panels[row.method + device] = [[known.get((c, a), math.nan) for a in attributes] for c in classes]
    return GroupMaps(classes, attributes, panels)
