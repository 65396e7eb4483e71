"""What each metric is called, its unit, and which way is better. Reports read this without torch."""

from __future__ import annotations

from benchmark.errors import unknown
from benchmark.metrics.generation import GENERATION
from benchmark.metrics.metric import Metric
from benchmark.metrics.on_request import ON_REQUEST

#: Rules by which the state of a network can be chosen among those on the way; the last one looks at test data.
_RULES = ("worst-group", "group-balanced", "bias-conflicting", "worst-class", "last", "oracle")


_ALL = [
    Metric("accuracy.test.retain", "test retain", "%", "higher", "accuracy on test samples of retained classes"),
    Metric("accuracy.test.forget", "test forget", "%", "lower", "accuracy on test samples of forgotten classes"),
    Metric("accuracy.test.all", "test all", "%", "reference", "accuracy on all test samples"),
    Metric("accuracy.train.retain", "train retain", "%", "reference", "accuracy on the retain set"),
    Metric("accuracy.train.forget", "train forget", "%", "lower", "accuracy on the forget set"),
    Metric(
        "mia.true-class-probability.svc",
        "MIA (SVC)",
        "%",
        "reference",
        "the class-forgetting paper's attack: share of forgotten-class test samples that an SVC on the true class's "
        "probability, fitted to tell retain set (member) from forget set (non-member), calls non-members",
    ),
    Metric(
        "mia.loss.auc",
        "MIA AUC",
        "%",
        "reference",
        "area under the ROC curve of the loss: forget set (member) against test samples of the same classes",
    ),
    Metric(
        "mia.loss.tpr@1fpr",
        "MIA TPR@1%",
        "%",
        "reference",
        "true-positive rate of the same attack at 1 % false positives; blank under 1,000 non-members",
    ),
    Metric(
        "mia.softmax.xgboost",
        "ASR",
        "%",
        "reference",
        "the label-agnostic forgetting paper's attack: share of forget set (member) and further test samples "
        "(non-member) that boosted trees on the sorted softmax, fitted to tell retain set from test samples, get right",
    ),
    Metric(
        "mia.softmax.xgboost-balanced",
        "ASR balanced",
        "%",
        "reference",
        "the same attacker's balanced accuracy on forget set and test samples of the same classes, fitted on equally "
        "many members and non-members; 50: it learns nothing",
    ),
    Metric(
        "recovery.linear-probe",
        "probe @100",
        "%",
        "reference",
        "accuracy on forgotten-class test samples of a linear probe on frozen features, 100 labels a class",
    ),
    Metric("recovery.linear-probe@10", "probe @10", "%", "reference", "the same with 10 labels a class"),
    Metric(
        "relearn.steps",
        "relearn",
        "steps",
        "reference",
        "gradient steps on 10 labels a class until half of the base model's forgotten-class accuracy is back",
    ),
    Metric(
        "recovery.nearest-class",
        "nearest class",
        "%",
        "reference",
        "accuracy on forgotten-class test samples of the nearest class mean in feature space, 10 labels a class",
    ),
    Metric(
        "recovery.nearest-class.outputs",
        "nearest class (outputs)",
        "%",
        "reference",
        "the same on logits, by somebody who has no access to the weights",
    ),
    Metric(
        "recovery.lifted-logit",
        "lifted logit",
        "%",
        "reference",
        "area under the ROC curve of the forgotten class's logit less the largest of a retained one, its test samples "
        "against the others: what a constant on that logit would bring back; 50: nothing",
    ),
    Metric(
        "recovery.perturbation",
        "perturbation",
        "points",
        "reference",
        "share of forgotten-class test samples that are known again with one change of at most 0.3 added to every "
        "input, less the share of others taken for the class; the change is trained on 10 labels a class",
    ),
    Metric(
        "inversion.steps",
        "inversion",
        "steps",
        "reference",
        "steps of Adam from noise to an input that is taken for the forgotten class; the median of 20, 100 at most",
    ),
    Metric(
        "accuracy.test.worst-class",
        "worst class",
        "%",
        "higher",
        "accuracy on test samples of the retained class where it is lowest",
    ),
    Metric(
        "drop.worst-class",
        "worst drop",
        "points",
        "lower",
        "test accuracy that a retained class loses against the base model, of the one that loses most",
    ),
    Metric(
        "drop.nearest-class",
        "nearest class's drop",
        "points",
        "lower",
        "the same of the retained class whose mean feature in the base model is the nearest to a forgotten one's",
    ),
    Metric(
        "drop.other-classes",
        "other classes' drop",
        "points",
        "lower",
        "the same of all other retained classes, their mean",
    ),
    Metric(
        "tow",
        "ToW",
        "",
        "higher",
        "tug-of-war: product of one minus each absolute gap to retraining in retain-set, forget-set and test accuracy",
    ),
    Metric(
        "gap.average",
        "avg gap",
        "points",
        "lower",
        "mean absolute gap to retraining over retain-set, forget-set and test accuracy and ASR; class removal takes "
        "test accuracy of remaining and forgotten classes apart",
    ),
    Metric(
        "u-lira.auc",
        "U-LiRA AUC",
        "%",
        "reference",
        "area under the ROC curve of per-example likelihood ratios, unlearned against retrained models, on the forget "
        "set; 50: indistinguishable from retrained models",
    ),
    Metric(
        "klom",
        "KLoM",
        "nats",
        "lower",
        "KL divergence of the forget set's margins under unlearned models from those under retrained models",
    ),
    Metric(
        "epsilon",
        "ε",
        "",
        "lower",
        "mean over forget-set examples of the epsilon that the best attack implies, telling unlearned from retrained "
        "models",
    ),
    Metric(
        "forgetting.quality",
        "forgetting quality",
        "",
        "higher",
        "the unlearning challenge's score of these epsilons, halved for every 0.5: 1 where all are below 0.5",
    ),
    Metric("change.parameters", "Δ params", "%", "reference", "relative L2 change of all parameters"),
    Metric("change.features", "Δ features", "%", "reference", "relative L2 change of test-set features"),
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
    Metric(
        "accuracy.clean",
        "clean",
        "%",
        "higher",
        "accuracy on test samples without the artefact, but where it is legitimate evidence",
    ),
    Metric(
        "accuracy.attacked",
        "attacked",
        "%",
        "higher",
        "accuracy on the same test samples with the artefact on every one of them; classes that it is legitimate "
        "evidence for are left out",
    ),
    Metric("f1.clean", "F1 clean", "%", "higher", "mean over classes of F1 on test samples without the artefact"),
    Metric("f1.attacked", "F1 attacked", "%", "higher", "mean over classes of F1 with the artefact on every sample"),
    Metric(
        "accuracy.legitimate",
        "legitimate",
        "%",
        "higher",
        "accuracy on the test samples of the classes that the artefact is legitimate evidence for; 50 without it",
    ),
    Metric("attack.cost", "attack cost", "points", "lower", "accuracy that the attack takes from the same samples"),
    Metric(
        "attack.success",
        "attack success",
        "%",
        "lower",
        "share of the other classes' attacked test samples that are taken for the biased class",
    ),
    Metric(
        "tcav",
        "TCAV",
        "",
        "half",
        "share of attacked test samples whose logit of the biased class rises along the artefact's direction, the "
        "derivative summed over positions; the direction is the signal vector of this network's activations. Blank "
        "where no derivative differs from 0",
    ),
    Metric("tcav.positions", "TCAV (positions)", "", "half", "the same share over all positions of all samples"),
    Metric(
        "tcav.sensitivity",
        "TCAVsens",
        "",
        "lower",
        "mean absolute value of that derivative: logits for a unit's shift along the direction at all positions",
    ),
    Metric(
        "tcav.sensitivity.positions",
        "TCAVsens (positions)",
        "",
        "lower",
        "mean absolute derivative over all positions of all samples",
    ),
    Metric(
        "relevance.in-mask",
        "relevance in mask",
        "%",
        "lower",
        "share of the biased class's absolute relevance (LRP, EpsilonPlusFlat) that falls on the artefact, over its "
        "attacked test samples",
    ),
    Metric(
        "cav.alignment",
        "CAV alignment",
        "%",
        "higher",
        "100 times the cosine between the method's concept vector and the mean shift of the base model's activations "
        "that the artefact causes in the biased class's test samples",
    ),
    Metric(
        "cav.alignment.individual",
        "CAV alignment (samples)",
        "%",
        "higher",
        "100 times the mean over these samples of the cosine with the sample's own shift",
    ),
    Metric("cav.seconds", "CAV fit", "s", "none", "seconds that fitting the concept vector took, activations aside"),
    *ON_REQUEST,
    *GENERATION,
]
for _rule in _RULES:
    _how = "the oracle rule, which looks at test data: for study only" if _rule == "oracle" else f"the rule {_rule}"
    _ALL += [
        Metric(
            f"accuracy.{_name}@{_rule}",
            f"{_label}, chosen by {_rule}",
            "%",
            "higher",
            f"{_name} accuracy on test samples of the checkpoint chosen by {_how}",
        )
        for _name, _label in (("group-balanced", "GBA"), ("worst-group", "WGA"))
    ]
METRICS = {metric.name: metric for metric in _ALL}


def metric(name: str) -> Metric:
    """The metric called ``name``; ``<name>.gap`` is its difference to retraining, zero is best."""
    base = name.removesuffix(".gap")
    if base not in METRICS:
        raise unknown("metric", name, METRICS)
    found = METRICS[base]
    if name == base:
        return found
    unit = "points" if found.unit == "%" else found.unit
    return Metric(name, f"{found.label} gap", unit, "zero", f"{found.summary}; difference to retraining")
