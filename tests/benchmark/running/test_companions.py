"""Cells whose method answers several seeds in one go: results, bills, and what happens where one fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Ledger
from benchmark.discovery.methods import METHODS
from benchmark.errors import AccessViolation, DivergenceError
from benchmark.running import companions
from benchmark.running.amending import amend
from benchmark.running.plan import make_plan
from benchmark.running.records import RecordStore
from benchmark.suites.definition import Suite, load_suite, select
from benchmark.tasks import TASKS, answered_together, base_models, forgetting
from benchmark.timing import Stopwatch

STACKED = 4
Setup = tuple[Any, Any, Context]


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    """The task, a quickly trained scenario whose seeds all forget class 0, and a context."""
    suite = small(STACKED)
    return TASKS.get("class-forget"), suite.scenarios["four-gaussians"].settings, context_of(tmp_path)


def context_of(folder: Path) -> Context:
    return Context(torch.device("cpu"), 1, ArtifactStore(folder / "artifacts"))


def small(stacked: int) -> Suite:
    suite = select(load_suite("smoke"), "class-forget", ["four-gaussians"], ["retrain", "finetune"])
    scenario = suite.scenarios["four-gaussians"]
    training = msgspec.structs.replace(scenario.settings.training, epochs=1, stacked=stacked)
    settings = msgspec.structs.replace(scenario.settings, training=training, forget_seed=0)
    return msgspec.structs.replace(
        suite, scenarios={"four-gaussians": msgspec.structs.replace(scenario, settings=settings)}
    )


def retrained(setup: Setup, seed: int) -> tuple[dict[str, torch.Tensor], Stopwatch, Ledger]:
    task, settings, context = setup
    info, watch, ledgers = METHODS.get("retrain", task.name), Stopwatch(torch.device("cpu")), list[Ledger]()
    base = task.load().base_model(settings, seed, context)
    model = amend((info, {}), task, settings, seed, base, context, watch, ledgers)
    return model.state_dict(), watch, ledgers[0]


def test_results_and_ledgers_are_those_of_training_alone(setup: Setup, tmp_path: Path) -> None:
    alone = TASKS.get("class-forget"), small(1).scenarios["four-gaussians"].settings, context_of(tmp_path / "alone")
    for seed in (1, 0, 3):
        own, _, ledger = retrained(setup, seed)
        other, _, expected = retrained(alone, seed)
        for name, tensor in own.items():
            torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-3)
        assert ledger.reads == expected.reads
        assert ledger.reads["retain"]["samples"] == 30_000


def test_who_comes_first_answers_for_all(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bill is a share; the second finds its own in the store, also in another order, with the same bill."""
    calls = []
    original = companions.load_together

    def counted(info: Any) -> Any:
        calls.append(info.name)
        return original(info)

    monkeypatch.setattr(companions, "load_together", counted)
    first, watch, _ = retrained(setup, 2)
    assert calls == ["retrain"]
    others = [retrained(setup, seed) for seed in (0, 3)]
    again, billed, _ = retrained(setup, 2)
    assert calls == ["retrain"]
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(next(iter(others[0][0].values())), next(iter(others[1][0].values())))
    task, settings, context = setup
    method = METHODS.get("retrain", task.name), dict[str, Any]()
    share = float(companions.answer(method, task, settings, 2, context, exclusive=True)["bill.cost"][0])
    assert 0 < share <= min(watch.seconds, billed.seconds)
    retrained(setup, STACKED)  # the next stack
    assert calls == ["retrain"] * 2


def test_where_one_diverges_each_answers_for_itself(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(problems: Any) -> Any:
        raise DivergenceError("the loss is not finite")

    monkeypatch.setattr(companions, "load_together", lambda info: diverge)
    assert retrained(setup, 0)[2].reads["retain"]["samples"] == 30_000


def test_refused_reads_are_found(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whichever seed; the cell's own ledger says so, and no view stays open."""
    task, settings, context = setup
    given, ledgers = [], list[Ledger]()

    def nosy(problems: Any) -> Any:
        given.extend(problems)
        with pytest.raises(AccessViolation):
            problems[-1].forget.read("x", torch.arange(2))
        return [problem.fresh_model() for problem in problems]

    monkeypatch.setattr(companions, "load_together", lambda info: nosy)
    method = METHODS.get("retrain", task.name), dict[str, Any]()
    base, watch = task.load().base_model(settings, 0, context), Stopwatch(torch.device("cpu"))
    with pytest.raises(AccessViolation, match="forget"):
        amend(method, task, settings, 0, base, context, watch, ledgers)
    assert len(ledgers[0].violations) == 1
    assert len(given) == STACKED
    for problem in given:
        with pytest.raises(AccessViolation, match="after the method's call"):
            problem.retain.read("x", torch.arange(2))


def test_other_data_are_another_stack(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    before = retrained(setup, 0)[0]
    original = forgetting.load

    def other(name: str, holdout: int = 0) -> Any:
        data = original(name, holdout)
        return replace(data, train=replace(data.train, labels=data.train.labels.roll(7)))

    for module in (forgetting, base_models):
        monkeypatch.setattr(module, "load", other)
    base_models.on_device.cache_clear()
    after = retrained(setup, 0)[0]
    base_models.on_device.cache_clear()
    assert not all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_every_method_that_answers_together_has_the_function() -> None:
    named = [info for info in METHODS.values() if info.together]
    assert {info.name for info in named} == {"retrain"}
    assert all(callable(companions.load_together(info)) for info in named)


def test_limits_count_for_a_stack() -> None:
    """Whoever comes first does the work of all."""
    cells = [make_plan(small(n), [0], "cpu", RecordStore(Path("none"))).cells[0] for n in (1, STACKED)]
    assert [cell.stacked for cell in cells] == [1, STACKED]
    assert msgspec.structs.replace(cells[0], settings={}).stacked == 1


def test_seeds_of_a_stack_wait_for_one(tmp_path: Path) -> None:
    """What a cell builds is named by the first seed of its stack: one worker builds it, the others wait."""
    plan = make_plan(small(STACKED), range(5), "cpu", RecordStore(tmp_path))
    needs = {(cell.method, cell.seed): plan.needs[cell.hash] for cell in plan.cells}
    assert needs["retrain", 0] == needs["retrain", 3] != needs["retrain", 4]
    assert needs["finetune", 0] == needs["finetune", 3] == needs["retrain", 0][:1]
    alone = make_plan(small(1), range(2), "cpu", RecordStore(tmp_path))
    assert len({alone.needs[cell.hash] for cell in alone.cells}) == 2


def test_only_methods_that_say_so() -> None:
    settings, task = small(STACKED).scenarios["four-gaussians"].settings, TASKS.get("class-forget")
    retrain, finetune = (METHODS.get(name, task.name) for name in ("retrain", "finetune"))
    assert answered_together(retrain, task, settings)
    assert not answered_together(finetune, task, settings)
    in_sequence = msgspec.structs.replace(settings, classes=2, requests="in-sequence")
    assert not answered_together(retrain, task, in_sequence)
