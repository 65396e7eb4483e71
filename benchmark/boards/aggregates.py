"""What a row makes of its records: metrics, groups, cost, what was read, and how states were chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from benchmark.metrics.catalogue import metric
from benchmark.running.records import Cell, Record
from benchmark.stats import t_interval

#: What pairs a cell with its reference: the same unit, seed and device.
Pair = tuple[str, int, str]


class MetricCell(msgspec.Struct, frozen=True):
    """A metric in a row: mean and 95 % t interval over n clusters; None where there is nothing to average.

    ``by_seed``: what the mean is over, one value a cluster.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    better: str
    by_seed: dict[int, float] = {}


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a row comes from, so that it can be made again.

    ``records`` below the results folder and their hashes, ``seeds`` all those of the row, ``failed`` those of them
    without a result. ``environments``: each of those that its records were made in, as often as not one. ``external``:
    the method came from outside.
    """

    settings: dict[str, Any]
    parameters: dict[str, Any]
    provenance: str
    threads: int
    versions: dict[str, int]
    records: dict[str, str]
    seeds: list[int]
    failed: list[int]
    units: dict[int, list[str]]
    environments: list[dict[str, str]]
    data: list[str]
    created: tuple[str, str]
    external: bool = False


class GroupCell(msgspec.Struct, frozen=True):
    """Accuracy in percent on one group's ``n`` test samples, mean over clusters."""

    accuracy: float
    n: int


class Choice(msgspec.Struct, frozen=True):
    """The rule by which the states of a row's networks were chosen.

    ``fewest`` and ``most`` held-out samples that the rule's score rests on, by cell; 0 where it rests on none.
    ``conflicting``: the most bias-conflicting ones that there were.
    """

    rule: str
    fewest: int
    most: int
    conflicting: int = 0


class CostCell(msgspec.Struct, frozen=True):
    """Mean seconds, the mean ratio to the reference (device seconds, paired by seed) and the median peak of memory.

    ``ratio_to_retrain``: the reference is the task's, which is ``retrain`` where something is forgotten.
    ``exclusive``: nothing else of the run shared the cores, of the row's cells and of the reference's beside them.
    """

    seconds: float | None
    device_seconds: float | None
    ratio_to_retrain: float | None
    peak_bytes: int | None
    exclusive: bool


def pair(cell: Cell) -> Pair:
    """What pairs ``cell`` with its reference."""
    return cell.unit, cell.seed, cell.device


def metric_cell(name: str, clusters: Mapping[int, Sequence[Mapping[str, float | None]]]) -> MetricCell:
    """Cells of a cluster are averaged first: they are not replicates."""
    known = metric(name)
    means = {}
    for seed, values in clusters.items():
        present = [v for v in (value.get(name) for value in values) if v is not None]
        if present:
            means[seed] = sum(present) / len(present)
    if not means:
        return MetricCell(None, None, None, 0, known.unit, known.better)
    interval = t_interval(list(means.values()))
    return MetricCell(interval.mean, interval.low, interval.high, interval.n, known.unit, known.better, means)


def origin(records: Sequence[Record]) -> Origin:
    """Where the row of these records comes from; settings and parameters are those of the first."""
    first = records[0].cell
    environments = dict.fromkeys(tuple(sorted(record.environment.items())) for record in records)
    units: dict[int, list[str]] = defaultdict(list)
    for record in records:
        units[record.cell.seed].append(record.cell.unit)
    return Origin(
        settings=first.settings,
        parameters=first.parameters,
        provenance=records[0].provenance,
        threads=first.threads,
        versions=first.versions,
        records={record.cell.file: record.hash for record in records},
        seeds=sorted({record.cell.seed for record in records}),
        failed=sorted({record.cell.seed for record in records if record.status != "ok"}),
        units=dict(sorted(units.items())),
        environments=[dict(environment) for environment in environments],
        data=sorted({record.data for record in records}),
        created=(min(record.created for record in records), max(record.created for record in records)),
        external=first.external,
    )


def groups(good: Sequence[Record]) -> dict[str, GroupCell]:
    """Accuracy by group, cells of a cluster averaged first; groups without test samples are left out."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    samples: dict[str, int] = {}
    for record in good:
        for name, count in record.groups.items():
            if count.n > 0:
                found[name][record.cell.seed].append(100 * count.right / count.n)
                samples[name] = count.n
    means = {name: [sum(own) / len(own) for own in seeds.values()] for name, seeds in found.items()}
    return {name: GroupCell(sum(own) / len(own), samples[name]) for name, own in means.items()}


def choice(scenario: Any, good: Sequence[Record]) -> Choice | None:
    """How the states were chosen; None where the ``scenario``'s settings name no rule."""
    rule = getattr(scenario, "selection", None)
    if not isinstance(rule, str):
        return None
    samples = _samples(good, "selection.score")
    conflicting = max(_samples(good, "selection.standard-error"), default=0)
    return Choice(rule, min(samples, default=0), max(samples, default=0), conflicting)


def _samples(good: Sequence[Record], name: str) -> list[int]:
    return [record.metrics[name].n for record in good if name in record.metrics]


def cost(good: Sequence[Record], references: Mapping[Pair, Record]) -> CostCell:
    """What the cells of a row cost, and what their references did."""
    if not good:
        return CostCell(None, None, None, None, False)
    ratios = []
    exclusive = all(record.cost.exclusive for record in good)
    for record in good:
        reference = references.get(pair(record.cell))
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


def access(good: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Mean counts by view, summed over requests: distinct samples and labels of each, and passes."""
    total: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for record in good:
        for request in record.access:
            for view, counts in request.items():
                for what, n in counts.items():
                    total[view][what] += n / len(good)
    return {view: dict(counts) for view, counts in total.items()}
