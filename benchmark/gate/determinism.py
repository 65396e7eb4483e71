"""Whether cells are functions of their specification: run twice here, and against the committed records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from benchmark.checking.agreement import Difference, agreement
from benchmark.running.records import Cell, Record

#: What records say of the machine, beside the packages; benchmark.hardware knows more of it.
ALIKE = ("processor", "platform")


class Differing(msgspec.Struct, frozen=True):
    """A cell whose two records are not the same bit for bit. ``moved``: digests that are not the committed record's."""

    cell: Cell
    differences: list[Difference]
    moved: list[str] = []


class Strict(msgspec.Struct, frozen=True):
    """How the records that could be compared bit for bit came out.

    ``equal`` of them are the same. ``apart`` says why others could not be compared: what is not alike, and of
    how many. ``lost`` had a result and have none now, on whatever machine.
    """

    equal: int
    differing: list[Differing]
    apart: dict[str, int] = {}
    lost: list[Cell] = []

    @property
    def compared(self) -> int:
        return self.equal + len(self.differing)

    @property
    def source_moved(self) -> list[Differing]:
        """Cells whose source is not the committed record's: code that changed a result under an unchanged version."""
        return [d for d in self.differing if d.moved]

    @property
    def source_same(self) -> list[Differing]:
        """Cells that differ although nothing that they depend on has changed."""
        return [d for d in self.differing if not d.moved]


def twice(first: Mapping[str, Record], second: Mapping[str, Record]) -> Strict:
    """Compare two runs of the same code on this machine, strictly; by cell hash."""
    equal, differing = 0, []
    for name in second:
        compared = agreement(second[name], first[name])
        if compared.level == "strict":
            equal += 1
        else:
            differing.append(Differing(second[name].cell, compared.differences))
    return Strict(equal, differing)


def against_committed(found: Mapping[str, Record], kept: Mapping[str, Record], unlike_here: Sequence[str]) -> Strict:
    """Compare with the committed records that come from where results should be the same, bit for bit.

    ``unlike_here``: what this machine does not share with the one that made them.
    """
    equal = 0
    differing: list[Differing] = []
    apart: dict[str, int] = {}
    lost: list[Cell] = []
    for name, record in found.items():
        if name not in kept:
            continue
        if kept[name].status == "ok" and record.status != "ok":
            lost.append(record.cell)
            continue
        unlike = list(dict.fromkeys([*unlike_here, *unlike_in(record, kept[name])]))
        if unlike:
            why = ", ".join(unlike)
            apart[why] = apart.get(why, 0) + 1
            continue
        compared = agreement(record, kept[name])
        if compared.level == "strict":
            equal += 1
        else:
            differing.append(Differing(record.cell, compared.differences, moved_in(record, kept[name])))
    return Strict(equal, differing, apart, lost)


def unlike_in(found: Record, kept: Record) -> list[str]:
    """What two records do not share of what they say of their machines: processor, platform, packages."""
    unlike = [name for name in ALIKE if found.environment.get(name) != kept.environment.get(name)]
    mine, theirs = found.cell.packages, kept.cell.packages
    return unlike + [name for name in sorted({**mine, **theirs}) if mine.get(name, "") != theirs.get(name, "")]


def moved_in(found: Record, kept: Record) -> list[str]:
    """Which digests are not those of the committed record: of the task, the method or the harness."""
    return [what for what, own in found.cell.digests.items() if kept.cell.digests.get(what) != own]
