"""A small DCGAN (Radford et al., 2016, arXiv:1511.06434): two strided convolutions up, two down.

The generator has group normalisation where the paper has batch normalisation: its images then depend on nothing but
parameters, one by one, so that a step in parameter space is all that changes them, in whatever batch they are drawn.
The discriminator has batch normalisation, real and generated images in batches of their own: without it the same
generator is several times as far from real images. Its gradient penalty goes through the batch's statistics; the Fisher
information is taken with the running ones.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models.gan import Gan, Generator, Shape

#: Channels that are normalised together.
GROUP = 8


class DcganGenerator(Generator):
    """z, one linear layer to H/4 x W/4, two transposed 4x4 convolutions of stride 2, tanh: (B, C, H, W) in [-1, 1]."""

    def __init__(self, shape: Shape, latent_dim: int, width: int) -> None:
        super().__init__()
        channels, height, width_of = shape
        self.latent_dim = latent_dim
        self.start = (2 * width, height // 4, width_of // 4)
        self.project = nn.Linear(latent_dim, math.prod(self.start))
        self.norm1 = nn.GroupNorm(2 * width // GROUP, 2 * width)
        self.up1 = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.norm2 = nn.GroupNorm(width // GROUP, width)
        self.up2 = nn.ConvTranspose2d(width, channels, 4, 2, 1)
        nn.init.kaiming_normal_(self.project.weight)
        for layer in (self.up1, self.up2):  # an output gets a quarter of the 4 x 4 taps
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * 4)))
        channels_last(self)

    def forward(self, z: Tensor) -> Tensor:
        x = self.project(z).view(-1, *self.start).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norm1(x))
        x = F.relu(self.norm2(self.up1(x)))
        return torch.tanh(self.up2(x))

    def anchored(self) -> list[str]:
        """Weights and biases of the two convolutions."""
        return [name for name, _ in self.named_parameters() if name.startswith("up")]


class DcganDiscriminator(nn.Module):
    """Two 4x4 convolutions of stride 2, batch normalisation after the second, one linear layer: logits (B,)."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        channels, height, width_of = shape
        self.down1 = nn.Conv2d(channels, width, 4, 2, 1)
        self.down2 = nn.Conv2d(width, 2 * width, 4, 2, 1)
        self.norm = nn.BatchNorm2d(2 * width)
        self.linear = nn.Linear(2 * width * (height // 4) * (width_of // 4), 1)
        channels_last(self)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.down1(x), 0.2)
        x = F.leaky_relu(self.norm(self.down2(x)), 0.2)
        out: Tensor = self.linear(x.flatten(1)).squeeze(1)
        return out


def channels_last(network: nn.Module) -> None:
    """Keep convolutions in the memory format that they are fastest in."""
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def dcgan(shape: Shape, latent_dim: int, width: int) -> Gan:
    """A newly initialised DCGAN of images (C, H, W); InputError unless 4 divides H and W, and 8 the width."""
    if len(shape) != 3 or shape[1] % 4 or shape[2] % 4:
        raise InputError(f"model dcgan makes images whose sides are multiples of 4, not {'x'.join(map(str, shape))}")
    if width % GROUP or width < GROUP:
        raise InputError(f"width of a dcgan must be a multiple of {GROUP}, not {width}")
    return Gan(DcganGenerator(shape, latent_dim, width), DcganDiscriminator(shape, width))
