"""Nearest class mean: right where classes are apart, Phi(d / 2) where they overlap, and blind to what is constant."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.nearest_class import class_means, nearest_class

WEST, EAST = torch.tensor([[-1.0, 0.0], [-1.2, 0.0], [-0.8, 0.0]]), torch.tensor([[1.0, 0.0], [1.2, 0.0]])
POINTS, LABELS = torch.cat([WEST, EAST]), torch.tensor([3, 3, 3, 5, 5])


def gaussian(distance: float, n: int) -> tuple[Tensor, Tensor]:
    """Two unit Gaussians of three dimensions, their means ``distance`` apart."""
    labels = torch.arange(n) % 2
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    points[:, 0] += distance * labels
    return points, labels


def test_means_by_hand() -> None:
    assert class_means(POINTS, LABELS, torch.tensor([5, 3])).tolist() == [
        pytest.approx([1.1, 0.0]),
        pytest.approx([-1.0, 0.0]),
    ]


def test_the_nearest_mean_decides() -> None:
    test = torch.tensor([[-3.0, 9.0], [0.04, 0.0], [0.06, 0.0], [2.0, -5.0]])
    assert nearest_class(POINTS, LABELS, test, torch.tensor([3, 3, 5, 5])) == Measured(100.0, 4)
    assert nearest_class(POINTS, LABELS, test, torch.tensor([3, 3, 3, 3])) == Measured(50.0, 4)


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_two_gaussians_are_told_apart_as_often_as_they_can_be(distance: float) -> None:
    points, labels = gaussian(distance, 40_000)
    found = nearest_class(points[:20_000], labels[:20_000], points[20_000:], labels[20_000:])
    expected = 50 * (1 + math.erf(distance / 2 / math.sqrt(2)))  # 100 Phi(d / 2)
    assert found.value == pytest.approx(expected, abs=1.0)


def test_a_hidden_logit_makes_no_difference() -> None:
    """The mask's logit is far from all others, and the same for all samples."""
    points, labels = gaussian(1.0, 400)
    mask = torch.full((400, 1), torch.finfo(torch.float16).min)
    hidden = torch.cat([points, mask], 1)
    own, masked = (nearest_class(p[:200], labels[:200], p[200:], labels[200:]) for p in (points, hidden))
    assert own == masked
    assert 50 < own.value < 95  # type: ignore[operator]


def test_a_class_whose_samples_all_look_like_others_is_not_found() -> None:
    """The features of the class that is gone are those of another, point by point."""
    points = torch.cat([WEST, WEST + 0.01, EAST])
    labels = torch.tensor([0] * 3 + [1] * 3 + [2] * 2)
    assert nearest_class(points, labels, WEST[:2] - 0.02, torch.ones(2, dtype=torch.int64)) == Measured(0.0, 2)


def test_blank_where_nothing_can_be_said() -> None:
    nothing = torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)
    assert nearest_class(POINTS, LABELS, *nothing) == Measured(None, 0)
    for broken in (math.nan, math.inf):
        bad = POINTS.clone()
        bad[0, 0] = broken
        assert nearest_class(bad, LABELS, POINTS, LABELS).value is None
        assert nearest_class(POINTS, LABELS, bad, LABELS).value is None
