"""Suites: named lists of scenarios x methods x seeds, read from TOML and validated before anything runs."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmark.config import convert, read_toml
from benchmark.data import DATA
from benchmark.discovery.methods import METHODS, check_parameters, from_outside
from benchmark.environment import data_root
from benchmark.errors import InputError, unknown
from benchmark.suites.alike import hyperparameters_in_full, settings_in_full
from benchmark.suites.resources import Resources, check_resources
from benchmark.tasks import TASKS, Task

#: What a suite or a scenario may be called: it becomes the name of a folder.
log = logging.getLogger("amendbench")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
RESERVED = ("spaces", "tuning", "ensembles", "gate", "speed", "submissions", "reports", "studies", "measured")
FOLDER = Path(__file__).parent
#: The suite of what users bring.
OWN = "own"


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyper-parameters of one method in one scenario, and how they were chosen."""

    parameters: dict[str, Any]
    provenance: str


class Tuning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How hyper-parameters are chosen: seeds that are never reported, and configurations a method.

    ``by_task`` has other numbers of configurations for tasks whose trials are long.
    """

    seeds: tuple[int, ...]
    configurations: int
    by_task: dict[str, int] = {}

    def of(self, task: str) -> int:
        """Configurations that each method of a task is tried with."""
        return self.by_task.get(task, self.configurations)


class SuiteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A suite file. ``threads`` is how many a cell uses, ``timeout`` its limit in seconds; ``resources``: for Slurm.

    A scenario with the setting ``like`` has the settings and hyper-parameters of that one, but for its own.
    ``stacked``: how many members of an ensemble are trained together, by scenario, where that was found to be quicker.
    """

    name: str
    summary: str
    threads: int
    timeout: float
    tuning: Tuning
    scenarios: dict[str, dict[str, Any]]
    hyperparameters: dict[str, dict[str, Tuned]] = {}
    resources: dict[str, Resources] = {}
    stacked: dict[str, int] = {}


class Scenario(msgspec.Struct, frozen=True):
    """One scenario of a suite: its task's settings, its methods with their full hyper-parameters."""

    name: str
    task: str
    settings: Any
    methods: dict[str, dict[str, Any]]
    provenance: dict[str, str]


class Suite(msgspec.Struct, frozen=True):
    """A validated suite."""

    name: str
    summary: str
    threads: int
    timeout: float
    tuning: Tuning
    scenarios: dict[str, Scenario]
    path: str
    resources: dict[str, Resources] = {}
    stacked: dict[str, int] = {}


def suite_names() -> list[str]:
    """The suites that come with the package (search spaces aside)."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if not path.stem.startswith("spaces"))


def load_suite(name: str) -> Suite:
    """The suite called ``name``, or the one in the file ``name`` if it ends in ``.toml``; InputError if it is wrong."""
    path = _path(name)
    file = convert(read_toml(path), SuiteFile, path.name)
    return suite_of(_that_are_here(file) if name == OWN else file, path)


def suite_of(file: SuiteFile, path: Path) -> Suite:
    """The validated suite that the content of the file at ``path`` makes; InputError if it is wrong."""
    _check_file(file, path.name)
    if path.parent.resolve() != FOLDER.resolve() and file.name in suite_names():
        raise InputError(f"{path.name}: name: {file.name!r} is a suite that comes with the package; choose another")
    for scenario in file.hyperparameters:
        if scenario not in file.scenarios:
            raise InputError(f"{path.name}: hyperparameters: {unknown('scenario', scenario, file.scenarios)}")
    file = _in_full(file, path.name)
    scenarios = {key: _scenario(key, raw, file, path.name) for key, raw in file.scenarios.items()}
    check_resources(file.resources, file.scenarios, path.name)
    _check_stacked(file, scenarios, path.name)
    return Suite(
        file.name,
        file.summary,
        file.threads,
        file.timeout,
        file.tuning,
        scenarios,
        str(path),
        file.resources,
        file.stacked,
    )


def _that_are_here(file: SuiteFile) -> SuiteFile:
    """The suite ``own`` without scenarios whose data is not known here any more, which are told of."""
    here = {name: raw for name, raw in file.scenarios.items() if raw.get("data") in DATA}
    for name in file.scenarios.keys() - here.keys():
        log.warning(
            "suite own: scenario %s is left out: its data %s is not here", name, file.scenarios[name].get("data")
        )
    tuned = {name: own for name, own in file.hyperparameters.items() if name in here}
    return msgspec.structs.replace(file, scenarios=here, hyperparameters=tuned)


def _in_full(file: SuiteFile, where: str) -> SuiteFile:
    """The same where no scenario is like another one any more; InputError for one that cannot be."""
    return msgspec.structs.replace(
        file,
        scenarios=settings_in_full(file.scenarios, where),
        hyperparameters=hyperparameters_in_full(file.scenarios, file.hyperparameters, where),
    )


def own_suite() -> Path:
    """The file of the suite ``own``: scenarios on data and models that a user brought, below the data root."""
    return data_root() / OWN / "suite.toml"


def _path(name: str) -> Path:
    """Where a suite's file lies."""
    if name.endswith(".toml"):
        return Path(name)
    if name == OWN:
        if not own_suite().is_file():
            raise InputError(f"suite {OWN} has no scenario yet: amendbench bench --data FOLDER --task TASK adds one")
        return own_suite()
    if name not in suite_names():
        raise unknown("suite", name, [*suite_names(), OWN])
    return FOLDER / f"{name}.toml"


def _check_file(file: SuiteFile, where: str) -> None:
    for what, name in (("name", file.name), *(("scenarios", name) for name in file.scenarios)):
        if not NAME.fullmatch(name) or name in RESERVED:
            raise InputError(f"{where}: {what}: {name!r} is no name; use lower-case letters, digits and -")
    limits = {"threads": (file.threads, 1024), "timeout": (file.timeout, 10**7)}
    limits["tuning.configurations"] = (file.tuning.configurations, 10**6)
    for task, count in file.tuning.by_task.items():
        if task not in TASKS:
            raise InputError(f"{where}: tuning.by_task: {unknown('task', task, TASKS)}")
        limits[f"tuning.by_task.{task}"] = (count, 10**6)
    for what, (value, most) in limits.items():
        if not 0 < value <= most:
            raise InputError(f"{where}: {what} must be above 0 and at most {most:,}, not {value}")
    seeds = file.tuning.seeds
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"{where}: tuning.seeds must be distinct seeds from 0 on, not {list(seeds)}")
    if not file.scenarios:
        raise InputError(f"{where}: scenarios: there is none")


def _check_stacked(file: SuiteFile, scenarios: dict[str, Scenario], where: str) -> None:
    for name, size in file.stacked.items():
        if name not in scenarios:
            raise InputError(f"{where}: stacked: {unknown('scenario', name, scenarios)}")
        scenario = scenarios[name]
        if not TASKS.get(scenario.task).ensembles:
            raise InputError(f"{where}: stacked: scenario {name} is of task {scenario.task}, which has no ensembles")
        try:
            TASKS.get(scenario.task).check(with_stacked(scenario.settings, size))
        except ValueError as error:
            raise InputError(f"{where}: stacked: {name}: {error}") from error


def with_stacked(settings: Any, size: int) -> Any:
    """A scenario's settings with the networks of ``size`` seeds trained together; ValueError below 1."""
    return msgspec.structs.replace(settings, training=msgspec.structs.replace(settings.training, stacked=size))


def _scenario(name: str, raw: dict[str, Any], file: SuiteFile, where: str) -> Scenario:
    where = f"{where}: scenarios.{name}"
    settings = dict(raw)
    task = _task_of(settings, where)
    chosen = settings.pop("methods", None)
    ours = [name for name in methods_of(task.name) if not from_outside(METHODS.get(name, task.name))]
    available = [*methods_of(task.name), *ablations_of(task.name)]
    names = ours if chosen is None else convert(chosen, list[str], f"{where}.methods")
    if not names:
        raise InputError(f"{where}.methods: there is none; known: {', '.join(available)}")
    for method in names:
        if method not in available:
            raise InputError(f"{where}.methods: {unknown(f'method of {task.name}', method, available)}")
    typed = convert(settings, task.scenario, where)
    try:
        task.check(typed)
    except (InputError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    tuned = file.hyperparameters.get(name, {})
    for method in tuned:
        if method not in available:
            raise InputError(f"{where}: hyperparameters: {unknown('method', method, available)}")
    names = [*names, *(method for method in tuned if method not in (*names, *ours))]  # what is tuned from outside joins
    values = {
        method: check_parameters(
            METHODS.get(method, task.name), tuned[method].parameters if method in tuned else {}, f"{where}.{method}"
        )
        for method in names
    }
    provenance = {method: tuned[method].provenance if method in tuned else "defaults" for method in names}
    return Scenario(name, task.name, typed, values, provenance)


def _task_of(settings: dict[str, Any], where: str) -> Task:
    name = settings.get("task")
    if not isinstance(name, str):
        raise InputError(f"{where}: task is missing; one of {', '.join(TASKS)}")
    try:
        return TASKS.get(name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def methods_of(task: str) -> list[str]:
    """Names of the methods of a task: references first, then papers, baselines and cheats; ablations are none of it."""
    order = {"reference": 0, "paper": 1, "baseline": 2, "cheat": 3}
    found = [info for info in METHODS.values() if task in info.tasks and info.kind in order]
    return [info.name for info in sorted(found, key=lambda info: (order[info.kind], info.name))]


def ablations_of(task: str) -> list[str]:
    """Names of the ablations of a task's methods, which studies compare them with."""
    return sorted(info.name for info in METHODS.values() if task in info.tasks and info.kind == "ablation")


def select(suite: Suite, task: str | None, scenarios: Sequence[str] | None, methods: Sequence[str] | None) -> Suite:
    """The part of a suite that was asked for; InputError for a name that it does not have.

    The task's reference and original stay beside the chosen methods, because metrics are relative to them.
    """
    if task is not None:
        TASKS.get(task)
    for what, names in (("scenarios", scenarios), ("methods", methods)):
        if names is not None and not names:
            raise InputError(f"{what} were asked for, but none was named")
    kept = {name: s for name, s in suite.scenarios.items() if task is None or s.task == task}
    if not kept:
        raise InputError(f"suite {suite.name} has no scenario of task {task}")
    for name in scenarios or ():
        if name not in kept:
            raise unknown("scenario", name, kept)
    if scenarios:
        kept = {name: s for name, s in kept.items() if name in scenarios}
    for method in methods or ():
        known = {m for s in kept.values() for m in s.methods}
        if method not in known:
            raise unknown("method", method, known)
    if methods:
        kept = {name: _restricted(s, methods) for name, s in kept.items()}
        kept = {name: s for name, s in kept.items() if any(m in s.methods for m in methods)}
    return msgspec.structs.replace(suite, scenarios=kept)


def _restricted(scenario: Scenario, methods: Sequence[str]) -> Scenario:
    task = TASKS.get(scenario.task)
    wanted = {task.original, task.reference, *methods}
    values = {name: values for name, values in scenario.methods.items() if name in wanted}
    return msgspec.structs.replace(scenario, methods=values)
