"""Metrics of debiasing."""

from __future__ import annotations

from benchmark.metrics.metric import Metric

#: Rules by which the state of a network can be chosen among those on the way; the last one looks at test data.
_RULES = ("worst-group", "group-balanced", "bias-conflicting", "worst-class", "last", "oracle")


def _chosen_by(rule: str) -> tuple[Metric, ...]:
    """The two accuracies of the checkpoint that a rule chooses."""
    how = "the oracle rule, which looks at test data: for study only" if rule == "oracle" else f"the rule {rule}"
    return tuple(
        Metric(
            f"accuracy.{name}@{rule}",
            f"{label}, chosen by {rule}",
            "%",
            "higher",
            f"{name} accuracy on test samples of the checkpoint chosen by {how}",
        )
        for name, label in (("group-balanced", "GBA"), ("worst-group", "WGA"))
    )


DEBIASING = (
    Metric(
        "accuracy.group-balanced",
        "GBA",
        "%",
        "higher",
        "mean test accuracy over groups (label and attribute together), each counting the same",
    ),
    Metric("accuracy.worst-group", "WGA", "%", "higher", "test accuracy of the group where it is lowest"),
    Metric(
        "accuracy.worst-group.lower",
        "WGA ≥",
        "%",
        "higher",
        "simultaneous 95 % lower bound of the worst group's accuracy: the lowest of the groups' one-sided "
        "Clopper-Pearson bounds with Bonferroni's correction; what is uncertain is the test sample, not the training",
    ),
    Metric("accuracy.mean", "mean", "%", "higher", "accuracy on all test samples, groups as frequent as there"),
    Metric(
        "accuracy.mean.train-weighted",
        "mean (train weights)",
        "%",
        "higher",
        "mean test accuracy over groups, weighted by how frequent they are in the training set",
    ),
    Metric(
        "accuracy.bias-aligned",
        "aligned",
        "%",
        "higher",
        "accuracy on test samples of bias-aligned groups: those more frequent in the training set than if label and "
        "attribute were independent",
    ),
    Metric("accuracy.bias-conflicting", "conflicting", "%", "higher", "accuracy on test samples of all other groups"),
    Metric(
        "bias.difference",
        "bias",
        "points",
        "lower",
        "accuracy on bias-aligned less that on bias-conflicting test samples of a class, averaged over classes",
    ),
    Metric(
        "attribute.decodability",
        "attribute probe",
        "%",
        "lower",
        "group-balanced accuracy of a linear probe that tells the attribute from frozen features, fitted on one half "
        "of the test samples and judged on the other; chance is 100 / number of attributes. Low is no aim in itself: "
        "a network may encode the attribute and not use it",
    ),
    Metric(
        "selection.score",
        "selected at",
        "%",
        "none",
        "what the selection rule gave the chosen checkpoint on held-out samples",
    ),
    Metric(
        "selection.standard-error",
        "pooled SE",
        "points",
        "none",
        "standard error of accuracy pooled over the bias-conflicting held-out samples, at the state of that rule",
    ),
    Metric("selection.step", "step", "steps", "none", "training step of the chosen checkpoint"),
    Metric(
        "gain.group-balanced",
        "GBA gain",
        "points",
        "higher",
        "group-balanced accuracy; difference to ERM of the same seed",
    ),
    Metric(
        "gain.worst-group", "WGA gain", "points", "higher", "worst-group accuracy; difference to ERM of the same seed"
    ),
    *(metric for rule in _RULES for metric in _chosen_by(rule)),
)
