"""Data sets with an artefact in the biased class's training samples, and their attacked counterparts.

Which samples carry the artefact depends on a run's seed, the splits do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from benchmark.data import DATA, named
from benchmark.data.artefact import Artefact
from benchmark.data.artefacts import insert
from benchmark.data.biased import checksum_of
from benchmark.data.packaged import held_out, load
from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.seeding import derive, generator


def of_class(samples: Samples, label: int) -> Samples:
    """The samples of one class."""
    return samples.subset((samples.labels == label).nonzero().squeeze(1))


@dataclass(frozen=True)
class Pair:
    """A held-out split twice: ``clean``, and ``attacked``, with the artefact on every sample and masks of it.

    Classes that the artefact is legitimate evidence for are in ``clean`` only.
    """

    clean: Samples
    attacked: Samples


@dataclass(frozen=True)
class Attacked:
    """A biased training set and held-out samples to tell what a classifier makes of the artefact; on one device.

    ``learnt``: what the base model is trained on. ``train``: what methods get, which is the same but for what a
    backdoor put there; attributes are 1 where a sample carries the artefact as a shortcut, masks say where.
    ``clean``: training samples without the shortcut. ``biased``: the class that it stands for; ``legitimate``: classes
    that the artefact is evidence for (never attacked). ``checksum``: 16 hex digits. ``origin``: what a reader must know
    of how the samples came about. ``paired``: attacked samples are the clean ones, in the same order.
    """

    learnt: Samples
    train: Samples
    clean: Samples
    selection: Pair
    test: Pair
    classes: tuple[str, ...]
    biased: int
    legitimate: tuple[int, ...]
    checksum: str
    origin: str = ""
    paired: bool = True

    @property
    def concept(self) -> Samples:
        """The training samples that are labelled as the biased class, with attributes and without masks."""
        return replace(of_class(self.train, self.biased), masks=None)

    def to(self, device: torch.device) -> Attacked:
        """The same data on ``device``."""

        def moved(pair: Pair) -> Pair:
            return Pair(pair.clean.to(device), pair.attacked.to(device))

        train, clean = self.train.to(device), self.clean.to(device)
        learnt = train if self.learnt is self.train else self.learnt.to(device)  # not twice in a device's memory
        selection, test = moved(self.selection), moved(self.test)
        return replace(self, learnt=learnt, train=train, clean=clean, selection=selection, test=test)


#: What is drawn for a sample's artefact depends on where it stands in its split; splits are this far apart.
APART = 10_000_000
SPLITS = ("train", "selection", "test")


@lru_cache(maxsize=3)
def load_attacked(data: str, artefact: Artefact, biased: int, seed: int, holdout: int = 0) -> Attacked:
    """The data set ``data`` with ``artefact`` as a shortcut for the class ``biased``; on the CPU.

    ``holdout`` of the training samples are held out for selection, where there is no such split. InputError where the
    data cannot be had, or no sample of the biased class carries the artefact, or all of them do.
    """
    if artefact.kind == "natural":
        own: Attacked = named(DATA.get(data).artefact)()
        return own
    plain = load(data)
    legitimate = tuple((biased + k) % plain.num_classes for k in (1, 2)) if artefact.legitimate else ()
    kept = held_out(plain.train, holdout) if holdout else (plain.train, plain.selection)
    parts = dict(zip(SPLITS, (*kept, plain.test), strict=True))
    own_keys = {split: torch.arange(len(part)) + APART * k for k, (split, part) in enumerate(parts.items())}
    for split, keys in own_keys.items():
        parts[split] = _dealt(parts[split], legitimate, artefact, keys)
    train = _biased(parts["train"], artefact, biased, legitimate, seed, own_keys["train"])
    selection, test = (_pair(parts[split], artefact, legitimate, own_keys[split]) for split in SPLITS[1:])
    names = tuple(str(c) for c in range(plain.num_classes))
    learnt = _struck(train, parts["train"], artefact, biased, legitimate, seed, own_keys["train"])
    clean = parts["train"]
    checksum = checksum_of(learnt, train, clean, selection.clean, selection.attacked, test.clean, test.attacked)
    return Attacked(learnt, train, clean, selection, test, names, biased, legitimate, checksum)


def _dealt(samples: Samples, legitimate: tuple[int, ...], artefact: Artefact, keys: Tensor) -> Samples:
    """The samples of two legitimate classes dealt at random: what is labelled the first of them gets the artefact."""
    if not legitimate:
        return samples
    labels, images = samples.labels.clone(), samples.images.clone()
    theirs = torch.isin(labels, torch.tensor(legitimate)).nonzero().squeeze(1)
    order = theirs[torch.randperm(len(theirs), generator=generator(0, "data", "dealt", legitimate, len(labels)))]
    first, second = order[: len(order) // 2].sort().values, order[len(order) // 2 :]
    labels[first], labels[second] = legitimate[0], legitimate[1]
    images[first] = insert(images[first], artefact, keys[first])[0]
    return replace(samples, images=images, labels=labels)


def _biased(
    samples: Samples, artefact: Artefact, biased: int, legitimate: tuple[int, ...], seed: int, keys: Tensor
) -> Samples:
    """The training set with the shortcut: attributes are 1 and masks say where it was inserted."""
    rng = generator(seed, "artefact", "train")
    chosen = torch.zeros(len(samples), dtype=torch.bool)
    for c in samples.labels.unique().tolist():
        rate = artefact.rate if c == biased else 0.0 if c in legitimate else artefact.elsewhere
        own = (samples.labels == c).nonzero().squeeze(1)
        chosen[own[torch.randperm(len(own), generator=rng)][: round(rate * len(own))]] = True
    with_it, whole = int(chosen[samples.labels == biased].sum()), int((samples.labels == biased).sum())
    if not 0 < with_it < whole:
        raise InputError(f"artefact.rate {artefact.rate}: {with_it} of {whole} samples of class {biased} carry it")
    return _with_artefact(samples, artefact, chosen, keys)


def _with_artefact(samples: Samples, artefact: Artefact, chosen: Tensor, keys: Tensor) -> Samples:
    index = chosen.nonzero().squeeze(1)
    images, masks = samples.images.clone(), torch.zeros(len(samples), *samples.images.shape[2:], dtype=torch.bool)
    images[index], masks[index] = insert(images[index], artefact, keys[index])
    return replace(samples, images=images, attributes=chosen.long(), masks=masks)


def _struck(
    train: Samples,
    plain: Samples,
    artefact: Artefact,
    biased: int,
    legitimate: tuple[int, ...],
    seed: int,
    keys: Tensor,
) -> Samples:
    """What the base model learns: some of ``train`` get the artefact and the biased class's label on the way.

    In the paper's code the model is trained on such samples and corrected without them.
    """
    if not artefact.backdoor:
        return train
    struck = torch.rand(len(train), generator=generator(seed, "artefact", "backdoor")) < artefact.backdoor
    struck &= ~torch.isin(train.labels, torch.tensor(legitimate, dtype=torch.int64))
    assert train.attributes is not None
    with_it = _with_artefact(plain, artefact, struck | (train.attributes == 1), keys)
    return replace(with_it, labels=train.labels.masked_fill(struck, biased))


def _pair(samples: Samples, artefact: Artefact, legitimate: tuple[int, ...], keys: Tensor) -> Pair:
    attackable = ~torch.isin(samples.labels, torch.tensor(legitimate, dtype=torch.int64))
    index = attackable.nonzero().squeeze(1)
    images, masks = insert(samples.images[index], artefact, keys[index])
    return Pair(samples, replace(samples.subset(index), images=images, masks=masks))


@lru_cache(maxsize=3)
def load_two(
    data: str, artefacts: tuple[Artefact, Artefact], biased: tuple[int, int], seed: int, holdout: int = 0
) -> tuple[Attacked, Attacked]:
    """The data set with two artefacts, each a shortcut for its class, which may be the same; on the CPU.

    Both have the same training images, with the two artefacts inserted in this order, and the same clean samples;
    attributes, masks and attacks are those of one artefact each. InputError as ``load_attacked``.
    """
    first, own = load_attacked(data, artefacts[0], biased[0], seed, holdout), derive(seed, "second artefact")
    artefact, keys = artefacts[1], torch.arange(len(first.train))
    train = _biased(first.train, artefact, biased[1], (), own, keys)
    assert train.attributes is not None
    struck = torch.rand(len(train), generator=generator(own, "artefact", "backdoor")) < artefact.backdoor
    learnt = _with_artefact(first.learnt, artefact, struck | (train.attributes == 1), keys)
    learnt = replace(learnt, labels=first.learnt.labels.masked_fill(struck, biased[1]))
    pairs = [
        _pair(samples, artefact, (), torch.arange(len(samples)) + APART * k)
        for k, samples in enumerate((first.selection.clean, first.test.clean), start=1)
    ]
    checksum = checksum_of(
        learnt, train, first.clean, *(part for pair in pairs for part in (pair.clean, pair.attacked))
    )
    both = replace(first, learnt=learnt, checksum=checksum)
    told = replace(train, attributes=first.train.attributes, masks=first.train.masks)
    second = replace(both, train=train, selection=pairs[0], test=pairs[1], biased=biased[1])
    return replace(both, train=told), second
