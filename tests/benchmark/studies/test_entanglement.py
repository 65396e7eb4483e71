"""What a correction costs its class beside the overlap: which cells are compared with which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from benchmark.reporting.studies.analyses.entanglement import costs_of, rank_correlation, sections
from benchmark.running.records import Cell
from benchmark.studies.found import Found

RATES = """
[sweeps.rate]
scenario = "digits-patch"
methods = ["original", "rr-clarc"]
x = "rate"
reference = false
metrics = ["accuracy.clean"]
settings."artefact.rate" = [0.2, 0.5, 0.8]

[sweeps.kinds]
scenario = "digits-patch"
methods = ["original"]
x = "kind"
reference = false
metrics = ["accuracy.clean"]
settings."artefact.scale" = [2.0]

[sweeps.kinds-corrected]
scenario = "digits-patch"
methods = ["rr-clarc"]
x = "kind"
reference = false
metrics = ["accuracy.clean"]
settings."artefact.scale" = [2.0]
"""


def measured(cell: Cell) -> dict[str, float | None] | None:
    """The overlap is 100 times the rate, less the seed; the class loses a fifth of that, all lose twice the rate."""
    rate = cell.settings["artefact"]["rate"]
    before = {"accuracy.clean": 95.0, "accuracy.clean@biased": 90.0, "cav.alignment@class": 100 * rate - cell.seed}
    if cell.method == "original":
        return before
    return {**before, "accuracy.clean": 95 - 2 * rate, "accuracy.clean@biased": 90 - (100 * rate - cell.seed) / 5}


def test_corrections_are_compared_with_the_original_of_their_settings_and_seed(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    study = make_study(RATES)
    fill(study, measured)
    found = Found.of(study, tmp_path)
    costs = costs_of([cell for sweep in ("rate", "kinds", "kinds-corrected") for cell in found.cells(sweep)])
    assert len(costs) == 12  # of three rates and a kind, three seeds each
    rates = (0.2, 0.2, 0.2, 0.5, 0.5, 0.5, 0.8, 0.8, 0.8, 0.5, 0.5, 0.5)
    for cost, rate, seed in zip(costs, rates, (0, 1, 2) * 4, strict=True):
        expected = (100 * rate - seed, 90.0, 20 * rate - seed / 5, 2 * rate)
        assert (cost.overlap, cost.before, cost.lost, cost.lost_by_all) == pytest.approx(expected)
    assert rank_correlation(costs) == pytest.approx(1)
    assert rank_correlation([cost._replace(lost=-cost.lost) for cost in costs]) == pytest.approx(-1)
    (section,) = sections(found)
    assert "lost by the biased class is 1.00." in section.text
    assert len(section.rows) == 12
    assert section.rows[0] == ("0.2", "0", "20.0", "90.0", "4.0", "0.4")
    axes = Figure().subplots()
    assert section.figure is not None
    section.figure(axes)
    assert len(axes.collections[0].get_offsets()) == 12


def test_without_originals_there_is_no_section(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    study = make_study(RATES)
    fill(study, lambda cell: None if cell.method == "original" else measured(cell))
    assert sections(Found.of(study, tmp_path)) == []
