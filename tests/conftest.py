"""What all tests share: a cache of their own, one thread, and cells made the way that the command line makes them."""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

TESTS = Path(__file__).parent
# tests/benchmark and tests/methods mirror the packages: below this folder their names would stand for the packages.
sys.path[:] = [str(TESTS.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != TESTS)]

from benchmark import environment  # noqa: E402
from benchmark.contracts import Access, BiasProblem, Ledger, Recipe  # noqa: E402
from benchmark.data.views import Samples, View  # noqa: E402
from benchmark.discovery import METHODS, check_parameters  # noqa: E402
from benchmark.running.artifacts import ArtifactStore  # noqa: E402
from benchmark.running.context import Context  # noqa: E402
from benchmark.running.plan import make_plan  # noqa: E402
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, Record, RecordStore, Value  # noqa: E402
from benchmark.suite import load_suite, select  # noqa: E402
from benchmark.training import train_classifier  # noqa: E402

MakeCell = Callable[..., Cell]
MakeRecord = Callable[..., Record]
MakeBiasProblem = Callable[..., BiasProblem]


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


@pytest.fixture
def one_blas_thread() -> Iterator[None]:
    """One thread for scikit-learn's linear algebra, whose small problems many threads slow down."""
    import sklearn.linear_model  # noqa: F401 - loads the libraries that are limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


# Bias correction in little: bars of three classes, and a bright corner in half of the images of class 1.

RECIPE = Recipe(epochs=40, lr=0.02, batch_size=30)
STRIPED = 60


def striped(corners: bool) -> Samples:
    """60 images of 8 x 8 pixels; attributes and masks say where a corner is."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(STRIPED) % 3
    images = torch.randint(0, 120, (STRIPED, 1, 8, 8), generator=rng)
    images[labels == 0, :, ::2] += 50
    images[labels == 1, :, :, ::2] += 50
    biased = (labels == 1).nonzero().squeeze(1)[::2]
    attributes = torch.zeros(STRIPED, dtype=torch.int64)
    masks = torch.zeros(STRIPED, 8, 8, dtype=torch.bool)
    if corners:
        attributes[biased] = 1
        masks[biased, :3, :3] = True
    images = images.to(torch.uint8).masked_fill(masks[:, None], 255)
    return Samples(images, labels, (0.3,), (0.2,), attributes=attributes, masks=masks)


def below() -> list[nn.Module]:
    """Up to layer 4, whose output has 8 channels at 4 x 4 positions."""
    first = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)]
    return [*first, nn.Conv2d(6, 8, 3, padding=1)]


def linear_head() -> nn.Module:
    """ReLU, global average pooling, one linear layer: the penalty has a closed form."""
    return nn.Sequential(*below(), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def deep_head() -> nn.Module:
    """As in VGG, two linear layers with dropout between them, and a convolution and batch norm behind the layer."""
    behind = [nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*below(), *behind, nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))


@functools.cache
def biased_model(build: Callable[[], nn.Module]) -> nn.Module:
    """A network that has learnt from the corners."""
    torch.manual_seed(0)
    model = build()
    view = View("train", striped(True), Access(train="xy"), Ledger())
    train_classifier(model, view, RECIPE, torch.Generator().manual_seed(0))
    return model


@pytest.fixture
def make_bias_problem() -> MakeBiasProblem:
    """A tiny problem: ``make(head="deep", access=..., optimiser="adam", masks=False, field=...)``.

    The head is ``linear`` or ``deep``; without ``access`` everything may be read. The same network and data each time.
    """

    def make(
        head: str = "linear",
        access: Access | None = None,
        *,
        optimiser: str = "sgd",
        masks: bool = True,
        ledger: Ledger | None = None,
        **changes: Any,
    ) -> BiasProblem:
        access, ledger = access or Access(train="xyam", concept="xyam", clean="xyam"), ledger or Ledger()
        train, clean = striped(True), striped(False)
        told = train.subset((train.labels == 1).nonzero().squeeze(1))
        samples = {"train": train if masks else replace(train, masks=None), "concept": told, "clean": clean}
        build = {"linear": linear_head, "deep": deep_head}[head]
        given: dict[str, Any] = {
            "model": copy.deepcopy(biased_model(build)),
            "num_classes": 3,
            "device": torch.device("cpu"),
            "seed": 1,
            "build_model": build,
            **{name: View(name, own, access, ledger) for name, own in samples.items()},
            "biased_class": 1,
            "layer": "4",
            "recipe": msgspec.structs.replace(RECIPE, optimiser=optimiser),
        }
        return BiasProblem(**{**given, **changes})

    return make
