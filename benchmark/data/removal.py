"""What a generator learnt from and is judged by: images, which of them show what must go, and halves for judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.data.hues import HUES, coloured
from benchmark.data.packaged import load
from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.seeding import generator

HALF = 0.5


@dataclass(frozen=True)
class Removal:
    """Samples whose ``labels`` are classes that feature extractors tell apart and whose ``attributes`` are the feature.

    Images become inputs in [-1, 1]. ``first`` and ``second`` are the halves of ``train``, for judges that must not
    share data. ``num_classes`` counts labels, ``num_values`` values of the feature.
    """

    train: Samples
    first: Samples
    second: Samples
    selection: Samples
    test: Samples
    num_classes: int
    num_values: int
    checksum: str

    @property
    def shape(self) -> tuple[int, ...]:
        """That of one image, or of one point."""
        return tuple(self.train.images.shape[1:])

    def to(self, device: torch.device) -> Removal:
        parts = {name: getattr(self, name).to(device) for name in ("train", "first", "second", "selection", "test")}
        return replace(self, **parts)


@lru_cache(maxsize=2)
def load_removal(data: str, feature: str, size: int, crop: int) -> Removal:
    """The data set ``data``, ``crop`` pixels cut from each side, resized to ``size`` x ``size`` where that is not 0.

    ``feature``: ``class`` and ``modes`` are the labels themselves; ``colour`` draws every grey image once in every hue.
    """
    dataset = load(data)
    change: Callable[[Samples, str], Samples] = partial(_tinted, data) if feature == "colour" else _labelled

    def prepared(samples: Samples, part: str) -> Samples:
        return change(_sized(samples, size, crop), part)

    one, other = halves(dataset.train)
    hues = len(HUES) if feature == "colour" else 1
    return Removal(
        train=prepared(dataset.train, "train"),
        first=prepared(one, "first"),
        second=prepared(other, "second"),
        selection=prepared(dataset.selection, "selection"),
        test=prepared(dataset.test, "test"),
        num_classes=dataset.num_classes * hues,
        num_values=hues if feature == "colour" else dataset.num_classes,
        checksum=dataset.checksum,
    )


def halves(samples: Samples) -> tuple[Samples, Samples]:
    """Two disjoint halves with as many samples of every label, the same whenever this is called."""
    order = torch.randperm(len(samples), generator=generator(0, "judges", "halves"))
    order = order[samples.labels[order].argsort(stable=True)]
    return samples.subset(order[::2].sort().values), samples.subset(order[1::2].sort().values)


def without(samples: Samples, undesired: tuple[int, ...]) -> Samples:
    """The samples whose attribute is none of ``undesired``."""
    return samples.subset((~shown(samples, undesired)).nonzero().squeeze(1))


def shown(samples: Samples, undesired: tuple[int, ...]) -> Tensor:
    """Which samples show one of the ``undesired`` values, (N,) bool."""
    assert samples.attributes is not None
    return torch.isin(samples.attributes, torch.tensor(undesired, device=samples.attributes.device))


def in_company(samples: Samples, value: int, companion: int, share: float, rng: torch.Generator) -> Samples:
    """Coloured samples of which ``share`` of those in hue ``value`` are of class ``companion``, the others of the rest.

    The hue keeps its number of samples: the companion's are repeated, those of the rest thinned out, at random. Other
    hues are as they were. InputError where one of the two that is asked for has no sample.
    """
    inside = shown(samples, (value,))
    own = inside & (samples.labels // len(HUES) == companion)
    count = round(share * int(inside.sum()))
    parts = [_repeated(own, count, rng), _repeated(inside & ~own, int(inside.sum()) - count, rng)]
    return samples.subset(torch.cat([(~inside).nonzero().squeeze(1), *parts]))


def _repeated(chosen: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """``count`` indices of ``chosen`` (N,) bool, each as often as the others or once more."""
    index = chosen.nonzero().squeeze(1)
    if count and not len(index):
        raise InputError("companion_share: there is no image of the companion in that hue, or none of another class")
    rounds = -(-count // max(len(index), 1))
    order = [torch.randperm(len(index), generator=rng) for _ in range(rounds)]
    return index[torch.cat(order)[:count].to(index.device)] if count else index[:0]


def shifted(samples: Samples) -> Samples:
    """Images beside themselves moved by a pixel up, down, left and right: 5 N samples, for judges that see few."""
    moves = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    if samples.images.dim() != 4:
        return samples
    every = samples.subset(torch.arange(len(samples), device=samples.images.device).repeat(len(moves)))
    images = torch.cat([samples.images.roll(move, (2, 3)) for move in moves])
    return replace(every, images=images)


def _sized(samples: Samples, size: int, crop: int) -> Samples:
    if samples.images.dim() != 4:
        return samples
    images = samples.images
    if crop:
        images = images[:, :, crop:-crop, crop:-crop]
    if size and size != images.shape[-1]:
        resized = [
            F.interpolate(chunk.float(), (size, size), mode="bilinear", antialias=True) for chunk in images.split(1000)
        ]
        images = torch.cat(resized).round().clamp(0, 255).to(torch.uint8)
    half = (HALF,) * images.shape[1]
    return replace(samples, images=images, mean=half, std=half)


def _labelled(samples: Samples, part: str) -> Samples:
    return replace(samples, attributes=samples.labels)


def _tinted(data: str, samples: Samples, part: str) -> Samples:
    """Every grey image in every hue; the label tells digit and hue."""
    if not len(samples):
        raise InputError(f"data set {data} has an empty split ({part}), of which nothing can be drawn in colour")
    found = coloured(samples, generator(0, "data", data, "hues", part))
    digits = samples.labels.repeat_interleave(len(HUES))
    return replace(found, labels=digits * len(HUES) + found.labels, attributes=found.labels)
