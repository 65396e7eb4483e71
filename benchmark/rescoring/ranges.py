"""Which metrics a task's records may have, and between which bounds their values can lie at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

from benchmark.metrics.catalogue import METRICS
from benchmark.running.records import Value
from benchmark.tasks import TASKS

#: What rounding may add to a bound.
SLACK = 1e-6
#: Metrics whose bounds are not those of their unit.
_OWN = {
    "pul": (-math.inf, 100.0),
    "pul.at-quality": (-math.inf, 100.0),
    "kid": (-math.inf, math.inf),
    "kid.ratio": (-math.inf, math.inf),
    "cav.alignment": (-100.0, 100.0),
    "cav.alignment.individual": (-100.0, 100.0),
    "cav.alignment@class": (-100.0, 100.0),
    "change.parameters": (0.0, math.inf),
    "change.features": (0.0, math.inf),
    "tcav": (0.0, 1.0),
    "tcav.positions": (0.0, 1.0),
    "forgetting.quality": (0.0, 1.0),
}
_BY_UNIT = {"%": (0.0, 100.0), "points": (-100.0, 100.0)}
#: Units of metrics that are taken over samples, so that there is no value without any.
_OF_SAMPLES = ("%", "points", "")


def bounds(name: str) -> tuple[float, float]:
    """The least and the largest value that the metric ``name`` of the catalogue can have."""
    return _OWN.get(name) or _BY_UNIT.get(METRICS[name].unit, (0.0, math.inf))


@cache
def recorded(task: str) -> frozenset[str]:
    """Metrics that evaluation measures; those that reports derive from other records are none of a record's."""
    known = TASKS.get(task)
    some = dict.fromkeys(known.metrics, 50.0)
    own = set(known.metrics) - set(known.derive(some, some))
    return frozenset(name for name in METRICS if name in own or name.partition("@")[0] in own)


def impossible(metrics: Mapping[str, Value], task: str) -> list[str]:
    """What no evaluation of the task can have measured, a line each."""
    wrong = []
    for name, found in metrics.items():
        if name not in recorded(task):
            wrong.append(f"metric {name!r} is none that task {task} measures")
            continue
        low, high = bounds(name)
        value = found.value
        if value is not None and not (math.isfinite(value) and low - SLACK <= value <= high + SLACK):
            wrong.append(f"{name} is {value:g}, which it cannot be")
        least = 1 if value is not None and METRICS[name].unit in _OF_SAMPLES else 0
        if found.n < least:
            wrong.append(f"{name} is of {found.n} samples")
    return wrong
