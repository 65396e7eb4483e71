"""SVD class forgetting (arXiv:2312.00761) without one of its parts, each variant at the best of 25 settings.

What is left of a variant is chosen anew on the selection split, among as many settings for each: a part that others
make up for is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import unknown
from benchmark.models.layer_inputs import InputMatrix, weight_matrices
from benchmark.models.sampled_inputs import Inputs, Sampling
from benchmark.studies.measuring.forget_problems import Posed, one_thread, posed, score
from methods.ablations.svd_forgetting import PRECISE, Subspace
from methods.svd_forgetting import ALPHA_F, ALPHA_R, Projector, collect, needless, updated

Projectors = Mapping[str, Projector]
#: Shares of the energy that unscaled directions hold.
ENERGY_R = (0.8, 0.9, 0.95, 0.99, 0.999)
ENERGY_F = (0.3, 0.5, 0.7, 0.9, 0.99)
#: Where one factor is left, as many values of it, from a tenth (R) or a hundredth (F) of the paper's least to its most.
ONLY_R = tuple(10 ** (i / 24 * 3) for i in range(25))
ONLY_F = tuple(10 ** (-2 + i / 24 * 4) for i in range(25))
FIELDS = ("suite", "scenario", "variant")


class All(Projector):
    """The identity: every direction matters."""

    def __init__(self) -> None: ...

    def __call__(self, X: Tensor) -> Tensor:
        return X


class Nothing(All):
    """The zero projector: no direction matters."""

    def __call__(self, X: Tensor) -> Tensor:
        return torch.zeros_like(X)


Maker = Callable[[InputMatrix, float], Projector]


def _all(A: InputMatrix, setting: float) -> Projector:
    return All()


def _nothing(A: InputMatrix, setting: float) -> Projector:
    return Nothing()


#: Variants: how P_r and P_f are made, and the settings that are tried of each.
VARIANTS: dict[str, tuple[Maker, tuple[float, ...], Maker, tuple[float, ...]]] = {
    "whole": (Projector, ALPHA_R, Projector, ALPHA_F),
    "no scaling": (Subspace, ENERGY_R, Subspace, ENERGY_F),
    "retain unscaled": (Subspace, ENERGY_R, Projector, ALPHA_F),
    "forget unscaled": (Projector, ALPHA_R, Subspace, ENERGY_F),
    "no P_r": (_nothing, (0.0,), Projector, ONLY_F),
    "no P_f": (Projector, ONLY_R, _all, (0.0,)),
}


@one_thread
def measure(point: dict[str, Any], seed: int) -> dict[str, float]:
    """Accuracies in percent of the setting with the best ``selection`` score, of equal ones the first tried.

    ``retain`` and ``forget`` are test accuracies, ``test`` is ACC_r (1 - ACC_f) of them. InputError for a variant that
    is none.
    """
    for name in point:
        if name not in FIELDS:
            raise unknown("field of svd_variants", name, FIELDS)
    variant = str(point["variant"])
    if variant not in VARIANTS:
        raise unknown("variant", variant, VARIANTS)
    own, A_r, A_f = _given(point.get("suite", "embedded"), point["scenario"], seed)
    of_r, settings_r, of_f, settings_f = VARIANTS[variant]
    W = weight_matrices(own.problem.model, A_r)
    best, best_score = dict[str, Tensor](), score(own.chosen_by({}))
    every_f = {setting: _made(of_f, A_f, setting) for setting in settings_f}
    with torch.no_grad():
        for setting in settings_r:
            W_free = needless(W, _made(of_r, A_r, setting))
            for P_f in every_f.values():
                edit = updated(own.problem.model, W, W_free, P_f)
                now = score(own.chosen_by(edit))
                if now > best_score:
                    best, best_score = edit, now
        acc_r, acc_f = own.judged_by(best)
    return {"selection": best_score, "test": score((acc_r, acc_f)), "retain": 100 * acc_r, "forget": 100 * acc_f}


@torch.no_grad()
def _made(maker: Maker, inputs: Inputs, setting: float) -> Projectors:
    return {layer: maker(A, setting) for layer, A in inputs.items()}


@lru_cache(maxsize=4)
def _given(suite: str, scenario: str, seed: int) -> tuple[Posed, Inputs, Inputs]:
    """The problem and what enters its layers, in float64: unscaled directions need it."""
    own = posed(suite, scenario, "svd-forgetting", seed)  # which may train the base model
    with torch.no_grad():
        return own, *collect(own.problem, Sampling(), PRECISE)
