"""Corrupted CIFAR-10: one of ten corruptions a photograph, type 0 of Learning from Failure (arXiv:2007.02561).

The corruptions and their constants are those that Hendrycks and Dietterich (2019, arXiv:1903.12261) published for
CIFAR-10-C with their code, and severity is theirs, 1 to 5. Learning from Failure counts from 0: what its data sets
call severity 4 is severity 5 here.

Departures. Frost: its five photographs cannot be shipped; noise with their means, deviations and texture stands for
them. Spatter of water (severity 1 to 3): where the published code divides by zero because no drop falls, the image
stays as it is, and where a drop overflows 8 bits, it does not become black. Elastic: warped at exact positions, not at
32nds of a pixel. All: the distributions of what is drawn are the published ones, the draws are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from benchmark.data.corruption_constants import CONSTANTS
from benchmark.seeding import derive

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

#: The kinds in the order of their attributes.
KINDS = ("snow", "frost", "fog", "brightness", "contrast", "spatter", "elastic", "jpeg", "pixelate", "saturate")
#: Width and height, and how many images are corrupted at a time.
SIZE, CHUNK = 32, 1000

#: Red, green and blue of the authors' five photographs of frost at a fifth of their size, as we measured them.
FROST_MEANS = ((78, 149, 166), (201, 205, 214), (201, 205, 214), (138, 153, 166), (112, 123, 135))
FROST_DEVIATIONS = ((27, 16, 15), (21, 22, 23), (21, 22, 23), (29, 29, 30), (44, 43, 42))
#: What stands for their texture: a fractal's root decay, and the share of its variance; the rest is white noise. With
#: these, neighbouring pixels correlate as in the photographs: 0.56 one pixel apart (0.48 to 0.69), 0.35 eight apart.
FROST_DECAY, FROST_FRACTAL, FROST_SIZE = 1.1, 0.65, 128
LUMA, TURQUOISE, MUD = (0.299, 0.587, 0.114), (175, 238, 238), (63, 42, 20)
EMBOSS = np.array([[(-2, -1, 0), (-1, 1, 1), (0, 1, 2)]])
#: OpenCV's distances between pixels up to two rows and columns apart.
CHAMFER = np.array([(0, 1, 2), (1, 1.4, 2.1969), (2, 2.1969, 2.8)])[None, [2, 1, 0, 1, 2]][..., [2, 1, 0, 1, 2]]
SOBEL = np.array([[(-1, -2, -1), (0, 0, 0), (1, 2, 1)]])


def corrupted(images: Tensor, attributes: Tensor, severity: int, role: str) -> Tensor:
    """(N, 3, 32, 32) uint8: each of ``images``, alike, with the kind of corruption that ``attributes`` (N,) name.

    What is drawn depends on ``role`` and on the attributes. Values are rounded down to 8 bits, as published.
    ValueError for another severity than 1 to 5 and for images of another shape or type.
    """
    if severity not in range(1, 6):
        raise ValueError(f"severity must be 1 to 5, not {severity}")
    if images.dtype != torch.uint8 or images.shape[1:] != (3, SIZE, SIZE):
        raise ValueError(f"images must be (N, 3, 32, 32) uint8, not {tuple(images.shape)} {images.dtype}")
    rng = np.random.default_rng(derive(0, "corruptions", role))
    pixels = images.permute(0, 2, 3, 1).numpy()
    changed = np.empty_like(pixels)
    for kind, index in _chunks(attributes.numpy()):
        values = APPLY[kind](pixels[index], rng, *CONSTANTS[kind][severity - 1])
        changed[index] = np.clip(values, 0, 255).astype(np.uint8)
    return torch.from_numpy(changed).permute(0, 3, 1, 2).contiguous()


def _chunks(attributes: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Positions of images of one kind, not too many at a time."""
    for attribute, kind in enumerate(KINDS):
        index = np.flatnonzero(attributes == attribute)
        for start in range(0, len(index), CHUNK):
            yield kind, index[start : start + CHUNK]


# The kinds: images x (n, 32, 32, 3) uint8 in, values of the same shape on the same scale out.


def _snow(x: Pixels, rng: np.random.Generator, *c: float) -> Floats:
    """Streaks of snow on whitened images; every flake falls at two places, opposite each other."""
    mean, spread, factor, threshold, radius, sigma, kept = c  # of the flakes, of their motion, of the image
    flakes = _enlarged(rng.normal(mean, spread, x.shape[:3]), factor)
    flakes[flakes < threshold] = 0
    flakes = np.floor(np.clip(flakes, 0, 1) * 255)
    streaks = np.round(_moved(flakes, radius, sigma, rng.uniform(-135, -45, len(x))))[..., None]
    white: Floats = np.maximum(x, (x @ LUMA)[..., None] * 1.5 + 0.5 * 255)
    return kept * x + (1 - kept) * white + streaks + streaks[:, ::-1, ::-1]


def _frost(x: Pixels, rng: np.random.Generator, kept: float, strength: float) -> Floats:
    """A part of one of five icy textures shines through."""
    which = rng.integers(len(FROST_MEANS), size=(len(x), 1, 1))
    rows, columns = rng.integers(FROST_SIZE - SIZE, size=(2, len(x), 1)) + np.arange(SIZE)
    ice: Floats = _textures()[which, rows[:, :, None], columns[:, None, :]]
    return kept * x.astype(np.float64) + strength * ice


def _fog(x: Pixels, rng: np.random.Generator, thickness: float, decay: float) -> Floats:
    """Fractal clouds, scaled so that the brightest pixel cannot become brighter."""
    brightest: Floats = x.max((1, 2, 3), keepdims=True).astype(np.float64)
    clouds = 255 * thickness * _plasma(rng, len(x), SIZE, decay)[..., None]
    return (x + clouds) * brightest / (brightest + 255 * thickness)


def _brightness(x: Pixels, rng: np.random.Generator, added: float) -> Floats:
    """HSV's value is raised; black becomes grey."""
    value: Floats = x.max(-1, keepdims=True).astype(np.float64)
    raised = np.minimum(value + 255 * added, 255)
    return np.where(value > 0, x * raised / np.maximum(value, 1), raised)


def _contrast(x: Pixels, rng: np.random.Generator, factor: float) -> Floats:
    """Every channel is drawn to its mean over the image."""
    means: Floats = x.mean((1, 2), keepdims=True)
    return (x - means) * factor + means


def _spatter(x: Pixels, rng: np.random.Generator, *c: float) -> Floats:
    """Drops of mud, or of water that glitters at its edges, where smooth noise is above a threshold."""
    mean, spread, blur, threshold, strength, mud = c  # of the noise; strength of the water, or blur of the mud
    liquid = ndimage.gaussian_filter(rng.normal(mean, spread, x.shape[:3]), (0, blur, blur), mode="nearest")
    if not mud:
        return _watery(x, np.floor(np.where(liquid < threshold, 0, liquid) * 255), strength)
    share = ndimage.gaussian_filter((liquid > threshold).astype(np.float64), (0, strength, strength), mode="nearest")
    muddy: Floats = np.where(share < 0.8, 0, share)[..., None]
    return x * (1 - muddy) + muddy * np.array(MUD, np.float64)


def _watery(x: Pixels, drops: Floats, strength: float) -> Floats:
    """Turquoise light on drops (n, 32, 32) in 0 to 255, brightest on the relief of the distance to their edges."""
    distance = np.where(_edges(drops, 50, 150), 0.0, 20.0)
    for _ in range(10):  # each time two pixels further
        distance = ndimage.grey_erosion(distance, structure=-CHAMFER, mode="constant", cval=20)
    smooth = ndimage.uniform_filter(distance, (0, 3, 3), mode="mirror") + 1e-4  # sums of whole numbers stay whole
    relief = ndimage.correlate(_equalised(smooth.astype(np.uint8)), EMBOSS, mode="mirror")
    light: Floats = drops * np.round(ndimage.uniform_filter(np.clip(relief, 0, 255), (0, 3, 3), mode="mirror"))
    most: Floats = light.max((1, 2), keepdims=True)
    return x + (strength * light / np.where(most > 0, most, 1))[..., None] * np.array(TURQUOISE, np.float64)


def _elastic(x: Pixels, rng: np.random.Generator, amplitude: float, sigma: float, reach: float) -> Floats:
    """A random affine map of three points, then smooth random displacements, each with linear interpolation."""
    points = np.array([(26, 26, 1), (26, 6, 1), (6, 6, 1)], np.float64)  # (x, y, 1)
    moved = np.tile(points, (len(x), 1, 1))
    moved[..., :2] += rng.uniform(-reach * SIZE, reach * SIZE, (len(x), 3, 2))
    rows, columns = np.mgrid[:SIZE, :SIZE]
    grid = np.stack([columns, rows, np.ones_like(rows)], -1)[None]
    origin = grid @ (np.linalg.inv(moved) @ points[:, :2])[:, None]
    noise, blur = rng.uniform(-1, 1, (2, *x.shape[:3])), (0, 0, sigma * SIZE, sigma * SIZE)
    shifts = amplitude * SIZE * ndimage.gaussian_filter(noise, blur, mode="reflect", truncate=3)
    turned = _sampled(x.astype(np.float64), origin[..., 1], origin[..., 0], "mirror")
    return _sampled(turned, rows + shifts[0], columns + shifts[1], "reflect")


def _jpeg(x: Pixels, rng: np.random.Generator, quality: float) -> Pixels:
    """Compressed and read again."""
    files = [BytesIO() for _ in x]
    for image, file in zip(x, files, strict=True):
        Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.stack([np.asarray(Image.open(file)) for file in files])


def _pixelate(x: Pixels, rng: np.random.Generator, share: float) -> Pixels:
    """Made smaller and larger again, each pixel the mean of what it covers."""
    small, box = (int(SIZE * share),) * 2, Image.Resampling.BOX
    return np.stack([np.asarray(Image.fromarray(i).resize(small, box).resize((SIZE, SIZE), box)) for i in x])


def _saturate(x: Pixels, rng: np.random.Generator, factor: float, added: float) -> Floats:
    """HSV's saturation is changed; grey has the hue of red, as in the published code."""
    value: Floats = x.max(-1, keepdims=True).astype(np.float64)
    chroma: Floats = value - x.min(-1, keepdims=True)
    fall = np.where(chroma > 0, (value - x) / np.maximum(chroma, 1), (0, 1, 1))  # from the value, 0 to 1
    saturation = np.clip(chroma / np.maximum(value, 1) * factor + added, 0, 1)
    return value * (1 - saturation * fall)


_FUNCTIONS = (_snow, _frost, _fog, _brightness, _contrast, _spatter, _elastic, _jpeg, _pixelate, _saturate)
#: What corrupts images of each kind; the constants are the arguments after the generator.
APPLY: dict[str, Callable[..., Floats | Pixels]] = dict(zip(KINDS, _FUNCTIONS, strict=True))


# What they are made of.


def _enlarged(layers: Floats, factor: float) -> Floats:
    """The middle of ``layers`` (n, 32, 32), linearly interpolated to the same size."""
    part = math.ceil(SIZE / factor)
    start = (SIZE - part) // 2
    large: Floats = ndimage.zoom(layers[:, start : start + part, start : start + part], (1, factor, factor), order=1)
    trim = (large.shape[1] - SIZE) // 2
    return large[:, trim : trim + SIZE, trim : trim + SIZE]


def _moved(layers: Floats, radius: float, sigma: float, degrees: Floats) -> Floats:
    """ImageMagick's motion blur of ``layers`` (n, 32, 32): half a Gaussian along ``degrees`` (n,), edges extended."""
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angles = np.deg2rad(degrees)[:, None, None]
    image, pixel = np.arange(len(layers))[:, None, None], np.arange(SIZE)
    total = np.zeros(layers.shape)
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        down, right = (np.ceil(step * part(angles) - 0.5).astype(np.int64) for part in (np.sin, np.cos))
        rows, columns = ((pixel[:, None] + down).clip(0, SIZE - 1), (pixel + right).clip(0, SIZE - 1))
        total += weight * layers[image, rows, columns]
    return total


def _plasma(rng: np.random.Generator, n: int, size: int, decay: float) -> Floats:
    """Heights (n, size, size) in [0, 1] by the diamond-square algorithm on a torus; ``size`` is a power of two.

    From scale to scale the amplitude falls by the square of ``decay``, as in the published code.
    """
    heights = np.zeros((n, size, size))
    amplitude, step = 1.0, size
    while step >= 2:
        half = step // 2
        corners, middles = heights[:, ::step, ::step], heights[:, half::step, half::step]
        rows, columns = heights[:, ::step, half::step], heights[:, half::step, ::step]
        pairs = corners + np.roll(corners, -1, 2)
        middles[:] = (pairs + np.roll(pairs, -1, 1)) / 4 + amplitude * rng.uniform(-1, 1, middles.shape)
        for between, axis in ((rows, 1), (columns, 2)):
            ends = corners + np.roll(corners, -1, 3 - axis) + middles + np.roll(middles, 1, axis)
            between[:] = ends / 4 + amplitude * rng.uniform(-1, 1, ends.shape)
        amplitude, step = amplitude / decay**2, half
    heights -= heights.min((1, 2), keepdims=True)
    highest: Floats = heights.max((1, 2), keepdims=True)
    return heights / highest


@cache
def _textures() -> Floats:
    """(5, 128, 128, 3) in 0 to 255: what stands for the photographs of frost, the same for every role."""
    rng = np.random.default_rng(derive(0, "corruptions", "frost", "textures"))
    means, deviations = (np.array(table, np.float64)[:, None, None] for table in (FROST_MEANS, FROST_DEVIATIONS))
    fractal = _plasma(rng, len(means), FROST_SIZE, FROST_DECAY)
    fractal = (fractal - fractal.mean((1, 2), keepdims=True)) / fractal.std((1, 2), keepdims=True)
    grain: Floats = math.sqrt(FROST_FRACTAL) * fractal + math.sqrt(1 - FROST_FRACTAL) * rng.normal(size=fractal.shape)
    return np.clip(np.round(means + deviations * grain[..., None]), 0, 255)


def _edges(grey: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """(n, 32, 32) bool: Canny's edges, with 3x3 derivatives and their absolute sum as OpenCV has it."""
    down, right = (ndimage.correlate(grey, kernel, mode="nearest") for kernel in (SOBEL, SOBEL.transpose(0, 2, 1)))
    slope = np.abs(down) + np.abs(right)
    padded = np.pad(slope, ((0, 0), (1, 1), (1, 1)))

    def at(row: int, column: int) -> Floats:
        return padded[:, 1 + row : 1 + row + SIZE, 1 + column : 1 + column + SIZE]

    tangent = math.tan(math.pi / 8)
    flat = np.abs(down) < tangent * np.abs(right)
    steep = np.abs(down) > (tangent + 2) * np.abs(right)
    cases = [flat, steep, np.sign(down) * np.sign(right) >= 0]
    before = np.select(cases, [at(0, -1), at(-1, 0), at(-1, -1)], at(-1, 1))
    after = np.select(cases, [at(0, 1), at(1, 0), at(1, 1)], at(1, -1))
    ridge = (slope > low) & (slope > before) & ((slope > after) | ((flat | steep) & (slope == after)))
    edges: NDArray[np.bool_] = ndimage.binary_propagation(ridge & (slope > high), np.ones((1, 3, 3)), ridge)
    return edges


def _equalised(grey: Pixels) -> NDArray[np.int64]:
    """``grey`` (n, 32, 32) uint8 with an even histogram, from 0 to 255, as int64; images of one value stay."""
    flat = grey.reshape(len(grey), -1).astype(np.int64)
    counts = np.bincount((flat + 256 * np.arange(len(grey))[:, None]).ravel(), minlength=256 * len(grey))
    below = counts.reshape(-1, 256).cumsum(1)
    first = np.take_along_axis(below, flat.min(1, keepdims=True), 1)
    rest = below[:, -1:] - first
    levels = np.where(rest > 0, np.round((below - first) * 255 / np.maximum(rest, 1)), np.arange(256))
    return np.take_along_axis(levels, flat, 1).astype(np.int64).reshape(grey.shape)


def _sampled(x: Floats, rows: Floats, columns: Floats, mode: str) -> Floats:
    """Images (n, 32, 32, 3) at positions (n, 32, 32), linearly interpolated; ``mode`` says what lies beyond edges."""
    values = np.empty(x.shape)
    for image, row, column, into in zip(x, rows, columns, values, strict=True):
        for channel in range(3):
            into[..., channel] = ndimage.map_coordinates(image[..., channel], (row, column), order=1, mode=mode)
    return values
