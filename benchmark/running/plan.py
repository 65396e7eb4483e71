"""The plan of a run: its cells, what is already there, and how long the rest may take. Needs no torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

import msgspec

from benchmark import environment
from benchmark.contracts import seeds_together
from benchmark.discovery.methods import METHODS, from_outside
from benchmark.discovery.source import digest
from benchmark.errors import InputError
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.suites.definition import Scenario, Suite
from benchmark.tasks import TASKS, Task, answered_together

#: Seconds that a cell is thought to take before any has been measured.
UNKNOWN_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """``cells`` in the order in which they run; ``cached`` are done already; ``seconds`` estimates by cell.

    ``needs`` are what a cell builds unless another has: its base model, and a stage that methods share.
    ``elsewhere`` counts results that are there but are not this machine's, or not of this code; ``found`` has all
    records of the suite by their paths.
    """

    cells: list[Cell]
    cached: dict[str, Record]
    seconds: dict[str, float]
    needs: dict[str, tuple[str, ...]]
    provenance: dict[str, str]
    elsewhere: int = 0
    found: dict[str, Record] = field(default_factory=dict)

    @property
    def todo(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.hash not in self.cached]

    def estimate(self, jobs: int) -> float:
        """Estimated wall seconds of what is left to do."""
        return sum(self.seconds[cell.hash] for cell in self.todo) / max(jobs, 1)


def make_plan(
    suite: Suite,
    seeds: Iterable[int],
    device: str,
    store: RecordStore,
    *,
    fresh: bool = False,
    keeps: Literal["metrics", "forget-set outputs"] = "metrics",
    history: RecordStore | None = None,
) -> Plan:
    """Cells of a suite: seed by seed, so that the first board is there early.

    Within a seed those come first that build a stage for others: they are long, and short ones fill the gaps. Estimates
    come from the records of ``history``, or of the store itself.
    """
    seeds = list(seeds)
    taken = sorted(set(seeds) & set(suite.tuning.seeds))
    if taken:
        raise InputError(f"seeds {taken} of suite {suite.name} are for tuning and are never reported")
    cells: dict[str, Cell] = {}
    needs: dict[str, tuple[str, ...]] = {}
    provenance: dict[str, str] = {}
    blanks = list(_blanks(suite, device, keeps))
    blanks.sort(key=lambda blank: not METHODS.get(blank[1].method, blank[1].task).shares)
    for seed in seeds:
        for scenario, blank in blanks:
            task = TASKS.get(scenario.task)
            cell = msgspec.structs.replace(blank, seed=seed, unit=task.unit(scenario.settings, seed))
            name = cell.hash  # computed each time that it is asked for
            cells[name] = cell
            needs[name] = _needs(task, scenario, cell.method, seed)
            provenance[name] = scenario.provenance[cell.method]
    odd = next((cell for cell in cells.values() if not cell.has_plain_names()), None)
    if odd is not None:
        raise InputError(f"{suite.path}: scenarios.{odd.scenario}: no file can be called as its record, {odd.file!r}")
    found = {record.cell.file: record for record in store.all(suite.name)}
    known = _history(found.values() if history is None else history.all(suite.name))
    there = {} if fresh else _results(cells, found)
    matching = {name: record for name, record in there.items() if record.hash == name}
    here = machine() if matching else ""
    cached = {name: record for name, record in matching.items() if record.environment.get("machine") == here}
    return Plan(
        cells=list(cells.values()),
        cached=cached,
        seconds={name: known.get((cell.scenario, cell.method), UNKNOWN_SECONDS) for name, cell in cells.items()},
        needs=needs,
        provenance=provenance,
        elsewhere=len(there) - len(cached),
        found=found,
    )


def _results(cells: Mapping[str, Cell], found: Mapping[str, Record]) -> dict[str, Record]:
    """Results that lie where those of the cells belong, whoever made them, by the cells' hashes."""
    there = ((name, found.get(cell.file)) for name, cell in cells.items())
    return {name: record for name, record in there if record is not None and record.status == "ok"}


def _needs(task: Task, scenario: Scenario, method: str, seed: int) -> tuple[str, ...]:
    info = METHODS.get(method, task.name)
    base = task.base(scenario.settings, seeds_together(getattr(scenario.settings, "training", None), seed)[0])
    shared = f"together {method}" if answered_together(info, task, scenario.settings) else info.shares
    return (base, f"{base}/{scenario.name}/{shared}") if shared else (base,)


def is_current(record: Record, cell: Cell) -> bool:
    """Whether a record is this cell's result, made on this machine."""
    return record.status == "ok" and is_of_here(record, cell)


def is_of_here(record: Record, cell: Cell) -> bool:
    """Whether a record is what became of this cell on this machine: costs of another one would not compare."""
    return record.hash == cell.hash and record.environment.get("machine") == machine()


def machine() -> str:
    """This machine's identity; InputError where what lies in its place is none that a record could have."""
    path = environment.cache_root() / "machine-id"
    if path.exists() and (not path.is_file() or path.stat().st_size > 1000):
        raise InputError(f"{path} does not hold a name of this machine; remove it")
    try:
        found = environment.machine()
    except UnicodeDecodeError:
        found = ""
    if not found.isprintable() or not 0 < len(found) <= 100:
        raise InputError(f"{path} does not hold a name of this machine; remove it")
    return found


def _blanks(
    suite: Suite, device: str, keeps: Literal["metrics", "forget-set outputs"]
) -> Iterator[tuple[Scenario, Cell]]:
    """A cell of each scenario and method, with the first seed and no unit: what cells of all seeds have in common."""
    for scenario in suite.scenarios.values():
        task = TASKS.get(scenario.task)
        for method, parameters in scenario.methods.items():
            info = METHODS.get(method, task.name)
            yield (
                scenario,
                Cell(
                    suite=suite.name,
                    task=task.name,
                    scenario=scenario.name,
                    settings=settings_of(scenario.settings),
                    unit="",
                    seed=0,
                    method=method,
                    kind=info.kind,
                    parameters=parameters,
                    device=device.partition(":")[0],  # which of several GPUs is no part of a result
                    threads=suite.threads,
                    versions={"task": task.version, "method": info.version},
                    digests=digests(task.implementation, info.module),
                    packages=environment.versions(),
                    keeps=keeps,
                    external=from_outside(info),
                ),
            )


def settings_of(scenario: Any) -> dict[str, Any]:
    """A scenario's settings as a record has them: what JSON gives back, lists where there were tuples."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(scenario))
    return found


def with_defaults(cell: Cell) -> Cell:
    """A cell of an earlier time with what has become an option since then at its default; for comparing, not for keeps.

    As it is where its settings are none of today's, or its task or method is gone.
    """
    if cell.task not in TASKS or not METHODS.has(cell.method, cell.task):
        return cell
    try:
        settings = settings_of(msgspec.convert(cell.settings, TASKS.get(cell.task).scenario))
    except msgspec.ValidationError:
        return cell
    parameters = {**METHODS.get(cell.method, cell.task).defaults(), **cell.parameters}
    return msgspec.structs.replace(cell, settings=settings, parameters=parameters)


def digests(task: str, method: str) -> dict[str, str]:
    """Digests of the source that a cell's result depends on."""
    return {"task": digest(task), "method": digest(method), "harness": digest("benchmark.running.amending")}


def _history(records: Iterable[Record]) -> dict[tuple[str, str], float]:
    """Median seconds of earlier cells by scenario and method, whoever made them."""
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        seen[record.cell.scenario, record.cell.method].append(record.cost.cell_seconds)
    return {key: median(values) for key, values in seen.items()}
