"""Retained and forgotten samples in one shuffled stream of batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmark.data.views import Batch


def mixed(
    retain: Batch, forget: Batch, size: int, epochs: int, generator: torch.Generator
) -> Iterator[tuple[Batch, Batch]]:
    """Shuffled epochs over both sets together: each batch of about ``size`` as its retain part and its forget part.

    A batch has the two sets in the proportion of their sizes, on average; either part may be empty. Batches of an
    epoch differ by one sample at most, so that none is too small for batch norm.
    """
    total = len(retain) + len(forget)
    for _ in range(epochs):
        order = torch.randperm(total, generator=generator)
        for chosen in order.tensor_split(max(round(total / size), 1)):
            kept = chosen[chosen < len(retain)].to(retain.index.device)
            gone = chosen[chosen >= len(retain)].to(forget.index.device) - len(retain)
            yield Batch(retain.view, retain.index[kept]), Batch(forget.view, forget.index[gone])
