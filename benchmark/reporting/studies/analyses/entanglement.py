"""What correcting an artefact costs the class that it stands for, beside how much its direction is that class's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from benchmark.reporting.figures.style import BLUE
from benchmark.reporting.studies.section import Section
from benchmark.studies.found import CellResult, Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SWEEPS = ("rate", "kinds", "kinds-corrected")


class Cost(NamedTuple):
    """A correction: overlap in percent, accuracy of the biased class and of all before, and points that both lose."""

    x: str
    seed: int
    overlap: float
    before: float
    lost: float
    lost_by_all: float


def sections(found: Found) -> list[Section]:
    """The overlap beside the cost, a row a network, and how they go together."""
    costs = costs_of([cell for sweep in SWEEPS for cell in found.cells(sweep)])
    if len({cost.overlap for cost in costs}) < 3 or len({cost.lost for cost in costs}) < 2:
        return []
    text = (
        f"Over {len(costs)} corrections of networks with different artefacts, rates and seeds, Spearman's rank "
        f"correlation between overlap and points lost by the biased class is {rank_correlation(costs):.2f}. Networks "
        "that are corrected with two weights are there twice: no test is made of it."
    )
    headers = ("artefact or rate", "seed", "overlap", "biased class before", "points lost", "points lost by all")
    rows = tuple((c.x, str(c.seed), *(f"{value:.1f}" for value in c[2:])) for c in costs)
    return [Section("Overlap and cost", text, headers, rows, partial(_scatter, tuple(costs)), (4.0, 3.0))]


def costs_of(cells: Sequence[CellResult]) -> list[Cost]:
    """Every corrected network beside the original of the same settings and seed, in the order of the cells."""
    originals = {_key(cell): cell.values for cell in cells if cell.method == "original"}
    costs = []
    for cell in cells:
        before = originals.get(_key(cell))
        if cell.method == "original" or before is None:
            continue
        own, overlap = "accuracy.clean@biased", before.get("cav.alignment@class")
        values = [
            before.get(own),
            cell.values.get(own),
            before.get("accuracy.clean"),
            cell.values.get("accuracy.clean"),
        ]
        known = [value for value in (overlap, *values) if value is not None]
        if len(known) == 5:
            costs.append(Cost(str(cell.x), cell.seed, known[0], known[1], known[1] - known[2], known[3] - known[4]))
    return costs


def rank_correlation(costs: Sequence[Cost]) -> float:
    """Spearman's, of overlap and points lost by the biased class; ties share their mean rank."""
    from scipy.stats import spearmanr

    return float(spearmanr([cost.overlap for cost in costs], [cost.lost for cost in costs]).statistic)


def _key(cell: CellResult) -> tuple[str, int]:
    return json.dumps(cell.settings, sort_keys=True), cell.seed


def _scatter(costs: Sequence[Cost], axes: Axes) -> None:
    axes.axhline(0, color="0.8", linewidth=0.8)
    axes.scatter([cost.overlap for cost in costs], [cost.lost for cost in costs], s=16, color=BLUE)
    axes.set_xlabel("overlap with the class / %")
    axes.set_ylabel("points lost, biased class")
