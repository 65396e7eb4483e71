"""While a block trains: which parameters take gradients, and what a divergence is called."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.errors import DivergenceError, InputError
from benchmark.training.scopes import named, training_only


def net() -> nn.Sequential:
    """Two layers, of which the first one's bias was frozen."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    model[0].bias.requires_grad_(False)
    return model


def test_only_what_is_chosen_takes_gradients() -> None:
    model = net()
    with training_only(model, model[0].parameters()):
        assert [p.requires_grad for p in model.parameters()] == [True, True, False, False]
        model(torch.ones(4, 3)).sum().backward()
        assert [p.grad is not None for p in model.parameters()] == [True, True, False, False]
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]
    assert all(p.grad is None for p in model.parameters())


def test_flags_come_back_after_an_error() -> None:
    model = net()
    with pytest.raises(DivergenceError), training_only(model, []):
        raise DivergenceError("gone")
    assert [p.requires_grad for p in model.parameters()] == [True, False, True, True]


def test_a_divergence_says_which_loss_it_was_of() -> None:
    with pytest.raises(DivergenceError, match=r"^repair: not finite$") as caught, named("repair"):
        raise DivergenceError("not finite")
    assert str(caught.value.__cause__) == "not finite"


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(InputError, match=r"^bad$"), named("repair"):
        raise InputError("bad")
