"""How far a metric moves over a hyper-parameter: best and worst value, and what is no such sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.reporting.studies.analyses.sensitivity import draw, ranges, sections
from benchmark.running.records import Cell
from benchmark.studies.found import Found

ALPHAS = """
[sweeps.retained]
scenario = "digits"
methods = ["svd-forgetting"]
x = "alpha_r"
reference = false
parameters.alpha_r = [1.0, 10.0, 100.0]

[sweeps.forgotten]
scenario = "digits"
methods = ["svd-forgetting"]
x = "alpha_f"
reference = false
parameters.alpha_f = [2.0, 20.0]
"""
CROSSED = """
[sweeps.both]
scenario = "digits"
methods = ["svd-forgetting"]
x = "alpha_r"
reference = false
parameters.alpha_r = [1.0, 10.0]
parameters.alpha_f = [2.0, 20.0]
"""
METRIC = "accuracy.test.retain"  # higher is better


def retained(cell: Cell) -> dict[str, float | None] | None:
    """Retained accuracy is 90 at alpha_r 10, less elsewhere, and hardly moves with alpha_f; a seed is a point apart."""
    if cell.method != "svd-forgetting":
        return None
    own = 90.0 if "forgotten" in cell.scenario else {1.0: 70.0, 10.0: 90.0, 100.0: 85.0}[cell.parameters["alpha_r"]]
    nudge = 0.5 if cell.parameters["alpha_f"] == 20.0 and "forgotten" in cell.scenario else 0.0
    return {METRIC: own + nudge + cell.seed * (1 + nudge)}


def test_the_range_is_worst_less_best_by_seed(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    study = make_study(ALPHAS)
    fill(study, retained)
    first, second = ranges(Found.of(study, tmp_path), METRIC)
    assert (first.parameter, first.tried) == ("alpha_r", (1.0, 10.0, 100.0))
    assert (first.best, first.worst) == ((10.0, 91.0), (1.0, 71.0))  # means over seeds 0, 1 and 2
    assert first.apart.mean == first.apart.low == first.apart.high == -20.0
    assert (second.parameter, second.best[0], second.worst[0]) == ("alpha_f", 20.0, 2.0)
    assert second.apart.mean == pytest.approx(-1.0)  # 0.5 + 0.5 seed
    assert second.apart.low is not None
    assert second.apart.low < -1.0


def test_the_page_ranks_them(make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path) -> None:
    study = make_study(ALPHAS)
    fill(study, retained)
    (section,) = sections(Found.of(study, tmp_path))
    assert section.rows[0] == ("alpha_r", "svd-forgetting", "1, 10, 100", "10", "91.00", "1", "71.00", "20.00 ± 0.00")
    assert [row[0] for row in section.rows] == ["alpha_r", "alpha_f"]
    assert section.figure is not None
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    section.figure(axes)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["alpha_f", "alpha_r"]  # the longest on top
    assert [bar.get_width() for bar in axes.patches] == [pytest.approx(1.0), 20.0]
    assert draw is section.figure.func  # type: ignore[attr-defined]


def test_one_value_and_crossed_sweeps_have_no_range(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    crossed = make_study(CROSSED)
    fill(crossed, lambda cell: {METRIC: 1.0} if cell.method == "svd-forgetting" else None)
    assert sections(Found.of(crossed, tmp_path)) == []
    study = make_study(ALPHAS)
    fill(study, lambda cell: retained(cell) if cell.parameters.get("alpha_r") == 10.0 else None)
    assert "alpha_r" not in {one.parameter for one in ranges(Found.of(study, tmp_path), METRIC)}
