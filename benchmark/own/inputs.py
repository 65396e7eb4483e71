"""How a user's pictures become inputs, and the manifest of them."""

from __future__ import annotations

import math
import re
from pathlib import Path

from benchmark.data import manifest
from benchmark.data.folder import pictures, read_folder
from benchmark.data.manifest import Look, Manifest
from benchmark.errors import InputError, unknown
from benchmark.own.brought import Brought

#: Pictures of one size that is at most this are left as they are; others become squares of LARGE pixels.
SMALL, LARGE = 64, 224
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: What pictures come as.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


def data_of(brought: Brought) -> Manifest:
    """The manifest of the data, with a name of its own."""
    from benchmark.data.own import with_pixels  # with torch

    name = slug(brought.name or brought.data.resolve().name)
    read = read_folder(brought.data, brought.attributes, name, look(brought), brought.attribute)
    return manifest.named(with_pixels(read))


def look(brought: Brought) -> Look:
    """How the pictures become inputs."""
    if brought.fit not in ("crop", "squeeze"):
        raise unknown("fit", brought.fit, ("crop", "squeeze"))
    size = _common_size(brought.data) if brought.size is None else brought.size
    if not 8 <= size <= 1024:
        raise InputError(f"size must be 8 to 1024, not {size}")
    mean, std = _statistics(brought.normalise, 1 if brought.grey else 3)
    return Look(size, "squeeze" if brought.fit == "squeeze" else "crop", brought.grey, mean, std)


def _statistics(told: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if told == "none" or (told == "imagenet" and channels == 1):
        return (0.0,) * channels, (1.0,) * channels
    if told == "imagenet":
        return IMAGENET
    try:
        mean, std = (tuple(float(part) for part in half.split(",")) for half in told.split("/"))
    except ValueError:
        mean, std = (), ()
    finite = all(math.isfinite(m) for m in mean) and all(0 < s < 100 for s in std)
    if len(mean) != channels or len(std) != channels or not finite:
        example = "/".join([",".join(["0.5"] * channels)] * 2)
        raise InputError(f"normalise must be imagenet, none, or means and deviations like {example}, not {told!r}")
    return mean, std


def _common_size(folder: Path) -> int:
    """The side of the pictures where all are squares of one small size; else LARGE."""
    from PIL import Image

    sizes = set()
    for path in (folder / file for file in pictures(folder)):
        try:
            with Image.open(path, formats=FORMATS) as picture:
                sizes.add(picture.size)
        except (OSError, ValueError) as error:
            raise InputError(f"picture {path} cannot be used: {error}") from error
        if len(sizes) > 1:
            return LARGE
    width, height = next(iter(sizes), (LARGE, LARGE))
    return width if width == height <= SMALL else LARGE


def slug(text: str) -> str:
    """Lower-case letters, digits and single hyphens; at most 60 of them, ``data`` where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "data"
