"""Losses that take turns on the same parameters, each with an optimiser, and so with moments, of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from benchmark.errors import DivergenceError
from benchmark.training.loop import Step

T = TypeVar("T")
#: A loss of an item and the optimiser that takes a step on it.
Turn = tuple[Step[T], torch.optim.Optimizer]


def alternate(epochs: Iterable[Iterable[T]], turns: Mapping[str, Turn[T]]) -> dict[str, list[float]]:
    """For every item one step on each loss in turn; returns each loss's mean of every epoch, by its name.

    A loss is computed after the step on the one before. Raises DivergenceError at the end of an epoch in which a loss
    left the finite numbers; it names the first that did. RuntimeError for an epoch without items.
    """
    curves: dict[str, list[float]] = {name: [] for name in turns}
    for epoch, items in enumerate(epochs, start=1):
        losses = [_step(loss(item), optimiser) for item in items for loss, optimiser in turns.values()]
        values = torch.stack(losses).cpu().double().view(-1, len(turns))
        _check_finite(values, list(turns), epoch)
        for name, own in zip(turns, values.unbind(1), strict=True):
            curves[name].append(float(own.mean()))
    return curves


def _step(loss: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
    """One step; returns the loss without its graph."""
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()
    return loss.detach()


def _check_finite(values: Tensor, names: list[str], epoch: int) -> None:
    """DivergenceError unless all losses (steps, losses) are finite."""
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        step, which = wrong[0].tolist()
        raise DivergenceError(f"{names[which]} is not finite in epoch {epoch}, step {step + 1}")
