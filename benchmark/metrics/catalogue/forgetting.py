"""Metrics of forgetting classes and samples."""

from __future__ import annotations

from benchmark.metrics.metric import Metric

FORGETTING = (
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
)
