"""Augmentation of whole batches where they are: what a training loop does to images before the network sees them.

What is drawn comes from a CPU generator, so that a seed gives the same images on every device; what is done to pixels
is to choose among them, so that it makes no difference whether they are normalised before or after.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from benchmark.errors import InputError, unknown

#: What recipes can name.
AUGMENTATIONS: tuple[str, ...] = ("none", "crop-flip")
#: Pixels by which images are moved at most, each way, and how many moves that makes.
REACH = 4
MOVES = 2 * REACH + 1


def augmented(x: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Images like ``x``, (B, C, H, W) of any type, memory format kept, each changed on its own as ``kind`` says.

    ``none``: ``x`` itself, and nothing is drawn. ``crop-flip``: padded by 4 reflected pixels, cropped to its size
    again at random, and mirrored left to right with probability 1/2 (He et al., "Deep Residual Learning for Image
    Recognition", 2016, section 4.2; they pad with zeros). ``generator`` is a CPU one; one number is drawn for each
    image. InputError for another kind, and for what is no image of at least 5 x 5 pixels.
    """
    if kind not in AUGMENTATIONS:
        raise unknown("augmentation", kind, AUGMENTATIONS)
    if kind == "none":
        return x
    if x.dim() != 4 or min(x.shape[2:]) <= REACH:
        least = REACH + 1
        raise InputError(
            f"augmentation {kind!r} needs images (B, C, H, W) of at least {least} x {least} pixels, "
            f"not inputs of shape {tuple(x.shape)}"
        )
    return _moved(x, *_drawn(len(x), generator, x.device))


def _drawn(n: int, generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which row (n,) of ``_rows`` and which of ``_columns`` each image takes; in one copy, which nobody waits for."""
    drawn = torch.randint(MOVES * 2 * MOVES, (n,), generator=generator)
    both = torch.stack([drawn // (2 * MOVES), drawn % (2 * MOVES)])
    locked = device.type == "cuda"
    down, across = (both.pin_memory() if locked else both).to(device, non_blocking=locked)
    return down, across


def _moved(x: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """First whole lines are chosen, each a run of memory, then pixels within them.

    That is up to 2.5 times as fast as choosing pixels at once, and 2 to 6 times as fast as windows of a padded batch.
    """
    batch, channels, height, width = x.shape
    last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    x = x if last else x.contiguous()
    planes, per_pixel = (1, channels) if last else (channels, 1)
    flat = x.permute(0, 2, 3, 1) if last else x
    first = torch.arange(batch * planes, device=x.device).view(batch, planes, 1) * height
    rows = first + _rows(height, x.device).index_select(0, down)[:, None]
    lines = flat.reshape(-1, width * per_pixel).index_select(0, rows.view(-1))
    lines = lines.view(batch, planes * height, width * per_pixel)
    columns = _columns(width, per_pixel, x.device).index_select(0, across)[:, None]
    return lines.gather(2, columns.expand_as(lines)).as_strided(x.shape, x.stride())


@lru_cache(maxsize=32)
def _rows(n: int, device: torch.device) -> Tensor:
    """(MOVES, n) int64: which of n pixels lie in a window moved by -REACH to REACH; beyond the edge they turn back."""
    place = (torch.arange(n) + torch.arange(-REACH, REACH + 1)[:, None]).abs()
    return (n - 1 - (n - 1 - place).abs()).to(device)


@lru_cache(maxsize=32)
def _columns(n: int, per_pixel: int, device: torch.device) -> Tensor:
    """(2 MOVES, n per_pixel) int64: the same of pixels of several numbers each; then from right to left."""
    moved = _rows(n, torch.device("cpu"))
    pixels = torch.cat([moved, moved.flip(1)])
    return (pixels[:, :, None] * per_pixel + torch.arange(per_pixel)).flatten(1).to(device)
