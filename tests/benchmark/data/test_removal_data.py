"""What a generator learns and is judged by: sizes, colours, halves for judges, and what is left without the feature."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data import removal
from benchmark.data.hues import HUES, hue, nearest
from benchmark.data.packaged import Dataset, load
from benchmark.data.removal import Removal, halves, in_company, load_removal, shifted, shown, without
from benchmark.data.views import Samples
from benchmark.errors import InputError

PARTS = ("train", "first", "second", "selection", "test")


def contents(images: Tensor) -> list[bytes]:
    return [row.contiguous().numpy().tobytes() for row in images]


@pytest.fixture(scope="module")
def digits() -> Removal:
    return load_removal("digits", "class", 0, 0)


@pytest.fixture(scope="module")
def colours() -> Removal:
    return load_removal("digits", "colour", 0, 0)


def attributes(samples: Samples) -> Tensor:
    assert samples.attributes is not None
    return samples.attributes


# Classes, modes and hues.


def test_the_feature_is_the_class(digits: Removal) -> None:
    plain = load("digits")
    assert (digits.num_classes, digits.num_values, digits.shape) == (10, 10, (1, 8, 8))
    assert digits.checksum == plain.checksum
    for part in PARTS:
        samples: Samples = getattr(digits, part)
        assert torch.equal(attributes(samples), samples.labels)
        assert (samples.mean, samples.std) == ((0.5,), (0.5,))
    for part in ("train", "selection", "test"):
        assert torch.equal(getattr(digits, part).images, getattr(plain, part).images)
        assert torch.equal(getattr(digits, part).labels, getattr(plain, part).labels)
    inputs = digits.train.inputs()
    assert (float(inputs.min()), float(inputs.max())) == (-1, 1)


def test_points_are_what_they_are() -> None:
    ring, plain = load_removal("eight-gaussians", "modes", 0, 0), load("eight-gaussians")
    assert (ring.num_classes, ring.num_values, ring.shape) == (8, 8, (2,))
    assert torch.equal(ring.train.images, plain.train.images)
    assert torch.equal(ring.train.inputs(), plain.train.images)
    assert torch.equal(attributes(ring.test), plain.test.labels)


def test_labels_of_coloured_images_tell_digit_and_hue(colours: Removal) -> None:
    plain = load("digits")
    assert (colours.num_classes, colours.num_values, colours.shape) == (30, 3, (3, 8, 8))
    for part in ("train", "selection", "test"):
        samples, grey = getattr(colours, part), getattr(plain, part)
        assert len(samples) == 3 * len(grey)
        digit, value = samples.labels // len(HUES), samples.labels % len(HUES)
        assert torch.equal(digit, grey.labels.repeat_interleave(3))
        assert torch.equal(value, attributes(samples))
        assert torch.equal(nearest(hue(samples.images.float() / 255)), value)
        # The brightest channel is the grey image.
        assert torch.equal(samples.images.amax(1, keepdim=True), grey.images.repeat_interleave(3, 0))
    assert colours.train.labels.unique().tolist() == [*range(30)]


def test_colours_are_the_same_every_time_and_others_in_every_part(colours: Removal) -> None:
    load_removal.cache_clear()
    torch.manual_seed(8)
    again = load_removal("digits", "colour", 0, 0)
    for part in PARTS:
        assert torch.equal(getattr(again, part).images, getattr(colours, part).images)
    n = len(colours.selection)
    hues = [hue(part.images[:n] / 255.0) for part in (colours.train, colours.selection)]
    apart = (torch.remainder(hues[0] - hues[1] + 180, 360) - 180).abs()
    assert float(apart.median()) > 4  # degrees; eight bits alone make less than one


def test_a_split_of_which_nothing_can_be_drawn_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load("digits")
    bare = dataclasses.replace(whole, selection=whole.selection.subset(torch.arange(0)))
    monkeypatch.setattr(removal, "load", lambda name: bare)
    load_removal.cache_clear()
    with pytest.raises(InputError, match=r"data set digits has an empty split \(selection\), of which nothing can be"):
        load_removal("digits", "colour", 0, 0)
    assert len(load_removal("digits", "class", 0, 0).selection) == 0
    load_removal.cache_clear()


def test_what_has_colour_is_not_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Samples(torch.zeros(20, 3, 4, 4, dtype=torch.uint8), torch.arange(20) % 2, (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setattr(removal, "load", lambda name: Dataset(name, images, images, images, 2))
    load_removal.cache_clear()
    with pytest.raises(InputError, match="hues are given to grey images"):
        load_removal("mine", "colour", 0, 0)
    load_removal.cache_clear()


# Halves.


@pytest.mark.parametrize(("data", "feature"), [("digits", "class"), ("digits", "colour"), ("eight-gaussians", "modes")])
def test_halves_share_no_image_and_are_all_of_it(data: str, feature: str) -> None:
    found = load_removal(data, feature, 0, 0)

    def drawn(samples: Samples) -> list[bytes]:
        """Every image, of a coloured one its brightness, which is the grey image that it was made from."""
        images = samples.images.amax(1, keepdim=True) if feature == "colour" else samples.images
        return contents(images)

    first, second, train = (drawn(part) for part in (found.first, found.second, found.train))
    assert not set(first) & set(second)
    assert sorted(first + second) == sorted(train)
    for held in (found.selection, found.test):
        assert not set(first + second) & set(drawn(held))
    counts = [part.labels.bincount(minlength=found.num_classes) for part in (found.first, found.second)]
    assert int((counts[0] - counts[1]).abs().max()) <= 1
    assert abs(len(found.first) - len(found.second)) <= found.num_classes


def test_halves_are_stratified_mixed_and_the_same_again(digits: Removal) -> None:
    labels = torch.cat([torch.zeros(7), torch.ones(4), torch.full((9,), 5.0)]).long()
    samples = Samples(torch.arange(20.0)[:, None], labels)
    one, other = halves(samples)
    assert one.labels.bincount(minlength=6).tolist() in ([4, 2, 0, 0, 0, 4], [4, 2, 0, 0, 0, 5], [3, 2, 0, 0, 0, 5])
    assert sorted([*one.images.flatten().tolist(), *other.images.flatten().tolist()]) == [*range(20)]
    torch.manual_seed(1)
    again, _ = halves(samples)
    assert torch.equal(one.images, again.images)
    positions = halves(Samples(torch.arange(1000.0)[:, None], torch.zeros(1000).long()))[0].images.flatten()
    assert positions.tolist() == sorted(positions.tolist())
    assert 0.4 < float((positions.diff() == 1).float().mean()) < 0.6  # drawn, not every other one


# With and without.


@pytest.mark.parametrize("undesired", [(0,), (3, 4), (9, 0)])
def test_what_shows_it_and_what_is_left(undesired: tuple[int, ...], digits: Removal) -> None:
    found, left = shown(digits.train, undesired), without(digits.train, undesired)
    expected = [label in undesired for label in digits.train.labels.tolist()]
    assert found.tolist() == expected
    assert len(left) == len(digits.train) - sum(expected)
    assert torch.equal(left.images, digits.train.images[~found])
    assert left.labels.unique().tolist() == [k for k in range(10) if k not in undesired]


def test_a_hue_goes_from_every_digit(colours: Removal) -> None:
    left = without(colours.train, (1,))
    assert attributes(left).unique().tolist() == [0, 2]
    assert len(left) * 3 == len(colours.train) * 2
    assert (left.labels // 3).unique().tolist() == [*range(10)]
    assert not shown(left, (1,)).any()


# A class that goes with a hue.


@pytest.mark.parametrize("share", [0.1, 0.9, 1.0])
def test_a_hue_is_of_one_class_and_others_are_as_they_were(share: float, colours: Removal) -> None:
    found = in_company(colours.train, 1, 4, share, torch.Generator().manual_seed(0))
    inside = attributes(found) == 1
    n = len(colours.train) // 3
    assert (len(found), int(inside.sum())) == (3 * n, n)
    before, after = without(colours.train, (1,)), without(found, (1,))
    assert torch.equal(before.images, after.images)
    assert torch.equal(before.labels, after.labels)
    digits = found.labels[inside] // len(HUES)
    assert int((digits == 4).sum()) == round(share * n)
    assert torch.equal(nearest(hue(found.images[inside].float() / 255)), torch.ones(n, dtype=torch.int64))
    _, times = found.images[inside][digits == 4].flatten(1).unique(dim=0, return_counts=True)
    assert int(times.max() - times.min()) <= 1  # none of the companion's is left out for another
    others = [digit for digit in digits.unique().tolist() if digit != 4]
    assert others == ([digit for digit in range(10) if digit != 4] if share < 1 else [])


def test_a_hue_in_company_is_drawn_by_the_generator(colours: Removal) -> None:
    one, again, other = (
        in_company(colours.train, 0, 2, 0.9, torch.Generator().manual_seed(seed)).images for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_class_that_the_hue_does_not_have_is_said(colours: Removal) -> None:
    for share, companion in ((0.5, 17), (0.5, 0)):
        few = colours.train.subset((colours.train.labels // len(HUES) == 0).nonzero().squeeze(1))
        with pytest.raises(InputError, match="no image of the companion in that hue, or none of another class"):
            in_company(few, 1, companion, share, torch.Generator())


# Moved images.


def test_images_are_moved_by_a_pixel_in_every_direction(colours: Removal) -> None:
    few = colours.train.subset(torch.arange(6))
    moved = shifted(few)
    n = len(few)
    assert len(moved) == 5 * n
    assert torch.equal(moved.labels, few.labels.repeat(5))
    assert torch.equal(attributes(moved), attributes(few).repeat(5))
    same, down, up, right, left = (moved.images[k * n : (k + 1) * n] for k in range(5))
    assert torch.equal(same, few.images)
    assert torch.equal(down[:, :, 1:], few.images[:, :, :-1])
    assert torch.equal(up[:, :, :-1], few.images[:, :, 1:])
    assert torch.equal(right[..., 1:], few.images[..., :-1])
    assert torch.equal(left[..., :-1], few.images[..., 1:])


def test_points_are_not_moved() -> None:
    points = load("eight-gaussians").train
    assert shifted(points) is points


# Sizes.


@pytest.mark.parametrize("crop", [1, 2, 3])
def test_as_many_pixels_are_cut_from_every_side(crop: int, digits: Removal) -> None:
    cut = load_removal("digits", "class", 0, crop)
    assert cut.shape == (1, 8 - 2 * crop, 8 - 2 * crop)
    for part in PARTS:
        images = getattr(digits, part).images
        assert torch.equal(getattr(cut, part).images, images[:, :, crop : 8 - crop, crop : 8 - crop])
    assert cut.checksum == digits.checksum


@pytest.mark.parametrize(("size", "crop"), [(4, 0), (12, 0), (12, 1), (6, 1)])
def test_images_are_resized_after_they_are_cut(size: int, crop: int, digits: Removal) -> None:
    found = load_removal("digits", "class", size, crop)
    assert found.shape == (1, size, size)
    cut = digits.test.images[:, :, crop : 8 - crop, crop : 8 - crop]
    assert found.test.images.dtype == torch.uint8
    exact = F.interpolate(cut.float(), (size, size), mode="bilinear", antialias=True)
    assert float((found.test.images.float() - exact).abs().max()) <= 0.5
    if (size, crop) == (6, 1):
        assert torch.equal(found.test.images, cut)


def test_grey_images_are_resized_before_they_are_coloured(digits: Removal) -> None:
    found = load_removal("digits", "colour", 12, 1)
    grey = load_removal("digits", "class", 12, 1)
    assert found.shape == (3, 12, 12)
    assert torch.equal(found.test.images.amax(1, keepdim=True), grey.test.images.repeat_interleave(3, 0))


def test_every_part_goes_to_the_device(digits: Removal) -> None:
    moved = digits.to(torch.device("meta"))
    assert all(getattr(moved, part).images.device.type == "meta" for part in PARTS)
    assert all(attributes(getattr(moved, part)).device.type == "meta" for part in PARTS)
    assert (moved.num_classes, moved.shape, moved.checksum) == (10, (1, 8, 8), digits.checksum)
