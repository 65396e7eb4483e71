"""Records of debiasing that nothing was run for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from benchmark.boards.board import Row
from benchmark.contracts import StepRecipe
from benchmark.data.bias import Bias
from benchmark.discovery.methods import METHODS
from benchmark.reporting.markdown import task_page
from benchmark.reporting.material import Material
from benchmark.reporting.overview import overview
from benchmark.reporting.ranking import rankings
from benchmark.reporting.sheet import sheets
from benchmark.running.plan import digests
from benchmark.running.records import Cell, Count, Record, Value
from benchmark.suites.definition import load_suite, suite_names
from benchmark.tasks import TASKS
from benchmark.tasks.debias import Debias, Rule

Make = Callable[..., Record]


def settings(task: str, selection: Rule) -> dict[str, Any]:
    """Settings of a scenario of coloured digits; ranked by the worst group where that is the rule."""
    scenario = Debias(
        task="debias-known" if task == "debias-known" else "debias-unknown",
        data="mnist-5k",
        model="cmnist-mlp",
        training=StepRecipe(steps=200, per_class=50, lr=0.1, weight_decay=0.01),
        selection=selection,
        rank_by="worst-group" if selection == "worst-group" else "group-balanced",
        bias=Bias(kind="colour", conflicting=0.05),
    )
    found: dict[str, Any] = msgspec.to_builtins(scenario)
    return found


@pytest.fixture
def make_debias_cell() -> Callable[..., Cell]:
    """A cell of debiasing: ``make_debias_cell(method, suite, task, scenario, selection, seed)``; any method's name."""

    def make(method: str, suite: str, task: str, scenario: str, selection: Rule, seed: int) -> Cell:
        info = METHODS.get(method, task) if METHODS.has(method, task) else None
        return Cell(
            suite=suite,
            task=task,
            scenario=scenario,
            settings=settings(task, selection),
            unit="colour",
            seed=seed,
            method=method,
            kind=info.kind if info else "baseline",
            parameters={},
            device="cpu",
            threads=1,
            versions={"task": TASKS.get(task).version, "method": info.version if info else 1},
            digests=digests(TASKS.get(task).implementation, info.module) if info else {},
            packages={},
        )

    return make


@pytest.fixture
def make_debias(make_record: Make, make_debias_cell: Callable[..., Cell]) -> Make:
    """A record of debiasing: ``make_debias(method, group-balanced accuracy, metrics={...}, groups={...}, seed=...)``.

    The worst group's accuracy is ten points lower. ``samples`` were held out, and the score has a standard ``error``.
    """

    def make(
        method: str,
        gba: float = 50.0,
        *,
        suite: str = "embedded",
        task: str = "debias-known",
        scenario: str = "coloured",
        selection: Rule = "group-balanced",
        metrics: dict[str, float] | None = None,
        groups: dict[str, tuple[int, int]] | None = None,
        samples: int = 100,
        error: float | None = None,
        seed: int = 0,
        **changes: Any,
    ) -> Record:
        cell = make_debias_cell(method, suite, task, scenario, selection, seed)
        values = {"accuracy.group-balanced": gba, "accuracy.worst-group": gba - 10, **(metrics or {})}
        record = make_record(method, values, cell=cell, seed=seed, **changes)
        if record.status != "ok":
            return msgspec.structs.replace(record, metrics={})
        chosen = {"selection.score": Value(70.0, samples), "selection.standard-error": Value(error, samples)}
        counts = {name: Count(*count) for name, count in (groups or {}).items()}
        return msgspec.structs.replace(record, metrics={**record.metrics, **chosen}, groups=counts)

    return make


@pytest.fixture
def make_material() -> Callable[..., Material]:
    """What reports are written from, of rows that nothing was run for: ``make_material(rows, suite)``, no figures."""

    def make(rows: Sequence[Row], suite: str = "smoke", known: bool = True) -> Material:
        return Material(
            name=suite,
            suite=load_suite(suite) if known and suite in suite_names() else None,
            sheets=sheets(suite, rows),
            scored=overview(rows),
            rankings=rankings(rows),
            drawings=[],
            ensembles=[],
            tuned={},
            generated={},
        )

    return make


@pytest.fixture
def make_page(make_material: Callable[..., Material]) -> Callable[..., str]:
    """The page of the rows' task: ``make_page(rows, suite)``."""

    def make(rows: Sequence[Row], suite: str = "smoke") -> str:
        return task_page(rows[0].task, [make_material(rows, suite)])

    return make
