"""The board: records of one suite aggregated into rows of one scenario and method."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Literal

import msgspec

from benchmark.discovery import METHODS
from benchmark.metrics.catalogue import METRICS, metric
from benchmark.running.ensembles import EnsembleRecord
from benchmark.running.plan import digests
from benchmark.running.records import Cell, Record
from benchmark.stats import t_interval
from benchmark.suite import Suite, methods_of
from benchmark.tasks import TASKS, Task

RowStatus = Literal["ok", "partial", "unreliable", "outdated", "failed", "timeout", "out-of-memory", "disqualified"]
#: Rows that are shown below the ranked ones: not all of their cells have a result.
UNRANKED = ("partial", "failed", "timeout", "out-of-memory", "disqualified")
KIND_ORDER = {"reference": 0, "paper": 1, "baseline": 1, "cheat": 2}


class MetricCell(msgspec.Struct, frozen=True):
    """A metric in a row: mean and 95 % t interval over n clusters; None where there is nothing to average."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    better: str


class CostCell(msgspec.Struct, frozen=True):
    """Mean seconds, the mean ratio to retraining (device seconds, paired by seed) and the median peak of memory.

    ``exclusive``: nothing else of the run shared the cores, of the row's cells and of the retraining beside them.
    """

    seconds: float | None
    device_seconds: float | None
    ratio_to_retrain: float | None
    peak_bytes: int | None
    exclusive: bool


class Row(msgspec.Struct, frozen=True):
    """One method in one scenario: ``n`` clusters (base models), ``cells`` records, ``units`` amended.

    ``access`` gives the mean counts of what was read by view, summed over requests; ``code`` is ``moved`` where the
    source has changed since and the declared versions have not. ``rank`` counts from 1 among the ranked rows of the
    scenario, ``rank_label_free`` among those of them that declare to read no label; None for rows that are not ranked.
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
    code: Literal["current", "moved"]
    devices: list[str]
    label_free: bool
    rank: int | None = None
    rank_label_free: int | None = None


def build_board(records: Iterable[Record], suite: Suite | None = None, task: str | None = None) -> list[Row]:
    """Rows by task, scenario and rank; references first and cheats last, neither ranked among the others.

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
    references = {_pair(r.cell): r for r in records if r.cell.method == task.reference and r.status == "ok"}
    originals = {_pair(r.cell): r for r in records if r.cell.method == task.original and r.status == "ok"}
    reasons = _gates(task, originals, references)
    rows = [_row(task, group, references, reasons, suite) for _, group in sorted(by_method.items())]
    position = {name: i for i, name in enumerate(methods_of(task.name))}

    def order(row: Row) -> tuple[float, float, int]:
        kind: float = KIND_ORDER.get(row.kind, 1)
        kind += 0.5 if kind == 1 and row.status in UNRANKED else 0
        score = _score(task, row) if 1 <= kind < 2 else 0.0
        return kind, score, position.get(row.method, len(position))

    return _numbered(task, sorted(rows, key=order))


def _score(task: Task, row: Row) -> float:
    """What rows are ordered by, lowest first; rows without a value come last."""
    ranked = row.metrics.get(task.rank_by)
    if ranked is None or ranked.mean is None:
        return math.inf
    return -ranked.mean if metric(task.rank_by).better == "higher" else ranked.mean


def _numbered(task: Task, rows: list[Row]) -> list[Row]:
    """Rows in order with their ranks: all together, and the label-free ones among themselves."""
    numbered = []
    rank = rank_label_free = 0
    for row in rows:
        ranked = KIND_ORDER.get(row.kind, 1) == 1 and row.status not in UNRANKED and _score(task, row) < math.inf
        if ranked:
            rank += 1
            rank_label_free += row.label_free
            own = rank_label_free if row.label_free else None
            row = msgspec.structs.replace(row, rank=rank, rank_label_free=own)
        numbered.append(row)
    return numbered


def _pair(cell: Cell) -> tuple[str, int, str]:
    """What pairs a cell with its reference: the same unit, seed and device."""
    return cell.unit, cell.seed, cell.device


def _gates(
    task: Task, originals: Mapping[tuple[str, int, str], Record], references: Mapping[tuple[str, int, str], Record]
) -> list[str]:
    reasons = []
    for pair in sorted(originals.keys() | references.keys()):
        own, other = originals.get(pair), references.get(pair)
        found = task.gates(own.values() if own else None, other.values() if other else None)
        reasons += [f"seed {pair[1]}: {reason}" for reason in found]
    return reasons


def values_of(task: Task, record: Record, references: Mapping[tuple[str, int, str], Record]) -> dict[str, float | None]:
    """A record's own metrics and those derived from its reference, where that is there."""
    own = record.values()
    reference = references.get(_pair(record.cell))
    return {**own, **(task.derive(own, reference.values()) if reference else {})}


def _row(
    task: Task,
    records: list[Record],
    references: Mapping[tuple[str, int, str], Record],
    block_reasons: list[str],
    suite: Suite | None,
) -> Row:
    good = [record for record in records if record.status == "ok"]
    first = records[0].cell
    clusters: dict[int, list[dict[str, float | None]]] = defaultdict(list)
    for record in good:
        clusters[record.cell.seed].append(values_of(task, record, references))
    metrics = {}
    names = dict.fromkeys(name for values in clusters.values() for v in values for name in v)
    for name in (name for name in names if name.removesuffix(".gap") in METRICS):
        metrics[name] = _aggregate(name, clusters)
    unpaired = sorted({record.cell.seed for record in good if _pair(record.cell) not in references})
    alone = [f"seed {seed}: there is no retrained model to compare with" for seed in unpaired]
    status, reasons = _status(records, [*alone, *block_reasons], suite)
    seeds = {pair[1] for pair in references if pair[2] == first.device}
    if status == "ok" and len(clusters) < len(seeds):
        status = "partial"
        reasons.append(f"{len(clusters)} of {len(seeds)} seeds: not ranked with the others")
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
        cost=_cost(good, references),
        access=_access(good),
        code="current" if all(_code_is_current(task, record.cell) for record in records) else "moved",
        devices=sorted({record.environment.get("device", "") for record in records}),
        label_free=first.method in METHODS and METHODS.get(first.method).access.label_free,
    )


def _aggregate(name: str, clusters: Mapping[int, list[dict[str, float | None]]]) -> MetricCell:
    """Cells of a cluster are averaged first: they are not replicates."""
    known = metric(name)
    means = []
    for values in clusters.values():
        present = [v for v in (value.get(name) for value in values) if v is not None]
        if present:
            means.append(sum(present) / len(present))
    if not means:
        return MetricCell(None, None, None, 0, known.unit, known.better)
    interval = t_interval(means)
    return MetricCell(interval.mean, interval.low, interval.high, interval.n, known.unit, known.better)


def _status(records: list[Record], block_reasons: list[str], suite: Suite | None) -> tuple[RowStatus, list[str]]:
    reasons: list[str] = []
    status: RowStatus = "ok"
    for record in records:
        if record.failure is not None:
            why = f"{record.failure.error}: {record.failure.message}"
            reasons.append(f"seed {record.cell.seed}: {record.status}: {why}")
            status = record.status
        reasons += [f"seed {record.cell.seed}: {flag}" for flag in record.flags]
    gone = records[0].cell.method not in METHODS
    if gone:
        reasons.append("this method is no longer there; delete its folder below the results, if it is not to come back")
    if gone and status == "ok":
        status = "outdated"
    if status == "ok" and any(outdated(record.cell) for record in records):
        status = "outdated"
        reasons.append("the declared version of the task or the method is a newer one")
    if status == "ok" and suite is not None and any(changed(record.cell, suite) for record in records):
        status = "outdated"
        reasons.append("the suite's settings or hyper-parameters are others now")
    reasons += block_reasons
    return ("unreliable" if status == "ok" and reasons else status), reasons


def outdated(cell: Cell | EnsembleRecord) -> bool:
    """Whether the declared version of the task or the method is another one now."""
    return cell.versions != {"task": TASKS.get(cell.task).version, "method": METHODS.get(cell.method).version}


def changed(cell: Cell | EnsembleRecord, suite: Suite) -> bool:
    """Whether the suite has other settings or hyper-parameters now, or neither the scenario nor the method."""
    scenario = suite.scenarios.get(cell.scenario)
    if scenario is None or cell.method not in scenario.methods:
        return True
    try:
        settings = msgspec.convert(cell.settings, type(scenario.settings))
    except msgspec.ValidationError:
        return True
    parameters = {**METHODS.get(cell.method).defaults(), **cell.parameters}  # a later parameter's default: as before
    return settings != scenario.settings or scenario.methods[cell.method] != parameters


def _code_is_current(task: Task, cell: Cell) -> bool:
    return cell.method in METHODS and cell.digests == digests(task.implementation, METHODS.get(cell.method).module)


def _cost(good: list[Record], references: Mapping[tuple[str, int, str], Record]) -> CostCell:
    if not good:
        return CostCell(None, None, None, None, False)
    ratios = []
    exclusive = all(record.cost.exclusive for record in good)
    for record in good:
        reference = references.get(_pair(record.cell))
        exclusive = exclusive and (reference is None or reference.cost.exclusive)
        same = reference and reference.environment.get("machine") == record.environment.get("machine")
        if reference and same and reference.cost.device_seconds > 0:
            ratios.append(record.cost.device_seconds / reference.cost.device_seconds)
    peaks = [record.cost.peak_bytes for record in good if record.cost.peak_bytes is not None]
    return CostCell(
        seconds=sum(record.cost.seconds for record in good) / len(good),
        device_seconds=sum(record.cost.device_seconds for record in good) / len(good),
        ratio_to_retrain=sum(ratios) / len(ratios) if ratios else None,
        peak_bytes=round(median(peaks)) if peaks else None,
        exclusive=exclusive,
    )


def _access(good: list[Record]) -> dict[str, dict[str, float]]:
    """Mean counts by view, summed over requests: distinct samples and labels of each, and passes."""
    total: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for record in good:
        for request in record.access:
            for view, counts in request.items():
                for what, n in counts.items():
                    total[view][what] += n / len(good)
    return {view: dict(counts) for view, counts in total.items()}
