"""Relearning: how many gradient steps bring a forgotten class back?"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Measured
from benchmark.metrics.accuracy import accuracy

LR = 0.01
PER_CLASS = 10
MAX_STEPS = 200


def relearn_steps(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    *,
    target: float,
    most: int = MAX_STEPS,
) -> Measured:
    """Steps of SGD (lr 0.01, momentum 0.9, whole batch) until accuracy on the test samples is at least ``target``.

    inputs, labels: the attacker's few labelled samples of all classes; test_inputs, test_labels: samples of what was
    forgotten; target in percent. Normalisation and dropout stay in evaluation mode. 0 means that nothing was forgotten;
    ``most`` means that this many were not enough. The model itself is not changed. Its wrappers, if any, are the
    caller's to remove: an attacker with the weights is not bound by them.
    """
    attacked = copy.deepcopy(model).eval()
    for parameter in attacked.parameters():
        parameter.requires_grad_(True)
    optimiser = torch.optim.SGD(attacked.parameters(), lr=LR, momentum=0.9)
    for step in range(most):
        with torch.no_grad():
            known = accuracy(attacked(test_inputs), test_labels).value
        if known is not None and known >= target:
            return Measured(float(step), len(test_labels))
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(attacked(inputs), labels).backward()
        optimiser.step()
    return Measured(float(most), len(test_labels))


def attack_set(labels: Tensor, seed: int) -> Tensor:
    """Indices of PER_CLASS samples of every class, drawn by ``seed``; labels: (N,)."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels.cpu()[order]
    return torch.cat([order[shuffled == c][:PER_CLASS] for c in shuffled.unique()])
