"""Digits in colour whose hue can be measured exactly: a feature that a generator can be asked to give up.

A hue is an angle in degrees on the colour circle of the HSV model (Smith, 1978, "Color gamut transform pairs"). An
image has one hue, that of the sum of its pixels, in which bright pixels count for more than dark ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.data.views import Samples
from benchmark.errors import InputError

#: Hues in degrees by the value of the feature, and what they are called; 120 degrees apart.
HUES = (0.0, 120.0, 240.0)
NAMES = ("red", "green", "blue")
#: Standard deviation of an image's hue in degrees, and how many of them it differs by at most: 30 of the 60 degrees
#: that lie between a hue and the next one's realm.
SPREAD, REACH = 10.0, 3.0
HALF = (0.5,) * 3


def tinted(grey: Tensor, hue_index: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Images (N, 3, H, W) uint8: each grey one (N, 1, H, W) uint8 as the brightness of a saturated colour.

    ``hue_index`` (N,) int64: positions in HUES. With a CPU ``generator`` each image's hue is normal around it, within
    REACH deviations, so that colours are a continuum as those of things are; without one it is exactly that hue.
    """
    angles = torch.tensor(HUES)[hue_index]
    if generator is not None:
        angles = angles + torch.randn(angles.shape, generator=generator).clamp(-REACH, REACH) * SPREAD
    return (grey.float() * _saturated(angles)[:, :, None, None]).round().to(torch.uint8)


def _saturated(angles: Tensor) -> Tensor:
    """Red, green and blue (N, 3) in [0, 1] of the full colours of these hues in degrees (N,).

    A channel is 1 within 60 degrees of its own hue, 0 beyond 120, and between them falls linearly.
    """
    apart = _apart(angles[:, None], torch.tensor(HUES))
    return (2 - apart / 60).clamp(0, 1)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """Degrees between two hues, the shorter way round, in [0, 180]."""
    return (torch.remainder(one - other + 180, 360) - 180).abs()


def hue(images: Tensor) -> Tensor:
    """Hues in degrees in [0, 360), (N,), of images (N, 3, H, W) in [0, 1]; 0 for what is black or grey.

    It is the hue of the mean colour. A grey part makes no difference, neither in every pixel nor in the background.
    """
    colour = images.mean((2, 3))
    chroma = colour - colour.amin(1, keepdim=True)
    high = chroma.amax(1, keepdim=True)
    red, green, blue = (chroma / torch.where(high > 0, high, 1)).unbind(1)
    sixth = torch.where(blue == 1, 4 + red - green, torch.where(green == 1, 2 + blue - red, green - blue))
    angles = torch.remainder(60 * sixth, 360)
    # A remainder of less than nothing is rounded to 360 itself.
    return torch.where(angles < 360, angles, 0)


def nearest(hues: Tensor) -> Tensor:
    """The positions in HUES, (N,) int64, of those that are nearest on the circle to ``hues`` (N,) in degrees."""
    return _apart(hues[:, None], torch.tensor(HUES, device=hues.device)).argmin(1)


def coloured(samples: Samples, generator: torch.Generator) -> Samples:
    """Every grey image once in every hue: 3 N samples whose label is the position of their hue in HUES.

    Mean and deviation are one half, so that inputs are in [-1, 1]. InputError unless images are (N, 1, H, W) uint8.
    """
    images = samples.images
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 1:
        raise InputError(f"hues are given to grey images, (N, 1, H, W) of 8 bits, not to {_told(images)}")
    labels = torch.arange(len(HUES)).repeat(len(images))
    grey = images.repeat_interleave(len(HUES), 0)
    return Samples(tinted(grey, labels, generator), labels, HALF, HALF, channels_last=samples.channels_last)


def _told(images: Tensor) -> str:
    return f"{tuple(images.shape)} of {str(images.dtype).removeprefix('torch.')}"
