"""Metrics of bias correction; the last ones are of scenarios that ask for them."""

from __future__ import annotations

from benchmark.metrics.metric import Metric

CORRECTION = (
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
    Metric(
        "cav.alignment@class",
        "overlap with the class",
        "%",
        "none",
        "100 times the cosine between the artefact's signal vector and the direction in which the biased class's own "
        "samples without it differ from the others', in the base model",
    ),
    Metric(
        "accuracy.clean@biased",
        "clean, biased class",
        "%",
        "higher",
        "accuracy on the biased class's test samples without the artefact",
    ),
    Metric("accuracy.attacked@second", "attacked (2nd)", "%", "higher", "the same under the second artefact's attack"),
    Metric("attack.cost@second", "attack cost (2nd)", "points", "lower", "accuracy that the second attack takes"),
    Metric(
        "attack.success@second",
        "attack success (2nd)",
        "%",
        "lower",
        "share of test samples of the classes other than the second artefact's that its attack has taken for that one",
    ),
    Metric("tcav@second", "TCAV (2nd)", "", "half", "TCAV of the second artefact and the class that it stands for"),
    Metric("tcav.sensitivity@second", "TCAVsens (2nd)", "", "lower", "TCAVsens of the second artefact and its class"),
)
