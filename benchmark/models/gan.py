"""Generative adversarial networks behind one interface, so that no method needs to know which one it amends."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.models import GANS

Shape = tuple[int, ...]


class Generator(nn.Module):
    """G: latents (B, latent_dim) to images (B, C, H, W) in [-1, 1], or to points (B, D).

    In evaluation mode equal latents give equal images: what noise a generator adds is fixed then. ``anchored()`` names
    the parameters that elastic weight consolidation holds. Subclasses define ``forward``.
    """

    latent_dim: int

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        """``n`` new latents (n, latent_dim), normal, drawn by a CPU generator; on the generator's device."""
        return torch.randn(n, self.latent_dim, generator=rng).to(next(self.parameters()).device)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Images of ``n`` new latents as training draws them; with style mixing where there is such a thing."""
        images: Tensor = self(self.latents(n, rng))
        return images

    def path_length_penalty(self, n: int, rng: torch.Generator) -> Tensor | None:
        """A scalar that training adds now and then; None where the generator has no such penalty."""
        return None

    def anchored(self) -> list[str]:
        """Names of the parameters that elastic weight consolidation penalises; all unless a subclass says otherwise."""
        return [name for name, _ in self.named_parameters()]


class Gan(nn.Module):
    """A generator with the weights of the last step, its average over steps, and a discriminator of logits (B,).

    ``moments``: the state of both optimisers by network, parameter and moment; empty before the first step.
    """

    moments: dict[str, Tensor]

    def __init__(self, generator: Generator, discriminator: nn.Module) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.average: Generator = copy.deepcopy(generator).eval().requires_grad_(False)
        self.moments = {}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is kept of it: parameters, buffers and moments."""
        return {**self.state_dict(), **{f"moments.{name}": tensor for name, tensor in self.moments.items()}}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take what ``tensors()`` gave."""
        prefix = "moments."
        device = next(self.parameters()).device
        self.load_state_dict({name: t for name, t in tensors.items() if not name.startswith(prefix)})
        self.moments = {n.removeprefix(prefix): t.to(device) for n, t in tensors.items() if n.startswith(prefix)}


def build_gan(name: str, shape: Shape, latent_dim: int, width: int) -> Gan:
    """A newly initialised GAN of images (C, H, W), or points (D,), its parameters drawn from torch's seed.

    ``width`` scales the numbers of channels. InputError for a name that is none or a shape that it cannot make.
    """
    module, _, function = GANS.get(name).partition(".")
    build: Callable[..., Any] = getattr(importlib.import_module(f"benchmark.models.{module}"), function)
    gan: Gan = build(shape, latent_dim, width)
    return gan


def at_once(image: Tensor) -> int:
    """How many images like ``image`` (1, ...) are made or judged in one pass: 500 of 32 x 32 pixels, fewer of more."""
    pixels = image.shape[-1] * image.shape[-2] if image.dim() == 4 else 1
    return min(500, max(8, 500 * 32 * 32 // pixels))


def images_in_batches(generator: nn.Module, latents: Tensor) -> Iterator[Tensor]:
    """What a generator makes of latents (N, latent_dim), as many (B, ...) at a time as :func:`at_once` says."""
    for z in latents.split(at_once(generator(latents[:1]))):
        yield generator(z)
