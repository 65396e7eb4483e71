"""Base models: trained once for each (data, network, recipe, seed), shared by every method and scenario."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger, Recipe
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import View
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
    """A classifier trained on the training split: from the artifact cache, or trained and kept there.

    ``labels`` (N,) are learnt instead of the true ones; ``flaw`` then says how they were made.
    """
    dataset = on_device(data, context.device)
    network = build_classifier(model, dataset.num_classes, dataset.shape).to(context.device)

    def train() -> nn.Module:
        torch.manual_seed(derive(seed, "base-model", "init"))
        fresh = build_classifier(model, dataset.num_classes, dataset.shape).to(context.device)
        told = dataset.train.labels if labels is None else labels.to(context.device)
        view = View("train", replace(dataset.train, labels=told), Access(train="xy"), Ledger())
        train_classifier(fresh, view, recipe, generator(seed, "base-model", "order"))
        return fresh

    key = {
        "kind": "base-classifier",
        "data": data,
        "checksum": load(data).checksum,
        "model": model,
        "recipe": recipe,
        "seed": seed,
        **({} if flaw is None else {"flaw": flaw}),
    }
    network.load_state_dict(context.artifact("benchmark.tasks.base_models", key, lambda: train().state_dict()))
    return network.eval()
