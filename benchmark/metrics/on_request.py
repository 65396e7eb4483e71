"""Metrics of bias correction that only scenarios have that ask for them."""

from __future__ import annotations

from benchmark.metrics.metric import Metric

ON_REQUEST = (
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
