"""Whether a watched metric has become worse: paired differences over seeds, their interval, and a tolerance.

Pure functions of records. A difference is found minus kept of the same unit and seed, in what is lost: higher is worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from benchmark.gate.declaration import Watched
from benchmark.metrics.catalogue import metric
from benchmark.running.records import Record
from benchmark.tasks import TASKS

Change = Literal["same", "worse", "better", "unmeasured"]
#: Records by seed.
Seeds = Mapping[int, Record]
#: Records of a results folder by (scenario, method) and seed.
Rows = Mapping[tuple[str, str], Seeds]


class Verdict(msgspec.Struct, frozen=True):
    """What became of a watched metric over ``n`` paired seeds.

    ``mean`` loss (higher is worse) with its interval ``low`` to ``high``, in the metric's unit; None without seeds.
    ``values``: mean of the metric, kept and found. ``lost``: seeds that had a value and have none.
    """

    watched: Watched
    change: Change
    n: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[float, float] | None = None
    lost: list[int] = []


class Paired(NamedTuple):
    """One seed's values of a metric, and what was lost from kept to found."""

    kept: float
    found: float
    loss: float


def judge(watched: Watched, level: float, kept: Rows, found: Rows) -> Verdict:
    """Compare the records of a watched row, seed by seed; ``level`` is one-sided.

    Where a seed that had a value has none, the metric is worse: a blank is no result.
    """
    pairs = paired(watched, kept, found)
    lost = sorted(values_of(watched, kept).keys() - values_of(watched, found).keys())
    if len(pairs) < 2:
        return Verdict(watched, "worse" if lost else "unmeasured", len(pairs), lost=lost)
    mean, half = interval([pair.loss for pair in pairs], level)
    values = math.fsum(p.kept for p in pairs) / len(pairs), math.fsum(p.found for p in pairs) / len(pairs)
    change = "worse" if lost else changed(mean, half, watched.tolerance)
    return Verdict(watched, change, len(pairs), mean, mean - half, mean + half, values, lost)


def changed(mean: float, half: float, tolerance: float) -> Change:
    """``worse`` or ``better`` where the interval excludes 0 and the mean exceeds the tolerance."""
    if abs(mean) > half and abs(mean) > tolerance:
        return "worse" if mean > 0 else "better"
    return "same"


def interval(values: Sequence[float], level: float) -> tuple[float, float]:
    """Mean, and half the width of the Student t interval that either side is missed with probability ``level``.

    Half the width is 0 where all values are equal: then any difference is one that every seed shows. ValueError for
    fewer than two values.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        raise ValueError(f"{n} values have no spread")
    mean = math.fsum(values) / n
    if max(values) == min(values):
        return values[0], 0.0
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return mean, float(stdtrit(n - 1, 1 - level)) * error


def paired(watched: Watched, kept: Rows, found: Rows) -> list[Paired]:
    """One entry for each seed whose value is known on both sides."""
    sides = [values_of(watched, rows) for rows in (kept, found)]
    return [
        Paired(sides[0][seed][0], sides[1][seed][0], sides[1][seed][1] - sides[0][seed][1])
        for seed in sorted(sides[0].keys() & sides[1].keys())
    ]


def values_of(watched: Watched, rows: Rows) -> dict[int, tuple[float, float]]:
    """(value, loss) of a watched metric by seed, where both are known."""
    values: dict[int, tuple[float, float]] = {}
    for seed, record in rows.get(watched.row, {}).items():
        task = TASKS.get(record.cell.task)
        beside = rows.get((watched.scenario, task.reference), {}).get(seed)
        reference = beside.values() if beside is not None and beside.status == "ok" else {}
        own = record.values() if record.status == "ok" else {}
        if own and reference:
            own = {**task.derive(own, reference), **own}
        value = own.get(watched.metric)
        lost = None if value is None else loss(watched.metric, value, reference.get(watched.metric))
        if value is not None and lost is not None:
            values[seed] = value, lost
    return values


def loss(name: str, value: float, reference: float | None) -> float | None:
    """How bad a metric's value is, in its unit: lower is better; None where that cannot be told."""
    better = metric(name).better
    if better == "higher":
        return -value
    if better == "lower":
        return value
    best = {"zero": 0.0, "half": 0.5, "reference": reference}.get(better)
    return None if best is None else abs(value - best)
