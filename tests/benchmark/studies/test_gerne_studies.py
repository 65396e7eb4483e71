"""GERNE's studies: their files, and their analyses over records and measurements that were never made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from matplotlib.figure import Figure

from benchmark.data.bias import Bias
from benchmark.data.biased import group_counts, load_biased
from benchmark.reporting.studies.analyses import gerne_extrapolation, gerne_pseudo, gerne_variance
from benchmark.reporting.studies.section import Section
from benchmark.running.records import STUDIES, Cell, Failure, RecordStore
from benchmark.stats import t_interval
from benchmark.studies import measured
from benchmark.studies.definition import Study, load_study
from benchmark.studies.expansion import expanded
from benchmark.studies.found import Found
from benchmark.studies.measuring.gradient_variance import formula
from methods.gerne import beta_bounds

Values = Callable[[Cell], dict[str, float | None] | None]
Fill = Callable[[Study, Values], None]
BALANCED, LAST, WORST = "accuracy.group-balanced", "accuracy.group-balanced@last", "accuracy.worst-group"


def rows_of(sections: Sequence[Section], title: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The rows of a section by their first three columns."""
    (section,) = (section for section in sections if section.title == title)
    return {row[:3]: row[3:] for row in section.rows}


@pytest.mark.parametrize("halves", [False, True])
def test_the_points_beyond_are_multiples_of_the_bound(halves: bool) -> None:
    data = load_biased("mnist-5k", Bias("colour", conflicting=0.05, halves=halves, every_attribute=True))
    counts = group_counts(data.train, len(data.classes), len(data.attributes)).double()
    study = load_study("gerne-extrapolation")
    names = ("beyond-halves", "beyond-halves-half") if halves else ("beyond",)
    for name in names:
        for point in study.file.sweeps[name].points:
            _, high = beta_bounds(counts / counts.sum(1, keepdim=True), point.parameters["c"])
            assert isinstance(point.x, float)
            assert point.parameters["beta"] == pytest.approx(point.x * (high + 1) - 1, abs=1e-4)


def test_what_is_tuned_is_the_same_for_special_cases() -> None:
    suite = expanded(load_study("gerne-extrapolation")).suite
    assert suite is not None
    for sweep, special in gerne_extrapolation.FACTORS.items():
        scales = {
            (parameters["lr_scale"], parameters["decay_scale"])
            for name, scenario in suite.scenarios.items()
            if name == special or name.startswith(f"{sweep}-c-")
            for parameters in scenario.methods.values()
        }
        assert len(scales) == 1, sweep


def in_the_extrapolation(cell: Cell) -> dict[str, float | None] | None:
    """Accuracy is 50 + 20 s, 3 more a seed; resampling has what s = 1 gives, ERM a point less than s = 0."""
    own, p = 3.0 * cell.seed, cell.parameters
    s = {"erm": -0.05, "resampling": 1.0}.get(cell.method, p["c"] * (p["beta"] + 1) if "beta" in p else 0.5)
    return {BALANCED: 50 + 20 * s + own, LAST: 40.0 + own, WORST: 10 * s + own}


def test_extrapolation(fill: Fill, tmp_path: Path) -> None:
    study = load_study("gerne-extrapolation")
    fill(study, in_the_extrapolation)
    store = RecordStore(tmp_path / STUDIES)
    for record in store.all(study.name):  # at twice the bound two of three seeds diverge
        if record.cell.scenario.startswith("beyond-x-2") and record.cell.seed < 2:
            lost = Failure("DivergenceError", "the loss is not finite after 50 steps")
            store.write(msgspec.structs.replace(record, status="failed", failure=lost, metrics={}), {})
    sections = gerne_extrapolation.sections(Found.of(study, tmp_path))
    ends = rows_of(sections, "How training ends at and beyond the bound")
    title = "Beyond the bound, ten classes"
    assert ends[title, "2", "1.24"] == ("2 of 3", "46.0", f"{50 + 20 * 2.2357 + 6:.1f}")  # seed 2 alone
    assert ends[title, "0.9", "0.01"][0] == "0 of 3"
    assert len(ends) == 18
    cases = rows_of(sections, "Special cases")
    assert cases["beta and c, ten classes", "β = 0, c = 1", "resampling"] == ("0.0", "0.0")
    assert cases["beta and c, ten classes", "β = \N{MINUS SIGN}1, c = 1", "erm"] == ("+1.0", "+0.5")
    sums = {row[:2]: row[2:] for section in sections if section.title.startswith("Does s") for row in section.rows}
    half = t_interval([60.0, 63.0, 66.0])
    assert half.high is not None
    expected = f"63.0 ± {half.high - half.mean:.1f}"
    assert sums["beta and c, ten classes", "0.5"] == (expected, expected, expected)
    assert ("beta and c, ten classes", "2") not in sums  # one c alone gives it


@dataclass
class _Cell:
    method: str
    seed: int


@dataclass
class _Record:
    cell: _Cell
    own: dict[str, float | None]

    def values(self) -> dict[str, float | None]:
        return self.own


def test_against_baselines_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def records(self: Found, suite: str, task: str, scenario: str) -> list[_Record]:
        if scenario != "cmnist5k":
            return []
        gerne = [_Record(_Cell("gerne", seed), {BALANCED: 70.0 + seed, WORST: 20.0}) for seed in range(3)]
        return [*gerne, *(_Record(_Cell("erm", seed), {BALANCED: 60.0, WORST: None}) for seed in range(2))]

    monkeypatch.setattr(Found, "records", records)
    section = gerne_extrapolation.against_baselines(Found.of(load_study("gerne-extrapolation"), tmp_path))
    half = 12.7062 / 2  # two seeds: 10 and 11, a standard error of 0.5
    assert section.rows == (("cmnist5k", "erm", "2", f"+10.5 ± {half:.1f}", ""),)


@pytest.mark.parametrize("kind", ["independent", "overlapping", "weighted"])
def test_coefficients_are_the_formulae_in_their_limit(kind: str) -> None:
    for c, beta in ((0.5, 1.0), (1.0, 0.0), (0.25, 2.0)):
        assert gerne_variance.coefficient(kind, c, beta, 1.0, 2) == pytest.approx(formula(kind, c, beta))


def taken(study: Study, results: Path, values: Callable[[dict[str, Any], int], dict[str, float]]) -> None:
    """Every measurement of a study, by ``values``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "_function", lambda name: values)
        for name, point, seed in measured.missing(study, results):
            measured.measure(study, name, point, seed, results)


def test_variance(fill: Fill, tmp_path: Path) -> None:
    study = load_study("gerne-variance")
    fill(study, lambda cell: {BALANCED: 70.0 + cell.parameters["c"] + cell.seed} if "c" in cell.parameters else None)
    ratio = {0: 0.5, 1: 1.0, 2: 2.0}
    taken(
        study, tmp_path, lambda point, seed: {"gradient": ratio[seed], "gradient.exact": 1, "formula": 2, "bound": 0.5}
    )
    sections = gerne_variance.sections(Found.of(study, tmp_path))
    table = rows_of(sections, "Measured variance over what formulae give")
    assert table["fitted", "independent", "66"] == ("1.00 (0.50 to 2.00)", "0.50 (0.25 to 1.00)", "2.00 (1.00 to 4.00)")
    assert table["fitted", "weighted", "12"][2] == ""  # the bound is of two batches
    by_noise = rows_of(sections, "Accuracy over the variance of the gradient")
    assert len(by_noise) == 12
    noise, seeds, accuracy = by_noise["gerne", "0.5", "1"]
    assert (noise, seeds) == (f"{4 * (0.95 + 0.5 * (0.1 - 0.95)) + 0.95:.2f}", "3")
    assert accuracy.startswith("71.5 ± ")
    (figure,) = (section.figure for section in sections if section.figure is not None)
    axes = Figure().subplots()
    figure(axes)
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [4, 4, 4]


def in_the_pseudo(cell: Cell) -> dict[str, float | None] | None:
    """Best at t = 0.03 by test accuracy, at 0.1 by the rule; s takes 10 points each, and a seed gives one."""
    if "t" not in cell.parameters:
        return None
    t, s = cell.parameters["t"], cell.parameters["s"]
    return {BALANCED: 80.0 - 100 * abs(t - 0.03) - 10 * s + cell.seed, "selection.score": 90 - abs(t - 0.1)}


def test_pseudo(fill: Fill, tmp_path: Path) -> None:
    study = load_study("gerne-pseudo")
    fill(study, in_the_pseudo)
    taken(study, tmp_path, lambda point, seed: {"precision": 90.0, "recall": 1000 * point["t"], "conflicting": 1.0})
    sections = gerne_pseudo.sections(Found.of(study, tmp_path))
    beside = {row[0]: row[1:] for section in sections if "figure 3" in section.title for row in section.rows}
    assert beside["0.003"] == ("90.0", "3.0", "about 99", "about 70")
    assert len(beside) == len(gerne_pseudo.FIGURE_3)
    best = {row[:2]: row[2:] for section in sections if section.title.startswith("Which") for row in section.rows}
    assert best["gerne", "0.5"][:2] == ("0.03", "0.1")
    assert best["gerne+weighted", "1"][2].startswith("71.0 ± ")
    assert best["gerne", "0.5"][3].startswith("69.0 ± ")  # 80 - 7 - 5 + 1
    halved = {row[:2]: row[2] for section in sections if section.title == "t = 1/2" for row in section.rows}
    minus = gerne_extrapolation.MINUS
    assert halved == {("1", "0.5"): f"{minus}5.0", ("1.5", "0.5"): f"{minus}10.0"}


def test_there_is_nothing_to_say_of_nothing(tmp_path: Path) -> None:
    for name, module in (("gerne-variance", gerne_variance), ("gerne-pseudo", gerne_pseudo)):
        assert module.sections(Found.of(load_study(name), tmp_path)) == []  # type: ignore[attr-defined]
    assert gerne_extrapolation.sections(Found.of(load_study("gerne-extrapolation"), tmp_path)) == []


def test_signs_and_spreads() -> None:
    shown = gerne_extrapolation.shown
    assert shown(t_interval([-0.01])) == "0.0"
    assert shown(t_interval([-1.26])) == f"{gerne_extrapolation.MINUS}1.3"
    assert shown(t_interval([1.0, 1.0]), signed=False) == "1.0"
    assert shown(t_interval([0.0, 2.0])) == "+1.0 ± 12.7"
