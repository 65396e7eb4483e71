"""How far attacks get: shares of the way by hand, attacks that say nothing, and the order of methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from benchmark.reporting.studies.analyses.attacks import ATTACKS, sections, strongest, way_back, ways_back
from benchmark.running.records import Cell
from benchmark.studies.found import Found

SWEEP = """
[sweeps.digits]
title = "On digits"
scenario = "digits"
methods = ["svd-forgetting", "finetune", "logit-mask"]
x = "data"
fixed.settings = { attacks = true }
points = [{ x = "digits" }]
"""
#: Nothing, half, a tenth and all of the way.
WAY = {"retrain": 0.0, "svd-forgetting": 0.5, "finetune": 0.1, "original": 1.0, "logit-mask": 1.0}


def measured(cell: Cell) -> dict[str, float | None] | None:
    """Relearning takes 40 steps after retraining and none at first; the probe cannot tell the two apart."""
    share = WAY[cell.method]
    values: dict[str, float | None] = dict.fromkeys(ATTACKS.values())
    values["relearn.steps"] = (40 + cell.seed) * (1 - share)
    values["recovery.linear-probe@10"] = 97 + 2 * share
    values["recovery.perturbation"] = 80 * share**2 + cell.seed
    values["accuracy.test.forget"] = 100.0 if cell.method == "original" else 0.0
    return {**values, "accuracy.test.retain": 95.0, "tow": None}


@pytest.fixture
def found(make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path) -> Found:
    study = make_study(SWEEP)
    fill(study, measured)
    return Found.of(study, tmp_path)


def test_ways_are_between_the_references_of_the_seed(found: Found) -> None:
    ways = ways_back([*found.references("digits"), *found.cells("digits")])
    assert [*ways] == ["finetune", "logit-mask", "svd-forgetting"]
    assert {name: round(way.mean, 6) for name, way in ways["svd-forgetting"].items()} == {
        "none": 0.0,
        "relearning": 50.0,
        "perturbation": 25.0,
    }
    assert ways["logit-mask"]["relearning"].mean == 100.0
    assert ways["logit-mask"]["none"].mean == 0.0
    assert ways["finetune"]["relearning"].n == 3


def test_a_ratio_of_means_and_not_a_mean_of_ratios() -> None:
    own, original, retrained = (
        {s: {"m": v} for s, v in enumerate(values)} for values in ((6.0, 2.0), (20, 10), (0, 0))
    )
    found = way_back(own, original, retrained, "m")
    assert found is not None
    assert found.mean == pytest.approx(100 * 8 / 30)
    spread = [8 / 30 + (a - 8 / 30 * b) / 15 for a, b in ((6, 20), (2, 10))]
    assert found.high - found.mean == pytest.approx(100 * 12.706 * abs(spread[0] - spread[1]) / 2, rel=1e-3)  # type: ignore[operator]


def test_nothing_is_said_without_all_three_or_where_the_references_are_alike() -> None:
    assert way_back({0: {"m": 1.0}}, {0: {"m": 9.9}}, {0: {"m": 0.0}}, "m") is None
    assert way_back({0: {"m": 1.0}}, {0: {"m": 10.0}}, {1: {"m": 0.0}}, "m") is None
    assert way_back({0: {"m": None}}, {0: {"m": 10.0}}, {0: {"m": 0.0}}, "m") is None
    assert way_back({0: {"m": 1.0}}, {0: {"m": 10.0}}, {0: {"m": 0.0}}, "m") is not None
    assert ways_back([]) == {}


def test_the_page_has_the_most_exposed_method_first_and_says_what_is_left_out(found: Found) -> None:
    (section,) = sections(found)
    assert section.title == "How far attacks get: On digits"
    assert section.headers == ("method", "none", "relearning", "perturbation", "strongest")
    assert section.rows == (
        ("logit-mask", "0 ± 0", "100 ± 0", "100 ± 0", "relearning"),
        ("svd-forgetting", "0 ± 0", "50 ± 0", "25 ± 0", "relearning"),
        ("finetune", "0 ± 0", "10 ± 0", "1 ± 0", "relearning"),
    )
    assert "probe, nearest class, by outputs, lifted logit, inversion" in section.text
    assert section.figure is not None
    axes = Figure().add_subplot()
    section.figure(axes)
    assert [text.get_text() for text in axes.texts] == ["0", "100", "100", "0", "50", "25", "0", "10", "1"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["logit-mask", "svd-forgetting", "finetune"]


def test_no_look_is_no_attack(found: Found) -> None:
    ways = ways_back([*found.references("digits"), *found.cells("digits")])
    assert strongest({"none": ways["logit-mask"]["relearning"]}) == ("-", 0.0)


def test_no_section_without_records(make_study: Callable[..., Any], tmp_path: Path) -> None:
    assert sections(Found.of(make_study(SWEEP), tmp_path)) == []


def test_an_attack_that_tells_them_apart_now_this_way_now_that_says_nothing() -> None:
    metric = "recovery.lifted-logit"
    own, never = {0: {metric: 5.0}, 1: {metric: 5.0}}, {0: {metric: 0.0}, 1: {metric: 0.0}}
    assert way_back(own, {0: {metric: 90.0}, 1: {metric: 10.0}}, never, metric) is not None
    assert way_back(own, {0: {metric: 90.0}, 1: {metric: -10.0}}, never, metric) is None
