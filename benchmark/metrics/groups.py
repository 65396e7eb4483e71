"""Accuracy by group, a group being a label together with an attribute: its mean, its worst, and how sure the worst is.

Sagawa et al., "Distributionally robust neural networks for group shifts" (2020): worst-group accuracy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.contracts import Measured


@dataclass(frozen=True)
class GroupCounts:
    """How many samples of each group (label, attribute) there are, and how many of them are right; on the CPU.

    correct: (K, A) int64; n: (K, A) int64, for K labels and A attributes.
    """

    correct: Tensor
    n: Tensor

    @property
    def accuracy(self) -> Tensor:
        """(K, A) float64 in percent; not a number where a group has no samples."""
        return 100.0 * self.correct.double() / self.n.double()


def count_groups(
    predictions: Tensor, labels: Tensor, attributes: Tensor, num_classes: int, num_attributes: int
) -> GroupCounts:
    """Count by group; predictions, labels, attributes: (N,) int64, a prediction that is no label counts as wrong.

    Raises ValueError where a label or an attribute is out of range.
    """
    predictions, labels, attributes = predictions.cpu(), labels.cpu(), attributes.cpu()
    for name, values, limit in (("label", labels, num_classes), ("attribute", attributes, num_attributes)):
        if len(values) and (int(values.min()) < 0 or int(values.max()) >= limit):
            raise ValueError(f"every {name} must be at least 0 and below {limit}")
    groups = labels * num_attributes + attributes
    found = [g.bincount(minlength=num_classes * num_attributes) for g in (groups[predictions == labels], groups)]
    correct, n = (counts.view(num_classes, num_attributes) for counts in found)
    return GroupCounts(correct, n)


def group_balanced(counts: GroupCounts) -> Measured:
    """Mean accuracy in percent over the groups that have samples, each counting the same; n: all samples."""
    return weighted_accuracy(counts, torch.ones_like(counts.n))


def mean_accuracy(counts: GroupCounts) -> Measured:
    """Accuracy in percent over all samples, so that each group counts as often as it occurs among them."""
    return pooled(counts, torch.ones_like(counts.n, dtype=torch.bool))


def weighted_accuracy(counts: GroupCounts, weights: Tensor) -> Measured:
    """Mean accuracy in percent over the groups that have samples, weighted by ``weights`` (K, A) of at least 0.

    With the training set's counts: the mean as it would be on data with the bias of the training set, as Sagawa et al.
    (2020) report it for Waterbirds. n: all samples. None where no group with samples has a weight.
    """
    present = counts.n > 0
    w = weights.cpu().double()[present]
    n = int(counts.n.sum())
    if not float(w.sum()):
        return Measured(None, n)
    return Measured(float((w * counts.accuracy[present]).sum() / w.sum()), n)


def pooled(counts: GroupCounts, mask: Tensor) -> Measured:
    """Accuracy in percent over all samples of the groups in ``mask`` (K, A) bool; None where they have none."""
    mask = mask.cpu()
    return _proportion(int(counts.correct[mask].sum()), int(counts.n[mask].sum()))


def worst_group(counts: GroupCounts) -> Measured:
    """The lowest accuracy in percent of a group that has samples; n: that group's samples."""
    return _lowest(counts.correct.flatten(), counts.n.flatten())


def bias_difference(counts: GroupCounts, aligned: Tensor) -> Measured:
    """Accuracy on a class's bias-aligned less that on its bias-conflicting samples, averaged over classes; points.

    Classes that lack either are left out (None where all do). ``aligned``: (K, A) bool. Within a class, so that
    classes of unequal size or difficulty do not pass for a bias.
    """
    sides = [((counts.correct * mask).sum(1), (counts.n * mask).sum(1)) for mask in (aligned, ~aligned)]
    both = (sides[0][1] > 0) & (sides[1][1] > 0)
    if not both.any():
        return Measured(None, 0)
    accuracy = [100 * correct[both].double() / n[both] for correct, n in sides]
    return Measured(float((accuracy[0] - accuracy[1]).mean()), int(counts.n[both].sum()))


def worst_class(counts: GroupCounts) -> Measured:
    """The lowest accuracy in percent of a class that has samples, its groups pooled; n: that class's samples."""
    return _lowest(counts.correct.sum(1), counts.n.sum(1))


def worst_group_lower(counts: GroupCounts, level: float = 0.95) -> Measured:
    """A bound in percent that no group's true accuracy is below, all G groups at once, with confidence ``level``.

    The lowest of the groups' one-sided lower bounds of Clopper and Pearson (1934) at (1 - level) / G each (Bonferroni);
    n: the samples of the group that it comes from. Groups without samples are left out.
    """
    from scipy.special import betaincinv

    present = counts.n > 0
    correct, n = counts.correct[present], counts.n[present]
    if not len(n):
        return Measured(None, 0)
    alpha = (1 - level) / len(n)
    quantiles = torch.from_numpy(betaincinv(correct.clamp(min=1).numpy(), (n - correct + 1).numpy(), alpha))
    bounds = 100.0 * quantiles * (correct > 0)
    lowest = int(bounds.argmin())
    return Measured(float(bounds[lowest]), int(n[lowest]))


def aligned(train_n: Tensor) -> Tensor:
    """(K, A) bool: groups more frequent in training than if label and attribute were independent.

    train_n: (K, A) counts of the training set. The other groups are bias-conflicting.
    """
    n = train_n.cpu().long()
    return n * n.sum() > n.sum(1, keepdim=True) * n.sum(0, keepdim=True)


def standard_error(measured: Measured) -> float | None:
    """The standard error in percent of an accuracy pooled over ``measured.n`` samples; None where there is no value."""
    if measured.value is None or measured.n == 0:
        return None
    return math.sqrt(measured.value * (100.0 - measured.value) / measured.n)


def _proportion(correct: int, n: int) -> Measured:
    return Measured(100.0 * correct / n, n) if n else Measured(None, 0)


def _lowest(correct: Tensor, n: Tensor) -> Measured:
    """The lowest of the proportions ``correct / n`` in percent, of those that have samples; the first where equal."""
    present = n > 0
    correct, n = correct[present], n[present]
    if not len(n):
        return Measured(None, 0)
    lowest = int((correct.double() / n).argmin())
    return _proportion(int(correct[lowest]), int(n[lowest]))
