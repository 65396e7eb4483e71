"""Artefacts: each is where its mask says, can be read back, and depends on a sample's key alone."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageFont
from torch import Tensor

from benchmark.data import artefacts
from benchmark.data.artefact import Artefact
from benchmark.data.artefacts import TEXT, insert
from benchmark.errors import InputError

LOCAL = [Artefact("timestamp"), Artefact("timestamp", scale=2.0), Artefact("patch"), Artefact("patch", scale=0.5)]
GLOBAL = [Artefact("lsb-text"), Artefact("brightness")]
EVERY = pytest.mark.parametrize("artefact", LOCAL + GLOBAL, ids=lambda a: f"{a.kind} {a.scale}")
DRAWN = pytest.mark.parametrize("artefact", LOCAL, ids=lambda a: f"{a.kind} {a.scale}")
CHANNELS = pytest.mark.parametrize("channels", [1, 3])
BITS = pytest.mark.parametrize("bits", range(1, 9))


def noise(n: int = 12, channels: int = 3, side: int = 32, width: int | None = None) -> Tensor:
    rng = torch.Generator().manual_seed(n)
    return torch.randint(256, (n, channels, side, width or side), generator=rng, dtype=torch.uint8)


def plain(n: int, channels: int, side: int, level: int = 0) -> Tensor:
    return torch.full((n, channels, side, side), level, dtype=torch.uint8)


def box(mask: Tensor) -> tuple[int, int, int, int]:
    """First and last row, first and last column that a mask (H, W) covers."""
    rows, columns = (mask.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return rows[0], rows[-1], columns[0], columns[-1]


def corners(masks: Tensor) -> set[tuple[bool, bool]]:
    """Whether what masks (N, H, W) cover is nearer to the bottom and to the right."""
    middles = [(top + bottom, left + right) for top, bottom, left, right in map(box, masks)]
    return {(rows >= masks.shape[1], columns >= masks.shape[2]) for rows, columns in middles}


# All kinds.


@EVERY
@CHANNELS
def test_the_mask_covers_what_changed_and_nothing_else(artefact: Artefact, channels: int) -> None:
    images = noise(channels=channels, side=28, width=36)
    before = images.clone()
    changed, masks = insert(images, artefact, range(12))
    assert torch.equal(images, before)
    assert (changed.dtype, changed.shape, masks.dtype) == (torch.uint8, images.shape, torch.bool)
    assert torch.equal(masks, (changed.int() - images.int()).abs().amax(1) > 0)
    assert masks.flatten(1).any(1).all()


@EVERY
@CHANNELS
def test_a_sample_does_not_depend_on_the_others(artefact: Artefact, channels: int) -> None:
    images, keys = noise(channels=channels), torch.arange(100, 112)
    changed, masks = insert(images, artefact, keys)
    for index in (torch.tensor([7, 3, 0, 11]), torch.arange(11, -1, -1), torch.tensor([5])):
        again, found = insert(images[index], artefact, [int(key) for key in keys[index]])
        assert torch.equal(again, changed[index])
        assert torch.equal(found, masks[index])


@EVERY
def test_how_the_images_lie_in_memory_does_not_matter(artefact: Artefact) -> None:
    images = noise()
    changed, _ = insert(images, artefact, list(np.arange(12)))
    assert torch.equal(insert(images.contiguous(memory_format=torch.channels_last), artefact, range(12))[0], changed)


@EVERY
def test_no_images_are_fine(artefact: Artefact) -> None:
    changed, masks = insert(noise()[:0], artefact, [])
    assert (changed.shape, changed.dtype, masks.shape) == ((0, 3, 32, 32), torch.uint8, (0, 32, 32))


@DRAWN
@CHANNELS
def test_different_keys_differ(artefact: Artefact, channels: int) -> None:
    changed, _ = insert(plain(40, channels, 64, 128), artefact, range(40))
    assert len(changed.flatten(1).unique(dim=0)) > 25


@DRAWN
@pytest.mark.parametrize("side", [28, 32, 224])
def test_local_artefacts_touch_little(artefact: Artefact, side: int) -> None:
    _, masks = insert(plain(20, 3, side, 128), artefact, range(20))
    shares = masks.float().mean((1, 2))
    assert shares.min() > 0.005
    assert shares.max() < 0.2


@pytest.mark.parametrize("artefact", GLOBAL, ids=lambda a: a.kind)
@CHANNELS
def test_the_others_touch_most_and_all_samples_alike(artefact: Artefact, channels: int) -> None:
    images = noise(1, channels).expand(5, -1, -1, -1)
    changed, masks = insert(images, artefact, range(5))
    assert masks.float().mean() > 0.7
    assert (changed == changed[:1]).all()


@pytest.mark.parametrize("artefact", [LOCAL[0], LOCAL[2]], ids=lambda a: a.kind)
@CHANNELS
def test_all_four_corners_occur(artefact: Artefact, channels: int) -> None:
    _, masks = insert(plain(40, channels, 224, 128), artefact, range(40))
    assert corners(masks) == {(False, False), (False, True), (True, False), (True, True)}


@pytest.mark.parametrize(
    ("images", "artefact", "keys", "what"),
    [
        (noise(), Artefact("natural"), range(12), "the data set brings it"),
        (noise().float(), GLOBAL[1], range(12), "uint8, not .*float32"),
        (noise(channels=2), GLOBAL[1], range(12), r"not \(12, 2, 32, 32\)"),
        (noise()[0], LOCAL[0], range(3), r"not \(3, 32, 32\)"),
        (noise(), GLOBAL[0], range(11), "one key for each of the 12 images, not 11"),
        (noise(), LOCAL[2], torch.arange(13), "not 13"),
        (noise(side=2), Artefact("timestamp", scale=0.1), range(12), "scale 0.1 cannot be seen on 2x2 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(images: Tensor, artefact: Artefact, keys: Any, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        insert(images, artefact, keys)


# Text in the lowest bits.


@BITS
@CHANNELS
def test_the_text_can_be_read_back(bits: int, channels: int) -> None:
    images = noise(3, channels, 28, 20)
    hidden, _ = insert(images, Artefact("lsb-text", bits=bits), range(3))
    for image in hidden.permute(0, 2, 3, 1).reshape(3, -1).tolist():
        message = "".join(str(value >> plane & 1) for plane in range(bits) for value in image)
        read = "".join(chr(int(message[i : i + 8], 2)) for i in range(0, len(message), 8))
        assert read == (TEXT * len(read))[: len(read)]
    assert bits < 8 or len(read) > len(TEXT)  # so it is read across its end, too


@BITS
@CHANNELS
def test_above_its_bits_the_text_leaves_no_trace(bits: int, channels: int) -> None:
    images = noise(5, channels)
    hidden, _ = insert(images, Artefact("lsb-text", bits=bits), range(5))
    assert torch.equal(hidden.int() >> bits, images.int() >> bits)
    assert (hidden.int() ^ images.int()).max() == 2**bits - 1


def test_the_text_is_long_and_plain() -> None:
    assert TEXT.isascii()
    assert len(TEXT) > 400


# Brightness.


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.3, 0.55, 1.0])
def test_brightness_is_a_blend_with_white(strength: float) -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    blended, mask = insert(images, Artefact("brightness", strength=strength), [0])
    exact = (1 - strength) * images.double() + strength * 255
    assert (blended.double() - exact).abs().max() <= 0.5 + 1e-9
    assert int(blended[0, 0, -1, -1]) == 255
    assert not mask[0, -1, -1]
    assert bool(mask[0, 0, 0]) == (strength > 0)
    assert strength < 1 or bool((blended == 255).all())


# Timestamps.


def unturned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timestamps as they are drawn, pixel by pixel, on images of 224x224."""
    monkeypatch.setattr(artefacts, "VARIES", 0)
    monkeypatch.setattr(artefacts, "TENTHS", 0)


def read(mask: Tensor) -> datetime:
    """The date and time that a mask (H, W) spells in Pillow's bitmap font, 6 pixels a letter."""
    top, bottom, left, _ = box(mask)
    line = torch.nn.functional.pad(mask[top : bottom + 1], (0, 10)).numpy()
    glyphs = {letter: glyph(letter)[2:9] for letter in "0123456789-: "}
    for start in (left, left - 1):  # the first digit's columns at the left may be empty
        cells = [line[:, start + 6 * i : start + 6 * i + 6] for i in range(19)]
        found = [[letter for letter, shape in glyphs.items() if np.array_equal(shape, cell)] for cell in cells]
        if all(found):
            return datetime.strptime("".join(letters[0] for letters in found), "%Y-%m-%d %H:%M:%S")
    raise AssertionError("it spells no date")


def glyph(letter: str) -> np.ndarray:
    """(11, 6) bool."""
    drawn = ImageFont.load_default_imagefont().getmask(letter)
    return np.array(drawn).reshape(drawn.size[::-1]) > 0


@CHANNELS
def test_timestamps_spell_seconds_of_three_years(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    unturned(monkeypatch)
    _, masks = insert(plain(60, channels, 224, 128), Artefact("timestamp"), range(60))
    moments = [read(mask) for mask in masks]
    assert datetime(2020, 1, 1) == artefacts.START
    assert artefacts.START + timedelta(seconds=artefacts.SECONDS) == datetime(2023, 1, 1)
    assert len(set(moments)) == 60
    assert {moment.year for moment in moments} == {2020, 2021, 2022}
    assert len({moment.month for moment in moments}) == 12
    assert len({moment.second for moment in moments}) > 30


@pytest.mark.parametrize(("scale", "least", "most"), [(1.0, 199, 249), (2.0, 118, 125)])
def test_timestamps_are_whole_and_half_as_wide_as_the_image_or_twice_that(scale: float, least: int, most: int) -> None:
    """The text has 112 to 113 columns and 7 rows on canvases of ``least`` to ``most`` pixels."""
    _, masks = insert(plain(60, 1, 224), Artefact("timestamp", scale=scale), range(60))
    boxes = [box(mask) for mask in masks]
    widths = [right - left + 1 for _, _, left, right in boxes]
    assert min(widths) >= 112 * 224 / most - 1
    assert max(widths) <= min(116 * 224 / least + 2, 222)
    assert max(widths) - min(widths) > 20 or scale == 2  # canvases differ while there is room
    heights = [bottom - top + 1 for top, bottom, _, _ in boxes]
    assert min(heights) >= 7 * 224 / most - 1
    assert max(heights) > 12 * 224 / most  # some are turned


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_timestamps_have_the_ink_of_their_text(scale: float) -> None:
    """From 250 to 480 lit pixels of the font, each as large as the resized canvas makes it."""
    stamped, masks = insert(plain(60, 1, 224), Artefact("timestamp", scale=scale), range(60))
    for image, mask in zip(stamped.double(), masks, strict=True):
        _, _, left, right = box(mask)
        pixel = (right - left + 1) / 115
        assert 250 * pixel**2 < image.sum() / 245 < 480 * pixel**2


def test_twice_the_scale_is_nearly_as_wide_as_the_image() -> None:
    _, masks = insert(plain(60, 1, 28), Artefact("timestamp", scale=2.0), range(60))
    for top, bottom, left, right in map(box, masks):
        assert 0 <= left <= 2
        assert 25 <= right <= 27
        assert 2 <= bottom - top + 1 <= 5
        assert min(top, 27 - bottom) >= 1


@pytest.mark.parametrize(("scale", "mean", "peak"), [(1.0, 18, 45), (2.0, 30, 100)])
@pytest.mark.parametrize("level", [0, 255])
def test_small_timestamps_can_be_seen_on_dark_and_bright_grey(level: int, scale: float, mean: int, peak: int) -> None:
    images = plain(60, 1, 28, level)
    stamped, masks = insert(images, Artefact("timestamp", scale=scale), range(60))
    change = (stamped.int() - images.int()).abs()[:, 0]
    means = torch.stack([values[mask].double().mean() for values, mask in zip(change, masks, strict=True)])
    assert means.min() > mean
    assert change.flatten(1).amax(1).min() > peak


def test_the_grey_level_is_the_one_farther_from_what_is_under_the_text() -> None:
    images = plain(60, 1, 224, 60)
    images[:, :, 112:] = 200
    stamped, masks = insert(images, Artefact("timestamp"), range(60))
    difference = (stamped.int() - images.int())[:, 0]
    for values, mask in zip(difference, masks, strict=True):
        assert bool((values[mask] > 0).all()) == (box(mask)[1] < 112)
        assert bool((values[mask] < 0).all()) == (box(mask)[0] >= 112)


def test_colours_are_dark_or_bright_by_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    unturned(monkeypatch)
    stamped, masks = insert(plain(80, 3, 224, 128), Artefact("timestamp"), range(80))
    colours = torch.stack([image[:, mask][:, 0] for image, mask in zip(stamped, masks, strict=True)])
    for image, mask, colour in zip(stamped, masks, colours, strict=True):
        assert (image[:, mask] == colour[:, None]).all()
    assert len((colours > 128).unique(dim=0)) == 8
    levels = torch.where(colours > 128, 245, 10)
    assert 2 < (colours.double() - levels).std() < 6
    assert (colours.int() - levels).abs().max() < 25


# Patches.


@pytest.mark.parametrize(("side", "scale", "expected"), [(28, 1, 6), (28, 2, 11), (8, 0.5, 2), (224, 1, 45)])
@CHANNELS
def test_patches_are_squares_by_a_corner(side: int, scale: float, expected: int, channels: int) -> None:
    _, masks = insert(plain(40, channels, side, 128), Artefact("patch", scale=scale), range(40))
    gaps = set()
    for mask in masks:
        top, bottom, left, right = box(mask)
        assert (bottom - top + 1, right - left + 1) == (expected, expected)
        assert mask.sum() == expected**2
        gaps |= {min(top, side - 1 - bottom), min(left, side - 1 - right)}
    assert gaps == set(range(side // 28 + 1))


def test_patches_have_one_colour_that_is_not_grey() -> None:
    images = noise(100, 3, 28)
    patched, _ = insert(images, Artefact("patch"), range(100))
    _, masks = insert(plain(100, 3, 28, 128), Artefact("patch"), range(100))  # noise may have the colour already
    colours = [image[:, mask].unique(dim=1) for image, mask in zip(patched, masks, strict=True)]
    assert {colour.shape[1] for colour in colours} == {1}
    found = {tuple(colour.flatten().tolist()) for colour in colours}
    assert found == {(r, g, b) for r in (20, 235) for g in (20, 235) for b in (20, 235)} - {(20,) * 3, (235,) * 3}


@pytest.mark.parametrize(("level", "expected"), [(0, 235), (120, 235), (135, 20), (255, 20)])
def test_grey_patches_have_the_farther_level(level: int, expected: int) -> None:
    patched, masks = insert(plain(60, 1, 28, level), Artefact("patch"), range(60))
    values = [image[0, mask].unique() for image, mask in zip(patched, masks, strict=True)]
    assert {len(value) for value in values} == {1}
    found = torch.cat(values).double() - expected
    assert found.abs().max() < 25
    assert 3 < found.std() < 7


# Pillow.


@pytest.fixture
def _fresh_font() -> Any:
    artefacts._font.cache_clear()
    yield
    artefacts._font.cache_clear()


@pytest.mark.usefixtures("_fresh_font")
def test_an_old_pillow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ImageFont, "load_default_imagefont")
    with pytest.raises(InputError, match=r"Pillow 10\.4 or later"):
        insert(noise(), LOCAL[0], range(12))


def test_without_pillow_there_is_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("Image", "ImageFont", "ImageDraw"):
        monkeypatch.setitem(sys.modules, f"PIL.{module}", None)
    with pytest.raises(InputError, match=r"timestamps need more packages .* pip install 'amendbench\[data\]'"):
        insert(noise(), LOCAL[0], range(12))
    for artefact in (*GLOBAL, LOCAL[2]):
        insert(noise(), artefact, range(12))
