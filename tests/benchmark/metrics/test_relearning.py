"""Relearning: none for a model that knows, some for a hidden class, the maximum for what cannot be learned."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Measured
from benchmark.metrics.relearning import MAX_STEPS, PER_CLASS, attack_set, relearn_steps
from benchmark.models.surgery import state_hash

CLASSES = 4


def data(n: int = 80) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % CLASSES
    noise = 0.1 * torch.randn(n, CLASSES, generator=torch.Generator().manual_seed(0))
    return torch.eye(CLASSES)[labels] + noise, labels


def knowing() -> nn.Sequential:
    """Every class by its own axis."""
    model = nn.Sequential(nn.Linear(CLASSES, CLASSES), nn.Dropout(0.5))
    with torch.no_grad():
        model[0].weight.copy_(3 * torch.eye(CLASSES))
        model[0].bias.zero_()
    return model.eval()


def without_class_zero(bias: float = -3.0) -> nn.Sequential:
    model = knowing()
    with torch.no_grad():
        model[0].weight[0] = 0.0
        model[0].bias[0] = bias
    return model


def steps(model: nn.Module, target: float = 50.0) -> Measured:
    inputs, labels = data()
    return relearn_steps(model, inputs, labels, inputs[labels == 0], labels[labels == 0], target=target)


def test_what_is_known_takes_no_steps() -> None:
    assert steps(knowing()) == Measured(0.0, 20)
    assert steps(knowing(), target=100.0).value == 0.0


def test_a_zeroed_class_takes_steps_and_a_deeper_one_takes_more() -> None:
    shallow, deep = steps(without_class_zero(-2.0)).value, steps(without_class_zero(-3.0)).value
    assert shallow is not None
    assert deep is not None
    assert 0 < shallow < deep < MAX_STEPS


def test_the_model_is_not_changed() -> None:
    model = without_class_zero()
    model.requires_grad_(False)
    before = state_hash(model)
    assert steps(model).value > 0  # type: ignore[operator]
    assert state_hash(model) == before
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


def test_a_harder_target_takes_no_fewer_steps() -> None:
    values = [steps(without_class_zero(), target).value for target in (5.0, 50.0, 100.0)]
    assert values == sorted(values)  # type: ignore[type-var]


def test_dropout_and_normalisation_stay_in_evaluation_mode() -> None:
    """The same answer twice, although the network has dropout."""
    model = without_class_zero().train()
    torch.manual_seed(1)
    first = steps(model)
    torch.manual_seed(2)
    assert steps(model) == first
    assert model.training


def test_the_maximum_means_that_it_was_not_enough() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * torch.tensor([0.0, 1.0, 1.0, 1.0]).repeat(len(x), 1)

    assert steps(Deaf()) == Measured(float(MAX_STEPS), 20)


def test_a_network_that_gives_no_numbers_has_not_kept_the_class() -> None:
    """argmax of NaN is class 0: it must not pass for knowledge of class 0."""
    model = copy.deepcopy(knowing())
    with torch.no_grad():
        model[0].bias.fill_(math.nan)
    assert steps(model).value != 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_the_attacker_has_a_few_samples_of_every_class(seed: int) -> None:
    labels = torch.arange(300) % 7
    chosen = attack_set(labels, seed)
    assert len(set(chosen.tolist())) == 7 * PER_CLASS
    assert labels[chosen].bincount().tolist() == [PER_CLASS] * 7
    assert torch.equal(chosen, attack_set(labels, seed))
    assert not torch.equal(chosen, attack_set(labels, seed + 1))
