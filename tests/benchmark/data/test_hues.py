"""Hues of digits: what is tinted has the hue that is measured, whatever happens to an image on its way."""

from __future__ import annotations

import colorsys

import pytest
import torch
from torch import Tensor

from benchmark.data.hues import HUES, NAMES, REACH, SPREAD, coloured, hue, nearest, tinted
from benchmark.data.packaged import load
from benchmark.data.views import Samples
from benchmark.errors import InputError


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(colours: Tensor) -> Tensor:
    """Images (N, 3, 2, 2) of one colour each, from (N, 3)."""
    return colours[:, :, None, None].expand(-1, -1, 2, 2)


def apart(one: Tensor, other: Tensor) -> Tensor:
    return (torch.remainder(one - other + 180, 360) - 180).abs()


@pytest.fixture(scope="module")
def digits() -> Samples:
    """All real digits of the test split in every hue."""
    return coloured(load("mnist-5k").test, rng())


def test_every_real_digit_has_the_hue_that_it_was_given(digits: Samples) -> None:
    assert torch.equal(nearest(hue(digits.images.float() / 255)), digits.labels)


def test_hues_survive_the_range_of_generators_and_eight_bits(digits: Samples) -> None:
    inputs = digits.inputs()
    assert (float(inputs.min()), float(inputs.max())) == (-1, 1)
    back = ((inputs + 1) / 2 * 255).round().to(torch.uint8)
    assert torch.equal(back, digits.images)
    assert torch.equal(nearest(hue((inputs + 1) / 2)), digits.labels)
    assert torch.equal(nearest(hue(back.float() / 255)), digits.labels)


def test_every_digit_is_there_once_in_every_hue_and_its_brightness_is_kept() -> None:
    grey = load("mnist-5k").test.subset(torch.arange(50))
    found = coloured(grey, rng())
    assert (len(found), found.attributes, found.masks) == (150, None, None)
    assert (found.mean, found.std) == ((0.5,) * 3, (0.5,) * 3)
    assert found.labels.dtype == torch.int64
    assert found.labels.view(50, 3).tolist() == [[0, 1, 2]] * 50
    # The channel of the hue itself is the grey image, for no jitter is large enough to darken it.
    own = found.images[torch.arange(150), found.labels]
    assert torch.equal(own.view(50, 3, 28, 28), grey.images.expand(-1, 3, -1, -1))


def test_jitter_is_of_the_size_that_is_told_and_drawn_anew_for_every_image() -> None:
    grey = torch.full((6_000, 1, 1, 1), 255, dtype=torch.uint8)
    index = torch.arange(6_000) % 3
    measured = hue(tinted(grey, index, rng()).float() / 255)
    off = torch.remainder(measured - torch.tensor(HUES)[index] + 180, 360) - 180
    assert abs(float(off.mean())) < 0.5
    assert abs(float(off.std()) - SPREAD) < 0.5
    told = torch.randn(6_000, generator=rng()).clamp(-REACH, REACH) * SPREAD
    # Half of one of 255 steps, of which there are 60 degrees.
    assert float((off - told).abs().max()) < 60 / 255 / 2 + 1e-3
    assert 2.5 * SPREAD < float(off.abs().max()) < SPREAD * REACH + 0.2
    assert len(off.unique()) > 100


def test_a_generator_says_which_jitter_and_none_says_none() -> None:
    grey, index = torch.full((30, 1, 2, 2), 200, dtype=torch.uint8), torch.arange(30) % 3
    assert torch.equal(tinted(grey, index, rng(1)), tinted(grey, index, rng(1)))
    assert not torch.equal(tinted(grey, index, rng(1)), tinted(grey, index, rng(2)))
    exact = tinted(grey, index)
    assert hue(exact.float() / 255).tolist() == [*HUES] * 10
    assert torch.equal(exact[:3, :, 0, 0], 200 * torch.eye(3, dtype=torch.uint8))


def test_hues_are_those_of_the_standard_library() -> None:
    colours = torch.rand(500, 3, generator=rng())
    expected = [360 * colorsys.rgb_to_hsv(*colour)[0] for colour in colours.tolist()]
    assert float(apart(hue(plain(colours)), torch.tensor(expected)).max()) < 0.01


def test_a_grey_part_or_a_grey_background_makes_no_difference() -> None:
    images = torch.rand(20, 3, 6, 6, generator=rng()) * torch.tensor([0.5, 0.3, 0.1]).view(1, 3, 1, 1)
    framed = torch.nn.functional.pad(images, (3, 3, 3, 3), value=0.4)
    for changed in (images + 0.3, framed, images * 0.2):
        assert float(apart(hue(changed), hue(images)).max()) < 0.01


def test_bright_pixels_count_for_more() -> None:
    image = torch.zeros(1, 3, 1, 2)
    image[0, 0, 0, 0], image[0, 1, 0, 1] = 0.9, 0.3  # red and a darker green: yellow that is nearer to red
    assert float(hue(image)) == pytest.approx(20, abs=1e-3)


def test_what_has_no_colour_has_hue_nought() -> None:
    grey = torch.tensor([0.0, 0.5, 1.0]).repeat(3, 1).T
    assert hue(plain(grey)).tolist() == [0, 0, 0]


def test_hues_stay_below_360_however_near_red_they_are() -> None:
    colours = torch.tensor([[1.0, 0.0, blue] for blue in (1e-12, 1e-8, 1e-7, 1e-6)])
    found = hue(plain(colours))
    assert bool(((found >= 0) & (found < 360)).all())
    assert nearest(found).tolist() == [0, 0, 0, 0]


def test_the_nearest_hue_is_found_round_the_circle() -> None:
    hues = torch.tensor([0.0, 59, 61, 179, 181, 299, 301, 359.9])
    assert nearest(hues).tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    assert nearest(hues).dtype == torch.int64
    assert len(HUES) == len(NAMES) == 3


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"\(2, 3, 4, 4\) of uint8"),
        (torch.zeros(2, 1, 4, 4), r"\(2, 1, 4, 4\) of float32"),
        (torch.zeros(2, 2), r"\(2, 2\) of float32"),
    ],
)
def test_what_is_not_grey_is_refused(images: Tensor, told: str) -> None:
    with pytest.raises(InputError, match=f"grey images, .* not to {told}"):
        coloured(Samples(images, torch.zeros(2, dtype=torch.int64)), rng())
