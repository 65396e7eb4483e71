"""Elastic weight consolidation (Kirkpatrick et al., 2017) of a generator, as in Li et al. (2020, arXiv:2012.02780)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models.gan import Generator
from benchmark.training.adversarial import Penalty

#: Generated images that the Fisher information is estimated from.
IMAGES = 32


def diagonal_fisher(
    generator: Generator, discriminator: nn.Module, names: Sequence[str], rng: torch.Generator, images: int = IMAGES
) -> dict[str, Tensor]:
    """F_i = 1/n sum_k (dD(G(z_k)) / d theta_i)^2 by name: of the discriminator's raw logit, both networks as they are.

    The n logits are of one batch; networks are in evaluation mode while it is computed.
    """
    modes = generator.training, discriminator.training
    required = [parameter.requires_grad for parameter in generator.parameters()]
    generator.eval().requires_grad_(True)
    discriminator.eval()
    parameters = dict(generator.named_parameters())
    leaves = [parameters[name] for name in names]
    logits = discriminator(generator(generator.latents(images, rng)))
    total = [torch.zeros_like(leaf) for leaf in leaves]
    for k in range(images):
        gradients = torch.autograd.grad(logits[k], leaves, retain_graph=k + 1 < images, materialize_grads=True)
        total = [t + g.square() for t, g in zip(total, gradients, strict=True)]
    for parameter, was in zip(generator.parameters(), required, strict=True):
        parameter.requires_grad_(was)
    generator.train(modes[0])
    discriminator.train(modes[1])
    return {name: t / images for name, t in zip(names, total, strict=True)}


def consolidation(fisher: Mapping[str, Tensor], anchor: Mapping[str, Tensor], lam: float) -> Penalty:
    """lam/2 sum_i F_i (theta_i - theta_G,i)^2 of a generator; F and the ``anchor`` theta_G are constants."""
    names = list(fisher)

    def penalty(generator: Generator) -> Tensor:
        parameters = dict(generator.named_parameters())
        terms = [(fisher[name] * (parameters[name] - anchor[name]).square()).sum() for name in names]
        return lam / 2 * torch.stack(terms).sum()

    return penalty


def consolidated(generator: Generator, discriminator: nn.Module, lam: float, rng: torch.Generator) -> Penalty | None:
    """EWC towards ``generator`` as it is now, on the parameters that it names; None where ``lam`` is 0.

    InputError where it is negative.
    """
    if lam < 0:
        raise InputError(f"lam must be at least 0, not {lam}")
    if not lam:
        return None
    names = generator.anchored()
    now = {name: parameter.detach().clone() for name, parameter in generator.named_parameters()}
    return consolidation(diagonal_fisher(generator, discriminator, names, rng), now, lam)
