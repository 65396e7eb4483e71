"""Hot paths, each some milliseconds of work: what a run spends its time in.

Methods are called as the harness calls them, on toys, with few steps; what they share is computed before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, Ledger
from benchmark.data.packaged import load
from benchmark.data.views import View
from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.models.classifiers import build_classifier
from benchmark.running.amending import amend
from benchmark.running.plan import make_plan
from benchmark.running.records import Cell, Record, RecordStore
from benchmark.seeding import generator
from benchmark.suites.definition import load_suite, select
from benchmark.tasks import TASKS
from benchmark.timing import Stopwatch
from benchmark.training.loop import sgd

Work = Callable[[], Any]
Timed = Callable[[Work], Any]
#: Method, its scenario, hyper-parameters of a short call, and settings of a base model that is quickly made.
CALLS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("svd-forgetting", "digits", {}, {"epochs": 1}),
    ("laf", "digits-class-removal", {"epochs": 1, "vae_epochs": 1}, {"epochs": 1}),
    ("gerne", "digits-coloured", {}, {"steps": 20}),
    ("rr-clarc", "digits-patch", {"epochs": 1}, {"epochs": 1}),
    ("atu-il2", "ring", {"steps": 10, "images": 1000, "models": 1}, {"steps": 300}),
]


@pytest.fixture(scope="module")
def place(device: str, tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A context with a cache of its own."""
    return Context(torch.device(device), 1, ArtifactStore(tmp_path_factory.mktemp("artifacts")))


def call_of(method: str, name: str, parameters: dict[str, Any], recipe: dict[str, Any], place: Context) -> Work:
    """A call of a method on a scenario of the suite ``smoke``, whose base model is trained with ``recipe``."""
    scenario = load_suite("smoke").scenarios[name]
    task, info = TASKS.get(scenario.task), METHODS.get(method, scenario.task)
    training = msgspec.structs.replace(scenario.settings.training, **recipe)
    settings = msgspec.structs.replace(scenario.settings, training=training)
    given = check_parameters(info, {**scenario.methods[method], **parameters}, "speed")
    base = task.load().base_model(settings, 0, place)
    return lambda: amend((info, given), task, settings, 0, base, place, Stopwatch(place.device), [Ledger()])


@pytest.mark.parametrize(("method", "scenario", "parameters", "recipe"), CALLS, ids=[call[0] for call in CALLS])
def test_method(
    method: str,
    scenario: str,
    parameters: dict[str, Any],
    recipe: dict[str, Any],
    place: Context,
    timed: Timed,
) -> None:
    amended = timed(call_of(method, scenario, parameters, recipe, place))
    assert all(p.isfinite().all() for p in amended.parameters())


def test_training_steps(timed: Timed, device: str) -> None:
    """Ten steps of a small residual network on batches of 64 images."""
    images = load("digits").train.inputs()[:64].to(device)
    labels = load("digits").train.labels[:64].to(device)
    torch.manual_seed(0)
    model = build_classifier("resnet-small", 10, tuple(images.shape[1:])).to(device)
    optimiser = sgd(model, 0.01)

    def steps() -> float:
        for _ in range(10):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimiser.step()
        return loss.item()

    assert timed(steps) < 5


def test_batches(timed: Timed) -> None:
    """Twenty epochs of shuffled batches of a guarded view."""
    view = View("retain", load("digits").train, Access(retain="xy"), Ledger())

    def epochs() -> int:
        return sum(len(batch.y) for epoch in range(20) for batch in view.batches(32, generator(epoch, "speed")))

    assert timed(epochs) == 20 * (len(view) // 32) * 32


def test_planning(timed: Timed, tmp_path: Path) -> None:
    """A plan of some two hundred cells whose source is digested already."""
    suite, store = select(load_suite("smoke"), "class-forget", None, None), RecordStore(tmp_path)
    plan = timed(lambda: make_plan(suite, range(10), "cpu", store))
    assert len(plan.todo) == len(plan.cells) > 100


def test_reading_records(
    timed: Timed, make_record: Callable[..., Record], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    """A hundred records, checked as they are read."""
    store, cell = RecordStore(tmp_path), make_cell("svd-forgetting")
    for seed in range(100):
        other = msgspec.structs.replace(cell, seed=seed)
        store.write(make_record("", {"accuracy.test.retain": 97.0}, cell=other, seed=seed), {})
    assert len(timed(lambda: list(store.all("smoke")))) == 100
