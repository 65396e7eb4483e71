"""The one training loop that base models, retraining and every fine-tuning method share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Recipe
from benchmark.data.views import Batch, View
from benchmark.errors import DivergenceError

T = TypeVar("T")
Step = Callable[[T], Tensor]
#: Steps between looks at the loss, each of which waits for the device.
CHECK_EVERY = 50


class Sampled(Protocol):
    """What is drawn from in batches: a view, or a part of one."""

    def __len__(self) -> int: ...

    def everything(self) -> Batch: ...

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]: ...


def sgd(
    model: nn.Module | Iterable[nn.Parameter],
    lr: float,
    *,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
) -> torch.optim.SGD:
    """The optimiser of the class-forgetting paper's code: SGD, Nesterov momentum 0.9, weight decay 5e-4."""
    parameters = model.parameters() if isinstance(model, nn.Module) else model
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)


def adam(model: nn.Module | Iterable[nn.Parameter], lr: float, *, weight_decay: float = 0.0) -> torch.optim.Adam:
    """Adam with its usual moments (0.9, 0.999) and L2 regularisation, in one fused kernel."""
    parameters = model.parameters() if isinstance(model, nn.Module) else model
    return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def optimiser_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser that a recipe names."""
    if recipe.optimiser == "adam":
        return adam(model, recipe.lr, weight_decay=recipe.weight_decay)
    return sgd(model, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def optimise(
    steps: Iterable[T],
    loss: Step[T],
    optimiser: torch.optim.Optimizer,
    *,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    before_step: Callable[[], None] | None = None,
    only: Sequence[Tensor] | None = None,
) -> float:
    """One optimiser step for each item of ``steps``; returns the mean loss.

    ``only``: the leaves whose gradient is wanted, where the loss depends on others that need none.

    ``before_step`` runs between the backward pass and the step (clipping, gradient masks). The caller chooses the
    model's mode. Raises DivergenceError if the loss leaves the finite numbers.
    """
    total = torch.zeros(())
    count = 0
    for item in steps:
        optimiser.zero_grad(set_to_none=True)
        value = loss(item)
        value.backward(inputs=only)
        if before_step is not None:
            before_step()
        optimiser.step()
        if schedule is not None:
            schedule.step()
        total = total.to(value.device) + value.detach()
        count += 1
        if count % CHECK_EVERY == 0:
            _check_finite(total, count)
    _check_finite(total, count)
    return float(total) / max(count, 1)


def _check_finite(total: Tensor, count: int) -> None:
    if not total.isfinite():
        raise DivergenceError(f"the loss is not finite after {count} steps")


def epochs(view: Sampled, size: int, n: int, generator: torch.Generator) -> Iterator[Batch]:
    """``n`` shuffled epochs of ``view`` in batches of ``size``."""
    for _ in range(n):
        yield from view.batches(size, generator)


def paired(lead: View, other: View, size: int, n: int, generator: torch.Generator) -> Iterator[tuple[Batch, Batch]]:
    """``n`` epochs of ``lead``, each batch beside the next batch of ``other``, which starts again when it ends."""
    return zip(epochs(lead, size, n, generator), other.endless(size, generator), strict=False)


def cross_entropy(model: nn.Module) -> Step[Batch]:
    """The loss of a batch: mean cross-entropy."""
    return lambda batch: F.cross_entropy(model(batch.x), batch.y)


def class_weights(labels: Tensor, num_classes: int) -> Tensor:
    """w_k = max(n) / n_k, (num_classes,), for the class sizes n of labels (N,); 0 for a class without samples."""
    n = labels.bincount(minlength=num_classes).float()
    return torch.where(n > 0, n.max() / n, 0.0)


def weighted_cross_entropy(model: nn.Module, labels: Tensor) -> Step[Batch]:
    """The same with classes weighted by their sizes among ``labels`` (N,)."""

    kept: dict[int, Tensor] = {}

    def loss(batch: Batch) -> Tensor:
        logits = model(batch.x)
        k = logits.shape[1]
        if k not in kept:
            kept[k] = class_weights(labels, k)
        return F.cross_entropy(logits, batch.y, kept[k])

    return loss


def train_classifier(model: nn.Module, view: Sampled, recipe: Recipe, generator: torch.Generator) -> None:
    """Train ``model`` on ``view`` in place by ``recipe``; leaves it in evaluation mode."""
    optimiser = optimiser_of(model, recipe)
    steps = list(range(0, len(view), recipe.batch_size))
    per_epoch = len(steps) - (len(view) > recipe.batch_size and (len(view) - steps[-1]) * 2 < recipe.batch_size)
    schedule = None
    if recipe.schedule == "one-cycle":
        total_steps = recipe.epochs * per_epoch + 1
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=total_steps, pct_start=0.2)
    model.train()
    batches = epochs(view, recipe.batch_size, recipe.epochs, generator)
    loss = weighted_cross_entropy(model, view.everything().y) if recipe.weighted else cross_entropy(model)
    optimise(batches, loss, optimiser, schedule=schedule)
    model.eval()
