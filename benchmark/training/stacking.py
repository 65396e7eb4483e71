"""Many networks of one architecture trained together: their parameters stacked, one step for all (torch.func).

What a step of a small network takes is mostly what it takes to start its operations; a stack starts them once for all
of its networks. Each network has its own samples, its own order and its own initial weights, and ends where training it
alone would have ended, but for the rounding of sums.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from benchmark.contracts import Recipe
from benchmark.data.views import Batch
from benchmark.errors import InputError
from benchmark.training.loop import (
    Sampled,
    at_least_float,
    class_weights,
    epochs,
    in_precision,
    inputs_of,
    optimise,
    optimiser_of,
    schedule_of,
    train_classifier,
)

#: Layers that draw random numbers: in a stack they would draw others than alone.
RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU)


class Stack:
    """Networks of one architecture, in training mode: parameters and buffers (G, ...) by name."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        """ValueError where there is none; InputError where layers draw random numbers, weights are frozen or tied."""
        if not models:
            raise ValueError("there is no network to train")
        tied = len(list(models[0].parameters())) < len(list(models[0].named_parameters(remove_duplicate=False)))
        if tied or not all(p.requires_grad for p in models[0].parameters()):
            raise InputError(f"stacked: weights of the network are {'tied' if tied else 'frozen'}; leave it at 1")
        noisy = next((type(m).__name__ for m in models[0].modules() if isinstance(m, RANDOM)), None)
        if noisy:
            raise InputError(
                f"stacked: the network has {noisy}, which would draw other numbers in a stack; leave it at 1"
            )
        self.models = models
        parameters, self.buffers = stack_module_state(list(models))
        self.parameters = {name: p.detach().contiguous().requires_grad_() for name, p in parameters.items()}
        self._one = copy.deepcopy(models[0]).to("meta").train()

    def losses(self, x: Tensor, y: Tensor, weights: Tensor | None) -> Tensor:
        """Cross-entropy of each network, (G,), on inputs x (G, B, ...) with labels y (G, B); weights (G, K) or None."""

        def loss(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor | None
        ) -> Tensor:
            return F.cross_entropy(at_least_float(functional_call(self._one, (parameters, buffers), (x,))), y, w)

        over = None if weights is None else 0
        return vmap(loss, (0, 0, 0, 0, over))(self.parameters, self.buffers, x, y, weights)

    def check(self, x: Tensor, y: Tensor) -> None:
        """InputError where a step on inputs and labels like these cannot be taken together; nothing is computed."""
        abstract = copy.copy(self)
        abstract.parameters, abstract.buffers = (
            {name: torch.empty_like(t, device="meta") for name, t in each.items()}
            for each in (self.parameters, self.buffers)
        )
        try:
            abstract.losses(torch.empty_like(x, device="meta"), torch.empty_like(y, device="meta"), None)
        except RuntimeError as error:  # of torch.func, which says what it cannot do
            reason = next(iter(str(error).splitlines()), "")
            raise InputError(f"stacked: the network cannot be trained in a stack; leave it at 1 ({reason})") from error

    @torch.no_grad()
    def classes(self, x: Tensor) -> int:
        """K, the number of logits for inputs like x (G, B, ...); nothing is computed."""
        return int(self._one(torch.empty_like(x[0], device="meta")).shape[1])

    @torch.no_grad()
    def unstack(self) -> None:
        """Give every network its own parameters and buffers; leaves it in evaluation mode."""
        for g, model in enumerate(self.models):
            for name, own in [*model.named_parameters(), *model.named_buffers()]:
                own.copy_((self.parameters[name] if name in self.parameters else self.buffers[name])[g])
            model.eval()


def train_stacked(
    models: Sequence[nn.Module], views: Sequence[Sampled], recipe: Recipe, generators: Sequence[torch.Generator]
) -> None:
    """Train each of ``models`` in place on its view and in the order of its generator, as ``train_classifier`` does.

    Leaves them in evaluation mode. Views must be equally long, so that all take the same steps: ValueError otherwise.
    InputError for networks that cannot be stacked. DivergenceError if the loss of any leaves the finite numbers: all
    are as they were then, and who wants the others must train them one by one.
    """
    if len(models) == 1:
        train_classifier(models[0], views[0], recipe, generators[0])
        return
    sizes = {len(view) for view in views}
    if len(sizes) != 1:
        raise ValueError(f"views of {sorted(sizes)} samples cannot be read in step")
    _train(Stack(models), views, recipe, generators)


def _train(stack: Stack, views: Sequence[Sampled], recipe: Recipe, generators: Sequence[torch.Generator]) -> None:
    everything = [view.everything() for view in views]
    seen = [inputs_of(recipe, generator) for generator in generators]
    told = [each.y for each in everything] if recipe.weighted else None
    weights: list[Tensor] = []
    checked = False

    def loss(batches: Sequence[Batch]) -> Tensor:
        nonlocal checked
        x = torch.stack([inputs(batch) for inputs, batch in zip(seen, batches, strict=True)])
        y = torch.stack([batch.y for batch in batches])
        if not checked:
            stack.check(x, y)
            checked = True
        if told is not None and not weights:
            k = stack.classes(x)
            weights.append(torch.stack([class_weights(labels, k) for labels in told]).to(x))
        return stack.losses(x, y, weights[0] if weights else None).sum()

    optimiser = optimiser_of(stack.parameters.values(), recipe)
    for group in optimiser.param_groups:  # one pass over parameters that no longer fit the cache, instead of five
        group.update(foreach=False, fused=True)
    schedule = schedule_of(optimiser, len(views[0]), recipe)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # where a layer is looped over
        step = in_precision(recipe, loss, everything[0].index.device)
        optimise(_in_step(views, recipe, generators), step, optimiser, schedule=schedule)
    stack.unstack()


def _in_step(
    views: Sequence[Sampled], recipe: Recipe, generators: Sequence[torch.Generator]
) -> Iterator[tuple[Batch, ...]]:
    """The next batch of every view, until all epochs are over."""
    streams = [epochs(v, recipe.batch_size, recipe.epochs, g) for v, g in zip(views, generators, strict=True)]
    return zip(*streams, strict=True)
