"""Unroll-SGD: fine-tune with the forget set first, then take its first-order share of the way back."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch, View


def penalised(model: nn.Module, batch: Batch, gamma: float) -> Tensor:
    """CE + gamma S / C, mean over the batch: S is the standard deviation of a sample's C logits (Thudi et al. 2022).

    The divisor C is that of the authors' code, so that gamma is theirs.
    """
    logits: Tensor = model(batch.x)
    return F.cross_entropy(logits, batch.y) + gamma * logits.std(dim=1).mean() / logits.shape[1]


def summed_gradients(model: nn.Module, batches: list[Batch], gamma: float) -> list[Tensor]:
    """The sum over ``batches`` of the gradient of the batch's penalised loss, one tensor a parameter."""
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for batch in batches:
        loss = penalised(model, batch, gamma)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        for t, g in zip(total, gradients, strict=True):
            t.add_(g)
    return total


def forget_first(
    forget: list[Batch], retain: View, size: int, epochs: int, generator: torch.Generator
) -> Iterator[Batch]:
    """The unlearnable ordering: each epoch begins with the same forget batches; the retain set follows, shuffled."""
    for _ in range(epochs):
        yield from forget
        yield from retain.batches(size, generator)


@method(
    "unroll-sgd",
    tasks="label-free-forget",
    paper="Thudi et al. 2022, arXiv:2109.13398",
    access=Access(retain="xy", forget="xy"),
)
@method(
    "unroll-sgd+few-labels",
    tasks="label-free-forget",
    paper="Thudi et al. 2022, arXiv:2109.13398",
    access=Access(retain="xy", forget="xy", few_labels=True),
)
def unroll_sgd(
    problem: ForgetProblem, *, lr: float = 0.01, epochs: int = 1, gamma: float = 1.0, batch_size: int = 32
) -> nn.Module:
    """Unroll-SGD: fine-tune with the forget set first, add its gradients at the start back (Thudi et al. 2022).

    arXiv:2109.13398. From the base model's weights theta_0 the model is trained on all samples by SGD without momentum
    and weight decay, the forget batches first in each of m ``epochs``; then theta += lr m sum_b grad L_b(theta_0) over
    the forget batches b: single-gradient unlearning, right to first order in lr. It undoes the forget set's share of
    this fine-tuning, not of the training before it. L is the cross-entropy with the standard-deviation penalty of
    weight ``gamma``: 1 in the authors' fine-tuning code (momentum 0.9 and a rate of 0.1 there); they vary it from 0 to
    250 and recommend no value. The model stays in evaluation mode: dropout and batch statistics would make each
    gradient that of another function, and batch norm's running statistics cannot be unrolled.
    """
    model = problem.model
    generator = problem.generator("unroll-sgd")
    forget = list(problem.forget.draw(len(problem.forget), generator).split(batch_size))
    first_order = summed_gradients(model, forget, gamma)
    steps = forget_first(forget, problem.retain, batch_size, epochs, generator)
    optimiser = training.sgd(model, lr, momentum=0.0, weight_decay=0.0)
    training.optimise(steps, lambda batch: penalised(model, batch, gamma), optimiser)
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), first_order, strict=True):
            parameter.add_(gradient, alpha=lr * epochs)
    return model
