"""Concept activation vectors: an artefact as one direction in the activations of a layer (arXiv:2308.09437)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import InputError, unknown

KINDS = ("signal", "svm", "ridge", "lasso", "logistic")
#: What the regressions' strength is chosen from, by cross-validation: C of svm and logistic, alpha of ridge and lasso.
STRENGTHS = tuple(10.0**k for k in range(-5, 5))
#: Folds of the cross-validation; fewer where one of the labels has fewer samples.
FOLDS = 5


@dataclass(frozen=True)
class Concept:
    """A unit vector h (C,), float32, that points from samples without the artefact to those with it.

    ``kind`` is one of KINDS; ``seconds`` is what fitting took, activations aside. With z = maxpool(a) . h,
    ``with_artefact`` and ``without`` are the means of z over the samples with and without the artefact.
    """

    kind: str
    h: Tensor
    seconds: float
    with_artefact: float
    without: float


def pooled(a: Tensor) -> Tensor:
    """a_c (N, C): the maximum of activations (N, C, H, W) over all positions (appendix A.1)."""
    return a.amax((2, 3))


def concept_vector(kind: str, a: Tensor, t: Tensor, *, intercept: bool = True) -> Concept:
    """The vector of pooled activations ``a`` (N, C) with artefact labels ``t`` (N,), 1 where the artefact is.

    ``intercept``: whether the regressions fit h_0, as the paper's formulas do and its code does not. InputError for
    another kind, or where one of the labels does not occur or no direction was found.
    """
    if kind not in KINDS:
        raise unknown("kind of concept vector", kind, KINDS)
    a, t = a.detach().cpu().double(), t.cpu()
    fewest = 1 if kind == "signal" else 2  # cross-validation needs both labels in every fold
    if not fewest <= int(t.sum()) <= len(t) - fewest:
        raise InputError(
            f"a {kind} concept vector needs {fewest} samples with the artefact and as many without: "
            f"{int(t.sum())} of {len(t)} have it"
        )
    fit = partial(signal, a, t) if kind == "signal" else _regression(kind, a, t, intercept)
    started = time.perf_counter()
    h = fit()
    seconds = time.perf_counter() - started
    norm = h.norm()
    if not norm.isfinite() or norm == 0:
        raise InputError(f"the {kind} concept vector is {'zero' if norm == 0 else 'not finite'}: it has no direction")
    h = h / norm
    z = a @ h
    return Concept(kind, h.float(), seconds, float(z[t == 1].mean()), float(z[t == 0].mean()))


def signal(a: Tensor, t: Tensor) -> Tensor:
    """sum over n of (a_n - abar)(t_n - tbar) / sum over n of (t_n - tbar)^2 (eq. 2): the difference of class means.

    The denominator is a scale only: with it, for t in {0, 1}, the value is mean(a | t = 1) - mean(a | t = 0).
    """
    centred = t.to(a) - t.to(a).mean()
    return (a - a.mean(0)).T @ centred / centred.square().sum()


def _regression(kind: str, a: Tensor, t: Tensor, intercept: bool) -> Callable[[], Tensor]:
    """What fits the weights (C,) of scikit-learn's estimator of ``kind`` (eqs. A.2 to A.5), labels weighing the same.

    Targets are -1 and 1, which changes neither direction nor sign. The strength of regularisation is chosen from
    STRENGTHS by cross-validation in five folds, by accuracy or R^2, as in the paper's code. Ridge's penalty is the
    squared norm, as in that code; the paper prints the norm.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import GridSearchCV

    estimator, name = _estimator(kind, intercept)
    targets = 2 * t.numpy() - 1
    shares = {label: (t == label).sum().item() for label in (0, 1)}
    weights = torch.tensor([min(shares.values()) / shares[int(label)] for label in t]).numpy()
    search = GridSearchCV(estimator, {name: list(STRENGTHS)}, cv=min(FOLDS, min(shares.values())))

    def fit() -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # at the weakest regularisation, seldom chosen
            search.fit(a.numpy(), targets, sample_weight=weights)
        return torch.from_numpy(search.best_estimator_.coef_.reshape(-1).copy())

    return fit


def _estimator(kind: str, intercept: bool) -> tuple[Any, str]:
    """The estimator, and what its strength is called."""
    from sklearn import linear_model, svm

    made: dict[str, tuple[Any, str]] = {
        "svm": (svm.LinearSVC(loss="hinge", fit_intercept=intercept, random_state=0), "C"),
        "ridge": (linear_model.Ridge(fit_intercept=intercept), "alpha"),
        "lasso": (linear_model.Lasso(fit_intercept=intercept), "alpha"),
        "logistic": (linear_model.LogisticRegression(fit_intercept=intercept), "C"),
    }
    return made[kind]
