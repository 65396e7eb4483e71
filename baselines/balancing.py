"""Reweighting and resampling: every group counts more the rarer it is.

Groups are class x attribute where the attributes of the training set are known, and classes where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.training.sampling import Draw, GroupTable, known_groups, plain, train_on_draws, uniformly


def group_weights(counts: Tensor, weight: Callable[[Tensor], Tensor]) -> Tensor:
    """(G,) float32 weights of groups with ``counts`` (G,) samples, scaled so that samples weigh 1 on average.

    With weight 1/n the loss is then the group-balanced one, and rates mean what they mean to the other methods.
    """
    n = counts.double()
    raw = torch.where(n > 0, weight(n.clamp_min(1)), 0.0)
    return (raw * n.sum() / (raw * n).sum()).float()


def weighted(problem: DebiasProblem, weights: Callable[[Tensor], Tensor]) -> Iterator[Draw]:
    """Uniform draws in which each sample weighs what its group does."""
    table = known_groups(problem)
    own = group_weights(table.counts.flatten(), weights).to(problem.device)[table.groups.to(problem.device)]
    for index in uniformly(problem, problem.generator("batches")):
        yield Draw(index, own[index] / len(index))


@method(
    "reweighting",
    tasks=("debias-known", "debias-unknown"),
    paper="",
    access=Access(train="xy", optional={"train": "a"}),
)
def reweighting(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """Weights 1/n_g, by group, or by class where attributes are unknown."""
    return train_on_draws(problem, weighted(problem, lambda n: 1 / n), lr_scale, decay_scale)


@method(
    "sqrt-reweighting",
    tasks=("debias-known", "debias-unknown"),
    paper="",
    access=Access(train="xy", optional={"train": "a"}),
)
def sqrt_reweighting(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """Weights 1/sqrt(n_g)."""
    return train_on_draws(problem, weighted(problem, lambda n: n**-0.5), lr_scale, decay_scale)


@method(
    "class-balanced",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:1901.05555",
    access=Access(train="xy", optional={"train": "a"}),
)
def class_balanced(
    problem: DebiasProblem, *, b: float = 0.9999, lr_scale: float = 1.0, decay_scale: float = 1.0
) -> nn.Module:
    """Weights (1 - b) / (1 - b^n_g), the class-balanced loss by effective number (Cui et al., 2019)."""
    return train_on_draws(problem, weighted(problem, lambda n: (1 - b) / (1 - b**n)), lr_scale, decay_scale)


def balanced(table: GroupTable) -> Tensor:
    """(K, A) float64: the same share of every group of a class that has samples."""
    present = (table.counts > 0).double()
    return present / present.sum(1, keepdim=True)


@method(
    "resampling",
    tasks=("debias-known", "debias-unknown"),
    paper="",
    access=Access(train="xy", optional={"train": "a"}),
)
def resampling(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """Batches in which all groups are equally frequent."""
    table, generator = known_groups(problem), problem.generator("batches")

    def indices() -> Iterator[Tensor]:
        while True:
            yield table.draw(balanced(table), problem.recipe.per_class, generator)

    return train_on_draws(problem, plain(indices()), lr_scale, decay_scale)


@method(
    "subsampling",
    tasks="debias-known",
    paper="",
    access=Access(train="xya"),
)
def subsampling(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """ERM on a part of the training set in which every group has as many samples as the smallest one."""
    table, generator = known_groups(problem), problem.generator("batches")
    size = int(table.counts[table.counts > 0].min())
    chosen = []
    for y in range(table.shape[0]):
        for a in range(table.shape[1]):
            own = table.members(y, a)
            chosen.append(own[torch.randperm(len(own), generator=generator)[:size]])
    kept = torch.cat(chosen).to(problem.device)

    def indices() -> Iterator[Tensor]:
        while True:
            n = problem.recipe.per_class * problem.num_classes
            yield kept[torch.randint(len(kept), (n,), generator=generator).to(problem.device)]

    return train_on_draws(problem, plain(indices()), lr_scale, decay_scale)
