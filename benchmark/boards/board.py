"""The board: records of one suite aggregated into rows of one scenario and method."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from benchmark.boards import aggregates
from benchmark.boards.aggregates import Choice, CostCell, GroupCell, MetricCell, Origin, Pair, pair
from benchmark.discovery.methods import METHODS
from benchmark.metrics.catalogue import METRICS, metric
from benchmark.running.ensembles import EnsembleRecord
from benchmark.running.plan import digests
from benchmark.running.records import Cell, Record
from benchmark.suites.definition import Suite, methods_of
from benchmark.tasks import TASKS, Task

RowStatus = Literal["ok", "partial", "unreliable", "outdated", "failed", "timeout", "out-of-memory", "disqualified"]
#: Rows that are shown below the ranked ones: not all of their cells have a result.
UNRANKED = ("partial", "failed", "timeout", "out-of-memory", "disqualified")
#: What is said of a row whose method is not known here and need not be.
ABSENT = "its method came from outside and is not installed here: whether its code is still the same cannot be told"
KIND_ORDER = {"reference": 0, "paper": 1, "baseline": 1, "cheat": 2}
#: Tracks in the order of the board; rows of any other, or of which none is known, come after them.
TRACKS = ("yes/yes", "no/yes", "yes/no", "no/no")


class Row(msgspec.Struct, frozen=True):
    """One method in one scenario: ``n`` clusters (base models), ``cells`` records, ``units`` amended.

    ``access`` gives the mean counts of what was read by view, summed over requests; ``code`` is ``moved`` where the
    source has changed since and the declared versions have not, ``absent`` where the method is from outside and not
    installed here. ``track`` says what information was used
    where rows compete only with their equals, empty in tasks without tracks. ``rank`` counts from 1 among the ranked
    rows of the scenario and track, by the metric ``rank_by``, ``rank_label_free`` among those of them that declare to
    read no label; None for rows that are not ranked. ``choice``: how states were chosen, where they were; ``groups``:
    accuracy by group, where there are groups; ``origin``: what the row was made of;
    ``one_base``: all of its seeds amend one base model, and are one cluster, called 0.
    """

    task: str
    scenario: str
    method: str
    kind: str
    device: str
    n: int
    cells: int
    units: int
    status: RowStatus
    reasons: list[str]
    metrics: dict[str, MetricCell]
    cost: CostCell
    access: dict[str, dict[str, float]]
    code: Literal["current", "moved", "absent"]
    devices: list[str]
    label_free: bool
    track: str
    rank_by: str
    choice: Choice | None
    groups: dict[str, GroupCell]
    origin: Origin
    one_base: bool = False
    rank: int | None = None
    rank_label_free: int | None = None


def build_board(records: Iterable[Record], suite: Suite | None = None, task: str | None = None) -> list[Row]:
    """Rows by task, scenario, track and rank; references first and cheats last, neither ranked among the others.

    A row whose settings or hyper-parameters are not those of ``suite`` any more is marked as outdated.
    """
    blocks: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.cell.task in TASKS and (task is None or record.cell.task == task):
            blocks[record.cell.task, record.cell.scenario].append(record)
    rows: list[Row] = []
    for (name, _), block in sorted(blocks.items()):
        rows += _block(TASKS.get(name), block, suite)
    return rows


def _block(task: Task, records: list[Record], suite: Suite | None) -> list[Row]:
    by_method: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        by_method[record.cell.method, record.cell.device].append(record)
    references = {pair(r.cell): r for r in records if r.cell.method == task.reference and r.status == "ok"}
    originals = {pair(r.cell): r for r in records if r.cell.method == task.original and r.status == "ok"}
    reasons = _gates(task, originals, references)
    rows = [_row(task, group, references, reasons.get(name[1], []), suite) for name, group in sorted(by_method.items())]
    position = {name: i for i, name in enumerate(methods_of(task.name))}

    def order(row: Row) -> tuple[int, int, tuple[str, ...], bool, float, int]:
        kind, last = KIND_ORDER.get(row.kind, 1), position.get(row.method, len(position))
        if kind != 1:
            return kind, 0, (row.device,), False, 0.0, last
        track = TRACKS.index(row.track) if row.track in TRACKS else len(TRACKS)
        return kind, track, (row.track, row.rank_by, row.device), row.status in UNRANKED, _score(row), last

    return _numbered(task, sorted(rows, key=order))


def _score(row: Row) -> float:
    """What rows are ordered by, lowest first; rows without a value come last."""
    ranked = row.metrics.get(row.rank_by)
    if ranked is None or ranked.mean is None:
        return math.inf
    return -ranked.mean if metric(row.rank_by).better == "higher" else ranked.mean


def _numbered(task: Task, rows: list[Row]) -> list[Row]:
    """Rows in order with their ranks in their track and on their device.

    All have one together, and the label-free ones another among themselves.
    Rows of another time, which were ranked by another metric, and rows whose track is not known have no rank in it.
    """
    numbered = []
    ranks: Counter[tuple[str, str, str, bool]] = Counter()
    for row in rows:
        ranked = KIND_ORDER.get(row.kind, 1) == 1 and row.status not in UNRANKED and _score(row) < math.inf
        if ranked and (row.track or task.track is None):
            field = row.track, row.rank_by, row.device
            ranks[*field, False] += 1
            ranks[*field, True] += row.label_free
            own = ranks[*field, True] if row.label_free else None
            row = msgspec.structs.replace(row, rank=ranks[*field, False], rank_label_free=own)
        numbered.append(row)
    return numbered


def _gates(task: Task, originals: Mapping[Pair, Record], references: Mapping[Pair, Record]) -> dict[str, list[str]]:
    """Why the rows of a device say nothing."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for key in sorted(originals.keys() | references.keys()):
        own, other = originals.get(key), references.get(key)
        found = task.gates(own.values() if own else None, other.values() if other else None)
        reasons[key[2]] += [f"seed {key[1]}: {reason}" for reason in found]
    return reasons


def values_of(task: Task, record: Record, references: Mapping[Pair, Record]) -> dict[str, float | None]:
    """A record's own metrics and those derived from its reference, where that is there."""
    own = record.values()
    reference = references.get(pair(record.cell))
    return {**own, **(task.derive(own, reference.values()) if reference else {})}


def _row(
    task: Task,
    records: list[Record],
    references: Mapping[Pair, Record],
    block_reasons: list[str],
    suite: Suite | None,
) -> Row:
    good = [record for record in records if record.status == "ok"]
    first = records[0].cell
    scenario = _scenario(task, first)
    one_base = scenario is not None and task.base(scenario, 0) == task.base(scenario, 1)
    clusters: dict[int, list[dict[str, float | None]]] = defaultdict(list)
    for record in good:
        clusters[0 if one_base else record.cell.seed].append(values_of(task, record, references))
    metrics = {}
    names = dict.fromkeys(name for values in clusters.values() for v in values for name in v)
    for name in (name for name in names if name.removesuffix(".gap") in METRICS):
        metrics[name] = aggregates.metric_cell(name, clusters)
    unpaired = sorted({record.cell.seed for record in good if pair(record.cell) not in references})
    alone = [f"seed {seed}: there is no {reference_text(task)} to compare with" for seed in unpaired]
    status, reasons = _status(records, [*alone, *block_reasons], suite)
    seeds = {key[1] for key in references if key[2] == first.device}
    ran = {record.cell.seed for record in good}
    if status == "ok" and len(ran) < len(seeds):
        status = "partial"
        reasons.append(f"{len(ran)} of {len(seeds)} seeds: not ranked with the others")
    return Row(
        task=task.name,
        scenario=first.scenario,
        method=first.method,
        kind=first.kind,
        device=first.device,
        n=len(clusters),
        cells=len(records),
        units=len({record.cell.unit for record in records}),
        status=status,
        reasons=reasons,
        metrics=metrics,
        cost=aggregates.cost(good, references),
        access=aggregates.access(good),
        code=_code(task, records),
        devices=sorted({record.environment.get("device", "") for record in records}),
        label_free=METHODS.has(first.method, task.name) and METHODS.get(first.method, task.name).access.label_free,
        track=_track(task, scenario, first.method),
        rank_by=task.ranked_by(scenario) if task.ranked_by and scenario is not None else task.rank_by,
        choice=aggregates.choice(scenario, good),
        groups=aggregates.groups(good),
        origin=aggregates.origin(records),
        one_base=one_base,
    )


def reference_text(task: Task) -> str:
    """What a task's reference is called in a sentence."""
    return "retrained model" if task.reference == "retrain" else task.reference


def _scenario(task: Task, cell: Cell) -> Any:
    """The cell's settings in the task's type; None where they are of another time and do not fit any more."""
    try:
        return msgspec.convert(cell.settings, task.scenario)
    except msgspec.ValidationError:
        return None


def _track(task: Task, scenario: Any, method: str) -> str:
    if task.track is None or scenario is None or not METHODS.has(method, task.name):
        return ""
    return task.track(scenario, METHODS.get(method, task.name).access.granted(task.views))


def _status(records: list[Record], block_reasons: list[str], suite: Suite | None) -> tuple[RowStatus, list[str]]:
    reasons: list[str] = []
    status: RowStatus = "ok"
    for record in records:
        if record.failure is not None:
            why = f"{record.failure.error}: {record.failure.message}"
            reasons.append(f"seed {record.cell.seed}: {record.status}: {why}")
            status = record.status
        reasons += [f"seed {record.cell.seed}: {flag}" for flag in record.flags]
    gone = not METHODS.has(records[0].cell.method, records[0].cell.task)
    absent = gone and records[0].cell.external
    if gone and not absent:
        reasons.append("this method is no longer there; delete its folder below the results, if it is not to come back")
        status = "outdated" if status == "ok" else status
    if status == "ok" and any(outdated(record.cell) for record in records):
        status = "outdated"
        reasons.append("the declared version of the task or the method is a newer one")
    if status == "ok" and suite is not None and any(changed(record.cell, suite) for record in records):
        status = "outdated"
        reasons.append("the suite's settings or hyper-parameters are others now")
    reasons += block_reasons
    return ("unreliable" if status == "ok" and reasons else status), [*reasons, *([ABSENT] if absent else [])]


def outdated(cell: Cell | EnsembleRecord) -> bool:
    """Whether the declared version of the task or the method is another one now."""
    task = TASKS.get(cell.task)
    if cell.external and not METHODS.has(cell.method, cell.task):
        return cell.versions.get("task") != task.version
    return cell.versions != {"task": task.version, "method": METHODS.get(cell.method, cell.task).version}


def changed(cell: Cell | EnsembleRecord, suite: Suite) -> bool:
    """Whether the suite has other settings or hyper-parameters now, or the scenario or the method is gone.

    A method need not be listed in the suite: added to a run it has its defaults, which are known where it is installed.
    """
    scenario = suite.scenarios.get(cell.scenario)
    if scenario is None:
        return True
    try:
        settings = msgspec.convert(cell.settings, type(scenario.settings))
    except msgspec.ValidationError:
        return True
    changed: bool = settings != scenario.settings
    if not METHODS.has(cell.method, cell.task):
        return changed or not cell.external
    defaults = METHODS.get(cell.method, cell.task).defaults()
    parameters = {**defaults, **cell.parameters}  # a later parameter's default: as before
    return changed or scenario.methods.get(cell.method, defaults) != parameters


def _code(task: Task, records: Sequence[Record]) -> Literal["current", "moved", "absent"]:
    method = records[0].cell.method
    if not METHODS.has(method, task.name):
        return "absent" if records[0].cell.external else "moved"
    now = digests(task.implementation, METHODS.get(method, task.name).module)
    return "current" if all(record.cell.digests == now for record in records) else "moved"
