"""What holds while a part of a method trains: which parameters take gradients, and what a divergence is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from benchmark.errors import DivergenceError


@contextmanager
def training_only(model: nn.Module, chosen: Iterable[nn.Parameter]) -> Iterator[None]:
    """Only the parameters ``chosen`` take gradients while the block runs; afterwards flags are as they were.

    No gradient is left behind.
    """
    flags = [(p, p.requires_grad) for p in model.parameters()]
    model.requires_grad_(False)
    for p in chosen:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag).grad = None


@contextmanager
def named(loss: str) -> Iterator[None]:
    """Say which loss diverged, where several are trained one after the other."""
    try:
        yield
    except DivergenceError as error:
        raise DivergenceError(f"{loss}: {error}") from error
