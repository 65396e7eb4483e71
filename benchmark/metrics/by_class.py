"""What the classes that stay lose, one by one: a mean over them hides who pays."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.groups import GroupCounts, count_groups
from benchmark.metrics.nearest_class import class_means


def counted(logits: Tensor, labels: Tensor, attributes: Tensor | None, num_classes: int) -> GroupCounts:
    """Samples and right ones by class and attribute; one attribute where there is none.

    logits: (N, C); labels and attributes: (N,) int64. A row with an entry that is not a number is wrong.
    """
    chosen = logits.argmax(1).where(~logits.isnan().any(1), -1)
    attributes = torch.zeros_like(labels) if attributes is None else attributes
    return count_groups(chosen, labels, attributes, num_classes, int(attributes.max()) + 1 if len(labels) else 1)


def without(counts: GroupCounts, classes: Sequence[int]) -> GroupCounts:
    """The same counts without any sample of ``classes``."""
    stays = torch.ones(len(counts.n), 1, dtype=torch.int64)
    stays[list(classes)] = 0
    return GroupCounts(counts.correct * stays, counts.n * stays)


def drops(before: GroupCounts, after: GroupCounts) -> Tensor:
    """(K,) float64: points of accuracy that each class loses, its attributes pooled; not a number without samples."""
    accuracies = [100.0 * counts.correct.sum(1).double() / counts.n.sum(1) for counts in (before, after)]
    return accuracies[0] - accuracies[1]


def largest_drop(before: GroupCounts, after: GroupCounts) -> Measured:
    """The most that a class with samples loses, in points; n: its samples. Negative where every class gains."""
    lost = drops(before, after)
    if lost.isnan().all():
        return Measured(None, 0)
    most = int(lost.nan_to_num(nan=-torch.inf).argmax())
    return Measured(float(lost[most]), int(after.n[most].sum()))


def mean_drop(before: GroupCounts, after: GroupCounts, classes: Sequence[int]) -> Measured:
    """What ``classes`` lose in the mean, in points, those without samples left out; n: their samples."""
    lost = drops(before, after)[list(classes)]
    if lost.isnan().all():
        return Measured(None, 0)
    return Measured(float(lost.nanmean()), int(after.n[list(classes)].sum()))


def nearest_retained(features: Tensor, labels: Tensor, classes: Sequence[int]) -> int | None:
    """The class not among ``classes`` whose mean feature is the nearest to that of one of them.

    features: (N, D) of the base model; labels: (N,). None where no class goes, none stays, or one is not finite.
    """
    known = labels.unique()
    gone = torch.isin(known, torch.tensor(classes, dtype=known.dtype))
    if not gone.any() or gone.all() or not features.isfinite().all():
        return None
    means = class_means(features, labels, known)
    return int(known[~gone][torch.cdist(means[gone], means[~gone]).amin(0).argmin()])
