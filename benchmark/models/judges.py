"""Judges: modules from generated images to a score, (B,), above 0 where an image shows what must go."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.data.hues import hue, nearest


class ClassJudge(nn.Module):
    """A classifier of images (B, C, H, W) into K classes: the undesired one's logit less the largest other.

    Above 0 just where the undesired class is predicted; differentiable. Pixels beyond [-1, 1] are cut off.
    """

    def __init__(self, network: nn.Module, undesired: int) -> None:
        super().__init__()
        self.network = network
        self.undesired = undesired

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.clamp(-1, 1))
        own = logits[:, self.undesired]
        others = logits.clone()
        others[:, self.undesired] = -torch.inf
        return own - others.amax(1)


class HueJudge(nn.Module):
    """Measures the hue of colour images (B, 3, H, W) in [-1, 1]: 1 where the undesired one is nearest, -1 elsewhere.

    An image without colour, whose mean channels differ by less than half a step of 8 bits, shows no hue.
    """

    def __init__(self, undesired: int) -> None:
        super().__init__()
        self.undesired = undesired

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean((2, 3))
        colourless = mean.amax(1) - mean.amin(1) < 1 / 255
        undesired = (nearest(hue((images + 1) / 2)) == self.undesired) & ~colourless
        return torch.where(undesired, 1.0, -1.0)


class NearestJudge(nn.Module):
    """Points (B, D): squared distance to the nearest desired centre less that to the nearest undesired; differentiable.

    centres: (K, D); ``undesired`` are indices of some of them.
    """

    centres: Tensor

    def __init__(self, centres: Tensor, undesired: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("centres", centres)
        self.undesired = list(undesired)

    def forward(self, points: Tensor) -> Tensor:
        squared = torch.cdist(points, self.centres, compute_mode="donot_use_mm_for_euclid_dist").square()
        others = [k for k in range(len(self.centres)) if k not in self.undesired]
        return squared[:, others].amin(1) - squared[:, self.undesired].amin(1)
