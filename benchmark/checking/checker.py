"""Checking a results folder file by file, and counting what was found."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmark.checking import claimed
from benchmark.checking.accepted import check_accepted
from benchmark.checking.folder import Found, arrays_of, content_of
from benchmark.checking.other_files import check_other
from benchmark.errors import InputError
from benchmark.running.arrays import ArraysError, read_arrays
from benchmark.running.records import Record


@dataclass
class Tally:
    """Numbers of one suite and task. ``records``: JSON files in the place of one; ``sound``: schema, hash and path fit.

    ``kept``: with arrays there; ``rescored``: those whose metrics were found again; ``again`` of ``metrics``: metrics
    of these records that could be. ``moved``: code is other than today's; ``older``: declared versions are;
    ``absent``: their method is from outside and not here; ``foreign``: their data is somebody's own and not here.
    ``unseen``: data that is not at hand, so that its checksum was not compared. ``others``: studies, comparisons
    and accepted submissions.
    ``without`` has metrics that cannot be found again and what that would need.
    """

    records: int = 0
    sound: int = 0
    kept: int = 0
    rescored: int = 0
    again: int = 0
    metrics: int = 0
    moved: int = 0
    older: int = 0
    absent: int = 0
    foreign: int = 0
    unseen: int = 0
    others: int = 0
    wrong: int = 0
    without: dict[str, str] = field(default_factory=dict)


@dataclass
class Verification:
    """What was found. ``wrong`` and ``notes``: a file and what is to be said of it; notes are no errors."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    wrong: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether there was nothing to verify."""
        return not self.wrong and not any(tally.records + tally.others for tally in self.tallies.values())

    @property
    def exit_code(self) -> int:
        """0: all is fine, 1: something is wrong, 3: there was nothing to verify."""
        return 3 if self.empty else 1 if self.wrong else 0


class Checker:
    """Checks file by file; what several records need is found out once.

    ``below``: what the paths of files that are told of begin with, where ``results`` is a folder of a larger one.
    """

    def __init__(self, results: Path, found: Verification | None = None, below: str = "") -> None:
        self.results = results
        self.found = Verification() if found is None else found
        self.below = below
        self._checksums: dict[str, str | None] = {}

    def check(self, found: Found) -> None:
        counted = found.kind in ("record", "other", "submission")
        tally = self.found.tallies[found.group] if counted else Tally()
        wrong = self._checked(found, tally)
        tally.wrong += bool(wrong)
        self.found.wrong += [(self.below + found.file, what) for what in wrong]

    def _checked(self, found: Found, tally: Tally) -> list[str]:
        if found.kind == "link":
            return ["it is a symbolic link, which is not followed"]
        if found.kind == "unreadable":
            return ["the folder cannot be read"]
        if found.kind == "leftover":
            self.found.notes.append((found.file, "left behind by a write that did not end, or of a run in progress"))
        if found.kind in ("leftover", "arrays"):
            self._check_stray(found)
            return []
        if found.kind == "submission":
            tally.others += 1
            wrong, notes = check_accepted(self.results, found.file)
            self.found.notes += [(found.file, what) for what in notes]
            return wrong
        try:
            content = content_of(self.results / found.file)
        except ValueError as error:
            tally.records += found.kind == "record"
            tally.others += found.kind == "other"
            return [str(error)]
        if found.kind == "other":
            tally.others += 1
            return check_other(content, found.file)
        tally.records += 1
        return self._record(content, found.file, tally)

    def _check_stray(self, found: Found) -> None:
        """Note arrays without a record: they are written first, and a run that is killed leaves them."""
        if found.kind == "arrays" and not (self.results / found.file).with_suffix(".json").exists():
            self.found.notes.append((found.file, "arrays without a record"))

    def _record(self, content: bytes, file: str, tally: Tally) -> list[str]:
        try:
            record = msgspec.json.decode(content, type=Record)
        except (ValueError, RecursionError) as error:
            return [f"it is no record: {error}"]
        claims = claimed.check(record, file)
        tally.sound += claims.sound
        tally.moved += claims.moved
        tally.absent += claims.absent
        tally.foreign += claims.foreign
        if claims.older:
            tally.older += 1
            self.found.notes.append((file, claims.older))
        return claims.wrong + self._data(record, claims, tally) + self._arrays(record, file, claims, tally)

    def _data(self, record: Record, claims: claimed.Claimed, tally: Tally) -> list[str]:
        """Compare the data's checksum with today's where the data is at hand; a failed record may have none."""
        if claims.scenario is None or not record.data:
            return [] if record.data or record.status != "ok" else ["data is empty, although status is ok"]
        today = self._checksum(claims.scenario)
        tally.unseen += today is None
        return [] if today in (None, record.data) else [f"data {record.data!r} is not today's, {today}"]

    def _checksum(self, scenario: Any) -> str | None:
        from benchmark.rescoring.known_data import checksum

        key = msgspec.json.encode([scenario.task, scenario.data, getattr(scenario, "bias", None)]).decode()
        if key not in self._checksums:
            try:
                self._checksums[key] = checksum(scenario)
            except (InputError, ValueError):  # there is no such data with these settings
                self._checksums[key] = None
        return self._checksums[key]

    def _arrays(self, record: Record, file: str, claims: claimed.Claimed, tally: Tally) -> list[str]:
        try:
            content = arrays_of(self.results, file)
        except ValueError as error:
            return [f"arrays: {error}"]
        if content is None:
            return []
        if record.arrays is None:
            self.found.notes.append((file, "arrays lie beside it that it does not mention"))
            return []
        tally.kept += 1
        if hashlib.sha256(content).hexdigest() != record.arrays:
            return ["arrays: their checksum is not the record's"]
        try:
            arrays = read_arrays(content)
            if record.status != "ok" or record.cell.keeps != "metrics" or claims.scenario is None:
                return []
            return self._rescored(record, arrays, claims, tally)
        except (ArraysError, InputError) as error:
            return [f"arrays: {error}"]

    def _rescored(self, record: Record, arrays: Any, claims: claimed.Claimed, tally: Tally) -> list[str]:
        from benchmark.rescoring import rescore as rescoring  # with torch, which nothing before needs

        found = rescoring.rescore(record, arrays)
        current = not claims.moved and not claims.older and not claims.absent
        different = rescoring.differences(record, found, complete=current)
        tally.rescored += not different
        tally.again += len(found.keys() & record.metrics.keys())
        tally.metrics += len(record.metrics)
        for name in sorted(record.metrics.keys() - found.keys()):
            tally.without[name] = rescoring.needs(record.cell.task, name)
        return different
