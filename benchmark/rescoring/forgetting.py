"""Re-scoring class-forget and label-free-forget: accuracies and population attacks, from kept logits and labels."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.rescoring import known_data
from benchmark.rescoring.kept import Kept
from benchmark.rescoring.reported import Claim
from benchmark.running.arrays import ArraysError
from benchmark.seeding import generator
from benchmark.tasks.class_forget import ClassForget
from benchmark.tasks.class_groups import worst_retained
from benchmark.tasks.forget_sets import ForgetSets, Peers, Scenario, forget_sets, mislabelled, of_classes
from benchmark.tasks.forgetting import scores

#: Samples that the attack by a support vector machine may be fitted on here: its cost is quadratic.
MOST_FITTED = 20_000
#: What takes features, gradients or the base model.
NOT_KEPT = {
    "recovery.linear-probe": "features",
    "recovery.linear-probe@10": "features",
    "relearn.steps": "the amended model",
    "recovery.nearest-class": "features",
    "recovery.nearest-class.outputs": "outputs for training samples by their place",
    "recovery.lifted-logit": "the amended model",
    "recovery.perturbation": "the amended model",
    "inversion.steps": "the amended model",
    "drop.worst-class": "the base model",
    "drop.nearest-class": "the base model",
    "drop.other-classes": "the base model",
    "change.parameters": "the amended model",
    "change.features": "features",
}


def rescored(scenario: Scenario, claim: Claim, kept: Kept) -> dict[str, Measured]:
    """Today's metrics of the kept logits; ArraysError where labels or forget set are not the scenario's."""
    classes = scenario.num_classes
    train, test = kept.logits("train.logits", classes), kept.logits("test.logits", classes)
    labels = kept.labels("train.labels", len(train), classes)
    test_labels = kept.labels("test.labels", len(test), classes)
    if scenario.attack_fit_samples > MOST_FITTED:
        raise ArraysError(f"attack_fit_samples is {scenario.attack_fit_samples:,}, too many to repeat the attack")
    sets = _sets(scenario, claim.seed, labels, test_labels, kept)
    _check_data(scenario, claim.seed, sets, test_labels)
    found = scores(train, test, test_labels, sets, scenario.attack_fit_samples, claim.seed)
    return found | worst_retained(test, test_labels, sets.removed) if scenario.by_class else found


def _sets(scenario: Scenario, seed: int, labels: Tensor, test_labels: Tensor, kept: Kept) -> ForgetSets:
    """What the cell forgot, from what is kept."""
    classes = _classes(scenario, seed)
    if tuple(kept.values("forgotten", integer=True).tolist()) != classes:
        raise ArraysError(f"forgotten is not {list(classes)}, the classes of seed {seed}")
    whole = isinstance(scenario, ClassForget) or scenario.kind == "class-removal"
    forget = of_classes(labels, classes) if whole else kept.mask("train.forget", len(labels))
    if whole and "train.forget" in kept and not known_data.same(forget, kept.mask("train.forget")):
        raise ArraysError("train.forget is not the samples of the forgotten classes")
    if not forget.any() or forget.all():
        raise ArraysError(f"{'everything' if forget.any() else 'nothing'} is in the forget set")
    peers = of_classes(test_labels, classes)
    told = test_labels
    if not isinstance(scenario, ClassForget) and scenario.kind == "noisy-labels":
        rng = generator(scenario.drawn_by(seed), "wrong-labels", "test")
        told = mislabelled(test_labels, peers, scenario.num_classes, rng)
    return ForgetSets(
        classes=classes,
        labels=labels,
        forget=forget,
        labelled=torch.ones_like(forget),  # no metric looks at it
        gone=peers if whole else torch.zeros_like(peers),
        test=Peers(peers, told),
        selection=Peers(torch.zeros(0, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)),
    )


def _classes(scenario: Scenario, seed: int) -> tuple[int, ...]:
    return scenario.forgotten(seed) if isinstance(scenario, ClassForget) else scenario.affected(seed)


def _check_data(scenario: Scenario, seed: int, sets: ForgetSets, test_labels: Tensor) -> None:
    """ArraysError where data that is at hand has other labels, or another forget set is drawn from it."""
    dataset = known_data.plain(scenario)
    if dataset is None:
        return
    true = forget_sets(scenario, seed, dataset)
    pairs = {
        "train.labels": (sets.labels, true.labels),
        "train.forget": (sets.forget, true.forget),
        "test.labels": (test_labels, dataset.test.labels),
    }
    for name, (own, expected) in pairs.items():
        if not known_data.same(own, expected):
            raise ArraysError(f"{name} is not that of data set {scenario.data}")
