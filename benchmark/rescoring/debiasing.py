"""Re-scoring debias-known and debias-unknown: accuracy by group, and what the selection rules chose."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.data import DATA
from benchmark.data.biased import Biased, group_counts
from benchmark.metrics import groups
from benchmark.metrics.groups import GroupCounts, count_groups
from benchmark.rescoring import known_data
from benchmark.rescoring.kept import Kept
from benchmark.rescoring.reported import Claim
from benchmark.running.arrays import ArraysError
from benchmark.running.records import Count
from benchmark.tasks.debias import RULES, Debias

#: What takes features, data that is not at hand, or other states of the network than the one that was chosen.
NOT_KEPT = {
    "attribute.decodability": "features",
    "accuracy.mean.train-weighted": "the training data",
    "accuracy.bias-aligned": "the training data",
    "accuracy.bias-conflicting": "the training data",
    "bias.difference": "the training data",
    **dict.fromkeys(("selection.score", "selection.step", "selection.standard-error"), "what its rule saw"),
    **{
        f"accuracy.{name}@{rule}": "other states"
        for rule in (*RULES, "oracle")
        for name in ("group-balanced", "worst-group")
    },
}
#: Kinds of corruption, one for each of ten classes.
CORRUPTIONS = 10
#: Share of conflicting training samples up to which the bias-aligned groups are those of a class's own attribute.
MOST_CONFLICTING = 0.1


def rescored(scenario: Debias, claim: Claim, kept: Kept) -> dict[str, Measured]:
    """Today's metrics of the kept logits; ArraysError where labels, attributes or the record's counts differ."""
    data = known_data.biased(scenario)
    counts = _counts(scenario, kept, data)
    if claim.groups is not None:
        _check_groups(claim.groups, counts)
    found = {
        "accuracy.group-balanced": groups.group_balanced(counts),
        "accuracy.worst-group": groups.worst_group(counts),
        "accuracy.worst-group.lower": groups.worst_group_lower(counts),
        "accuracy.mean": groups.mean_accuracy(counts),
    }
    if data is not None:
        train = group_counts(data.train, *counts.n.shape)
        found["accuracy.mean.train-weighted"] = groups.weighted_accuracy(counts, train)
    aligned = _aligned(scenario, counts.n.shape, data)
    if aligned is not None:
        found["accuracy.bias-aligned"] = groups.pooled(counts, aligned)
        found["accuracy.bias-conflicting"] = groups.pooled(counts, ~aligned)
        found["bias.difference"] = groups.bias_difference(counts, aligned)
    return found if claim.groups is None else found | _selection(scenario, claim, kept, counts)


def _shape(scenario: Debias, data: Biased | None) -> tuple[int, int]:
    """How many labels and attributes there are."""
    if data is not None:
        return len(data.classes), len(data.attributes)
    source = DATA.get(scenario.data)
    labels = 2 if scenario.bias.halves else source.num_classes
    return labels, {"natural": source.attributes, "colour": labels, "corruption": CORRUPTIONS}[scenario.bias.kind]


def _counts(scenario: Debias, kept: Kept, data: Biased | None) -> GroupCounts:
    num_classes, num_attributes = _shape(scenario, data)
    logits = kept.logits("test.logits", num_classes)
    labels = kept.labels("test.labels", len(logits), num_classes)
    attributes = kept.labels("test.attributes", len(logits), num_attributes)
    if data is not None:
        for name, own, true in (("labels", labels, data.test.labels), ("attributes", attributes, data.test.attributes)):
            if true is None or not known_data.same(own, true):
                raise ArraysError(f"test.{name} is not that of data set {scenario.data}")
    predictions = logits.argmax(1).where(~logits.isnan().any(1), -1)
    return count_groups(predictions, labels, attributes, num_classes, num_attributes)


def _check_groups(told: Mapping[str, Count], counts: GroupCounts) -> None:
    own = [(int(right), int(n)) for right, n in zip(counts.correct.flatten(), counts.n.flatten(), strict=True)]
    if own != [(count.right, count.n) for count in told.values()]:
        raise ArraysError("the record's counts by group are not those of its outputs")


def _aligned(scenario: Debias, shape: torch.Size, data: Biased | None) -> Tensor | None:
    """(K, A) bool: the bias-aligned groups; None where they cannot be known without the data.

    A bias that is made gives each class its own attribute, so that those pairs are the frequent ones.
    """
    if data is not None:
        return groups.aligned(group_counts(data.train, *shape))
    made = scenario.bias.kind != "natural" and scenario.bias.conflicting <= MOST_CONFLICTING
    return torch.eye(shape[0], shape[1], dtype=torch.bool) if made else None


def _selection(scenario: Debias, claim: Claim, kept: Kept, counts: GroupCounts) -> dict[str, Measured]:
    """What the rules chose, from what they gave each look; the n of held-out samples are the record's own."""
    names: tuple[str, ...] = RULES
    history = {rule: kept.values(f"selection.{rule}") for rule in names if f"selection.{rule}" in kept}
    if len({len(values) for values in history.values()}) != 1 or scenario.selection not in history:
        raise ArraysError("the selection rules' scores are missing or not of as many looks")
    looks = {rule: _chosen(values) for rule, values in history.items()}
    own = looks[scenario.selection]
    if own is None:
        raise ArraysError(f"the rule {scenario.selection} gave no look a score")
    steps = scenario.training.steps
    values = history[scenario.selection]
    found = {
        "selection.score": _held_out(claim, "selection.score", float(values[own])),
        "selection.step": Measured(float(round((own + 1) * steps / len(values))), 0),
        "selection.standard-error": _standard_error(claim, history, looks),
    }
    if scenario.selection == "last":
        found["selection.score"] = Measured(None, 0)
    for rule, look in looks.items():
        if look == own:
            found[f"accuracy.group-balanced@{rule}"] = groups.group_balanced(counts)
            found[f"accuracy.worst-group@{rule}"] = groups.worst_group(counts)
    return found


def _chosen(values: Tensor) -> int | None:
    """The look, from 0, that no other beat, and the last of equal ones; None where none has a score."""
    scored = (~values.isnan()).nonzero().squeeze(1)
    if not len(scored):
        return None
    best = values[scored].max()
    return int(scored[values[scored] == best][-1])


def _held_out(claim: Claim, name: str, value: float | None) -> Measured:
    there = claim.metrics.get(name)
    return Measured(value, there.n if there else 0)


def _standard_error(claim: Claim, history: dict[str, Tensor], looks: dict[str, int | None]) -> Measured:
    look, name = looks.get("bias-conflicting"), "selection.standard-error"
    if look is None:
        return Measured(None, 0)
    score, n = float(history["bias-conflicting"][look]), _held_out(claim, name, None).n
    if n < 1 or not 0 <= score <= 100:
        return Measured(math.nan, n)
    return _held_out(claim, name, groups.standard_error(Measured(score, n)))
