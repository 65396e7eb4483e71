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
from benchmark.artifacts.context import Context  # noqa: E402
from benchmark.artifacts.store import ArtifactStore  # noqa: E402
from benchmark.contracts import Access, BiasProblem, GanProblem, GanRecipe, Ledger, Recipe  # noqa: E402
from benchmark.data.feedback import Feedback  # noqa: E402
from benchmark.data.packaged import load  # noqa: E402
from benchmark.data.views import Samples, View  # noqa: E402
from benchmark.discovery import outside, source  # noqa: E402
from benchmark.discovery.methods import METHODS, check_parameters  # noqa: E402
from benchmark.models.gan import Gan, build_gan  # noqa: E402
from benchmark.models.judges import NearestJudge  # noqa: E402
from benchmark.running.plan import make_plan  # noqa: E402
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, Record, RecordStore, Value  # noqa: E402
from benchmark.suites.definition import load_suite, select  # noqa: E402
from benchmark.training.adversarial import drawn_from, train_gan  # noqa: E402
from benchmark.training.loop import train_classifier  # noqa: E402

MakeCell = Callable[..., Cell]
MakeRecord = Callable[..., Record]
MakeBiasProblem = Callable[..., BiasProblem]
MakeGanProblem = Callable[..., GanProblem]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def cache_folder(shared_folder: Path) -> Iterator[Path]:
    """AMENDBENCH_CACHE for this process and those that it starts."""
    folder = shared_folder / "amendbench-cache"
    cores = folder / "cores" / os.environ.get("PYTEST_XDIST_WORKER", "alone")  # tests beside this one do not matter
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.running.slots.locks_folder", lambda cache: cores)
        patch.setenv("AMENDBENCH_CACHE", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Each test starts with one thread, whatever the last one asked for: tests run side by side."""
    torch.set_num_threads(1)


@pytest.fixture
def outsiders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """No method from outside is known before and after; what is given makes this process look again."""

    def look_again() -> None:
        for kept in (outside, source, METHODS):
            kept.forget()

    monkeypatch.setenv(outside.VARIABLE, "")
    look_again()
    yield look_again
    monkeypatch.undo()
    look_again()


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


# GAN feature removal in little: a ring of eight modes in the plane, of which two must go, and images of 8 x 8 pixels.

GONE = (0, 1)
POINTS = GanRecipe(1500, 128, lr_generator=1e-3, lr_discriminator=1e-3, averaging=0.99, r1=0.1)
PICTURES = GanRecipe(6, 8, lr_generator=1e-3, lr_discriminator=1e-3, averaging=0.8, r1=0.1, r1_every=2)


class Brightness(nn.Module):
    """A judge of images: undesired is what is brighter on average than ``threshold``; differentiable."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3)) - self.threshold


def modes(samples: Samples) -> torch.Tensor:
    """Centres (8, 2) of the ring's modes."""
    return torch.stack([samples.images[samples.labels == k].mean(0) for k in range(8)])


def build_points() -> Gan:
    return build_gan("gan-toy", (2,), 8, 64)


def build_pictures() -> Gan:
    return build_gan("dcgan", (1, 8, 8), 6, 8)


@functools.cache
def trained_gan(kind: str) -> tuple[Gan, nn.Module, Samples]:
    """A GAN that has learnt all of its data, a judge of what it makes, and the data."""
    build, recipe, name = {
        "ring": (build_points, POINTS, "eight-gaussians"),
        "images": (build_pictures, PICTURES, "digits"),
    }[kind]
    samples = load(name).train
    samples = replace(samples, attributes=samples.labels, mean=samples.mean and (0.5,), std=samples.std and (0.5,))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        gan = build()
    rng = torch.Generator().manual_seed(0)
    train_gan(gan, drawn_from(samples.inputs()), recipe, recipe.steps, rng)
    if kind == "ring":
        return gan, NearestJudge(modes(samples), GONE), samples
    with torch.no_grad():
        made = gan.average(gan.average.latents(400, rng))
    return gan, Brightness(float(made.mean((1, 2, 3)).quantile(0.7))), samples


@pytest.fixture
def make_gan_problem() -> MakeGanProblem:
    """A tiny problem: ``make(kind="ring", access=..., ledger=..., field=...)``.

    ``kind``: ``ring``, points of eight modes of which the first two must go, well learnt; ``images``, of 8 x 8 pixels,
    hardly learnt, of which the brightest third must go. Without ``access`` feedback and its network may be had.
    """

    def make(
        kind: str = "ring", access: Access | None = None, *, ledger: Ledger | None = None, **changes: Any
    ) -> GanProblem:
        access, ledger = access or Access(feedback="yw"), ledger or Ledger()
        gan, judge, samples = trained_gan(kind)
        gan = copy.deepcopy(gan)
        build = build_points if kind == "ring" else build_pictures
        given: dict[str, Any] = {
            "model": gan.average,
            "gan": gan,
            "num_classes": 2,
            "device": torch.device("cpu"),
            "seed": 1,
            "build_model": lambda: build().generator,
            "build_gan": build,
            "feedback": Feedback(copy.deepcopy(judge), access, ledger),
            "real": View("real", samples.subset((samples.labels >= len(GONE)).nonzero().squeeze(1)), access, ledger),
            "recipe": POINTS if kind == "ring" else PICTURES,
        }
        return GanProblem(**{**given, **changes})

    return make
