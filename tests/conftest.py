"""What all tests share: a cache of their own, one thread, and cells made the way that the command line makes them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

TESTS = Path(__file__).parent
# tests/benchmark and tests/methods mirror the packages: below this folder their names would stand for the packages.
sys.path[:] = [str(TESTS.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != TESTS)]

from benchmark import environment  # noqa: E402
from benchmark.discovery import METHODS, check_parameters  # noqa: E402
from benchmark.running.artifacts import ArtifactStore  # noqa: E402
from benchmark.running.context import Context  # noqa: E402
from benchmark.running.plan import make_plan  # noqa: E402
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, Record, RecordStore, Value  # noqa: E402
from benchmark.suite import load_suite, select  # noqa: E402

MakeCell = Callable[..., Cell]
MakeRecord = Callable[..., Record]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def cache_folder(shared_folder: Path) -> Iterator[Path]:
    """AMENDBENCH_CACHE for this process and those that it starts."""
    folder = shared_folder / "amendbench-cache"
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMENDBENCH_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Deterministic algorithms, as in a worker."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture
def context(cache_folder: Path, deterministic: None) -> Context:
    """What cells run in; base models are shared by all tests of a run."""
    return Context(torch.device("cpu"), 1, ArtifactStore(cache_folder / "artifacts"))


@pytest.fixture
def make_cell(tmp_path: Path) -> MakeCell:
    """A cell of the suite ``smoke``: ``make_cell(method, scenario, seed, hyper-parameter=...)``."""

    def make(method: str, scenario: str = "digits", seed: int = 0, **parameters: Any) -> Cell:
        suite = select(load_suite("smoke"), None, [scenario], [method])
        chosen = suite.scenarios[scenario].methods[method]
        chosen.update(
            check_parameters(METHODS.get(method, suite.scenarios[scenario].task), {**chosen, **parameters}, "test")
        )
        plan = make_plan(suite, [seed], "cpu", RecordStore(tmp_path / "no-results"))
        return next(cell for cell in plan.cells if cell.method == method)

    return make


@pytest.fixture
def make_record(make_cell: MakeCell) -> MakeRecord:
    """A record that nothing was run for: ``make_record(method, metrics, seed=..., status=..., field=...)``."""

    def make(
        method: str,
        metrics: dict[str, float | None] | None = None,
        *,
        cell: Cell | None = None,
        seed: int = 0,
        scenario: str = "digits",
        cost: tuple[float, float] = (1.0, 1.0),
        **changes: Any,
    ) -> Record:
        cell = cell or make_cell(method, scenario, seed)
        status = changes.get("status", "ok")
        whole = Record(
            schema=SCHEMA,
            cell=cell,
            hash=cell.hash,
            status=status,
            failure=None if status == "ok" else Failure("Error", f"it was {status}"),
            metrics={name: Value(value, 100) for name, value in (metrics or {}).items()},
            access=[{"retain": {"samples": 10, "labels": 5, "passes": 20}}],
            cost=Cost(*cost, 1000, True, 2.0),
            flags=[],
            provenance="defaults",
            data="sum",
            arrays=None,
            environment={"machine": environment.machine(), "device": "a processor"},
            created="2025-01-01T00:00:00+00:00",
        )
        return msgspec.structs.replace(whole, **changes)

    return make
