"""Optimised inputs: against linear networks whose best perturbation is known, and a class that is truly gone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.optimised_inputs import Network, brought_back, inversion_steps, universal_perturbation

#: Two pixels; class 1 has the first one light and class 0 dark.
PIXELS = torch.tensor([[0.3, 0.5], [0.35, 0.5], [0.65, 0.5], [0.7, 0.5]]).view(4, 1, 1, 2)
LABELS = torch.tensor([0, 0, 1, 1])


def threshold(bias: float, slope: float = 20.0) -> Network:
    """Class 1 where the first pixel is above ``bias``; the second one counts for nothing."""

    def network(pixels: Tensor) -> Tensor:
        margin = slope * (pixels[:, 0, 0, 0] - bias)
        return torch.stack([-margin, margin], 1) / 2

    return network


def value(network: Network, change: Tensor | None) -> float | None:
    assert change is not None
    chosen = network((PIXELS + change).clamp(0, 1)).argmax(1)
    return brought_back(chosen, LABELS, (1,)).value


def test_a_shifted_threshold_is_shifted_back() -> None:
    """The network wants 0.3 more light than it should: that much is what the perturbation adds, and no more."""
    network = threshold(0.8)
    assert value(network, torch.zeros(1, 1, 1, 2)) == 0.0
    change = universal_perturbation(network, PIXELS, LABELS, (1,), size=0.4)
    assert value(network, change) == 100.0
    assert change is not None
    assert change[0, 0, 0, 0].item() == pytest.approx(0.3, abs=0.02)  # the middle between the two classes
    assert change[0, 0, 0, 1].item() == 0.0  # no gradient


def test_a_perturbation_is_no_larger_than_allowed() -> None:
    """0.1 does not get there, and what it trains is on the border."""
    network = threshold(0.85)
    change = universal_perturbation(network, PIXELS, LABELS, (1,), size=0.1)
    assert change is not None
    assert change.abs().max().item() == pytest.approx(0.1)
    assert value(network, change) == 0.0


def test_both_kinds_weigh_the_same_whatever_their_number() -> None:
    network = threshold(0.8)
    many = PIXELS[[0, 1, 2, 3] + [0, 1] * 50]
    labels = LABELS[[0, 1, 2, 3] + [0, 1] * 50]
    few = universal_perturbation(network, PIXELS, LABELS, (1,), size=0.4)
    lots = universal_perturbation(network, many, labels, (1,), size=0.4)
    assert few is not None
    assert lots is not None
    assert torch.allclose(few, lots, atol=1e-4)


def test_a_class_that_is_gone_does_not_come_back() -> None:
    """The input plays no part in its logit, which is never the largest."""

    def network(pixels: Tensor) -> Tensor:
        return torch.stack([pixels[:, 0, 0, 0], torch.full((len(pixels),), -5.0)], 1)

    assert value(network, universal_perturbation(network, PIXELS, LABELS, (1,))) == 0.0
    assert inversion_steps(network, torch.rand(5, 1, 1, 2), torch.ones(5, dtype=torch.int64)).value == 100.0


def test_what_turns_everything_into_the_class_brings_nothing_back() -> None:
    assert brought_back(torch.tensor([1, 1, 1, 1]), LABELS, (1,)) == Measured(0.0, 4)
    assert brought_back(torch.tensor([1, 0, 1, 1]), LABELS, (1,)) == Measured(50.0, 4)
    assert brought_back(torch.tensor([1, 1, 0, 0]), LABELS, (1,)) == Measured(-100.0, 4)
    assert brought_back(torch.tensor([2, 2, 1, 2, 0]), torch.tensor([0, 0, 1, 2, 0]), (1, 2)).value == pytest.approx(
        100 * (1 - 2 / 3)
    )
    assert brought_back(LABELS, LABELS, (0, 1)).value is None


def test_neither_kind_may_be_missing() -> None:
    for chosen in (LABELS == 0, LABELS == 1):
        with pytest.raises(ValueError, match="of forgotten and of retained classes"):
            universal_perturbation(threshold(0.5), PIXELS[chosen], LABELS[chosen], (1,))


def test_outputs_that_are_no_numbers_have_no_perturbation() -> None:
    assert universal_perturbation(lambda x: torch.full((len(x), 2), math.nan), PIXELS, LABELS, (1,)) is None


@pytest.mark.parametrize(("start", "steps"), [(0.62, 0), (0.35, 3), (0.0, 6)])
def test_inversion_takes_the_steps_that_the_distance_takes(start: float, steps: int) -> None:
    """Adam's first steps are as long as its rate, 0.1, while the gradient keeps its sign; 0.6 has to be passed."""
    noise = torch.full((3, 1, 1, 2), start)
    found = inversion_steps(threshold(0.601), noise, torch.ones(3, dtype=torch.int64))
    assert found.n == 3
    assert found.value == pytest.approx(steps, abs=1)
    assert (found.value == 0) == (steps == 0)


def test_inversion_is_the_median_and_stays_within_the_pixels() -> None:
    noise = torch.tensor([0.9, 0.9, 0.3]).view(3, 1, 1, 1).expand(3, 1, 1, 2)
    seen = []

    def network(pixels: Tensor) -> Tensor:
        seen.append(pixels.detach().clone())
        return threshold(0.85)(pixels)

    assert inversion_steps(network, noise, torch.ones(3, dtype=torch.int64)).value == 0.0
    assert torch.cat(seen).min() >= 0
    assert torch.cat(seen).max() <= 1
    assert len(seen) > 3
    assert torch.equal(noise[:, 0, 0, 0], torch.tensor([0.9, 0.9, 0.3]))
