"""Studies of SVD class forgetting: what is measured, and what their pages compare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

from benchmark.errors import InputError
from benchmark.reporting.studies.analyses import search, similar_classes, transfer
from benchmark.running.records import Record
from benchmark.studies.definition import load_study
from benchmark.studies.expansion import expanded, measured_points
from benchmark.studies.found import Found
from benchmark.studies.measured import Measurement
from benchmark.studies.measuring import forget_problems, svd_cost, svd_searches, svd_surface, svd_variants

DIGITS = {"suite": "smoke", "scenario": "digits"}
STUDIES = ("svd-samples", "svd-alphas", "svd-ablation")


def taken(name: str, point: dict[str, Any], seed: int, values: dict[str, float]) -> Measurement:
    return Measurement("mine", name, point, seed, values, "digest", 1.0, {}, "2025-01-01T00:00:00+00:00")


# The files


@pytest.mark.parametrize("name", STUDIES)
def test_every_point_of_the_files_can_be_run(name: str) -> None:
    study = load_study(name)
    suite = expanded(study).suite
    assert suite is not None
    for own in study.file.measurements.values():
        module = {"svd_surface": svd_surface, "svd_searches": svd_searches}.get(own.of)
        module = module or {"svd_variants": svd_variants, "svd_cost": svd_cost}[own.of]
        for point in measured_points(own, name):
            assert set(point) <= set(module.FIELDS)
            assert point.get("search", "grid") in svd_searches.SEARCHES
            assert point.get("variant", "whole") in svd_variants.VARIANTS
            assert point.get("network", "plain") in svd_cost.NETWORKS


def test_trained_methods_make_as_many_steps_with_few_samples() -> None:
    suite = expanded(load_study("svd-samples")).suite
    assert suite is not None
    steps = {}
    for scenario in suite.scenarios.values():
        n = scenario.settings.samples_per_class
        for method in {"finetune", "cf-k", "eu-k", "neggrad-plus", "scrub"} & set(scenario.methods):
            batches, rest = divmod(9 * n, 64)
            per_epoch = batches + (2 * rest >= 64 or not batches)
            steps.setdefault((scenario.settings.model, method), []).append(
                scenario.methods[method]["epochs"] * per_epoch
            )
    assert len(steps) == 7
    for made in steps.values():
        assert len(made) == 6
        assert max(made) <= 1.35 * min(made)  # epochs are whole


# Measurements


def test_a_surface_has_every_pair_and_its_best_by_selection() -> None:
    before = torch.get_num_threads()
    found = svd_surface.measure(DIGITS, 1)
    pairs = [(r, f) for r in svd_surface.ALPHA_R for f in svd_surface.ALPHA_F]
    assert all(svd_surface.at(kind, *pair) in found for pair in pairs for kind in ("selection", "retain", "forget"))
    assert all(0 <= value <= 100 for value in found.values())
    best = max(pairs, key=lambda pair: found[svd_surface.at("selection", *pair)])
    assert best in svd_surface.chosen(found)
    assert found["paper"] == pytest.approx(found["retain@100/3"] * (1 - found["forget@100/3"] / 100))
    assert found["chosen"] > 90 > 20 > svd_surface.tested(found, (3000.0, 0.3))
    assert torch.get_num_threads() == before


def test_searches_make_the_evaluations_that_they_are_given() -> None:
    grid = svd_searches.measure({**DIGITS, "search": "grid", "evaluations": 4}, 1)
    paper = svd_searches.measure({**DIGITS, "search": "algorithm 1", "evaluations": 25}, 1)
    assert grid["evaluations"] == 4
    assert 5 <= paper["evaluations"] < 25  # pruned
    assert min(grid["test"], paper["test"], grid["selection"], paper["selection"]) > 80


def test_variants_choose_by_the_selection_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path))  # there is no base model yet: it is trained
    whole, neither = (svd_variants.measure({**DIGITS, "variant": name}, 1) for name in ("whole", "no P_f"))
    for found in (whole, neither):
        assert found["test"] == pytest.approx(found["retain"] * (1 - found["forget"] / 100))
    assert whole["selection"] > 90
    assert len({len(r) * len(f) for _, r, _, f in svd_variants.VARIANTS.values()}) == 1


def test_costs_add_up() -> None:
    found = svd_cost.measure({"network": "plain", "width": 8, "depth": 2, "size": 16, "images": 4}, 0)
    assert found["total"] == pytest.approx(found["passes"] + found["matrices"] + found["factors"])
    assert sum(found[f"{part}.share"] for part in ("passes", "matrices", "factors")) == pytest.approx(100)
    assert found["trained"] == pytest.approx(found["total"] / found["step"] * svd_cost.BATCH)
    assert found["parameters"] == (3 * 9 * 8 + 8 + 8 * 9 * 8 + 8 + 8 * 100 + 100) / 1e6
    # A A^T of 27 and 72 coordinates; of the linear layer 4 rows of 8, and their products
    assert found["megabytes"] == 2 * 4 * (27**2 + 72**2 + 4 * 8 + 4 * 4) / 1e6


@pytest.mark.parametrize(
    ("measure", "point", "message"),
    [
        (svd_surface.measure, {"scenari": "digits"}, "unknown field of svd_surface 'scenari'; did you mean scenario"),
        (svd_surface.measure, {"suite": "smoke", "scenario": "digit"}, "unknown scenario 'digit'; did you mean digits"),
        (svd_surface.measure, {"suite": "smoke", "scenario": "digits-coloured"}, "not of class-forget"),
        (
            svd_searches.measure,
            {**DIGITS, "search": "grit", "evaluations": 4},
            "unknown search 'grit'; did you mean grid",
        ),
        (svd_variants.measure, {**DIGITS, "variant": "none"}, "unknown variant 'none'"),
        (svd_cost.measure, {"network": "resnet-5"}, "unknown network 'resnet-5'; did you mean resnet-5"),
        (svd_cost.measure, {"network": "plain", "size": 8, "images": 1}, "size must be at least 16"),
    ],
)
def test_bad_points_are_refused(measure: Any, point: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(point, 0)


def test_few_test_samples_stand_for_many() -> None:
    from benchmark.data.packaged import load

    test = load("digits").test
    assert forget_problems.some(test, 0) is test
    many = test.subset(torch.arange(len(test)).repeat(10))
    assert len(forget_problems.some(many, 0)) == forget_problems.JUDGED


# Analyses


def surface(**scores: tuple[float, float]) -> dict[tuple[str, str], tuple[float, float]]:
    """(selection, test) by pair, whose name is its two letters."""
    return {(name[0], name[1]): both for name, both in scores.items()}


def test_transfer_is_the_loss_against_ones_own_choice() -> None:
    a = surface(aa=(90.0, 80.0), ab=(50.0, 99.0))
    b = surface(aa=(10.0, 20.0), ab=(70.0, 65.0))
    both = surface(aa=(70.0, 30.0), ab=(70.0, 50.0))  # equally good by selection: the mean of the two
    assert transfer.losses({0: a}, {1: b}, same=False) == [45.0]
    assert transfer.losses({0: b}, {1: a}, same=False) == [80.0 - 99.0]
    assert transfer.losses({0: both}, {1: b}, same=False) == [65.0 - (20.0 + 65.0) / 2]
    assert transfer.losses({0: a, 1: b}, {0: a, 1: b}, same=True) == [80.0 - 99.0, 65.0 - 20.0]
    assert transfer.losses({0: a}, {0: a}, same=True) == []
    assert transfer.fixed_losses(("a", "a"), {0: a, 1: b}) == [0.0, 45.0]


def values_of(best: str) -> dict[str, float]:
    """A surface on which one pair is better than the other and than the paper's, on both splits."""
    found = {"chosen": 1.0}
    for pair in ("10/3", "30/3", "100/3"):
        good = pair == best
        found |= {f"selection@{pair}": 90.0 if good else 40.0, f"retain@{pair}": 80.0 if good else 60.0}
        found[f"forget@{pair}"] = 0.0 if good else 50.0
    return found


def test_the_table_of_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = [taken("surface", {"data": "a"}, s, values_of("10/3")) for s in (0, 1)]
    own += [taken("surface", {"data": "b"}, s, values_of("30/3")) for s in (0, 1)]
    monkeypatch.setattr(Found, "measurements", lambda found, name: own)
    table, *surfaces = transfer.sections(Found.of(load_study("svd-alphas"), tmp_path))
    assert table.headers == ("", "to a", "to b")
    assert table.rows == (
        ("from a", "0.0", "50.0"),
        ("from b", "50.0", "0.0"),
        ("the paper's 100 / 3", "50.0", "50.0"),
    )
    assert [section.title for section in surfaces] == ["Surface: a", "Surface: b"]
    assert "80.0, at alpha_r 10 and alpha_f 3" in surfaces[0].text
    figure, axes = plt.subplots()
    assert surfaces[0].figure is not None
    surfaces[0].figure(axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["10", "30", "100"]
    plt.close(figure)
    for section in (table, *surfaces):
        figure, axes = plt.subplots()
        assert section.figure is not None
        section.figure(axes)
        assert {text.get_text() for text in axes.texts} <= {"0.0", "50.0", "80.0", "30.0"}
        plt.close(figure)


def test_searches_are_compared_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str, seed: int, test: float) -> Measurement:
        point = {"scenario": "s", "search": name, "evaluations": 9}
        return taken("search", point, seed, {"selection": 90.0, "test": test, "evaluations": 9.0, "seconds": 2.0})

    own = [one("grid", 0, 70.0), one("grid", 1, 90.0), one("tpe", 0, 72.0), one("tpe", 1, 93.0), one("tpe", 2, 0.0)]
    table = search.by_search(own)
    gain = search.difference(table["tpe", 9], table["grid", 9], "test")
    assert gain is not None
    assert (gain.mean, gain.n) == (2.5, 2)
    monkeypatch.setattr(Found, "measurements", lambda found, name: own)
    (section,) = search.sections(Found.of(load_study("svd-alphas"), tmp_path))
    grid, tpe = section.rows
    assert (grid[0], grid[1], grid[2], grid[4], grid[5]) == ("grid", "9", "90.0", "", "2")
    assert tpe[4].startswith("+2.5 ± ")


def test_no_measurements_no_sections(tmp_path: Path) -> None:
    found = Found.of(load_study("svd-alphas"), tmp_path)
    assert transfer.sections(found) == search.sections(found) == []
    assert similar_classes.sections(Found.of(load_study("svd-ablation"), tmp_path)) == []


def test_similar_classes_are_told_from_dissimilar_ones(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(method: str, seed: int, retain: float, forget: float) -> Record:
        metrics = {similar_classes.RETAIN: retain, similar_classes.FORGET: forget}
        record: Record = make_record(method, metrics, seed=seed)
        return record

    records = [one("retrain", seed, 95.0, 0.0) for seed in range(10)]
    for seed in range(10):
        alike = seed in similar_classes.SIMILAR
        records.append(one("svd-forgetting", seed, 91.0 if alike else 94.0, 10.0 + seed if alike else 1.0))
    monkeypatch.setattr(Found, "records", lambda found, *where: records)
    first, each = similar_classes.sections(Found.of(load_study("svd-ablation"), tmp_path))
    left, lost = first.rows
    assert left[:2] == ("svd-forgetting", "left")
    assert left[2].startswith("13.0 ± ")  # classes 0, 2, 4, 6
    assert left[3] == "1.0"
    assert left[4].startswith("+12.0 ± ")
    assert lost[:2] == ("svd-forgetting", "lost")
    assert lost[2:] == ("4.0", "1.0", "+3.0")
    assert len(each.rows) == 10
    assert each.rows[6] == ("shirt", "16.0", "4.0")


def test_welchs_interval_is_scipys() -> None:
    a, b = [1.0, 2.0, 4.0], [0.0, 0.5]
    found = similar_classes.welch(a, b)
    assert found is not None
    from scipy.stats import ttest_ind

    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert found.mean == pytest.approx(7 / 3 - 0.25)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert similar_classes.welch([1.0], b) is None
