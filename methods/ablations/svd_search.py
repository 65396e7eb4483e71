"""Deep unlearning (Kodge, Saha and Roy, arXiv:2312.00761) with another search for its scaling factors.

The paper tries a grid (Algorithm 1). Here a whole grid of any size, random points and Bayesian optimisation have the
same number of evaluations of the same score in the same range, and each may end with the model as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.errors import InputError, unknown
from benchmark.models.layer_inputs import weight_matrices
from methods.svd_forgetting import Inputs, Selection, Weights, collect, needless, projectors, updated

#: Decimal logarithms between which alpha_r and alpha_f are searched. The paper's grid of 5 x 5 is, but for rounding to
#: 30 and 300, the middles of as many equal parts.
ALPHAS = ((0.75, 3.25), (-0.25, 2.25))
#: Evaluations at random before a model of the score is fitted to them.
STARTUP = 4

Score = Callable[[float, float], float]


class Search:
    """ACC_r (1 - ACC_f) on the selection split of edits at given factors, the best of which is kept.

    At first that is the model as it is. ``scores`` are those of all edits, in their order.
    """

    def __init__(self, problem: ForgetProblem, A_r: Inputs, A_f: Inputs) -> None:
        self.model, self.A_r, self.A_f = problem.model, A_r, A_f
        self.W = weight_matrices(self.model, A_r)
        self.accuracies = Selection(problem)
        self.best: Weights = {}
        self.best_score = self._score({})
        self.scores: list[float] = []

    @torch.no_grad()
    def __call__(self, alpha_r: float, alpha_f: float) -> float:
        W_free = needless(self.W, projectors(self.A_r, alpha_r))
        weights = updated(self.model, self.W, W_free, projectors(self.A_f, alpha_f))
        score = self._score(weights)
        self.scores.append(score)
        if score > self.best_score:
            self.best, self.best_score = weights, score
        return score

    @torch.no_grad()
    def _score(self, weights: Weights) -> float:
        acc_r, acc_f = self.accuracies(weights)
        return acc_r * (1 - acc_f)


def searched(
    problem: ForgetProblem,
    explore: Callable[[Score], None],
    evaluations: int,
    retain_per_class: int,
    forget_samples: int,
    max_patches: int,
    window: int,
) -> nn.Module:
    """The best of what ``explore`` looks at; its ``curves`` have the score of every evaluation."""
    if evaluations < 1:
        raise InputError(f"evaluations must be at least 1, not {evaluations}")
    with torch.no_grad():
        A_r, A_f = collect(problem, retain_per_class, forget_samples, max_patches, window, 1.0)
    search = Search(problem, A_r, A_f)
    explore(search)
    search.model.load_state_dict(search.best, strict=False)
    search.model.curves = {"search": search.scores}  # type: ignore[assignment]
    return search.model


def middle(share: float, bounds: tuple[float, float]) -> float:
    """The factor at a share of the way between two decimal logarithms."""
    low, high = bounds
    return 10.0 ** (low + share * (high - low))


@method(
    "svd-forgetting+grid",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", selection="xy", max_samples={"retain": 1000, "forget": 900}),
)
def grid(
    problem: ForgetProblem,
    *,
    evaluations: int = 25,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning with a square grid of any size, evaluated as a whole: with 25 points about the paper's own."""
    side = math.isqrt(max(evaluations, 0))
    if side**2 != evaluations:
        raise InputError(f"svd-forgetting+grid: evaluations must be a square number, not {evaluations}")

    def explore(score: Score) -> None:
        for i in range(side):
            for j in range(side):
                score(middle((i + 0.5) / side, ALPHAS[0]), middle((j + 0.5) / side, ALPHAS[1]))

    return searched(problem, explore, evaluations, retain_per_class, forget_samples, max_patches, window)


@method(
    "svd-forgetting+random-search",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", selection="xy", max_samples={"retain": 1000, "forget": 900}),
)
def random_search(
    problem: ForgetProblem,
    *,
    evaluations: int = 25,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning with scaling factors drawn at random, log-uniform where the paper's grid lies."""

    def explore(score: Score) -> None:
        generator = problem.generator("random search")
        for share_r, share_f in torch.rand(evaluations, 2, generator=generator, dtype=torch.float64).tolist():
            score(middle(share_r, ALPHAS[0]), middle(share_f, ALPHAS[1]))

    return searched(problem, explore, evaluations, retain_per_class, forget_samples, max_patches, window)


@method(
    "svd-forgetting+optuna",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", selection="xy", max_samples={"retain": 1000, "forget": 900}),
)
def bayesian(
    problem: ForgetProblem,
    *,
    evaluations: int = 25,
    sampler: str = "tpe",
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning with scaling factors by Bayesian optimisation where the paper's grid lies.

    ``sampler``: ``tpe``, Optuna's default (Bergstra et al. 2011), or ``gp``, a Gaussian process.
    """
    if sampler not in ("tpe", "gp"):
        raise unknown("sampler", sampler, ("tpe", "gp"))

    def explore(score: Score) -> None:
        _optimise(score, evaluations, sampler, problem.seed)

    return searched(problem, explore, evaluations, retain_per_class, forget_samples, max_patches, window)


def _optimise(score: Score, evaluations: int, sampler: str, seed: int) -> None:
    """Maximise by Optuna, STARTUP evaluations at random first."""
    try:
        import optuna
    except ImportError as error:
        raise InputError("svd-forgetting+optuna needs Optuna: install the extra tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {"tpe": optuna.samplers.TPESampler, "gp": optuna.samplers.GPSampler}
    study = optuna.create_study(
        direction="maximize", sampler=kinds[sampler](seed=seed % 2**32, n_startup_trials=STARTUP)
    )
    box = {name: (10.0**low, 10.0**high) for name, (low, high) in zip("rf", ALPHAS, strict=True)}
    study.optimize(
        lambda trial: score(*(trial.suggest_float(name, *bounds, log=True) for name, bounds in box.items())),
        n_trials=evaluations,
    )
