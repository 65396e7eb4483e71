"""By class: drops by hand, classes that go count for nothing, and the nearest of Gaussians."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.contracts import Measured
from benchmark.metrics.by_class import counted, drops, largest_drop, mean_drop, nearest_retained, without
from benchmark.metrics.groups import GroupCounts, worst_class

#: Class 0 goes; of 1, 2 and 3 there are 10, 20 and 10 samples.
N = torch.tensor([[5, 5], [5, 5], [10, 10], [5, 5]])
BEFORE = without(GroupCounts(torch.tensor([[5, 5], [5, 5], [10, 8], [4, 4]]), N), (0,))
AFTER = without(GroupCounts(torch.tensor([[0, 0], [5, 0], [9, 8], [5, 5]]), N), (0,))


def test_counts_are_by_class_and_attribute_and_nan_is_wrong() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [math.nan, 0.0], [1.0, 0.0]])
    labels, attributes = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 0])
    found = counted(logits, labels, attributes, 2)
    assert found.correct.tolist() == [[1, 0], [0, 0]]
    assert found.n.tolist() == [[1, 2], [1, 0]]
    plain = counted(logits, labels, None, 3)
    assert (plain.correct.tolist(), plain.n.tolist()) == ([[1], [0], [0]], [[3], [1], [0]])


def test_drops_by_hand() -> None:
    assert drops(BEFORE, AFTER).nan_to_num(nan=-1.0).tolist() == pytest.approx([-1.0, 50.0, 5.0, -20.0])
    assert largest_drop(BEFORE, AFTER) == Measured(50.0, 10)
    assert mean_drop(BEFORE, AFTER, (2, 3)) == Measured(pytest.approx(-7.5), 30)
    assert mean_drop(BEFORE, AFTER, (0, 2)) == Measured(pytest.approx(5.0), 20)
    assert worst_class(AFTER) == Measured(50.0, 10)


def test_a_gain_everywhere_is_a_negative_drop() -> None:
    found = largest_drop(AFTER, BEFORE)
    assert (found.value, found.n) == (pytest.approx(20.0), 10)
    assert largest_drop(BEFORE, BEFORE) == Measured(0.0, 10)


def test_blank_where_no_class_stays() -> None:
    nothing = without(BEFORE, (1, 2, 3))
    assert largest_drop(nothing, nothing) == mean_drop(nothing, nothing, (1, 2)) == Measured(None, 0)
    assert mean_drop(BEFORE, AFTER, ()) == Measured(None, 0)


def test_the_nearest_class_is_that_of_the_nearest_mean() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(4000) % 4
    means = torch.tensor([[0.0, 0.0], [9.0, 0.0], [5.0, 0.0], [0.0, 4.0]])
    features = means[labels] + torch.randn(4000, 2, generator=rng)
    assert nearest_retained(features, labels, (0,)) == 3
    assert nearest_retained(features, labels, (1,)) == 2
    assert nearest_retained(features, labels, (0, 3)) == 2  # 5 from class 0, beyond 6 from class 3
    assert nearest_retained(features, labels, ()) is None
    assert nearest_retained(features, labels, (0, 1, 2, 3)) is None
    features[0] = math.inf
    assert nearest_retained(features, labels, (0,)) is None
