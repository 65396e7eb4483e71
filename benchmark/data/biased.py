"""Data sets whose label and attribute go together: what debiasing is measured on.

The bias belongs to the data set, as in the papers: it does not depend on a run's seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from benchmark.data import DATA, named
from benchmark.data.bias import Bias
from benchmark.data.colours import assign, colour
from benchmark.data.kept import keep, restore
from benchmark.data.packaged import load
from benchmark.data.views import Samples
from benchmark.discovery.source import digest
from benchmark.environment import cache_root
from benchmark.errors import InputError
from benchmark.seeding import generator

#: Counts up when the same photographs would be corrupted differently by what is not in the corruptions' own module.
FORMAT = 1
#: ImageNet's channel statistics: photographs are normalised as networks expect that were trained on it.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Biased:
    """Three disjoint splits with attributes, on one device; ``selection`` has the bias of the training set.

    ``unbiased``: as many training samples whose attributes are all equally frequent; None where there is no such draw.
    ``classes`` and ``attributes`` name the values of label and attribute. ``checksum``: 16 hex digits. ``origin``:
    what a reader must know of how the samples came about, for example that some are semi-synthetic.
    """

    name: str
    train: Samples
    selection: Samples
    test: Samples
    unbiased: Samples | None
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    checksum: str
    origin: str = ""

    def to(self, device: torch.device) -> Biased:
        """The same data on ``device``."""
        parts = [part.to(device) for part in (self.train, self.selection, self.test)]
        unbiased = None if self.unbiased is None else self.unbiased.to(device)
        return replace(self, train=parts[0], selection=parts[1], test=parts[2], unbiased=unbiased)


def group_counts(samples: Samples, num_classes: int, num_attributes: int) -> Tensor:
    """(K, A) int64: how many samples each group (label, attribute) has."""
    assert samples.attributes is not None
    groups = (samples.labels * num_attributes + samples.attributes).cpu()
    return groups.bincount(minlength=num_classes * num_attributes).view(num_classes, num_attributes)


def checksum_of(*parts: Samples | None) -> str:
    """16 hex digits over images, labels and attributes in order."""
    total = hashlib.sha256()
    for part in (part for part in parts if part is not None):
        for tensor in (part.images, part.labels, part.attributes):
            if tensor is not None:
                total.update(tensor.contiguous().numpy().data)
    return total.hexdigest()[:16]


@lru_cache(maxsize=4)
def load_biased(data: str, bias: Bias) -> Biased:
    """The data set ``data`` with ``bias``, on the CPU; InputError where it cannot be had, or a group is empty."""
    if bias.kind == "natural":
        biased: Biased = named(DATA.get(data).loader)()
    else:
        biased = _coloured(data, bias) if bias.kind == "colour" else _corrupted(data, bias)
    for split, samples in (("training", biased.train), ("test", biased.test)):
        empty = (group_counts(samples, len(biased.classes), len(biased.attributes)) == 0).nonzero().tolist()
        if empty:
            group = f"{biased.classes[empty[0][0]]}, {biased.attributes[empty[0][1]]}"
            raise InputError(
                f"data set {data}: {len(empty)} groups of the {split} set are empty, the first is ({group}); "
                "nothing can be said of a group that has no sample"
            )
    return biased


def shuffled(samples: Samples) -> Samples:
    """In an order of which nothing can be told: attributes are assigned, and files lie, by position."""
    return samples.subset(torch.randperm(len(samples), generator=generator(0, "data", "order")))


def _coloured(data: str, bias: Bias) -> Biased:
    """Grey images in colours; the training set is coloured first, and what is held out is drawn from it."""
    plain = load(data)
    values = 2 if bias.halves else plain.num_classes
    rng = generator(0, "data", data, "colours")

    def target(samples: Samples) -> Tensor:
        return (samples.labels >= plain.num_classes // 2).long() if bias.halves else samples.labels

    def painted(samples: Samples, attributes: Tensor) -> Samples:
        images = colour(samples.images, attributes, bias.severity, rng)
        return Samples(images, target(samples), (0.0,) * 3, (1.0,) * 3, attributes)

    def drawn(samples: Samples, conflicting: float) -> Samples:
        return painted(samples, assign(target(samples), values, conflicting, within=samples.labels))

    balanced = 1 - 1 / values
    coloured = drawn(plain.train, bias.conflicting)
    held, kept = _held_out(coloured, bias.holdout)
    selection = coloured.subset(held) if bias.holdout else drawn(plain.selection, bias.conflicting)
    if bias.every_attribute:
        copies = plain.test.subset(torch.arange(len(plain.test)).repeat(values))
        test = painted(copies, torch.arange(values).repeat_interleave(len(plain.test)))
    else:
        test = drawn(plain.test, balanced)
    drawn_anew = drawn(plain.train.subset(kept), balanced)
    parts = (shuffled(coloured.subset(kept)), shuffled(selection), test, shuffled(drawn_anew))
    names = ("lower half", "upper half") if bias.halves else tuple(str(c) for c in range(plain.num_classes))
    return Biased(data, *parts, names, tuple(f"colour {a}" for a in range(values)), checksum_of(*parts))


def _corrupted(data: str, bias: Bias) -> Biased:
    """Photographs with one of ten corruptions each; what the corruptions draw depends on the data set alone.

    They are kept in the cache, under what they depend on: photographs, attributes, severity, role and code.
    """
    from benchmark.data.corruptions import KINDS, corrupted

    plain = load(data)
    depends = (FORMAT, plain.checksum, bias.severity, digest("benchmark.data.corruptions"))

    def with_bias(samples: Samples, conflicting: float, role: str) -> Samples:
        attributes = assign(samples.labels, len(KINDS), conflicting)
        key = hashlib.sha256(repr((depends, role)).encode() + attributes.numpy().tobytes()).hexdigest()[:32]
        path = cache_root() / "data" / "corrupted" / f"{key}.safetensors"
        images = (restore(path) or {}).get("images")
        if images is None:
            images = corrupted(samples.images, attributes, bias.severity, role=f"{data}/{role}")
            keep(path, {"images": images})
        return Samples(images, samples.labels, *IMAGENET, attributes)

    train = with_bias(plain.train, bias.conflicting, "train")
    held, kept = _held_out(train, bias.holdout)
    test = with_bias(plain.test, 1 - 1 / len(KINDS), "test")
    unbiased = with_bias(plain.train, 1 - 1 / len(KINDS), "unbiased").subset(kept)
    parts = (shuffled(train.subset(kept)), shuffled(train.subset(held)), test, shuffled(unbiased))
    names = tuple(f"class {c}" for c in range(plain.num_classes))
    return Biased(data, *parts, names, KINDS, checksum_of(*parts))


def _held_out(samples: Samples, holdout: int) -> tuple[Tensor, Tensor]:
    """Positions held out and positions kept, each in order.

    Of each class, and of its bias-aligned and its bias-conflicting samples, the same share is held out.
    """
    n = len(samples)
    if holdout >= n:
        raise InputError(f"bias.holdout is {holdout}, but the training set has {n} samples")
    assert samples.attributes is not None
    rng = generator(0, "data", "held-out")
    order = torch.randperm(n, generator=rng)
    strata = 2 * samples.labels + (samples.labels != samples.attributes).long()
    order = order[strata[order].argsort(stable=True)]
    every = n / max(holdout, 1)
    held = torch.zeros(n, dtype=torch.bool)
    held[order[((torch.arange(holdout) + float(torch.rand((), generator=rng))) * every).long()]] = True
    return held.nonzero().squeeze(1), (~held).nonzero().squeeze(1)
