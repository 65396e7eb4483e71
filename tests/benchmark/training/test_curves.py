"""A model with its curves: as an attribute, as tensors that a store keeps, and back."""

from __future__ import annotations

import copy

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from benchmark.training.curves import packed, unpacked, with_curves

CURVES = {"b": [0.1, 1 / 3], "a": [1e-12], "none": list[float]()}


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_curves_are_no_part_of_the_state_and_are_copied_with_the_model() -> None:
    model = net(0)
    before = set(model.state_dict())
    assert with_curves(model, CURVES) is model
    assert set(model.state_dict()) == before
    assert model.curves == copy.deepcopy(model).curves == CURVES
    assert all(own is not given for own, given in zip(model.curves.values(), CURVES.values(), strict=True))


def test_what_was_kept_comes_back_bit_for_bit_and_in_order() -> None:
    model, other = net(0), net(1)
    kept = load(save(packed(model, CURVES)))  # in an order of the store's own
    found = unpacked(other, kept, list(CURVES))
    assert found is other
    assert equal(dict(found.state_dict()), dict(model.state_dict()))
    assert found.curves == CURVES
    assert list(found.curves) == list(CURVES)


def test_what_is_packed_does_not_change_with_the_model() -> None:
    model = net(0)
    kept = packed(model, CURVES)
    before = kept["model.0.weight"].clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    assert torch.equal(kept["model.0.weight"], before)
    assert kept["curve.b"].dtype == torch.float64
