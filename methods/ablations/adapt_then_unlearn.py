"""Adapt then Unlearn (arXiv:2309.14054, ``methods/adapt_then_unlearn.py``) with one part of stage 1 changed.

``+negatives``: a number of negatives is asked for instead of a number of images among which they are. ``+random``: the
adapted generators are moved to somewhere else as far from the original. Each entry of their way there gets the place
and the sign of another entry of the same tensor, the same one for all of them: every tensor's length stays, and every
distance between original and adapted generators, and only that it is their direction is lost. What such generators
do as well as the adapted ones is no effect of what the direction means.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, method
from benchmark.training.screening import so_many_negatives
from methods.adapt_then_unlearn import Tensors, adapt, el2, unlearn
from methods.adapt_then_unlearn_variants import adapted, extrapolated

# So many negatives.


def adapted_to(problem: GanProblem, models: int, negatives: int, steps: int, lam: float) -> dict[str, Tensor]:
    """Stage 1 with just ``negatives`` negatives a model, computed once for all methods of this file that ask for it."""
    found = problem.stage(
        "adapted to so many",
        lambda: adapt(problem, models, lambda role: so_many_negatives(problem, negatives, role), steps, lam),
        models=models,
        negatives=negatives,
        steps=steps,
        lam=lam,
    )
    return {name: found[name].contiguous() for name, _ in problem.model.named_parameters()}


@method(
    "atu-el2+negatives",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted to so many",
)
def atu_el2_negatives(
    problem: GanProblem,
    *,
    negatives: int = 30,
    gamma: float = 100.0,
    alpha: float = 0.1,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn, EL2, from just so many negatives for each adapted generator."""
    theta_N = adapted_to(problem, models, negatives, adapt_steps, lam)
    return unlearn(problem, theta_N, lambda d: el2(d, alpha), gamma, images, steps, scale)


@method(
    "extrapolation+negatives",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted to so many",
)
def extrapolation_negatives(
    problem: GanProblem,
    *,
    negatives: int = 30,
    s: float = -0.5,
    models: int = 3,
    adapt_steps: int = 200,
    lam: float = 1.0,
) -> nn.Module:
    """Extrapolation away from generators adapted to just so many negatives each."""
    return extrapolated(problem, adapted_to(problem, models, negatives, adapt_steps, lam), s)


# Somewhere else as far away.


def elsewhere(problem: GanProblem, models: Tensors) -> dict[str, Tensor]:
    """theta_G + P_l (theta_N,l - theta_G,l) for each tensor l (M, ...): P_l permutes entries and draws signs."""
    rng, theta = problem.generator("elsewhere"), dict(problem.model.named_parameters())
    found = {}
    for name, each in models.items():
        start, size = theta[name].detach(), theta[name].numel()
        order, signs = torch.randperm(size, generator=rng), torch.randint(2, (size,), generator=rng) * 2 - 1
        way = (each - start).flatten(1)[:, order.to(each.device)] * signs.to(each)
        found[name] = start + way.reshape(each.shape)
    return found


@method(
    "atu-el2+random",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def atu_el2_random(
    problem: GanProblem,
    *,
    gamma: float = 100.0,
    alpha: float = 0.1,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn, EL2, away from places that are as far as the adapted generators, in a random direction."""
    theta_N = elsewhere(problem, adapted(problem, models, adapt_images, adapt_steps, lam))
    return unlearn(problem, theta_N, lambda d: el2(d, alpha), gamma, images, steps, scale)


@method(
    "extrapolation+random",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def extrapolation_random(
    problem: GanProblem,
    *,
    s: float = -0.5,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
) -> nn.Module:
    """Extrapolation as far as along the adapted generators, in a random direction."""
    return extrapolated(problem, elsewhere(problem, adapted(problem, models, adapt_images, adapt_steps, lam)), s)
