"""Deep unlearning (Kodge, Saha and Roy, arXiv:2312.00761) with another search for its scaling factors.

The paper tries a grid (Algorithm 1). Here a whole grid of any size, random points and Bayesian optimisation have the
same number of evaluations of the same score in the same range, and each may end with the model as it was.
"""

from __future__ import annotations

import torch
from torch import nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.models.edited import EditedAccuracies, Weights
from benchmark.models.layer_inputs import weight_matrices
from benchmark.models.sampled_inputs import Sampling
from benchmark.training import searching
from benchmark.training.curves import with_curves
from methods.svd_forgetting import collect, needless, projectors, updated

#: Decimal logarithms between which alpha_r and alpha_f are searched. The paper's grid of 5 x 5 is, but for rounding to
#: 30 and 300, the middles of as many equal parts.
ALPHAS = {"alpha_r": (0.75, 3.25), "alpha_f": (-0.25, 2.25)}


class Edits:
    """ACC_r (1 - ACC_f) on the selection split of edits at given factors, the best of which is kept.

    At first that is the model as it is. ``scores`` are those of all edits, in their order.
    """

    @torch.no_grad()
    def __init__(self, problem: ForgetProblem, sampling: Sampling) -> None:
        self.model = problem.model
        self.A_r, self.A_f = collect(problem, sampling, 1.0)
        self.W = weight_matrices(self.model, self.A_r)
        self.accuracies = EditedAccuracies(problem)
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

    def _score(self, weights: Weights) -> float:
        acc_r, acc_f = self.accuracies(weights)
        return acc_r * (1 - acc_f)


def searched(problem: ForgetProblem, search: searching.Search, sampling: Sampling) -> nn.Module:
    """The best of what ``search`` looks at; its ``curves`` have the score of every evaluation."""
    edits = Edits(problem, sampling)
    search(edits)
    edits.model.load_state_dict(edits.best, strict=False)
    return with_curves(edits.model, {"search": edits.scores})


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
    search = searching.grid(ALPHAS, evaluations)
    return searched(problem, search, Sampling(retain_per_class, forget_samples, max_patches, window))


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
    search = searching.random_points(ALPHAS, evaluations, problem.generator("random search"))
    return searched(problem, search, Sampling(retain_per_class, forget_samples, max_patches, window))


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
    search = searching.bayesian(ALPHAS, evaluations, sampler, problem.seed)
    return searched(problem, search, Sampling(retain_per_class, forget_samples, max_patches, window))
