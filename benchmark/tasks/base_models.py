"""Base models: trained once for each (data, network, recipe, seed), shared by every method and scenario."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import nn

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


def base_model(data: str, model: str, recipe: Recipe, seed: int, context: Context) -> nn.Module:
    """A classifier trained on the training split: from the artifact cache, or trained and kept there."""
    dataset = on_device(data, context.device)
    network = build_classifier(model, dataset.num_classes, dataset.shape).to(context.device)

    def train() -> nn.Module:
        torch.manual_seed(derive(seed, "base-model", "init"))
        fresh = build_classifier(model, dataset.num_classes, dataset.shape).to(context.device)
        view = View("train", dataset.train, Access(train="xy"), Ledger())
        train_classifier(fresh, view, recipe, generator(seed, "base-model", "order"))
        return fresh

    key = {
        "kind": "base-classifier",
        "data": data,
        "checksum": load(data).checksum,
        "model": model,
        "recipe": recipe,
        "seed": seed,
    }
    network.load_state_dict(context.artifact("benchmark.tasks.base_models", key, lambda: train().state_dict()))
    return network.eval()
