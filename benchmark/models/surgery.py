"""Reach into a network: its head, its features, its weight layers in order, and its identity by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class SplitClassifier(nn.Module):
    """c(e(x)): a network that names its representation extractor e and its head c; e gives (B, D)."""

    def __init__(self, extractor: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.extractor(x))
        return out


def head(model: nn.Module) -> nn.Module:
    """The classifier's head: what a SplitClassifier, wrapped or not, calls so; else the last linear layer.

    Raises ValueError where there is neither.
    """
    for module in model.modules():
        if isinstance(module, SplitClassifier):
            return module.head
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"{type(model).__name__} has no linear layer to be its head")
    return linear[-1]


def representation(model: nn.Module, x: Tensor) -> Tensor:
    """e(x), (B, D): what enters the head, with gradients; of a SplitClassifier the head itself is not run."""
    if isinstance(model, SplitClassifier):
        features: Tensor = model.extractor(x)
        return features
    with captured_inputs(head(model)) as seen:
        model(x)
    return seen.pop().flatten(1)


def weight_layers(model: nn.Module) -> list[nn.Module]:
    """Convolutions and linear layers in the order in which they are defined."""
    return [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.Linear))]


@contextmanager
def captured_inputs(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what enters ``layer`` while the block runs, one tensor a call."""
    inputs: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
    try:
        yield inputs
    finally:
        handle.remove()


@torch.no_grad()
def logits_and_features(
    model: nn.Module, inputs: Callable[[slice], Tensor], n: int, batch_size: int = 500
) -> tuple[Tensor, Tensor]:
    """Logits (n, classes) and features (n, d), the input of the head, of ``n`` samples on the CPU as float32."""
    outputs, features = [], []
    with captured_inputs(head(model)) as seen:
        for start in range(0, n, batch_size):
            outputs.append(model(inputs(slice(start, min(start + batch_size, n)))).float().cpu())
            features.append(seen.pop().flatten(1).float().cpu())
    return torch.cat(outputs), torch.cat(features)


def underlying(model: nn.Module, reference: nn.Module) -> nn.Module:
    """The one part of ``model`` that has the reference's parameters, without wrappers around it; else ``model``.

    An ensemble has several such parts: it is not taken apart.
    """
    shapes = [(name, tensor.shape) for name, tensor in reference.state_dict().items()]
    parts = [
        module
        for module in model.modules()
        if [(name, tensor.shape) for name, tensor in module.state_dict().items()] == shapes
    ]
    return parts[0] if len(parts) == 1 else model


def state_hash(model: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of the state dict: equal only if bit-identical."""
    total = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
