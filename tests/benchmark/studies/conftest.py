"""Studies that tests write themselves, with records that were never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.running.plan import make_plan
from benchmark.running.records import SCHEMA, STUDIES, Cell, Cost, Count, Record, RecordStore, Value
from benchmark.studies.definition import Study, load_study
from benchmark.studies.expansion import expanded

MakeStudy = Callable[..., Study]
Fill = Callable[..., None]

STUDY = """
title = "How large may alpha be?"
question = "One *question*."
paper = "arXiv:2312.00761"
suite = "smoke"
metrics = ["accuracy.test.retain", "accuracy.test.forget", "tow"]
"""
SWEEP = """
[sweeps.alpha]
scenario = "digits"
methods = ["svd-forgetting", "svd-forgetting+search"]
x = "samples a class"
parameters.retain_per_class = [1, 10]
"""


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """A study of the given TOML text; ``more`` stands before its first table."""

    def make(text: str = SWEEP, more: str = "") -> Study:
        path = tmp_path / "mine.toml"
        path.write_text(STUDY + more + text)
        return load_study(str(path))

    return make


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Records of every cell of a study, with metrics that ``values(cell)`` gives; none for what it gives None for.

    ``groups(cell)``: right and all test samples by group.
    """

    def fill(
        study: Study,
        values: Callable[[Cell], dict[str, float | None] | None],
        groups: Callable[[Cell], dict[str, tuple[int, int]]] = lambda cell: {},
    ) -> None:
        suite = expanded(study).suite
        assert suite is not None
        store = RecordStore(tmp_path / STUDIES)
        for cell in make_plan(suite, range(study.file.seeds), "cpu", store).cells:
            own = values(cell)
            if own is not None:
                metrics = {name: Value(value, 100) for name, value in own.items()}
                cost = Cost(1.0, 0.5, None, False, 2.0)
                store.write(
                    Record(
                        SCHEMA, cell, cell.hash, "ok", None, metrics, [], cost, [], "defaults", "0" * 16, None,
                        {"device": "a | b", "torch": "2"}, "2026-01-01T00:00:00+00:00",
                        {name: Count(*counted) for name, counted in groups(cell).items()},
                    ),
                    {},
                )  # fmt: skip

    return fill
