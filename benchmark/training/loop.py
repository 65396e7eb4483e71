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
from benchmark.training.augmentation import augmented

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


def optimiser_of(model: nn.Module | Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """The optimiser that a recipe names."""
    if recipe.optimiser == "adam":
        return adam(model, recipe.lr, weight_decay=recipe.weight_decay)
    return sgd(model, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def schedule_of(
    optimiser: torch.optim.Optimizer, n: int, recipe: Recipe
) -> torch.optim.lr_scheduler.LRScheduler | None:
    """The schedule that a recipe names, for an optimiser that is to see all of ``n`` samples; None: a constant rate."""
    if recipe.schedule == "constant":
        return None
    steps = list(range(0, n, recipe.batch_size))
    per_epoch = len(steps) - (n > recipe.batch_size and (n - steps[-1]) * 2 < recipe.batch_size)
    total_steps = recipe.epochs * per_epoch + 1
    rising = 0.4 if total_steps == 5 else 0.2  # torch divides by the length of the rise, which must not be 0
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=total_steps, pct_start=rising)


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


def inputs_of(recipe: Recipe, generator: torch.Generator) -> Callable[[Batch], Tensor]:
    """What a network sees of a batch in training: images, augmented as the recipe says by draws of ``generator``."""
    if recipe.augmentation == "none":
        return lambda batch: batch.x

    return lambda batch: augmented(batch.x, recipe.augmentation, generator)


def at_least_float(logits: Tensor) -> Tensor:
    """Logits in which a loss is computed: those of low precision as float32."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def in_precision(recipe: Recipe, loss: Step[T], device: torch.device) -> Step[T]:
    """``loss`` with its operations in the recipe's precision, where they bear it (automatic mixed precision)."""
    if recipe.precision == "float32":
        return loss

    def rounded(item: T) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return loss(item)

    return rounded


def train_classifier(model: nn.Module, view: Sampled, recipe: Recipe, generator: torch.Generator) -> None:
    """Train ``model`` on ``view`` in place by ``recipe``; leaves it in evaluation mode."""
    whole = view.everything()
    weights: dict[int, Tensor] = {}
    seen, told = inputs_of(recipe, generator), whole.y if recipe.weighted else None

    def loss(batch: Batch) -> Tensor:
        logits = at_least_float(model(seen(batch)))
        if told is not None and not weights:
            weights[0] = class_weights(told, logits.shape[1]).to(logits)
        return F.cross_entropy(logits, batch.y, weights.get(0))

    optimiser = optimiser_of(model, recipe)
    schedule = schedule_of(optimiser, len(view), recipe)
    model.train()
    batches = epochs(view, recipe.batch_size, recipe.epochs, generator)
    optimise(batches, in_precision(recipe, loss, whole.index.device), optimiser, schedule=schedule)
    model.eval()
