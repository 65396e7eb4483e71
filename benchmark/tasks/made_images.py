"""What generators make of latents, as it is stored and judged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.data.removal import Removal
from benchmark.data.views import Samples
from benchmark.models.gan import at_once, images_in_batches


@torch.no_grad()
def images_of(model: nn.Module, latents: Tensor) -> tuple[Tensor, bool]:
    """What a generator makes of ``latents`` (N, D), on the CPU: images (N, C, H, W) uint8, or points (N, D) float32.

    And whether all of it was finite; what is not becomes black.
    """
    made, finite = [], True
    for images in map(Tensor.float, images_in_batches(model, latents)):
        finite = finite and bool(images.isfinite().all())
        made.append(_eight_bits(images).cpu())
    return torch.cat(made), finite


def _eight_bits(images: Tensor) -> Tensor:
    """Images in [-1, 1] as they are stored; points as they are."""
    if images.dim() != 4:
        return images
    scaled = ((images + 1) * 127.5).nan_to_num(0.0, 255.0, 0.0)
    return scaled.clamp(0, 255).round().to(torch.uint8)


@torch.no_grad()
def judged(who: nn.Module, images: Tensor, data: Removal) -> Tensor:
    """Scores (N,) of images as they are stored, on the CPU; above 0: undesired."""
    device = data.train.device
    samples = Samples(images, torch.zeros(len(images)), data.train.mean, data.train.std)
    index = torch.arange(len(images))
    return torch.cat([who(samples.inputs(part).to(device)).cpu() for part in index.split(at_once(images[:1]))])
