"""Coloured patches: found where they are, cut with a soft edge, and pasted without a trace elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.data.patches import AREA, Patch, cut, paste, patch_mask

SIZE = 224
COLOURS = {"blue": (20, 130, 210), "cyan": (90, 185, 185), "yellow": (215, 200, 30), "orange": (235, 130, 30)}
PLACES = {"right": (110, 220, 60), "top left": (10, 0, 70), "bottom": (215, 90, 60)}


def disc(row: int, column: int, radius: float) -> np.ndarray:
    """(H, W) bool, an upright ellipse as on pictures of 4 to 3 that are pressed into squares."""
    y, x = np.indices((SIZE, SIZE))
    return ((y - row) / radius) ** 2 + ((x - column) / (0.75 * radius)) ** 2 <= 1


def skin(seed: int = 0) -> np.ndarray:
    """Skin with a lesion in the middle: (H, W, 3) uint8, noisy."""
    image = np.full((SIZE, SIZE, 3), (200.0, 160.0, 135.0))
    image[disc(110, 100, 35)] = 110, 65, 40
    noise = np.random.default_rng(seed).normal(0, 5, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)


def with_disc(mask: np.ndarray, colour: tuple[int, int, int] = COLOURS["blue"]) -> np.ndarray:
    image = skin()
    image[mask] = colour
    return image


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union."""
    return float((found & true).sum() / (found | true).sum())


def patch() -> Patch:
    mask = disc(*PLACES["right"])
    return cut(with_disc(mask), mask)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("place", PLACES)
def test_a_disc_at_the_border_is_found(colour: str, place: str) -> None:
    true = disc(*PLACES[place])
    found = patch_mask(with_disc(true, COLOURS[colour]))
    assert found.dtype == bool
    assert overlap(found, true) > 0.95


def test_a_disc_in_two_colours_is_found_whole_where_the_border_cuts_both() -> None:
    outer, inner = disc(110, 220, 60), disc(110, 220, 30)
    image = with_disc(outer, COLOURS["orange"])
    image[inner] = COLOURS["yellow"]
    image[disc(100, 195, 4)] = 10  # ink
    assert overlap(patch_mask(image), outer) > 0.95


def test_two_discs_are_found() -> None:
    true = disc(*PLACES["right"]) | disc(*PLACES["top left"])
    assert overlap(patch_mask(with_disc(true)), true) > 0.95


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((SIZE, SIZE), bool),
        disc(110, 222, 20),  # smaller than a patch
        disc(110, 180, 150),  # larger
        disc(50, 50, 40),  # not at the border
        disc(*PLACES["right"]) & ~disc(110, 185, 45),  # a sickle
    ],
    ids=["none", "small", "large", "inside", "ragged"],
)
def test_nothing_is_found_where_nothing_is_plausible(mask: np.ndarray) -> None:
    assert not patch_mask(with_disc(mask)).any()


def test_brown_and_dark_regions_at_the_border_are_no_patches() -> None:
    assert not patch_mask(with_disc(disc(*PLACES["right"]), (110, 65, 40))).any()
    assert not patch_mask(with_disc(disc(*PLACES["right"]), (8, 10, 40))).any()
    assert not patch_mask(np.zeros((SIZE, SIZE, 3), np.uint8)).any()


def test_small_is_measured_in_shares_of_the_picture() -> None:
    true = disc(*PLACES["right"])
    assert AREA[0] < true.mean() < AREA[1]
    smaller = with_disc(true)[::2, ::2]
    assert overlap(patch_mask(smaller), true[::2, ::2]) > 0.9


def test_a_patch_has_soft_edges_within_the_mask_but_none_at_the_border() -> None:
    mask = disc(*PLACES["right"])
    image = with_disc(mask)
    found = cut(image, mask)
    (top, left), (height, width) = found.position, found.alpha.shape
    assert found.frame == (SIZE, SIZE)
    assert (top, left + width) == (np.flatnonzero(mask.any(1))[0], SIZE)
    assert np.array_equal(found.pixels, image[top : top + height, left : left + width])
    assert found.alpha.dtype == np.float32
    assert (found.alpha[~mask[top : top + height, left : left + width]] == 0).all()
    middle = found.alpha[110 - top]
    assert (middle[0], middle[-1], middle[width // 2]) == (0, 1, 1)
    assert (np.diff(middle) >= 0).all()
    assert 0 < middle[1] < 1


def test_an_empty_mask_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="empty"):
        cut(skin(), np.zeros((SIZE, SIZE), bool))


def test_pasting_changes_the_mask_and_nothing_else() -> None:
    image = skin(1)
    before = image.copy()
    pasted, mask = paste(image, patch(), torch.Generator().manual_seed(0))
    assert np.array_equal(image, before)
    assert (pasted.dtype, pasted.shape, mask.dtype, mask.shape) == (np.uint8, image.shape, bool, image.shape[:2])
    assert np.array_equal(pasted[~mask], image[~mask])
    changed = (pasted != image).any(axis=-1)
    assert overlap(changed, mask) > 0.99


def test_a_patch_is_mirrored_and_stays_at_the_border() -> None:
    rng = torch.Generator().manual_seed(0)
    mask = disc(20, 215, 60)
    asymmetric = cut(with_disc(mask), mask)
    masks = [paste(skin(1), asymmetric, rng)[1] for _ in range(40)]
    places = {(bool(found[0].any()), bool(found[:, 0].any())) for found in masks}
    assert places == {(True, True), (True, False), (False, True), (False, False)}
    for found in masks:
        assert found[0].any() != found[-1].any()
        assert found[:, 0].any() != found[:, -1].any()
        assert found.sum() == masks[0].sum()


def test_pasting_is_decided_by_the_generator() -> None:
    first, second = (
        [paste(skin(1), patch(), rng)[0] for _ in range(5)]
        for rng in (torch.Generator().manual_seed(3), torch.Generator().manual_seed(3))
    )
    assert np.array_equal(first, second)


def test_what_is_pasted_is_found_again() -> None:
    pasted, mask = paste(skin(1), patch(), torch.Generator().manual_seed(0))
    assert overlap(patch_mask(pasted), mask) > 0.9


def test_a_picture_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(224, 224\), not \(100, 224\)"):
        paste(skin()[:100], patch(), torch.Generator())
