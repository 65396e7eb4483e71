"""A GAN of points: three linear layers each, for mixtures in the plane."""

from __future__ import annotations

from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models.gan import Gan, Generator, Shape


def _mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    hidden = [nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*hidden, nn.Linear(width, outputs))


class PointGenerator(Generator):
    """Latents (B, latent_dim) to points (B, D), which are not bounded."""

    def __init__(self, dimensions: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.layers = _mlp(latent_dim, width, dimensions)

    def forward(self, z: Tensor) -> Tensor:
        points: Tensor = self.layers(z)
        return points


class PointDiscriminator(nn.Module):
    """Points (B, D) to logits (B,)."""

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.layers = _mlp(dimensions, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x).squeeze(1)
        return out


def toy_gan(shape: Shape, latent_dim: int, width: int) -> Gan:
    """A newly initialised GAN of points (D,); InputError for images."""
    if len(shape) != 1:
        raise InputError(f"model gan-toy makes points, not images of {'x'.join(map(str, shape))}")
    return Gan(PointGenerator(shape[0], latent_dim, width), PointDiscriminator(shape[0], width))
