"""Many small networks trained together beside one after the other; where a step is long already, that gains nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.contracts import Access, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.models.classifiers import build_classifier
from benchmark.seeding import generator
from benchmark.training.loop import train_classifier
from benchmark.training.stacking import train_stacked

Beside = Callable[..., tuple[Any, Any]]
WAY = "one network after the other"
#: Networks, batch size, samples of a full run, epochs, bar on CPU, by data set and network.
STACKS = [
    ("four-gaussians", "mlp-toy", 32, 64, 4_000, 1, 2.0),
    ("digits", "resnet-small", 8, 16, 1_097, 2, None),
    ("digits", "resnet-small", 8, 64, 1_097, 2, None),
    ("mnist-5k", "resnet-small", 8, 64, 640, 1, None),
]


@pytest.mark.parametrize(("data", "model", "networks", "batch", "n", "epochs", "bar"), STACKS)
def test_ensembles(
    data: str,
    model: str,
    networks: int,
    batch: int,
    n: int,
    epochs: int,
    bar: float | None,
    beside: Beside,
    full: bool,
    device: str,
) -> None:
    """Both give networks whose probabilities differ by less than 0.01 on average; rounding grows with the steps."""
    source, on = load(data), torch.device(device)
    networks, n = (networks, n) if full else (2, 2 * batch)
    samples = source.train.subset(torch.arange(n)).to(on)
    recipe = Recipe(epochs=epochs, batch_size=batch, lr=0.01, schedule="constant")

    def made() -> tuple[list[nn.Module], list[View], list[torch.Generator]]:
        return networks_of(samples, source.num_classes, model, networks, on)

    def together() -> Sequence[nn.Module]:
        models, views, generators = made()
        train_stacked(models, views, recipe, generators)
        return models

    def one_by_one() -> Sequence[nn.Module]:
        models, views, generators = made()
        for network, view, rng in zip(models, views, generators, strict=True):
            train_classifier(network, view, recipe, rng)
        return models

    title = f"ensembles: {networks} x {model} on {data}, batches of {batch}"
    found, expected = beside(together, one_by_one, title, WAY, bar=bar, bar_on="cpu")
    x = source.test.inputs(slice(0, 200)).to(on)
    with torch.no_grad():
        apart = [
            (own(x).softmax(1) - other(x).softmax(1)).abs().mean() for own, other in zip(found, expected, strict=True)
        ]
    assert torch.stack(apart).mean() < 0.01


def networks_of(
    samples: Samples, classes: int, model: str, networks: int, device: torch.device
) -> tuple[list[nn.Module], list[View], list[torch.Generator]]:
    """Networks of other seeds, each with a view of the same samples and an order of its own."""
    models = []
    for seed in range(networks):
        torch.manual_seed(seed)
        models.append(build_classifier(model, classes, tuple(samples.images.shape[1:])).to(device))
    views = [View("train", samples, Access(train="xy"), Ledger()) for _ in models]
    return models, views, [generator(seed, "order") for seed in range(networks)]
