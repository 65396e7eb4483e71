"""A results folder with a record of every task and what its metrics come from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.running.cell import run_cell
from benchmark.running.plan import make_plan
from benchmark.running.records import Record, RecordStore
from benchmark.suites.definition import load_suite, select

COMMITTED = Path(__file__).parents[3] / "results"
#: Task, and a scenario of the suite ``smoke`` with a method that takes no second.
CELLS = (
    ("class-forget", "digits", "original"),
    ("debias-known", "digits-coloured", "erm"),
    ("debias-unknown", "digits-coloured-blind", "erm"),
    ("bias-correction", "digits-patch-legitimate", "original"),
)
#: What takes longer: records that come with the repository.
LONG = (
    "smoke/label-free-forget/digits-noisy-labels/laf/draw-0-seed0-cpu",
    "smoke/gan-feature-removal/ring/atu-el2/mode-0-1-seed0-cpu",
)


@pytest.fixture(scope="session")
def original_tree(tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> Path:
    """The folder that tests copy."""
    root = tmp_path_factory.mktemp("every-task")
    context = Context(torch.device("cpu"), 1, ArtifactStore(cache_folder / "artifacts"))
    store = RecordStore(root)
    for task, scenario, method in CELLS:
        plan = make_plan(select(load_suite("smoke"), task, [scenario], [method]), [0], "cpu", store)
        cell = next(cell for cell in plan.cells if cell.method == method)
        made, kept = run_cell(cell, context, exclusive=True, provenance="defaults")
        assert made.failure is None
        store.write(made, kept)
    for name in LONG:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".json", ".npz"):
            shutil.copy(COMMITTED / f"{name}{suffix}", root / f"{name}{suffix}")
    return root


@pytest.fixture
def results(original_tree: Path, tmp_path: Path) -> Path:
    """A copy of the folder that a test may change."""
    return Path(shutil.copytree(original_tree, tmp_path / "results"))


@pytest.fixture
def record_of(results: Path) -> Callable[[str], Record]:
    """The record of a task in the folder: ``record_of(task)``."""
    found = {record.cell.task: record for record in RecordStore(results).all()}
    return found.__getitem__
