"""What each metric is called, its unit, and which way is better. Reports read this without torch."""

from __future__ import annotations

from benchmark.errors import unknown
from benchmark.metrics.catalogue.correction import CORRECTION
from benchmark.metrics.catalogue.debiasing import DEBIASING
from benchmark.metrics.catalogue.forgetting import FORGETTING
from benchmark.metrics.catalogue.generation import GENERATION
from benchmark.metrics.metric import Metric

METRICS = {metric.name: metric for metric in (*FORGETTING, *DEBIASING, *CORRECTION, *GENERATION)}


def metric(name: str) -> Metric:
    """The metric called ``name``; ``<name>.gap`` is its difference to retraining, zero is best."""
    base = name.removesuffix(".gap")
    if base not in METRICS:
        raise unknown("metric", name, METRICS)
    found = METRICS[base]
    if name == base:
        return found
    unit = "points" if found.unit == "%" else found.unit
    return Metric(name, f"{found.label} gap", unit, "zero", f"{found.summary}; difference to retraining")
