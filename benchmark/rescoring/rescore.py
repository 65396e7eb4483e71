"""Re-scoring: what today's metrics make of the outputs that are kept beside a record, against what the record says.

Logits are scored as they are kept, in float16 (``benchmark.metrics.accuracy.rounded``), so that scoring them again
gives the same numbers; on the machine and with the packages of the record to the last bit, attacks included. What a
last bit more or less changes elsewhere is in ``allowed``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import torch

from benchmark.contracts import Measured
from benchmark.errors import InputError
from benchmark.rescoring import correcting as rescoring_correcting
from benchmark.rescoring import debiasing as rescoring_debiasing
from benchmark.rescoring import forgetting as rescoring_forgetting
from benchmark.rescoring import generating as rescoring_generating
from benchmark.rescoring.kept import Kept
from benchmark.rescoring.reported import Claim, claim_of
from benchmark.running.records import Record, Value
from benchmark.tasks import TASKS

#: Attacks by boosted trees, which split on differences of any size.
TREES = ("mia.softmax.xgboost", "mia.softmax.xgboost-balanced")
#: Attacks whose decision a few samples on its border may change.
FEW_SAMPLES = ("mia.true-class-probability.svc", "mia.loss.tpr@1fpr")
FEW = 2
#: Points of area under a curve: ties that are none elsewhere.
AREA = 0.01
#: What another order of summation changes, relative to the value.
ROUNDING = 1e-9

Rescored = Callable[[Any, Claim, Kept], dict[str, Measured]]
_BY_TASK: dict[str, tuple[Rescored, Mapping[str, str]]] = {
    "class-forget": (rescoring_forgetting.rescored, rescoring_forgetting.NOT_KEPT),
    "label-free-forget": (rescoring_forgetting.rescored, rescoring_forgetting.NOT_KEPT),
    "debias-known": (rescoring_debiasing.rescored, rescoring_debiasing.NOT_KEPT),
    "debias-unknown": (rescoring_debiasing.rescored, rescoring_debiasing.NOT_KEPT),
    "bias-correction": (rescoring_correcting.rescored, rescoring_correcting.NOT_KEPT),
    "gan-feature-removal": (rescoring_generating.rescored, rescoring_generating.NOT_KEPT),
}


def rescore(record: Record, arrays: Mapping[str, np.ndarray]) -> dict[str, Measured]:
    """Every metric that the arrays alone give, by today's code.

    Raises ArraysError where an array is missing, has another shape, or has labels that are not the scenario's, and
    InputError where the record's task or settings are not among today's.
    """
    task = TASKS.get(record.cell.task)
    try:
        scenario = msgspec.convert(record.cell.settings, task.scenario)
        task.check(scenario)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise InputError(f"settings: {error}") from error
    return rescore_claim(scenario, claim_of(record), arrays)


def rescore_claim(scenario: Any, claim: Claim, arrays: Mapping[str, np.ndarray]) -> dict[str, Measured]:
    """The same of a scenario's settings in their type, and of whatever claims something of these arrays."""
    found, _ = _BY_TASK[scenario.task]
    with _one_thread():
        return found(scenario, claim, Kept(arrays))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small tensors by the thousand: threads that wait for each other take several times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def needs(task: str, metric: str) -> str:
    """What re-scoring a metric would need that is not kept; empty where all of it is."""
    return _BY_TASK[task][1].get(metric, "")


def differences(record: Record, found: Mapping[str, Measured], *, complete: bool = True) -> list[str]:
    """What the record says otherwise than its arrays, a line for each metric.

    Unless it is to be ``complete``, it may lack metrics, as a record does that is older than they are.
    """
    said = []
    for name, measured in found.items():
        own = record.metrics.get(name)
        if own is None and complete:
            said.append(f"{name} is not in the record; its arrays give {_shown(measured)}")
        elif own is not None and not agrees(name, own, measured):
            said.append(f"{name} is {_shown(own)} in the record; its arrays give {_shown(measured)}")
    return said


def agrees(name: str, own: Value, found: Measured) -> bool:
    """Whether a record's value is the one that was found again; both may be blank."""
    if own.value is None or found.value is None:
        return own.value is None and found.value is None
    return own.n == found.n and abs(own.value - found.value) <= allowed(name, found)


def allowed(name: str, found: Measured) -> float:
    """By how much a value may differ.

    Shares of samples are the same wherever they are counted, and get what another order of summation costs. Attacks
    compute in floating point first. When the last bit of their features was varied at random, over the forgetting
    records whose outputs are kept, the boosted trees' results moved by up to 2.6 points, always less than three
    standard errors of the n samples that they judge; the area under the curve by 0.0004 points, the others not at all.
    """
    n = max(found.n, 1)
    if name in TREES:
        return 3 * 50.0 / math.sqrt(n)
    if name in FEW_SAMPLES:
        return 100.0 * FEW / n
    return AREA if name == "mia.loss.auc" else ROUNDING * max(1.0, abs(found.value or 0.0))


def _shown(value: Value | Measured) -> str:
    if value.value is None:
        return "blank"
    number = f"{value.value:.10g}" if math.isfinite(value.value) else "no number"
    return f"{number} of {value.n:,}"
