"""GERNE: gradient extrapolation for debiased representation learning (Asaad, Shadaydeh and Denzler, ICCV 2025).

arXiv:2503.13236. Symbols are the paper's: alpha_ya is the share of class y that has attribute a, K and A the numbers
of classes and attributes; B_b and B_lb the biased and the less biased batch, c how far the latter is moved towards
balance, beta the extrapolation factor. In expectation only s = c (beta + 1) matters: s = 0 is class-balanced ERM,
s = 1 group-balanced (with c = 1: resampling), s > 1 favours the rarer groups beyond balance, for the worst group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.errors import InputError
from benchmark.training.sampling import (
    Draw,
    GroupTable,
    fit,
    joined,
    known_groups,
    train_on_draws,
    weighted_cross_entropy,
)


def less_biased(alpha: Tensor, c: float) -> Tensor:
    """p_lb(a|y) = alpha_ya + c (1/A - alpha_ya), (K, A); c in (0, 1]."""
    return alpha + c * (1 / alpha.shape[1] - alpha)


def extrapolated(alpha: Tensor, c: float, beta: float) -> Tensor:
    """p_ext(a|y) = alpha_ya + c (beta + 1) (1/A - alpha_ya), (K, A): the mix that training sees (eq. 8)."""
    return alpha + c * (beta + 1) * (1 / alpha.shape[1] - alpha)


def beta_bounds(alpha: Tensor, c: float) -> tuple[float, float]:
    """The beta for which every p_ext is in [0, 1] (eq. 9); no bound comes from a group with alpha = 1/A.

    The upper one is alpha_max / (c (alpha_max - 1/A)) - 1 (the paper's appendix C), the lower one is below -1.
    """
    off = 1 / alpha.shape[1] - alpha.flatten()
    a, off = alpha.flatten()[off != 0], off[off != 0]
    if not len(a):
        return -torch.inf, torch.inf
    ends = torch.stack([-a / (c * off) - 1, (1 - a) / (c * off) - 1])
    return float(ends.amin(0).max()), float(ends.amax(0).min())


def extrapolation_factor(alpha: Tensor, c: float, s: float) -> float:
    """beta = s/c - 1; InputError for a beta that asks for a share outside [0, 1] (eq. 9)."""
    beta = s / c - 1
    low, high = beta_bounds(alpha, c)
    if not low - 1e-9 <= beta <= high + 1e-9:
        raise InputError(
            f"gerne: s = {s} with c = {c} is beta = {beta:.4f}, outside [{low:.4f}, {high:.4f}], where no group's "
            f"weight is negative (eq. 9); s must be in [{c * (low + 1):.4f}, {c * (high + 1):.4f}]"
        )
    return beta


def pseudo_minority(scores: Tensor, labels: Tensor, t: float) -> Tensor:
    """(N,) bool: of each class y the floor(t n_y) samples whose true class the biased network finds least likely.

    InputError where that is none, or all, of a class.
    """
    minority = torch.zeros_like(labels, dtype=torch.bool)
    for y in labels.unique():
        own = (labels == y).nonzero().squeeze(1)
        size = math.floor(t * len(own) + 1e-9)  # 0.29 * 100 is 28.999... in floating point
        if not 0 < size < len(own):
            raise InputError(f"gerne: t = {t} makes {size} of the {len(own)} samples of class {int(y)} pseudo-minority")
        minority[own[scores[own].argsort(stable=True)[:size]]] = True
    return minority


def draws(table: GroupTable, c: float, beta: float, per_class: int, generator: torch.Generator) -> Iterator[Draw]:
    """Steps of algorithm 1 on L_ext = L_lb + beta (L_lb - L_b), in one backward pass; no batch of weight 0 is drawn."""
    p_lb = less_biased(table.alpha, c)
    while True:
        parts = [(1 + beta, p_lb), (-beta, table.alpha)]
        yield joined([(w, table.draw(p, per_class, generator)) for w, p in parts if w != 0])


@torch.no_grad()
def true_class_scores(problem: DebiasProblem, model: nn.Module) -> Tensor:
    """softmax(f(x_i))_{y_i} of every training sample, (N,), by the network in evaluation mode."""
    model.eval()
    batches = problem.train.everything().split(1_000)
    return torch.cat([F.softmax(model(b.x), 1).gather(1, b.y[:, None]).squeeze(1) for b in batches])


def biased_scores(problem: DebiasProblem, lr_scale: float, decay_scale: float) -> Tensor:
    """The scores by a biased network f~: trained on class-uniform batches, at its best class-balanced accuracy."""
    model, watch = problem.fresh_model("biased"), problem.auxiliary()
    classes = GroupTable(problem.train.everything().y, (problem.num_classes, 1))
    steps = draws(classes, 1.0, -1.0, problem.recipe.per_class, problem.generator("biased"))
    loss = weighted_cross_entropy(model, problem.train)
    fit(problem, model, steps, loss, watch=watch, lr_scale=lr_scale, decay_scale=decay_scale)
    watch.restore(model)
    return true_class_scores(problem, model)


def pseudo_groups(problem: DebiasProblem, t: float, lr_scale: float = 1.0, decay_scale: float = 1.0) -> GroupTable:
    """Class x (pseudo-majority, pseudo-minority) by algorithm 2; f~ has a tenth of f's rate and twice its decay."""
    rate, decay = 0.1 * lr_scale, 2 * decay_scale
    kept = problem.stage("biased", lambda: {"scores": biased_scores(problem, rate, decay)}, rate=rate, decay=decay)
    labels = problem.train.everything().y
    minority = pseudo_minority(kept["scores"], labels, t)
    return GroupTable(labels * 2 + minority.long(), (problem.num_classes, 2))


@method(
    "gerne",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:2503.13236",
    access=Access(train="xy", optional={"train": "a"}),
)
def gerne(
    problem: DebiasProblem,
    *,
    c: float = 0.5,
    s: float = 1.0,
    t: float = 0.1,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """Gradient extrapolation (Asaad et al., 2025), with the groups known, or with pseudo-groups of a biased network.

    ``t``, the share of each class that is taken for its minority, matters only where attributes are unknown; there
    beta is not bounded by eq. 9, as in the paper (proposition 1).
    """
    if not 0 < c <= 1:
        raise InputError(f"gerne: c must be above 0 and at most 1, not {c}")
    if problem.attributes_known:
        table = known_groups(problem)
        beta = extrapolation_factor(table.alpha, c, s)
    else:
        table = pseudo_groups(problem, t, lr_scale, decay_scale)
        beta = s / c - 1
    steps = draws(table, c, beta, problem.recipe.per_class, problem.generator("batches"))
    return train_on_draws(problem, steps, lr_scale, decay_scale)
