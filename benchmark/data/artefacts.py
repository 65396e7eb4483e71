"""Artefacts that are inserted into 8-bit images: the three of RR-ClArC's controlled biases, and a coloured patch.

Text in the least significant bits, a blend with white and a timestamp are those of Dreyer et al., "From Hope to
Safety" (arXiv:2308.09437); the patch is ours. Insert them after any resizing: the text does not survive it.

Departures. The text is our own. Blends are rounded, not truncated. The timestamp is turned about its own centre
instead of the canvas's and kept inside the image, its edges are smooth, and on grey images it is always of the level
that can be seen there. Its font is the bitmap one that every Pillow carries and that looks alike everywhere; what
Pillow now calls its default needs FreeType, and its glyphs depend on FreeType's version.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmark.data.artefact import Artefact
from benchmark.errors import InputError
from benchmark.seeding import derive

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import ImageFont

#: What hides in the least significant bits, over and over.
TEXT = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore "
    "magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo "
    "consequat. Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur. "
    "Excepteur sint occaecat cupidatat non proident, sunt in culpa qui officia deserunt mollit anim id est laborum. "
)
#: The first of the timestamps' seconds, and how many there are: 2020 to 2022, the last day included.
START, SECONDS = datetime(2020, 1, 1), 1096 * 24 * 60 * 60
#: The timestamps' canvas: its side and by how much that varies; distance of the text from its edges and the deviation
#: of that, both as on a canvas of the medium side; at least so many pixels stay free on either side of the text.
CANVAS, VARIES, INSET, JITTER, MARGIN = 224, 25, 20, 2, 3
#: Tenths of a degree by which timestamps are turned at most, either way.
TENTHS = 30
#: Dark and bright channels of a timestamp and of a patch; the deviation of levels.
STAMP_LEVELS, PATCH_LEVELS, NOISE = (10, 245), (20, 235), 5


def insert(images: Tensor, artefact: Artefact, keys: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
    """New images like ``images``, (N, C, H, W) uint8 of 1 or 3 channels, with the artefact; and masks (N, H, W) bool.

    A mask covers the pixels of which a channel changed. What is drawn for a sample depends on the artefact and its
    one of the N ``keys`` alone. ValueError for other images, another number of keys, and a natural artefact.
    """
    _check(images, artefact, len(keys))
    if artefact.kind == "lsb-text":
        changed = _with_text(images, artefact.bits)
    elif artefact.kind == "brightness":
        changed = _whitened(images, artefact.strength)
    else:
        changed = _drawn(images, artefact, keys)
    return changed, (changed != images).any(dim=1)


def _check(images: Tensor, artefact: Artefact, keys: int) -> None:
    """ValueError unless the artefact can be inserted into ``images`` with so many keys."""
    if artefact.kind == "natural":
        raise ValueError("a natural artefact cannot be inserted: the data set brings it")
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be (N, 1 or 3, H, W) uint8, not {tuple(images.shape)} {images.dtype}")
    if keys != len(images):
        raise ValueError(f"there must be one key for each of the {len(images)} images, not {keys}")


# All over the image: the same for every key.


def _with_text(images: Tensor, bits: int) -> Tensor:
    """The ``bits`` lowest planes hold TEXT, 8 bits a letter, most significant first; the lowest plane comes first.

    Within a plane its bits run over rows, then columns, then channels.
    """
    channels, height, width = images.shape[1:]
    message = np.unpackbits(np.frombuffer(TEXT.encode("ascii"), np.uint8))
    planes = np.resize(message, (bits, height, width, channels))  # repeats the message
    low = (planes << np.arange(bits, dtype=np.uint8)[:, None, None, None]).sum(0, dtype=np.uint8)
    return (images & (256 - (1 << bits))) | torch.from_numpy(low).movedim(-1, 0).to(images.device)


def _whitened(images: Tensor, strength: float) -> Tensor:
    """(1 - strength) of the image and ``strength`` of white."""
    levels = np.round((1 - strength) * np.arange(256) + strength * 255).astype(np.uint8)
    # looking levels up by index would take many times the images' memory
    pixels = bytearray(images.cpu().numpy()).translate(levels.tobytes())
    return torch.from_numpy(np.frombuffer(pixels, np.uint8).reshape(images.shape)).to(images.device)


# In a corner, drawn for every key: image (C, H, W) uint8 is changed in place.


def _drawn(images: Tensor, artefact: Artefact, keys: Sequence[int] | Tensor) -> Tensor:
    """Each image with an artefact of its own, drawn from a generator of its own."""
    pixels = images.cpu().numpy().copy()
    listed = keys.tolist() if isinstance(keys, Tensor) else keys
    for image, key in zip(pixels, listed, strict=True):
        seed = derive(0, "artefact", artefact.kind, operator.index(key))  # numpy's whole numbers, too
        DRAW[artefact.kind](image, np.random.default_rng(seed), artefact.scale)
    return torch.from_numpy(pixels).to(images.device)


def _timestamp(image: np.ndarray, rng: np.random.Generator, scale: float) -> None:
    """Date and time, turned a little; ValueError where nothing of them can be seen."""
    bright, noise = rng.integers(2, size=3), rng.normal(0, NOISE, 3)
    stamp = _stamp(rng, image.shape[1:], scale)
    box = stamp.getbbox()
    if box is None:
        raise ValueError(f"a timestamp of scale {scale} cannot be seen on {image.shape[2]}x{image.shape[1]} pixels")
    left, top, right, bottom = box
    alpha = np.asarray(stamp.crop(box)) / 255
    under = image[:, top:bottom, left:right]
    if len(image) == 1:  # of two levels one may be the background's: no other channel would show the text
        bright = np.array([_is_dark(under[0], alpha)])
    colour = np.clip(np.take(STAMP_LEVELS, bright) + noise[: len(image)], 0, 255)[:, None, None]
    image[:, top:bottom, left:right] = np.round(under + alpha * (colour - under))


def _stamp(rng: np.random.Generator, size: tuple[int, ...], scale: float) -> Image:
    """How much of the text's colour each pixel takes, 0 to 255; ``size``: height and width of the image."""
    pillow = _pillow("Image")
    text = _text(str(START + timedelta(seconds=int(rng.integers(SECONDS)))))
    angle, drawn = rng.integers(-TENTHS, TENTHS + 1) / 10, CANVAS + int(rng.integers(-VARIES, VARIES + 1))
    text = text.rotate(angle, pillow.Resampling.BILINEAR, expand=True)
    side = max(round(drawn / scale), text.width + 2 * MARGIN)
    inset = rng.normal(INSET, JITTER, 2) / CANVAS * side
    free = side - np.array([text.width, text.height])
    position = np.where(rng.integers(2, size=2), free - inset, inset).round().clip(0, free).astype(int)
    canvas = pillow.new("L", (side, side))
    canvas.paste(text, tuple(position.tolist()))
    resized: Image = canvas.resize(size[::-1], pillow.Resampling.BILINEAR)
    return resized


def _text(text: str) -> Image:
    """White on black, with a black line around so that a turn cuts nothing off."""
    font = _font()
    image = _pillow("Image").new("L", font.getbbox(text)[2:])
    _pillow("ImageDraw").Draw(image).text((0, 0), text, 255, font)
    left, top, right, bottom = image.getbbox()
    cropped: Image = image.crop((left - 1, top - 1, right + 1, bottom + 1))
    return cropped


@cache
def _font() -> ImageFont:
    """Pillow's bitmap font; InputError where it cannot be asked for by name, as before Pillow 10.4."""
    fonts = _pillow("ImageFont")
    if not hasattr(fonts, "load_default_imagefont"):
        raise InputError("timestamps need Pillow 10.4 or later; run: pip install --upgrade pillow")
    font: ImageFont = fonts.load_default_imagefont()
    return font


def _pillow(module: str) -> ModuleType:
    """A module of Pillow; InputError where it is not installed."""
    try:
        return import_module(f"PIL.{module}")
    except ImportError as error:
        raise InputError(f"timestamps need more packages ({error}); run: pip install 'amendbench[data]'") from error


def _patch(image: np.ndarray, rng: np.random.Generator, scale: float) -> None:
    """A square of one colour: in a colour image never grey, in a grey one of the level that can be seen."""
    extent = np.array(image.shape[1:])
    side = min(max(2, round(scale * extent[0] / 5)), *extent)
    inset = np.minimum(rng.integers(extent // 28 + 1), extent - side)
    top, left = np.where(rng.integers(2, size=2), extent - side - inset, inset)
    colours, noise = rng.integers(1, 7), rng.normal(0, NOISE)
    under = image[:, top : top + side, left : left + side]
    if len(image) == 1:
        under[:] = np.clip(np.round(PATCH_LEVELS[_is_dark(under)] + noise), 0, 255)
    else:  # 1 to 6: neither no channel is bright nor are all three
        under[:] = np.take(PATCH_LEVELS, colours >> np.arange(3) & 1)[:, None, None]


def _is_dark(pixels: np.ndarray, weights: np.ndarray | None = None) -> bool:
    """Whether the bright one of two levels (they lie alike around the middle) is farther from the pixels' mean."""
    return bool(np.average(pixels, weights=weights) < 255 / 2)


DRAW: dict[str, Callable[[np.ndarray, np.random.Generator, float], None]] = {"timestamp": _timestamp, "patch": _patch}
