"""Shuffled batches: of a tensor's rows, and of two views side by side, which go through a network in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import starmap

import torch
from torch import Tensor

from benchmark.data.views import Batch, View


def shuffled(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """One epoch of ``rows`` (N, ...) in batches (B, ...) of ``size``, of which the last may be shorter."""
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    for index in torch.split(order, size):
        yield rows[index]


def pairs(one: View, other: View, size: int, generator: torch.Generator) -> Iterator[tuple[Batch, Batch]]:
    """One epoch of batches of two views, each view shuffled, as long as the shorter; its short last batch stays.

    Nothing is read until a batch is asked for its images or labels.
    """
    orders = [torch.randperm(len(view), generator=generator) for view in (one, other)]
    first, second = (view.batch(order).split(size) for view, order in zip((one, other), orders, strict=True))
    return zip(first, second, strict=False)


@dataclass(frozen=True)
class Joined:
    """The images of two batches one after the other, read once: x (B_1 + B_2, ...)."""

    x: Tensor
    first: Batch
    second: Batch

    @classmethod
    def of(cls, first: Batch, second: Batch) -> Joined:
        """Both batches, whose images are read now."""
        return cls(torch.cat([first.x, second.x]), first, second)

    def parts(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What belongs to the first and to the second batch of ``rows`` (B_1 + B_2, ...)."""
        return torch.split(rows, [len(self.first), len(self.second)])


def joined(one: View, other: View, size: int, epochs: int, generator: torch.Generator) -> Iterator[Iterator[Joined]]:
    """``epochs`` epochs of ``pairs``; the order of one is drawn when it begins, a pair is read when its turn comes."""
    for _ in range(epochs):
        yield starmap(Joined.of, pairs(one, other, size, generator))
