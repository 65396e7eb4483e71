"""What methods are told of an artefact: how many labels, how many of them wrong, and what stays as it is."""

from __future__ import annotations

import pytest
import torch

from benchmark.data.told import told
from benchmark.data.views import Samples
from benchmark.errors import InputError


def samples(n: int = 40, with_it: int = 15) -> Samples:
    """Image i is of level i; the first ``with_it`` have the artefact."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 1, 2, 2)
    return Samples(images, torch.full((n,), 3), attributes=(torch.arange(n) < with_it).long())


def levels(found: Samples) -> list[int]:
    return found.images[:, 0, 0, 0].tolist()


def labels(found: Samples) -> torch.Tensor:
    assert found.attributes is not None
    return found.attributes


def test_without_options_it_is_the_very_same() -> None:
    given = samples()
    assert told(given, 0, 0.0, 1) is given


@pytest.mark.parametrize("noise", [0.1, 0.25, 0.49])
@pytest.mark.parametrize("seed", [0, 7])
def test_exactly_that_share_of_labels_is_wrong(noise: float, seed: int) -> None:
    given = samples()
    before = labels(given).clone()
    found = told(given, 0, noise, seed)
    assert levels(found) == levels(given)
    assert int((labels(found) != before).sum()) == round(noise * 40)
    assert set(labels(found).tolist()) == {0, 1}
    assert torch.equal(labels(given), before)  # the data of the metrics


def test_wrong_labels_are_drawn_by_the_seed_and_more_of_them_are_the_same_and_others() -> None:
    def wrong(noise: float, seed: int) -> set[int]:
        given = samples()
        return set((labels(told(given, 0, noise, seed)) != labels(given)).nonzero()[:, 0].tolist())

    assert wrong(0.2, 3) == wrong(0.2, 3) != wrong(0.2, 4)
    assert wrong(0.1, 3) < wrong(0.2, 3) < wrong(0.4, 3)
    both = [int((labels(told(samples(), 0, 0.4, seed)) == 1).sum()) for seed in range(20)]
    assert min(both) < sum(both) / 20 < max(both)  # of either kind, as it happens


@pytest.mark.parametrize("n", [1, 4, 15])
def test_so_many_samples_of_either_kind(n: int) -> None:
    found = told(samples(), n, 0.0, 2)
    assert len(found) == 2 * n
    assert int(labels(found).sum()) == n
    assert levels(found) == sorted(set(levels(found)))
    assert [level < 15 for level in levels(found)] == (labels(found) == 1).tolist()
    assert set(levels(found)) <= set(levels(told(samples(), min(n + 3, 15), 0.0, 2)))


def test_the_share_is_of_the_samples_that_are_left() -> None:
    right, found = told(samples(), 10, 0.0, 5), told(samples(), 10, 0.3, 5)
    assert levels(found) == levels(right)
    assert int((labels(found) != labels(right)).sum()) == 6


def test_more_samples_than_there_are() -> None:
    with pytest.raises(InputError, match=r"concept_samples 16: 15 samples have the artefact and 25 do not"):
        told(samples(), 16, 0.0, 0)
