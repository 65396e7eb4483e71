"""A generator whose parameters were moved along a line, and which remembers the line."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.models.gan import Generator


class Extrapolated(Generator):
    """theta + s direction for the parameters theta of ``generator``, which is moved in place and kept as ``moved``.

    ``direction`` has a tensor for each parameter by name. With it the share of undesired images can be followed along
    the whole line.
    """

    def __init__(self, generator: Generator, direction: Mapping[str, Tensor], s: float) -> None:
        super().__init__()
        self.latent_dim = generator.latent_dim
        self.moved = generator
        self.direction = dict(direction)
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                parameter.add_(direction[name], alpha=s)

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.moved(z)
        return images
