"""Searches for two positive factors with a high score: a grid, random points, Bayesian optimisation.

Each function gives a search of a number of points of a box, the decimal logarithms between which the factors lie, by
name. A search calls the score of every point and keeps nothing: that is up to who gives the score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

from benchmark.errors import InputError, unknown

#: The decimal logarithms between which each of two factors lies.
Box = Mapping[str, tuple[float, float]]
#: How good two factors are: higher is better.
Score = Callable[[float, float], float]
Search = Callable[[Score], None]

#: Evaluations at random before a model of the score is fitted to them.
STARTUP = 4


def at(share: float, bounds: tuple[float, float]) -> float:
    """The factor at a share of the way between two decimal logarithms."""
    low, high = bounds
    factor: float = 10.0 ** (low + share * (high - low))
    return factor


def grid(box: Box, evaluations: int) -> Search:
    """A square grid: the middles of as many equal parts of either side, row by row, evaluated as a whole.

    InputError unless ``evaluations`` is a square number.
    """
    _check(evaluations)
    side = math.isqrt(evaluations)
    if side**2 != evaluations:
        raise InputError(f"evaluations must be a square number, not {evaluations}")
    first, second = box.values()

    def search(score: Score) -> None:
        for i in range(side):
            for j in range(side):
                score(at((i + 0.5) / side, first), at((j + 0.5) / side, second))

    return search


def random_points(box: Box, evaluations: int, generator: torch.Generator) -> Search:
    """Points drawn by ``generator``, log-uniform in the box."""
    _check(evaluations)
    first, second = box.values()

    def search(score: Score) -> None:
        for one, other in torch.rand(evaluations, 2, generator=generator, dtype=torch.float64).tolist():
            score(at(one, first), at(other, second))

    return search


def bayesian(box: Box, evaluations: int, sampler: str, seed: int) -> Search:
    """Bayesian optimisation by Optuna, STARTUP points at random first.

    ``sampler``: ``tpe``, Optuna's default (Bergstra et al. 2011), or ``gp``, a Gaussian process. InputError for another
    one, and where Optuna is not installed.
    """
    _check(evaluations)
    if sampler not in ("tpe", "gp"):
        raise unknown("sampler", sampler, ("tpe", "gp"))
    try:
        import optuna
    except ImportError as error:
        raise InputError("Bayesian optimisation needs Optuna: install the extra tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
    first, second = box

    def search(score: Score) -> None:
        def objective(trial: optuna.Trial) -> float:
            factors = {
                name: trial.suggest_float(name, 10.0**low, 10.0**high, log=True) for name, (low, high) in box.items()
            }
            return score(factors[first], factors[second])

        chosen = kinds[sampler](seed=seed % 2**32, n_startup_trials=STARTUP)
        optuna.create_study(direction="maximize", sampler=chosen).optimize(objective, n_trials=evaluations)

    return search


def _check(evaluations: int) -> None:
    if evaluations < 1:
        raise InputError(f"evaluations must be at least 1, not {evaluations}")
