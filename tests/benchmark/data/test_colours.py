"""Colours: how attributes fall to samples, and what a grey image becomes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark.data import colours
from benchmark.data.colours import assign, colour
from benchmark.seeding import generator

#: Learning from Failure's colors.th, rounded to four digits.
PUBLISHED = [
    [0.9837, 0.3125, 0.1686],
    [0.9905, 0.9156, 0.3515],
    [0.6730, 0.4611, 0.5798],
    [0.7833, 0.8316, 0.6013],
    [0.0880, 0.7780, 0.9818],
    [0.3214, 0.9611, 0.4464],
    [0.0246, 0.2357, 0.7587],
    [0.5552, 0.1016, 0.7618],
    [0.2077, 0.3929, 0.0187],
    [0.8337, 0.2024, 0.2669],
]
SIZES = (500, 431, 120, 77, 300, 1000, 64, 201, 99, 350)


def shuffled(sizes: tuple[int, ...]) -> Tensor:
    """Labels of classes of different sizes, in no order."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return labels[torch.randperm(len(labels), generator=generator(0, "test"))]


def published(label: int, position: int, size: int, values: int, conflicting: float) -> int:
    """Learning from Failure's rule: the first attribute whose rounded cumulative count is above the position."""
    total = 0.0
    for attribute in range(values):
        total += 1 - conflicting if attribute == label else conflicting / (values - 1)
        if round(total * size) > position:
            return attribute
    raise AssertionError


# What samples get which attribute.


@pytest.mark.parametrize("conflicting", [0.005, 0.01, 0.05, 0.3, 0.9])
def test_counts_and_order_are_the_published_ones(conflicting: float) -> None:
    labels = shuffled(SIZES)
    attributes = assign(labels, 10, conflicting)
    assert attributes.dtype == torch.int64
    for c, size in enumerate(SIZES):
        expected = [published(c, position, size, 10, conflicting) for position in range(size)]
        assert attributes[labels == c].tolist() == expected


@pytest.mark.parametrize("conflicting", [0.005, 0.05, 0.9])
def test_the_aligned_share_and_the_rest_are_within_one_sample(conflicting: float) -> None:
    labels = shuffled(SIZES)
    attributes = assign(labels, 10, conflicting)
    for c, size in enumerate(SIZES):
        counts = attributes[labels == c].bincount(minlength=10).tolist()
        assert abs(counts.pop(c) - (1 - conflicting) * size) <= 1
        assert all(abs(count - conflicting / 9 * size) <= 1 for count in counts)


def test_of_5000_samples_a_class_5_percent_are_spread_over_nine() -> None:
    attributes = assign(torch.full((5000,), 3), 10, 0.05)
    # bounds are round(250 / 9 k) up to the label, and 4750 more from it on
    assert attributes.bincount().tolist() == [28, 28, 27, 4750, 28, 28, 28, 27, 28, 28]


def test_within_finer_classes_each_has_the_share() -> None:
    digits = shuffled(SIZES)
    halves = (digits >= 5).long()
    attributes = assign(halves, 2, 0.1, within=digits)
    for digit, size in enumerate(SIZES):
        conflicting = int((attributes != halves)[digits == digit].sum())
        assert abs(conflicting - 0.1 * size) <= 0.5
    plain = assign(halves, 2, 0.1)
    assert not torch.equal(plain, attributes)


def test_the_same_numbers_get_the_same_attributes() -> None:
    labels = shuffled(SIZES)
    before = labels.clone()
    assert torch.equal(assign(labels, 10, 0.05), assign(labels, 10, 0.05))
    assert torch.equal(labels, before)


# What colour they get.


def test_mean_colours_are_the_published_ones() -> None:
    assert [list(mean) for mean in colours.MEAN_COLOURS] == PUBLISHED
    assert [colours.SPREAD[severity] for severity in range(1, 6)] == [0.05, 0.02, 0.01, 0.005, 0.002]


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_colours_scatter_about_their_mean_by_severity(severity: int) -> None:
    white = torch.full((20_000, 1, 1, 1), 255, dtype=torch.uint8)
    attributes = torch.full((20_000,), 2)  # far from 0 and 1: nothing is clipped
    values = colour(white, attributes, severity, generator(0, "test")).squeeze().double()
    mean = torch.tensor(PUBLISHED[2], dtype=torch.float64) * 255
    torch.testing.assert_close(values.mean(0) + 0.5, mean, atol=0.2, rtol=0)  # 0.5: rounded down
    spread = math.sqrt((255 * (0.05, 0.02, 0.01, 0.005, 0.002)[severity - 1]) ** 2 + 1 / 12)
    torch.testing.assert_close(values.std(0), torch.full_like(mean, spread), atol=0.05, rtol=0.03)


def test_products_are_rounded_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colours, "SPREAD", {4: 0.0})
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(10, 1, 1, 1)
    images = colour(grey, torch.arange(10), 4, generator(0, "test"))
    assert images.dtype == torch.uint8
    assert images.shape == (10, 3, 16, 16)
    exact = grey.double() * torch.tensor(PUBLISHED, dtype=torch.float64)[:, :, None, None]
    lost = exact - images.double()
    assert float(lost.min()) > -1e-4
    assert float(lost.max()) < 1 + 1e-4
    assert 0.4 < float(lost.mean()) < 0.6


def test_black_stays_black_and_nothing_gets_brighter() -> None:
    grey = torch.randint(0, 256, (50, 1, 8, 8), generator=generator(0, "test"), dtype=torch.uint8)
    grey[:, :, ::2] = 0
    images = colour(grey, torch.arange(50) % 10, 1, generator(0, "test", "colours"))
    assert int(images[:, :, ::2].max()) == 0
    assert bool((images <= grey).all())


def test_one_colour_a_sample_from_its_generator_alone() -> None:
    grey = torch.full((30, 1, 4, 4), 255, dtype=torch.uint8)
    first, same, other = (colour(grey, torch.zeros(30).long(), 1, generator(seed, "test")) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(first, first[:, :, :1, :1].expand_as(first))
    assert len(first[:, :, 0, 0].unique(dim=0)) > 20
