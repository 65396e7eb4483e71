"""What the gate runs and compares, read from TOML and checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmark.config import convert, read_toml
from benchmark.errors import InputError, unknown
from benchmark.metrics.catalogue import metric
from benchmark.suites.definition import NAME, Scenario, Suite, load_suite
from benchmark.tasks import TASKS

#: The declaration that comes with the package.
DECLARED = Path(__file__).with_name("gate.toml")
#: Most false alarms that a part may be declared with.
MOST_ALARMS = 0.05


class Watched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metric of a row: regressed where it is worse by more than ``tolerance``, in its unit. ``why``: that much."""

    scenario: str
    method: str
    metric: str
    tolerance: float
    why: str

    @property
    def row(self) -> tuple[str, str]:
        return self.scenario, self.method


class Cells(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Methods of a scenario and seeds 0 to ``seeds`` - 1."""

    seeds: int
    methods: list[str]


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``false_alarms``: probability that unchanged code fails, over all that is watched."""

    false_alarms: float


class Determinism(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seeds 0 to ``seeds`` - 1 of all declared rows run twice; ``also`` rows beyond, by scenario."""

    seeds: int
    also: dict[str, list[str]] = {}


class Speed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``benchmarks``: a folder of the checkout; ``only`` the named ones; slower is by more than ``factor``."""

    benchmarks: str
    false_alarms: float
    factor: float
    only: list[str] = []


class Declaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gate: cells, what is watched of them, and the levels at which its parts fail.

    ``records``: the folder below the results that has what is compared with.
    """

    suite: str
    records: str
    quality: Quality
    determinism: Determinism
    speed: Speed
    cells: dict[str, Cells]
    watched: list[Watched]

    @property
    def level(self) -> float:
        """The one-sided level of each comparison: Bonferroni's share of the false alarms."""
        return self.quality.false_alarms / max(len(self.watched), 1)

    def rows(self) -> dict[tuple[str, str], int]:
        """Seeds by (scenario, method): those of ``cells``, and of ``determinism.also`` where they are not there."""
        found = {(name, method): cells.seeds for name, cells in self.cells.items() for method in cells.methods}
        for name, methods in self.determinism.also.items():
            for method in methods:
                found.setdefault((name, method), self.determinism.seeds)
        return found


def load_declaration(path: Path = DECLARED) -> tuple[Declaration, Suite]:
    """A declaration and its suite, which has the declared methods alone; InputError for what cannot be run."""
    where = path.name
    declared = convert(read_toml(path), Declaration, where)
    suite = load_suite(declared.suite)
    _check_numbers(declared, where)
    for name, method in declared.rows():
        if name not in suite.scenarios:
            raise InputError(f"{where}: {unknown(f'scenario of {suite.name}', name, suite.scenarios)}")
        if method not in suite.scenarios[name].methods:
            raise InputError(f"{where}: {unknown(f'method of {name}', method, suite.scenarios[name].methods)}")
    for watched in declared.watched:
        _check_watched(watched, declared, suite, where)
    return declared, _restricted(suite, declared)


def _check_numbers(declared: Declaration, where: str) -> None:
    for what, share in (("quality", declared.quality.false_alarms), ("speed", declared.speed.false_alarms)):
        if not 0 < share <= MOST_ALARMS:
            raise InputError(f"{where}: {what}.false_alarms must be above 0 and at most {MOST_ALARMS}, not {share}")
    if not 1 < declared.speed.factor <= 100:
        raise InputError(f"{where}: speed.factor must be above 1 and at most 100, not {declared.speed.factor}")
    seeds = {f"cells.{name}.seeds": cells.seeds for name, cells in declared.cells.items()}
    for what, count in {**seeds, "determinism.seeds": declared.determinism.seeds}.items():
        if not 1 <= count <= 100_000:
            raise InputError(f"{where}: {what} must be 1 to 100,000, not {count}")
    if not NAME.fullmatch(declared.records):
        raise InputError(f"{where}: records: {declared.records!r} is no name; use lower-case letters, digits and -")
    if not declared.cells:
        raise InputError(f"{where}: cells: there is none")


def _check_watched(watched: Watched, declared: Declaration, suite: Suite, where: str) -> None:
    at = f"{where}: watched {watched.scenario} {watched.method} {watched.metric}"
    cells = declared.cells.get(watched.scenario)
    if cells is None or watched.method not in cells.methods:
        raise InputError(f"{at}: the row is not among the cells")
    if cells.seeds < 2:
        raise InputError(f"{at}: one seed has no spread")
    task = TASKS.get(suite.scenarios[watched.scenario].task)
    known = metric(watched.metric)
    if watched.metric not in task.metrics:
        raise InputError(f"{at}: {unknown(f'metric of {task.name}', watched.metric, task.metrics)}")
    if known.better == "none":
        raise InputError(f"{at}: no value of it is better than another")
    if needs_reference(watched, task.name) and task.reference not in cells.methods:
        raise InputError(f"{at}: it is relative to {task.reference}, which is not among the cells")
    if not 0 <= watched.tolerance < float("inf"):
        raise InputError(f"{at}: tolerance must be at least 0, not {watched.tolerance}")


def needs_reference(watched: Watched, task: str) -> bool:
    """Whether the metric compares with the task's reference of the same seed."""
    values = dict.fromkeys(TASKS.get(task).metrics, 1.0)
    del values[watched.metric]
    return metric(watched.metric).better == "reference" or watched.metric in TASKS.get(task).derive(values, values)


def _restricted(suite: Suite, declared: Declaration) -> Suite:
    """The suite's declared scenarios and methods, in the suite's order."""
    rows = declared.rows()

    def kept(scenario: Scenario) -> Scenario:
        methods = {name: values for name, values in scenario.methods.items() if (scenario.name, name) in rows}
        return msgspec.structs.replace(scenario, methods=methods)

    scenarios = {name: kept(s) for name, s in suite.scenarios.items() if any(name == row[0] for row in rows)}
    return msgspec.structs.replace(suite, scenarios=scenarios)
