"""Forgetting class by class, where a scenario asks for it: who pays among the classes that stay."""

from __future__ import annotations

from torch import Tensor

from benchmark.contracts import Measured
from benchmark.data.views import Samples
from benchmark.metrics.by_class import counted, largest_drop, mean_drop, nearest_retained, without
from benchmark.metrics.groups import GroupCounts, worst_class


def worst_retained(logits: Tensor, labels: Tensor, classes: tuple[int, ...]) -> dict[str, Measured]:
    """What logits (N, C) and labels (N,) alone give; ``classes`` are those that go."""
    counts = without(counted(logits, labels, None, logits.shape[1]), classes)
    return {"accuracy.test.worst-class": worst_class(counts)}


def by_class(
    before: Tensor, after: Tensor, features: Tensor, test: Samples, classes: tuple[int, ...]
) -> tuple[dict[str, Measured], dict[str, tuple[int, int]]]:
    """Metrics over the classes that stay, and right and all test samples of every class and attribute.

    before, after: (N, C) test logits of base and amended model; features: (N, D) of the base model; on the CPU.
    """
    labels, attributes = test.labels.cpu(), None if test.attributes is None else test.attributes.cpu()
    counts = [counted(logits, labels, attributes, after.shape[1]) for logits in (before, after)]
    old, new = (without(each, classes) for each in counts)
    near = nearest_retained(features, labels, classes)
    stays = [c for c in range(after.shape[1]) if c not in (*classes, near)]
    metrics = {
        **worst_retained(after, labels, classes),
        "drop.worst-class": largest_drop(old, new),
        "drop.nearest-class": Measured(None, 0) if near is None else mean_drop(old, new, (near,)),
        "drop.other-classes": mean_drop(old, new, stays),
    }
    return metrics, _groups(counts[1], attributed=attributes is not None)


def _groups(counts: GroupCounts, *, attributed: bool) -> dict[str, tuple[int, int]]:
    """``class`` or ``class / attribute`` -> right and all samples."""
    return {
        f"{c} / {a}" if attributed else f"{c}": (int(counts.correct[c, a]), int(counts.n[c, a]))
        for c in range(counts.n.shape[0])
        for a in range(counts.n.shape[1])
    }
