"""What there is to check claims on: the runs of a method in a scenario of a suite, or at a point of a study."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmark.boards.board import Row, build_board
from benchmark.claims.checks import At, Check
from benchmark.claims.names import suite_called
from benchmark.running.records import Record, RecordStore
from benchmark.studies.definition import load_study, study_names
from benchmark.studies.found import CellResult, Found, is_at
from benchmark.studies.measured import Measurement

#: Statuses of rows that are taken for evidence; the others are named and left out.
SOUND = ("ok", "partial")
#: Said of a measurement that has not been taken.
NOTHING = "it has not been measured"
#: A method in a scenario.
Where = tuple[str, str]


@dataclass(frozen=True)
class Runs:
    """The runs of one method at one place.

    ``values[metric][cluster]``: a cluster is a base model, that is a seed. ``records[seed]``: those that have a result,
    and those that have none. ``unsound``: why they are no evidence; empty where they are.
    """

    method: str
    values: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    records: Mapping[int, Sequence[Record]] = field(default_factory=dict)
    unsound: str = ""

    @property
    def done(self) -> dict[int, list[Record]]:
        """Records with a result, by seed."""
        found = {seed: [one for one in own if one.status == "ok"] for seed, own in self.records.items()}
        return {seed: own for seed, own in found.items() if own}


class Evidence:
    """Records below a results folder: of the suites and studies that are asked for, each read once."""

    def __init__(self, results: Path, checks: Sequence[Check]) -> None:
        self.results = results
        self._checks = checks

    @cached_property
    def suites(self) -> dict[str, dict[Where, Runs]]:
        """Of each suite that a check is made in, the runs by scenario and method."""
        names = sorted({check.suite for check in self._checks if check.suite})
        return {name: self._suite(name) for name in names}

    @cached_property
    def studies(self) -> dict[str, Found]:
        """The studies that are declared, of those that checks are made in."""
        names = sorted({check.study for check in self._checks} & set(study_names()))
        return {name: Found.of(load_study(name), self.results) for name in names}

    @property
    def is_there(self) -> bool:
        """Whether there is any record that a check could be made on."""
        taken = (own.measurements(name) for own in self.studies.values() for name in own.study.file.measurements)
        return any(self.suites.values()) or any(own.there for own in self.studies.values()) or any(taken)

    def _suite(self, name: str) -> dict[Where, Runs]:
        """Rows as boards make them, with gaps to the reference, of the scenarios that checks name."""
        suite = suite_called(name)
        wanted = {scenario for check in self._checks if check.suite == name for scenario in check.scenarios}
        own = [record for record in RecordStore(self.results).all(name) if record.cell.scenario in wanted]
        by_row: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for record in own:
            by_row[record.cell.scenario, record.cell.method, record.cell.device].append(record)
        rows = sorted(build_board(own, suite), key=lambda row: (row.device != "cpu", row.device))
        found: dict[Where, Runs] = {}
        for row in rows:  # the CPU's where there are several: methods are compared on one device
            found.setdefault((row.scenario, row.method), _of_row(row, by_row[row.scenario, row.method, row.device]))
        return found

    def in_suite(self, suite: str, scenario: str, method: str) -> Runs:
        """A method's runs in a scenario; unsound where there are none."""
        there = any(name == scenario for name, _ in self.suites[suite])
        none = Runs(method, unsound=f"no records of {method}" if there else "no records")
        return self.suites[suite].get((scenario, method), none)

    def in_study(self, study: str, sweep: str, method: str, at: At) -> Runs:
        """A method's runs at a point of a sweep; originals and references are those of the point's settings."""
        found = self.studies.get(study)
        if found is None or self.not_run(study):
            return Runs(method, unsound=self.not_run(study))
        places = found.suite.places
        here = [n for n, own in places.items() if own.sweep == sweep and is_at(own.point.x, own.point.fields, at)]
        if method not in found.study.file.sweeps[sweep].methods:
            here = list(dict.fromkeys(places[name].references for name in here))
        if len(here) != 1:
            return Runs(method, unsound=f"{len(here)} points of {sweep} are meant, and not one")
        return _of_point(found, here[0], method)

    def measured(self, study: str, name: str, at: At) -> Runs:
        """What was measured at a point; unsound where nothing was."""
        every = self.measurements(study, name)
        own = [one for one in every if is_at("", one.point, at)]
        if len({json.dumps(one.point, sort_keys=True) for one in own}) != 1:
            return Runs(
                name, unsound=f"{len(own)} measurements are meant, and not those of one point" if own else NOTHING
            )
        values: dict[str, dict[int, float]] = defaultdict(dict)
        for one in own:
            for key, value in one.values.items():
                values[key][one.seed] = value
        return Runs(name, dict(values))

    def measurements(self, study: str, name: str) -> list[Measurement]:
        """Everything that was measured under a name; nothing where the study does not have it."""
        found = self.studies.get(study)
        return [] if found is None or name not in found.study.file.measurements else found.measurements(name)

    def cells(self, study: str, sweep: str, method: str) -> list[CellResult]:
        """The results of a method at all points of a sweep but those whose base models are unreliable; perhaps none."""
        found = self.studies.get(study)
        own = [] if found is None else [cell for cell in found.cells(sweep) if cell.method == method]
        return [c for c in own if found and found.suite.places[c.record.cell.scenario].references not in found.gates]

    def not_run(self, study: str) -> str:
        """That a study has not been run, or not to its end; empty where it has."""
        found = self.studies.get(study)
        if found is None or not found.started:
            return f"the study {study} has not been run"
        return f"the study {study} has not been finished" if found.left else ""


def _of_row(row: Row, records: Sequence[Record]) -> Runs:
    by_seed: dict[int, list[Record]] = defaultdict(list)
    for record in records:
        by_seed[record.cell.seed].append(record)
    values = {name: dict(cell.by_seed) for name, cell in row.metrics.items()}
    reason = f": {row.reasons[0]}" if row.reasons else ""
    unsound = "" if row.status in SOUND else f"{row.method} is {row.status}{reason}"
    return Runs(row.method, values, dict(by_seed), unsound)


def _of_point(found: Found, scenario: str, method: str) -> Runs:
    place = found.suite.places[scenario]
    own = [c for c in found.cells(place.sweep) if c.record.cell.scenario == scenario and c.method == method]
    failed = [r for r in found.failed if r.cell.scenario == scenario and r.cell.method == method]
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for cell in own:
        for name, value in cell.values.items():
            if value is not None:
                values[name][cell.seed] = value
    records = {cell.seed: [cell.record] for cell in own} | {record.cell.seed: [record] for record in failed}
    reasons = found.gates.get(place.references, [])
    unsound = f"unreliable: {reasons[0]}" if reasons else "" if records else f"no records of {method}"
    if failed and not unsound:
        unsound = f"{method} is {failed[0].status}: seed {failed[0].cell.seed}"
    return Runs(method, dict(values), records, unsound)
