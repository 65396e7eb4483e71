"""A model with the curves of its training: what a loss was in every epoch, shown beside the model's other results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

#: The values of every epoch, by what they are values of.
Curves = Mapping[str, Sequence[float]]


def with_curves(model: nn.Module, curves: Curves) -> nn.Module:
    """``model`` with ``curves`` as an attribute of that name, which is no part of its state."""
    vars(model)["curves"] = {name: list(values) for name, values in curves.items()}
    return model


def packed(model: nn.Module, curves: Curves) -> dict[str, Tensor]:
    """Both as tensors that can be stored: a copy of the state under "model.", the curves under "curve."."""
    state = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    return state | {f"curve.{name}": torch.tensor(values, dtype=torch.float64) for name, values in curves.items()}


def unpacked(model: nn.Module, tensors: Mapping[str, Tensor], names: Sequence[str]) -> nn.Module:
    """``model`` with the state and the curves, in the order of ``names``, that ``packed`` was given."""
    state = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    model.load_state_dict(state)
    return with_curves(model, {name: tensors[f"curve.{name}"].tolist() for name in names})
