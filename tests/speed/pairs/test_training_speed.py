"""The training loop beside the usual one over single images, and what a large GPU must do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmark.contracts import Access, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.models.classifiers import build_classifier
from benchmark.training.loop import optimiser_of, schedule_of, train_classifier

Beside = Callable[..., tuple[Any, Any]]
Within = Callable[..., Any]
#: The class-forgetting paper's network and optimiser on CIFAR-10, in a tenth of its epochs.
CIFAR = Recipe(epochs=24, batch_size=512, lr=0.4, augmentation="crop-flip", precision="bf16")


def view_of(samples: Samples) -> View:
    return View("train", samples, Access(train="xy"), Ledger())


def network(name: str, classes: int, shape: tuple[int, ...], device: str) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(name, classes, shape).to(device)


def random_images(n: int, device: str) -> Samples:
    """Noise of CIFAR-10's shape with labels of ten classes."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 3, 32, 32), generator=rng, dtype=torch.uint8)
    samples = Samples(images, torch.randint(10, (n,), generator=rng), (0.5,) * 3, (0.25,) * 3)
    return samples.to(torch.device(device))


class Single(Dataset[tuple[Tensor, Tensor]]):
    """Images one by one, scaled and normalised."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.mean, self.std = (torch.tensor(told).view(-1, 1, 1) for told in (samples.mean, samples.std))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return (self.samples.images[i].float() / 255 - self.mean) / self.std, self.samples.labels[i]


def test_an_epoch(beside: Beside, full: bool, device: str) -> None:
    """A small residual network on MNIST; after an epoch in other orders both are as good to a few points."""
    data = load("mnist-5k")
    train = data.train.subset(torch.arange(3_500 if full else 320))
    recipe, there = Recipe(epochs=1, batch_size=64, lr=0.1), train.to(torch.device(device))

    def ours() -> nn.Module:
        model = network("resnet-small", 10, (1, 28, 28), device)
        train_classifier(model, view_of(there), recipe, torch.Generator().manual_seed(0))
        return model

    def plain() -> nn.Module:
        model = network("resnet-small", 10, (1, 28, 28), device).to(memory_format=torch.contiguous_format)
        optimiser = optimiser_of(model, recipe)
        schedule = schedule_of(optimiser, len(train), recipe)
        assert schedule is not None
        model.train()
        rng = torch.Generator().manual_seed(0)
        loader = DataLoader(Single(train), 64, shuffle=True, drop_last=True, pin_memory=device == "cuda", generator=rng)
        for x, y in loader:
            optimiser.zero_grad()
            loss = F.cross_entropy(model(x.to(device, non_blocking=True)), y.to(device, non_blocking=True))
            loss.backward()
            optimiser.step()
            schedule.step()
            loss.item()
        return model.eval()

    title = "training: an epoch of a small residual network on MNIST"
    models = beside(ours, plain, title, "a DataLoader over single images", amount=len(train), unit="images/s")
    test = data.test.to(torch.device(device))
    with torch.no_grad():
        right = [(model(test.inputs()).argmax(1) == test.labels).float().mean() for model in models]
    assert abs(right[0] - right[1]) < (0.1 if full else 0.3)


def test_throughput(within: Within, full: bool, device: str) -> None:
    """The training loop on ResNet-18 in bf16: a GPU of the largest kind takes 50,000 images a second."""
    n = 50_000 if full and device == "cuda" else 128 if full else 16
    recipe = msgspec.structs.replace(CIFAR, epochs=1, batch_size=min(512, n // 2), schedule="constant")
    model, view = network("resnet18-cifar", 10, (3, 32, 32), device), view_of(random_images(n, device))
    before = [p.detach().clone() for p in model.parameters()]

    def train() -> None:
        train_classifier(model, view, recipe, torch.Generator().manual_seed(0))

    title = f"training: {n:,} images of 32 x 32 through ResNet-18, bf16, crops and flips"
    within(train, title, 1.0, limit_on="cuda")
    assert all(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))
    assert all(p.isfinite().all() for p in model.parameters())


def test_cifar(within: Within, full: bool, device: str) -> None:
    """From an untrained ResNet-18 to 94 % of CIFAR-10's test images; where there is no GPU a step on noise."""
    if full and device == "cuda":
        data = load("cifar-10")
        train, test = (part.to(torch.device(device)) for part in (data.train, data.test))
        recipe, limit = CIFAR, 30.0
    elif full:
        pytest.skip("it takes a GPU")
    else:
        train, test = random_images(64, device), random_images(32, device)
        recipe, limit = msgspec.structs.replace(CIFAR, epochs=1, batch_size=32, schedule="constant"), None

    def trained() -> nn.Module:
        model = network("resnet18-cifar", 10, (3, 32, 32), device)
        train_classifier(model, view_of(train), recipe, torch.Generator().manual_seed(0))
        return model

    model = within(trained, "training: ResNet-18 to 94 % on CIFAR-10", limit)
    with torch.no_grad():
        logits = torch.cat([model(test.inputs(part)) for part in torch.arange(len(test)).split(1_000)])
    right = float((logits.argmax(1) == test.labels).float().mean())
    assert right >= 0.94 or limit is None
