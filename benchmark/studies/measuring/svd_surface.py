"""How good SVD class forgetting is at every pair of scaling factors (arXiv:2312.00761), all of one problem at once."""

from __future__ import annotations

from typing import Any

import torch

from benchmark.errors import unknown
from benchmark.models.layer_inputs import weight_matrices
from benchmark.models.sampled_inputs import Sampling
from benchmark.studies.measuring.forget_problems import Posed, one_thread, posed, score
from methods.svd_forgetting import collect, needless, projectors, updated

#: The paper's grids of all data sets are inside: alpha_r from 10 to 3,000, alpha_f from 1 to 300.
ALPHA_R = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
ALPHA_F = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
#: The paper's pair for CIFAR-10, which is also the method's default.
PAPER = (100.0, 3.0)
#: Points of the score by which a pair may be worse than the best one and still be as good.
CLOSE = 2.0
FIELDS = ("suite", "scenario", "epochs", "data")


def at(kind: str, alpha_r: float, alpha_f: float) -> str:
    """The key of a value at one pair; ``kind`` is selection, retain or forget."""
    return f"{kind}@{alpha_r:g}/{alpha_f:g}"


@one_thread
def measure(point: dict[str, Any], seed: int) -> dict[str, float]:
    """Accuracies in percent after the edit at each of 49 pairs, and what follows from them.

    ``selection@R/F`` is ACC_r (1 - ACC_f) on the selection split at alpha_r R and alpha_f F; ``retain@R/F`` and
    ``forget@R/F`` are test accuracies. ``chosen`` is the score on test samples of the pair that is best on the
    selection split (the mean where several are), ``paper`` that of the paper's pair, ``plateau`` the share of pairs, in
    percent, within 2 points of the best on test samples. ``data`` in the point is a name for figures only.
    """
    for name in point:
        if name not in FIELDS:
            raise unknown("field of svd_surface", name, FIELDS)
    own = posed(point.get("suite", "embedded"), point["scenario"], "svd-forgetting", seed, int(point.get("epochs", 0)))
    values = scores(own)
    return values | summary(values)


@torch.inference_mode()
def scores(own: Posed) -> dict[str, float]:
    """The values at every pair."""
    A_r, A_f = collect(own.problem, Sampling(), *ALPHA_R, *ALPHA_F)
    W = weight_matrices(own.problem.model, A_r)
    P_f = {alpha_f: projectors(A_f, alpha_f) for alpha_f in ALPHA_F}
    values: dict[str, float] = {}
    for alpha_r in ALPHA_R:
        W_free = needless(W, projectors(A_r, alpha_r))
        for alpha_f in ALPHA_F:
            edit = updated(own.problem.model, W, W_free, P_f[alpha_f])
            acc_r, acc_f = own.judged_by(edit)
            values[at("selection", alpha_r, alpha_f)] = score(own.chosen_by(edit))
            values[at("retain", alpha_r, alpha_f)] = 100 * acc_r
            values[at("forget", alpha_r, alpha_f)] = 100 * acc_f
    return values


def tested(values: dict[str, float], pair: tuple[float, float]) -> float:
    """ACC_r (1 - ACC_f) in percent on test samples at a pair."""
    return values[at("retain", *pair)] * (1 - values[at("forget", *pair)] / 100)


def chosen(values: dict[str, float]) -> list[tuple[float, float]]:
    """The pairs that are best on the selection split: several, where they are equal."""
    scores = {(r, f): values[at("selection", r, f)] for r in ALPHA_R for f in ALPHA_F}
    return [pair for pair, value in scores.items() if value == max(scores.values())]


def transferred(pairs: list[tuple[float, float]], values: dict[str, float]) -> float:
    """The score on test samples, in percent, that pairs from elsewhere have here: the mean of them."""
    return sum(tested(values, pair) for pair in pairs) / len(pairs)


def summary(values: dict[str, float]) -> dict[str, float]:
    """What a surface comes to."""
    every = [tested(values, (r, f)) for r in ALPHA_R for f in ALPHA_F]
    close = sum(value >= max(every) - CLOSE for value in every)
    return {
        "chosen": transferred(chosen(values), values),
        "paper": tested(values, PAPER),
        "plateau": 100 * close / len(every),
    }
