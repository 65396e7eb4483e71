"""What a scenario and a seed forget: masks over the splits, and the labels that the base model learns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.data.packaged import Dataset
from benchmark.errors import InputError
from benchmark.seeding import generator
from benchmark.tasks.class_forget import ClassForget, number_of_requests
from benchmark.tasks.label_free_forget import LabelFreeForget

Scenario = ClassForget | LabelFreeForget


@dataclass(frozen=True)
class Peers:
    """Samples of another split that are comparable with the forget set: of its classes, labelled as it is labelled.

    mask: (N,) bool over the split; labels: (N,) int64, those of peers made wrong where the forget set's are.
    """

    mask: Tensor
    labels: Tensor


@dataclass(frozen=True)
class ForgetSets:
    """All on the CPU. N training samples, M test samples, S samples of the selection split.

    labels: (N,) int64 training labels as the base model learns them; forget: (N,) bool; labelled: (N,) bool, whose
    labels are known where few are; gone: (M,) bool, test samples of a class that must not be known any more (none
    but for removed classes); test: the M test samples' peers; selection: the S selection samples' peers; asked: what
    each request asks to forget, (N,) bool masks that have no sample in common and together are ``forget``; none
    where old outputs are scored again.
    """

    classes: tuple[int, ...]
    labels: Tensor
    forget: Tensor
    labelled: Tensor
    gone: Tensor
    test: Peers
    selection: Peers
    asked: tuple[Tensor, ...] = ()

    @property
    def removed(self) -> tuple[int, ...]:
        """The classes that must not be known any more."""
        return self.classes if self.gone.any() else ()


def of_classes(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    """(N,) bool: which labels are among ``classes``."""
    return torch.isin(labels, torch.tensor(classes, device=labels.device))


def forget_sets(scenario: Scenario, seed: int, dataset: Dataset) -> ForgetSets:
    """What the cells of ``seed`` forget, and the labels that their base model learns."""
    if isinstance(scenario, ClassForget):
        return _whole_classes(scenario, seed, torch.ones(len(dataset.train), dtype=torch.bool), dataset)
    labelled = _labelled(len(dataset.train), scenario.labelled_share, seed)
    if scenario.kind == "class-removal":
        return _whole_classes(scenario, seed, labelled, dataset)
    return _samples(scenario, seed, scenario.affected(seed), labelled, dataset)


def _whole_classes(scenario: Scenario, seed: int, labelled: Tensor, dataset: Dataset) -> ForgetSets:
    classes = scenario.forgotten(seed) if isinstance(scenario, ClassForget) else scenario.affected(seed)
    requests = number_of_requests(scenario) if isinstance(scenario, ClassForget) else scenario.requests
    train, test, selection = (part.labels.cpu() for part in (dataset.train, dataset.test, dataset.selection))
    gone = of_classes(test, classes)
    return ForgetSets(
        classes=classes,
        labels=train,
        forget=of_classes(train, classes),
        labelled=labelled,
        gone=gone,
        test=Peers(gone, test),
        selection=Peers(of_classes(selection, classes), selection),
        asked=tuple(of_classes(train, scenario.request(seed, k)) for k in range(requests)),
    )


def _samples(
    scenario: LabelFreeForget, seed: int, classes: tuple[int, ...], labelled: Tensor, dataset: Dataset
) -> ForgetSets:
    """A share of each affected class; in the scenario of noisy labels with wrong labels, peers' included."""
    train, test, selection = (part.labels.cpu() for part in (dataset.train, dataset.test, dataset.selection))
    drawn_by = scenario.drawn_by(seed)
    forget = drawn_from(train, classes, scenario.removed, generator(drawn_by, "forget-set", scenario.kind))
    peers = [of_classes(labels, classes) for labels in (test, selection)]
    told = [train, test, selection]
    if scenario.kind == "noisy-labels":
        told = [
            mislabelled(labels, mask, scenario.num_classes, generator(drawn_by, "wrong-labels", split))
            for split, labels, mask in zip(("train", "test", "selection"), told, (forget, *peers), strict=True)
        ]
    return ForgetSets(
        classes=classes,
        labels=told[0],
        forget=forget,
        labelled=labelled,
        gone=torch.zeros(len(test), dtype=torch.bool),
        test=Peers(peers[0], told[1]),
        selection=Peers(peers[1], told[2]),
        asked=dealt(forget, train, scenario.requests, generator(drawn_by, "requests", scenario.kind)),
    )


def dealt(forget: Tensor, labels: Tensor, n: int, rng: torch.Generator) -> tuple[Tensor, ...]:
    """``n`` parts of the forget set (N,) bool, at random: equally large ones, also within each of the labels (N,).

    Sizes differ by one at most. What is not divided is not drawn. InputError where there are fewer samples than parts.
    """
    if n == 1:
        return (forget,)
    if n > forget.sum():
        raise InputError(f"requests must be at most {int(forget.sum())}, the number of samples to forget, not {n}")
    shuffled = torch.randperm(len(labels), generator=rng)
    shuffled = shuffled[forget[shuffled]]
    order = shuffled[labels[shuffled].argsort(stable=True)]
    parts = torch.zeros(n, len(forget), dtype=torch.bool)
    for k in range(n):
        parts[k, order[k::n]] = True
    return tuple(parts)


def drawn_from(labels: Tensor, classes: tuple[int, ...], share: float, rng: torch.Generator) -> Tensor:
    """(N,) bool: ``share`` of the samples of each of ``classes``, rounded down, at random."""
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for c in classes:
        own = (labels == c).nonzero().squeeze(1)
        count = math.floor(share * len(own) + 1e-9)
        chosen[own[torch.randperm(len(own), generator=rng)[:count]]] = True
    return chosen


def mislabelled(labels: Tensor, where: Tensor, num_classes: int, rng: torch.Generator) -> Tensor:
    """(N,) labels with those at ``where`` (N,) bool made wrong: uniform over all classes but the true one.

    The official code of label-agnostic forgetting never draws the last class: its range ends one too early.
    """
    shift = torch.randint(1, num_classes, (len(labels),), generator=rng)
    return torch.where(where, (labels + shift) % num_classes, labels)


def _labelled(n: int, share: float, seed: int) -> Tensor:
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[torch.randperm(n, generator=generator(seed, "labelled"))[: max(1, round(share * n))]] = True
    return chosen
