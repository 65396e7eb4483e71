"""Who pays: drops of classes against the original of the seed, and groups of the classes that stay, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from benchmark.reporting.studies.analyses.fairness import accuracies_of, paid_of, sections
from benchmark.running.records import Cell
from benchmark.studies.found import Found

SWEEP = """
[sweeps.classes]
title = "On digits"
scenario = "digits"
methods = ["svd-forgetting", "finetune"]
x = "data"
fixed.settings = { by_class = true }
points = [{ x = "digits" }]
"""


def measured(cell: Cell) -> dict[str, float | None] | None:
    nearest = {"svd-forgetting": 30.0, "finetune": 10.0}.get(cell.method, 0.0)
    return {"accuracy.test.retain": 95.0, "drop.nearest-class": nearest}


def by_class(cell: Cell) -> dict[str, tuple[int, int]]:
    """Three classes, of which the seed's goes; the one after it loses 30 points by one method, 20 by the other."""
    counts = {str(c): (9, 10) for c in range(3)}
    lost = {"svd-forgetting": 3, "finetune": 2}.get(cell.method, 0)
    counts[str((cell.seed + 1) % 3)] = (9 - lost, 10)
    if cell.method != "original":
        counts[str(cell.seed)] = (0, 10)
    return counts


def by_group(cell: Cell) -> dict[str, tuple[int, int]]:
    """In the forgotten class's colour a method gains all ten samples, in its own class's it loses two of ten."""
    amended = cell.method != "original"
    counts = {f"{c} / {a}": (10, 10) if c == a else (4, 10) for c in range(4) for a in range(4)}
    for c in range(4):
        if amended and c != cell.seed:
            counts |= {f"{c} / {cell.seed}": (10, 10), f"{c} / {c}": (8, 10)}
    return counts


def found_of(study: Any, fill: Callable[..., None], groups: Any, tmp_path: Path) -> Found:
    fill(study, measured, groups)
    return Found.of(study, tmp_path)


def test_classes_that_stay_are_compared_with_the_original(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    found = found_of(make_study(SWEEP), fill, by_class, tmp_path)
    paid = paid_of([*found.references("classes"), *found.cells("classes")])
    assert sorted(paid) == ["finetune", "retrain", "svd-forgetting"]
    for cell in paid["svd-forgetting"]:
        assert sorted(cell.drops) == pytest.approx([0.0, 30.0])
        assert (cell.mean, cell.worst) == (pytest.approx(15.0), pytest.approx(30.0))
    (section,) = sections(found)
    assert section.title == "Who pays: On digits"
    assert section.rows == (
        ("svd-forgetting", "15.0 ± 0.0", "30.0 ± 0.0", "30.0 ± 0.0", "3 of 3"),
        ("finetune", "10.0 ± 0.0", "20.0 ± 0.0", "10.0 ± 0.0", "0 of 3"),
        ("retrain", "0.0 ± 0.0", "0.0 ± 0.0", "0.0 ± 0.0", "3 of 3"),
    )
    assert section.figure is not None
    axes = Figure().add_subplot()
    section.figure(axes)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["svd-forgetting", "finetune", "retrain"]
    assert len(axes.collections[0].get_offsets()) == 6  # two classes of three seeds


def test_groups_are_told_apart_by_whose_colour_they_are_in(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    found = found_of(make_study(SWEEP), fill, by_group, tmp_path)
    values = accuracies_of([*found.references("classes"), *found.cells("classes")])
    assert [*values["finetune"][1].values()] == pytest.approx([80.0, 40.0, 100.0])
    assert [*values["original"][1].values()] == pytest.approx([100.0, 40.0, 40.0])
    (section,) = sections(found)
    rows = {row[0]: row[1:] for row in section.rows}
    assert section.title == "Groups: On digits"
    assert rows["original"] == ("100.0 ± 0.0", "40.0 ± 0.0", "40.0 ± 0.0", "-", "-", "-")
    assert rows["finetune"] == ("80.0 ± 0.0", "40.0 ± 0.0", "100.0 ± 0.0", "-20.0 ± 0.0", "0.0 ± 0.0", "60.0 ± 0.0")
    assert section.figure is not None
    axes = Figure().add_subplot()
    section.figure(axes)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["retrain", "finetune", "svd-forgetting"]
    assert axes.collections[2].get_offsets().tolist() == [[60.0, 0.0], [60.0, 1.0], [60.0, 2.0]]  # type: ignore[union-attr]


def test_nothing_is_said_of_records_without_groups(
    make_study: Callable[..., Any], fill: Callable[..., None], tmp_path: Path
) -> None:
    assert sections(found_of(make_study(SWEEP), fill, lambda cell: {}, tmp_path)) == []
