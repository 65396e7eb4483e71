"""Base models: trained once for each (data, network, recipe, seed), shared by every method and scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger, Recipe
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples, View
from benchmark.models.classifiers import build_classifier
from benchmark.seeding import derive, generator
from benchmark.training import train_classifier

if TYPE_CHECKING:
    from benchmark.running.context import Context


@lru_cache(maxsize=4)
def on_device(name: str, device: torch.device) -> Dataset:
    """The data set with its splits on ``device``; kept, because a worker serves many cells."""
    dataset = load(name)
    parts = [part.to(device) for part in (dataset.train, dataset.selection, dataset.test)]
    return Dataset(name, parts[0], parts[1], parts[2], dataset.num_classes)


def base_model(
    data: str,
    model: str,
    recipe: Recipe,
    seed: int,
    context: Context,
    labels: Tensor | None = None,
    flaw: dict[str, Any] | None = None,
) -> nn.Module:
    """A classifier trained on the training split of ``data``, in evaluation mode.

    ``labels`` (N,) are learnt instead of the true ones; ``flaw`` then says how they were made.
    """
    dataset = on_device(data, context.device)
    told = dataset.train if labels is None else replace(dataset.train, labels=labels.to(context.device))
    key = {"data": data, "checksum": load(data).checksum, **({} if flaw is None else {"flaw": flaw})}
    return trained(told, dataset.num_classes, model, recipe, seed, context, key)


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
        torch.manual_seed(derive(seed, "base-model", "init"))
        fresh = build().to(context.device)
        view = View("train", samples, Access(train="xy"), Ledger())
        train_classifier(fresh, view, recipe, generator(seed, "base-model", "order"))
        return fresh.state_dict()

    key = {"kind": "base-classifier", "model": model, "recipe": recipe, "seed": seed, **data}
    network.load_state_dict(context.artifact("benchmark.tasks.base_models", key, train))
    return network.eval()
