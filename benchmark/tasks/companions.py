"""A class that goes with the hue that must go: what the GAN learns then, and what becomes of the class in other hues.

What shows the hue is mostly of one class, as what shows hats may mostly be men. Who tells a method only which images
show the hue tells it of the class, too, and only the images without the hue say that the class must stay. A generator
that never saw the hue learns from the same images whatever goes with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from benchmark.contracts import Measured
from benchmark.data.hues import HUES
from benchmark.data.removal import Removal, in_company
from benchmark.data.views import Samples
from benchmark.metrics import removal
from benchmark.models.gan import Generator
from benchmark.seeding import generator
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval
from benchmark.tasks.judging import classifier
from benchmark.tasks.made_images import images_of, judged

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context


class CompanionJudge(nn.Module):
    """Whether images (B, 3, H, W) in [-1, 1] are of the class ``companion``, whatever their hue: 1 if so, else -1.

    network: to logits (B, K x hues), label = class x hues + hue.
    """

    def __init__(self, network: nn.Module, companion: int) -> None:
        super().__init__()
        self.network = network
        self.companion = companion

    def forward(self, images: Tensor) -> Tensor:
        label = self.network(images).argmax(1)
        return torch.where(label // len(HUES) == self.companion, 1.0, -1.0)


def learnt(scenario: GanFeatureRemoval, seed: int, data: Removal) -> tuple[Samples, str]:
    """What the base GAN learns, and its role: all there is, unless a companion goes with what must go."""
    if not scenario.companion_share:
        return data.train, "base"
    (value,), companion, share = scenario.removed(seed), scenario.companion(seed), scenario.companion_share
    rng = generator(seed, "gan", "companion")
    samples = in_company(data.train, value, companion, share, rng)
    return samples, f"base where {share} of hue {value} are of class {companion}"


def companion_metrics(
    scenario: GanFeatureRemoval,
    seed: int,
    original: Generator,
    made: Tensor,
    undesired: tuple[Tensor, Tensor],
    latents: Tensor,
    context: Context,
    data: Removal,
) -> dict[str, Measured]:
    """The companion's share in what is not judged undesired, of the original and of an amended generator's images.

    made: what the amended one makes of ``latents``; undesired: (N,) bool, of the original's and of its images.
    """
    who = CompanionJudge(classifier(scenario, data, context), scenario.companion(seed))
    names = ("companion.before", "companion.after")
    pairs = zip(names, (images_of(original, latents)[0], made), undesired, strict=True)
    return {name: removal.share(judged(who, images[~gone], data) > 0) for name, images, gone in pairs}
