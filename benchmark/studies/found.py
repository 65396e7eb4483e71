"""What there is of a study: results of its cells by sweep and point, its measurements, and records of suites."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.discovery.methods import METHODS
from benchmark.errors import DivergenceError, InputError, unknown
from benchmark.running.plan import settings_of, with_defaults
from benchmark.running.records import STUDIES, Cell, Record, RecordStore
from benchmark.stats import Interval, t_interval
from benchmark.studies.definition import Study
from benchmark.studies.expansion import Expanded, Place, expanded
from benchmark.studies.measured import Measurement, asked, read_measurements
from benchmark.tasks import TASKS

#: What pairs a cell with its references: their scenario and the seed.
Key = tuple[str, int]


@dataclass(frozen=True)
class CellResult:
    """A cell of a sweep. ``point``: what says where it is; ``values``: metrics, those relative to the reference too."""

    sweep: str
    method: str
    seed: int
    x: float | str
    point: dict[str, Any]
    record: Record
    values: dict[str, float | None]

    @property
    def parameters(self) -> dict[str, Any]:
        return self.record.cell.parameters

    @property
    def settings(self) -> dict[str, Any]:
        return self.record.cell.settings

    @property
    def groups(self) -> dict[str, tuple[int, int]]:
        """Right and all test samples by group."""
        return {name: (count.right, count.n) for name, count in self.record.groups.items()}

    @property
    def seconds(self) -> float:
        return self.record.cost.seconds

    @property
    def device_seconds(self) -> float:
        return self.record.cost.device_seconds


@dataclass(frozen=True)
class Found:
    """Everything that there is of a study below a results folder; read once."""

    study: Study
    results: Path
    suite: Expanded = field(repr=False)

    @classmethod
    def of(cls, study: Study, results: Path) -> Found:
        return cls(study, results, expanded(study))

    @cached_property
    def _records(self) -> dict[str, Record]:
        """Records of the study's cells by their files, of those alone that are what the study asks for today."""
        if self.suite.suite is None:
            return {}
        kept = {}
        for record in RecordStore(self.results / STUDIES).all(self.study.name):
            scenario = self.suite.suite.scenarios.get(record.cell.scenario)
            if scenario is None or record.cell.method not in scenario.methods:
                continue
            cell = with_defaults(record.cell)
            same = cell.settings == settings_of(scenario.settings)
            if same and cell.parameters == scenario.methods[cell.method] and _is_of_today(cell):
                kept[record.cell.file] = record
        return kept

    @cached_property
    def failed(self) -> list[Record]:
        """Records of cells that have no result."""
        return [record for record in self._records.values() if record.status != "ok"]

    @cached_property
    def _cells(self) -> dict[str, list[CellResult]]:
        references = self._references()
        found: dict[str, list[CellResult]] = defaultdict(list)
        for record in self._records.values():
            if record.status == "ok":
                place = self.suite.places[record.cell.scenario]
                found[place.sweep].append(_result(record, place, references))
        position = {name: i for i, name in enumerate(self.suite.places)}
        for own in found.values():
            own.sort(key=lambda cell: (position[cell.record.cell.scenario], cell.method, cell.seed))
        return dict(found)

    def _references(self) -> dict[Key, dict[str, Record]]:
        found: dict[Key, dict[str, Record]] = defaultdict(dict)
        for record in self._records.values():
            place = self.suite.places[record.cell.scenario]
            if place.references == record.cell.scenario and record.status == "ok":
                found[place.references, record.cell.seed][record.cell.method] = record
        return found

    @property
    def expected(self) -> int:
        """Cells that the study asks for, of all its seeds."""
        scenarios = [] if self.suite.suite is None else list(self.suite.suite.scenarios.values())
        return self.study.file.seeds * sum(len(scenario.methods) for scenario in scenarios)

    @property
    def there(self) -> int:
        """How many of them have a result."""
        return sum(record.status == "ok" for record in self._records.values())

    @property
    def left(self) -> int:
        """Cells that have neither a result nor a failure."""
        return self.expected - self.there - len(self.failed)

    @property
    def unmeasured(self) -> int:
        """Measurements that have not been taken."""
        wanted = sum(1 for name in self.study.file.measurements for _ in asked(self.study, name))
        return wanted - sum(len(self.measurements(name)) for name in self.study.file.measurements)

    @property
    def started(self) -> bool:
        """Whether there is a result of it at all."""
        return self.there > 0 or any(self.measurements(name) for name in self.study.file.measurements)

    @cached_property
    def cost(self) -> float:
        """Seconds that the cells took, evaluation included."""
        return sum(record.cost.cell_seconds for record in self._records.values())

    @cached_property
    def environments(self) -> list[dict[str, str]]:
        """The environments that records were made in, without repetition."""
        return list({tuple(sorted(r.environment.items())): r.environment for r in self._records.values()}.values())

    @cached_property
    def gates(self) -> dict[str, list[str]]:
        """Reasons why the cells of a scenario say nothing, by the scenario of their references."""
        reasons: dict[str, list[str]] = defaultdict(list)
        for (scenario, seed), both in sorted(self._references().items()):
            task = TASKS.get(next(iter(both.values())).cell.task)
            own = [both[name].values() if name in both else None for name in (task.original, task.reference)]
            reasons[scenario] += [f"seed {seed}: {reason}" for reason in task.gates(own[0], own[1])]
        return {scenario: own for scenario, own in reasons.items() if own}

    def cells(self, sweep: str) -> list[CellResult]:
        """The results of a sweep, in the order of its points; ``references`` has those of the references."""
        known = [*self.study.file.sweeps, "references"]
        if sweep not in known:
            raise unknown("sweep", sweep, known)
        return self._cells.get(sweep, [])

    def references(self, sweep: str) -> list[CellResult]:
        """Originals and references of the settings of a sweep."""
        own = {place.references for place in self.suite.places.values() if place.sweep == sweep}
        return [cell for cell in self.cells("references") if cell.record.cell.scenario in own]

    def measurements(self, name: str) -> list[Measurement]:
        """What was measured, in the order of the points; InputError for a name that the study does not have."""
        if name not in self.study.file.measurements:
            raise unknown("measurement", name, self.study.file.measurements)
        return read_measurements(self.study, name, self.results)

    def records(self, suite: str, task: str, scenario: str) -> list[Record]:
        """Results of an ordinary suite's scenario that are there."""
        every = RecordStore(self.results).all(suite)
        return [r for r in every if (r.cell.task, r.cell.scenario, r.status) == (task, scenario, "ok")]

    def by_seed(
        self, sweep: str, method: str, metric: str, at: Mapping[str, Any] | float | str | None = None
    ) -> dict[int, float]:
        """A metric at one point by seed; InputError where that is no point, or several."""
        own = [cell for cell in self.cells(sweep) if cell.method == method and is_at(cell.x, cell.point, at)]
        if not own:
            raise InputError(f"{self.study.name}: there is no result of {method} in {sweep} at {at}")
        points = {cell.record.cell.scenario for cell in own}
        if len(points) > 1:
            raise InputError(f"{self.study.name}: {at} is no single point of {sweep}: {', '.join(sorted(points))}")
        if all(metric not in cell.values for cell in own):
            raise InputError(f"{self.study.name}: {sweep}: {unknown('metric', metric, own[0].values)}")
        return {cell.seed: value for cell in own if (value := cell.values.get(metric)) is not None}

    def interval(
        self, sweep: str, method: str, metric: str, at: Mapping[str, Any] | float | str | None = None
    ) -> Interval:
        """Mean and 95 % t interval over seeds; InputError where there is no value."""
        values = list(self.by_seed(sweep, method, metric, at).values())
        if not values:
            raise InputError(f"{self.study.name}: {metric} of {method} in {sweep} at {at} is blank")
        return t_interval(values)


def _is_of_today(cell: Cell) -> bool:
    """Whether the declared versions of task and method are those of a record."""
    method = METHODS.get(cell.method, cell.task)
    return cell.versions == {"task": TASKS.get(cell.task).version, "method": method.version}


def is_at(x: float | str, point: Mapping[str, Any], at: Mapping[str, Any] | float | str | None) -> bool:
    """Whether a point is what ``at`` says: fields, a place on the axis, or anything for None."""
    if at is None:
        return True
    if isinstance(at, Mapping):
        return all(name in point and point[name] == value for name, value in at.items())
    return x == at


def _result(record: Record, place: Place, references: Mapping[Key, Mapping[str, Record]]) -> CellResult:
    cell = record.cell
    task = TASKS.get(cell.task)
    both = references.get((place.references, cell.seed), {})
    reference = both.get(task.reference)
    own = record.values()
    derived = {} if reference is None else task.derive(own, reference.values())
    point = place.point
    return CellResult(place.sweep, cell.method, cell.seed, point.x, point.fields, record, {**own, **derived})


def by_point(cells: Sequence[CellResult]) -> dict[str, list[CellResult]]:
    """Results by their point, in their order; a point is known by its scenario."""
    found: dict[str, list[CellResult]] = defaultdict(list)
    for cell in cells:
        found[cell.record.cell.scenario].append(cell)
    return dict(found)


def diverged(record: Record) -> bool:
    """Whether a cell has no result because what it trained left the finite numbers."""
    return record.failure is not None and record.failure.error == DivergenceError.__name__
