"""Drawing batches by group, and training on weighted draws: the building blocks that debiasing methods share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import DebiasProblem, Watch
from benchmark.data.views import View
from benchmark.errors import InputError
from benchmark.training.loop import Step, optimise

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """Samples of a view, (n,) int64, and the weight of each one's loss, (n,): a step's loss is their weighted sum."""

    index: Tensor
    weight: Tensor


class GroupTable:
    """Which samples each group (class y, attribute a) has, for drawing from groups.

    ``groups`` (N,) int64 are y * A + a; ``shape`` is (K, A). InputError for a class without a sample.
    """

    def __init__(self, groups: Tensor, shape: tuple[int, int]) -> None:
        self.groups = groups.cpu()
        self.shape = shape
        self.device = groups.device
        self.counts = self.groups.bincount(minlength=shape[0] * shape[1]).view(shape)
        if not self.counts.sum(1).all():
            raise InputError(f"class {int((self.counts.sum(1) == 0).nonzero()[0])} has no training sample")
        self._order = self.groups.argsort(stable=True)
        self._start = self.counts.flatten().cumsum(0) - self.counts.flatten()

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def alpha(self) -> Tensor:
        """(K, A) float64: alpha_ya, the share of class y that has attribute a; rows sum to 1."""
        return self.counts.double() / self.counts.sum(1, keepdim=True)

    def members(self, y: int, a: int) -> Tensor:
        """Positions of a group's samples, in order; on the CPU."""
        group = y * self.shape[1] + a
        return self._order[self._start[group] : self._start[group] + self.counts[y, a]]

    def draw(self, p: Tensor, per_class: int, generator: torch.Generator) -> Tensor:
        """(K * per_class,) positions: ``per_class`` of each class, attributes as in ``p`` (K, A), with replacement.

        Every group gets p * per_class samples, rounded at random so that the expectation is exact (systematic
        sampling); within a group all are equally likely. ValueError where p asks for a group that has none.
        """
        if (p.bool() & (self.counts == 0)).any() or (p < 0).any():
            raise ValueError("samples are asked for of a group that has none")
        bounds = (p * per_class).cumsum(1)
        bounds[:, -1] = per_class
        shifted = (bounds + torch.rand(len(p), 1, generator=generator, dtype=torch.float64)).floor()
        n = shifted.diff(dim=1, prepend=torch.zeros(len(p), 1, dtype=torch.float64)).long().flatten()
        groups = torch.arange(len(n)).repeat_interleave(n)
        within = (
            torch.rand(len(groups), generator=generator, dtype=torch.float64) * self.counts.flatten()[groups]
        ).long()
        return self._order[self._start[groups] + within].to(self.device)


def known_groups(problem: DebiasProblem) -> GroupTable:
    """The training set by class and attribute where attributes are known, by class alone where they are not."""
    batch = problem.train.everything()
    if problem.attributes_known:
        shape = problem.num_classes, problem.num_attributes
        return GroupTable(batch.y * problem.num_attributes + batch.a, shape)
    return GroupTable(batch.y, (problem.num_classes, 1))


def uniformly(problem: DebiasProblem, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of the recipe's size, each sample equally likely, for ever; (B,) positions."""
    size = problem.recipe.per_class * problem.num_classes
    while True:
        yield torch.randint(len(problem.train), (size,), generator=generator).to(problem.device)


def plain(indices: Iterable[Tensor]) -> Iterator[Draw]:
    """Draws whose samples all weigh the same."""
    for index in indices:
        yield Draw(index, torch.full((len(index),), 1 / len(index), device=index.device))


def joined(parts: Sequence[tuple[float, Tensor]]) -> Draw:
    """One draw of several batches: the sum of weight times a batch's mean loss; parts of weight 0 are left out."""
    kept = [(weight, index) for weight, index in parts if weight != 0]
    weights = [torch.full((len(i),), w / len(i), device=i.device) for w, i in kept]
    return Draw(torch.cat([index for _, index in kept]), torch.cat(weights))


def merged(draw: Draw) -> Draw:
    """The same loss with every sample once: what was drawn several times gets the sum of its weights."""
    index, inverse = draw.index.unique(return_inverse=True)
    return Draw(index, torch.zeros(len(index), device=index.device).index_add(0, inverse, draw.weight))


#: Layers through which a sample goes alone, and always in the same way.
APART = (nn.Sequential, nn.Flatten, nn.Linear, nn.Conv2d, nn.ReLU, nn.GELU, nn.LayerNorm, nn.GroupNorm, nn.MaxPool2d)


def sees_samples_apart(model: nn.Module) -> bool:
    """Whether it is known that a sample's output depends on nothing else: no batch statistics, dropout or the like."""
    return all(type(module) in APART for module in model.modules())


def weighted_cross_entropy(model: nn.Module, view: View) -> Step[Draw]:
    """sum_i w_i CE(f(x_i), y_i); where samples do not depend on one another each is passed on once."""
    apart = sees_samples_apart(model)

    def loss(draw: Draw) -> Tensor:
        draw = merged(draw) if apart else draw
        batch = view.batch(draw.index)
        return (draw.weight * F.cross_entropy(model(batch.x), batch.y, reduction="none")).sum()

    return loss


def fit(
    problem: DebiasProblem,
    model: nn.Module,
    items: Iterable[T],
    loss: Callable[[T], Tensor],
    *,
    watch: Watch | None,
    steps: int | None = None,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
    before_step: Callable[[], None] | None = None,
) -> None:
    """Train ``model`` in place on the first ``steps`` of ``items`` (the recipe's number if left out) by the recipe.

    Rate and weight decay are the recipe's times a scale. ``watch`` looks at the model as often as the recipe says,
    and after the last step. Leaves it in training mode. DivergenceError if the loss leaves the finite numbers.
    """
    recipe = problem.recipe
    n = recipe.steps if steps is None else steps
    lr, decay = recipe.lr * lr_scale, recipe.weight_decay * decay_scale
    optimiser: torch.optim.Optimizer
    if recipe.optimiser == "adamw":
        optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay)
    else:
        optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=recipe.momentum, weight_decay=decay)
    model.train()
    seen = islice(items, n) if watch is None else _watched(model, items, n, recipe.checkpoints, watch)
    optimise(seen, loss, optimiser, before_step=before_step)


def train_on_draws(
    problem: DebiasProblem, draws: Iterable[Draw], lr_scale: float = 1.0, decay_scale: float = 1.0
) -> nn.Module:
    """The problem's network, trained in place on draws of the training set by the recipe, and looked at by its watch.

    Errors as ``fit``.
    """
    loss = weighted_cross_entropy(problem.model, problem.train)
    fit(problem, problem.model, draws, loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return problem.model


def _watched(model: nn.Module, items: Iterable[T], steps: int, looks: int, watch: Watch) -> Iterator[T]:
    """The first ``steps`` items; ``watch`` looks when a step at which a look is due has been made."""
    due = {round(look * steps / looks) for look in range(1, looks + 1)}
    for number, item in enumerate(islice(items, steps), start=1):
        yield item
        if number in due:
            watch.look(model)
