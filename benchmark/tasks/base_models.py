"""Base models: trained once for each (data, network, recipe, seed), shared by every method and scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger, Recipe, seeds_together
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples, View
from benchmark.errors import DivergenceError, InputError
from benchmark.models import PUBLISHED
from benchmark.models.classifiers import build_classifier, published_classifier
from benchmark.models.own import load_weights
from benchmark.seeding import derive, generator
from benchmark.training.loop import train_classifier
from benchmark.training.stacking import train_stacked

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context


class Based(Protocol):
    """What says of a scenario how its base models come about."""

    @property
    def data(self) -> str: ...
    @property
    def holdout(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def pretrained(self) -> bool: ...
    @property
    def weights(self) -> str: ...
    @property
    def training(self) -> Recipe: ...


@lru_cache(maxsize=4)
def on_device(name: str, device: torch.device, holdout: int = 0) -> Dataset:
    """The data set with its splits on ``device``; kept, because a worker serves many cells."""
    dataset = load(name, holdout)
    parts = [part.to(device) for part in (dataset.train, dataset.selection, dataset.test)]
    return replace(dataset, train=parts[0], selection=parts[1], test=parts[2])


def network_of(scenario: Based, dataset: Dataset) -> Callable[[], nn.Module]:
    """Who makes a new network for a scenario."""
    return partial(build_classifier, scenario.model, dataset.num_classes, dataset.shape, scenario.pretrained)


def base_model(
    scenario: Based,
    seed: int,
    context: Context,
    labels: Tensor | None = None,
    flaw: dict[str, Any] | None = None,
) -> nn.Module:
    """A classifier trained on the training split, in evaluation mode; or the one whose weights the scenario names.

    ``labels`` (N,) are learnt instead of the true ones; ``flaw`` then says how they were made.
    """
    dataset, recipe = on_device(scenario.data, context.device, scenario.holdout), scenario.training
    if scenario.weights:
        return _given(scenario, dataset).to(context.device).eval()
    if recipe.stacked > 1:
        if labels is not None:
            raise InputError("stacked: networks with wrong labels of their own are not trained together; leave it at 1")
        return _of_stack(scenario, seed, context)
    told = dataset.train if labels is None else replace(dataset.train, labels=labels.to(context.device))
    key = {**_data_key(scenario), **({} if flaw is None else {"flaw": flaw})}
    build = network_of(scenario, dataset)
    return trained(told, dataset.num_classes, scenario.model, recipe, seed, context, key, build)


def _given(scenario: Based, dataset: Dataset) -> nn.Module:
    """The network that somebody else trained: a library's own classifier, or one with the weights of a file."""
    if scenario.weights == PUBLISHED:
        return published_classifier(scenario.model, dataset.num_classes, dataset.shape)
    return load_weights(build_classifier(scenario.model, dataset.num_classes, dataset.shape), scenario.weights)


def _data_key(scenario: Based) -> dict[str, Any]:
    return {
        "data": scenario.data,
        "checksum": load(scenario.data, scenario.holdout).checksum,
        "pretrained": scenario.pretrained,
    }


def trained(
    samples: Samples,
    num_classes: int,
    model: str,
    recipe: Recipe,
    seed: int,
    context: Context,
    data: dict[str, Any],
    build: Callable[[], nn.Module] | None = None,
) -> nn.Module:
    """A classifier trained on ``samples``, in evaluation mode: from the artifact cache, or trained and kept there.

    ``data`` says what the samples depend on, and how ``build()`` makes the network where ``model`` does not say it all.
    """
    if build is None:
        build = partial(build_classifier, model, num_classes, tuple(samples.images.shape[1:]))
    network = build().to(context.device)

    def train() -> dict[str, Tensor]:
        fresh = _fresh(build, seed, context.device)
        view = View("train", samples, Access(train="xy"), Ledger())
        train_classifier(fresh, view, recipe, _order(seed))
        return fresh.state_dict()

    network.load_state_dict(context.artifact(__name__, _key(model, recipe, seed, data), train))
    return network.eval()


def _of_stack(scenario: Based, seed: int, context: Context) -> nn.Module:
    """The classifier of one seed, trained with those of the other seeds of its stack; all of them are kept."""
    recipe = scenario.training
    dataset, seeds = on_device(scenario.data, context.device, scenario.holdout), seeds_together(recipe, seed)
    build = network_of(scenario, dataset)
    keys = {s: _key(scenario.model, recipe, s, _data_key(scenario)) for s in seeds}

    def train(chosen: Sequence[int]) -> dict[str, Tensor]:
        networks = {s: _fresh(build, s, context.device) for s in chosen}
        views = [View("train", dataset.train, Access(train="xy"), Ledger()) for _ in chosen]
        try:
            train_stacked(list(networks.values()), views, recipe, [_order(s) for s in chosen])
        except DivergenceError:  # of one, for which the others shall not pay
            if len(chosen) == 1:
                raise
            return train([seed])
        for other in (s for s in chosen if s != seed):
            context.artifact(__name__, keys[other], networks[other].state_dict)
        return networks[seed].state_dict()

    network = build().to(context.device)
    network.load_state_dict(context.artifact(__name__, keys[seed], partial(train, seeds)))
    return network.eval()


def _key(model: str, recipe: Recipe, seed: int, data: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "base-classifier", "model": model, "recipe": recipe, "seed": seed, **data}


def _fresh(build: Callable[[], nn.Module], seed: int, device: torch.device) -> nn.Module:
    torch.manual_seed(derive(seed, "base-model", "init"))
    return build().to(device)


def _order(seed: int) -> torch.Generator:
    return generator(seed, "base-model", "order")
