"""GERNE (arXiv:2503.13236, ``methods/gerne.py``) with one part changed: where beta ends, and what two batches are for.

``gerne+unbounded`` takes any beta, so that the weight of the largest groups may be negative. ``gerne+overlapping`` has
in B_lb as many samples of B_b as it can, ``gerne+weighted`` takes no second batch: it draws B_lb alone and weighs its
groups (both of the paper's appendix B). All have GERNE's gradient in expectation; what differs is its variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.errors import InputError
from benchmark.training.sampling import Draw, GroupTable, joined, known_groups, train_on_draws
from methods.gerne import draws, extrapolated, extrapolation_factor, less_biased, pseudo_groups

#: How the steps of a training run are drawn: (groups, c, beta, samples a class, generator) -> draws, for ever.
Steps = Callable[[GroupTable, float, float, int, torch.Generator], Iterator[Draw]]


def kept_from(b: Tensor, lb: Tensor, groups: Tensor) -> Tensor:
    """``lb`` (N,) with samples of ``b`` (M,) in the place of as many of the same group as ``b`` has; (N,) positions.

    ``groups`` are those of all samples; both batches are ordered by them, as ``GroupTable.draw`` gives them.
    """
    group_b, group_lb = groups[b], groups[lb]
    rank = torch.arange(len(lb)) - torch.searchsorted(group_lb, group_lb)
    twin = torch.searchsorted(group_b, group_lb) + rank
    there = twin < torch.searchsorted(group_b, group_lb, right=True)
    return torch.where(there, b[twin.clamp(max=len(b) - 1)], lb)


def overlapping(table: GroupTable, c: float, beta: float, per_class: int, generator: torch.Generator) -> Iterator[Draw]:
    """Steps of L_ext = (1 + beta) L_lb - beta L_b, where B_lb is B_b with as few samples replaced as p_lb asks for."""
    p_lb = less_biased(table.alpha, c)
    while True:
        b = table.draw(table.alpha, per_class, generator).cpu()
        lb = kept_from(b, table.draw(p_lb, per_class, generator).cpu(), table.groups)
        yield joined([(1 + beta, lb.to(table.device)), (-beta, b.to(table.device))])


def reweighted(table: GroupTable, c: float, beta: float, per_class: int, generator: torch.Generator) -> Iterator[Draw]:
    """Steps on B_lb alone in which each sample weighs p_ext / p_lb of its group."""
    p_lb = less_biased(table.alpha, c)
    weights = torch.where(p_lb > 0, extrapolated(table.alpha, c, beta) / p_lb, 0.0).flatten().float()
    while True:
        index = table.draw(p_lb, per_class, generator)
        own = weights[table.groups[index.cpu()]] / len(index)
        yield Draw(index, own.to(table.device))


def check_c(name: str, c: float) -> None:
    """InputError unless c is in (0, 1]."""
    if not 0 < c <= 1:
        raise InputError(f"{name}: c must be above 0 and at most 1, not {c}")


def extrapolate(
    problem: DebiasProblem, steps: Steps, c: float, s: float, t: float, lr_scale: float, decay_scale: float
) -> nn.Module:
    """GERNE with its steps drawn by ``steps``; InputError as GERNE's own."""
    if problem.attributes_known:
        table = known_groups(problem)
        beta = extrapolation_factor(table.alpha, c, s)
    else:
        table, beta = pseudo_groups(problem, t, lr_scale, decay_scale), s / c - 1
    items = steps(table, c, beta, problem.recipe.per_class, problem.generator("batches"))
    return train_on_draws(problem, items, lr_scale, decay_scale)


@method(
    "gerne+unbounded",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:2503.13236",
    access=Access(train="xy", optional={"train": "a"}),
)
def gerne_unbounded(
    problem: DebiasProblem,
    *,
    c: float = 0.5,
    beta: float = 1.0,
    t: float = 0.1,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """GERNE with beta for a hyper-parameter, which eq. 9 does not bound: beyond, the largest groups weigh below 0."""
    check_c("gerne+unbounded", c)
    known = problem.attributes_known
    table = known_groups(problem) if known else pseudo_groups(problem, t, lr_scale, decay_scale)
    items = draws(table, c, beta, problem.recipe.per_class, problem.generator("batches"))
    return train_on_draws(problem, items, lr_scale, decay_scale)


@method(
    "gerne+overlapping",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:2503.13236",
    access=Access(train="xy", optional={"train": "a"}),
)
def gerne_overlapping(
    problem: DebiasProblem,
    *,
    c: float = 0.5,
    s: float = 1.0,
    t: float = 0.1,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """GERNE whose less biased batch is the biased one with as few samples replaced as possible (appendix B)."""
    check_c("gerne+overlapping", c)
    return extrapolate(problem, overlapping, c, s, t, lr_scale, decay_scale)


@method(
    "gerne+weighted",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:2503.13236",
    access=Access(train="xy", optional={"train": "a"}),
)
def gerne_weighted(
    problem: DebiasProblem,
    *,
    c: float = 0.5,
    s: float = 1.0,
    t: float = 0.1,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """GERNE's expectation from one batch: the less biased one, its groups weighted by p_ext / p_lb (appendix B)."""
    check_c("gerne+weighted", c)
    return extrapolate(problem, reweighted, c, s, t, lr_scale, decay_scale)
