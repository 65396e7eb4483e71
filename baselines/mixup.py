"""Mixup: training on convex combinations of two samples and of their labels (Zhang et al., 2018, arXiv:1710.09412)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.errors import InputError
from benchmark.models.surgery import head, representation
from benchmark.training.sampling import fit, uniformly


def beta_numbers(alpha: float, generator: torch.Generator) -> np.random.Generator:
    """Where numbers of Beta(alpha, alpha) come from: torch's generator, by its seed, has none.

    InputError for an ``alpha`` that is not above 0.
    """
    if alpha <= 0:
        raise InputError(f"alpha of the Beta distribution must be above 0, not {alpha}")
    return np.random.default_rng(generator.initial_seed())


def mixed_logits(model: nn.Module, one: Tensor, two: Tensor, share: Tensor) -> Tensor:
    """Logits (B, K) of share * one + (1 - share) * two; share (B,).

    Tokens cannot be mixed: of text it is the two representations that are, before the head.
    """
    if not one.is_floating_point():
        features = representation(model, torch.cat([one, two]))
        logits: Tensor = head(model)(torch.lerp(features[len(one) :], features[: len(one)], share[:, None]))
        return logits
    mixed: Tensor = model(torch.lerp(two, one, share.view(-1, *[1] * (one.dim() - 1))))
    return mixed


def mixed_cross_entropy(
    model: nn.Module, one: tuple[Tensor, Tensor], two: tuple[Tensor, Tensor], share: Tensor
) -> Tensor:
    """Mean cross-entropy to mixed labels of mixed inputs: ``one`` and ``two`` are (inputs, labels), share (B,)."""
    logits = mixed_logits(model, one[0], two[0], share)
    first, second = (F.cross_entropy(logits, labels, reduction="none") for labels in (one[1], two[1]))
    return torch.lerp(second, first, share).mean()


@method("mixup", tasks=("debias-known", "debias-unknown"), paper="arXiv:1710.09412", access=Access(train="xy"))
def mixup(problem: DebiasProblem, *, alpha: float = 0.2, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """Mixup (Zhang et al., 2018) with the samples of the same batch, one lambda ~ Beta(alpha, alpha) a batch."""
    model, shuffle = problem.model, problem.generator("partners")
    numbers = beta_numbers(alpha, problem.generator("shares"))

    def loss(index: Tensor) -> Tensor:
        batch = problem.train.batch(index)
        x, y = batch.x, batch.y
        partner = torch.randperm(len(index), generator=shuffle).to(index.device)
        share = torch.full((len(index),), numbers.beta(alpha, alpha), device=index.device)
        return mixed_cross_entropy(model, (x, y), (x[partner], y[partner]), share)

    items = uniformly(problem, problem.generator("batches"))
    fit(problem, model, items, loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return model
