"""One cell: whatever a method does becomes a typed row, and only its call is timed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from benchmark.artifacts.context import Context
from benchmark.contracts import Access, ForgetProblem, Measured, MethodInfo, Recipe
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import MethodRegistry
from benchmark.errors import AccessViolation, DivergenceError
from benchmark.models.surgery import state_hash
from benchmark.registry import Registry
from benchmark.running import amending
from benchmark.running import cell as running
from benchmark.running.cell import run_cell
from benchmark.running.records import Cell, Record
from benchmark.tasks import Evaluation, Guarded, Implementation, Task

Amend = Callable[..., Any]
READ = Access(retain="x", max_samples={"retain": 6})


class Toy(msgspec.Struct, frozen=True):
    """A scenario without data from outside."""

    requests: int = 1


class ToyTask(Task):
    """A task whose implementation is this test's own."""

    def load(self) -> Implementation:
        return TOY


def build(
    scenario: Toy, seed: int, request: int, model: nn.Module, access: Access, ledger: Any, context: Context
) -> Guarded:
    view = View("retain", Samples(torch.randn(10, 3), torch.arange(10) % 2), access, ledger)
    problem = ForgetProblem(
        model=copy.deepcopy(model).eval(),
        retain=view,
        forget=view,
        selection=view,
        labelled=view,
        forget_classes=(request,),
        num_classes=2,
        recipe=Recipe(1, 0.1, 2),
        device=context.device,
        seed=seed,
        build_model=lambda: nn.Linear(3, 2),
    )
    return Guarded(problem, (view,))


def base_model(scenario: Toy, seed: int, context: Context) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(3, 2).eval()


def evaluate(scenario: Toy, seed: int, base: nn.Module, amended: nn.Module, context: Context) -> Evaluation:
    weight = amended.weight.detach()
    value = float(weight.sum())
    return Evaluation({"tow": Measured(value, 4)}, {"weight": weight.numpy()}, [])


TOY = cast(
    Implementation,
    SimpleNamespace(data_checksum=lambda scenario: "sum", base_model=base_model, build=build, evaluate=evaluate),
)


def toy_task() -> Task:
    nothing: Callable[..., Any] = lambda *_: None  # noqa: E731
    return ToyTask(
        name="class-forget", summary="", version=1, scenario=Toy, views={"retain": "xy"}, metrics=("tow",),
        headline=("tow",), rank_by="tow", reference="retrain", original="original", implementation="",
        unit=nothing, base=nothing, requests=lambda scenario: scenario.requests, check=nothing, derive=nothing,
        gates=nothing, selection_criterion="",
    )  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, context: Context) -> Callable[..., Record]:
    """Run a function as the method of a cell of the toy task."""

    def run(function: Amend, access: Access = READ, requests: int = 1, **parameters: Any) -> Record:
        info = MethodInfo("toy", "baseline", ("class-forget",), "", access, 1, (), "m", "f", "")
        monkeypatch.setattr(running, "METHODS", MethodRegistry(lambda: [info]))
        monkeypatch.setattr(running, "TASKS", Registry("task", lambda: [("class-forget", toy_task())]))
        monkeypatch.setattr(amending, "load", lambda info: function)
        cell = Cell(
            suite="s", task="class-forget", scenario="toy", settings={"requests": requests}, unit="u", seed=3,
            method="toy", kind="baseline", parameters=parameters, device="cpu", threads=1, versions={}, digests={},
            packages={},
        )  # fmt: skip
        record, arrays = run_cell(cell, context, exclusive=True, provenance="somewhere")
        assert bool(arrays) == (record.status == "ok")
        return record

    return run


def test_an_honest_method_gets_a_record(run: Callable[..., Record]) -> None:
    def honest(problem: ForgetProblem, *, scale: float) -> nn.Module:
        for part in (problem.retain.batch(torch.tensor([0, 1, 2])), problem.retain.batch(torch.tensor([2, 3]))):
            _ = part.x
        with torch.no_grad():
            problem.model.weight.fill_(scale)  # type: ignore[union-attr, operator]
        return problem.model.train()

    record = run(honest, scale=0.5)
    assert (record.status, record.failure, record.flags) == ("ok", None, [])
    assert record.metrics["tow"].value == 3.0
    assert record.metrics["tow"].n == 4
    assert record.access == [{"retain": {"samples": 4, "passes": 5}}]
    assert (record.data, record.provenance, record.hash) == ("sum", "somewhere", record.cell.hash)
    assert record.cost.exclusive
    assert record.environment["torch"]
    assert record.environment["machine"]


def test_a_method_that_reads_nothing_has_an_empty_ledger(run: Callable[..., Record]) -> None:
    assert run(lambda problem: problem.model, Access()).access == [{}]


def reads_labels(problem: ForgetProblem) -> nn.Module:
    _ = problem.retain.everything().y
    return problem.model


def swallows(problem: ForgetProblem) -> nn.Module:
    with suppress(AccessViolation):
        _ = problem.retain.everything().y
    return problem.model


def hides_behind_another_error(problem: ForgetProblem) -> nn.Module:
    try:
        _ = problem.retain.everything().y
    except AccessViolation:
        raise ValueError("nothing to see") from None
    return problem.model


def reads_too_much(problem: ForgetProblem) -> nn.Module:
    _ = problem.retain.everything().x
    return problem.model


@pytest.mark.parametrize("method", [reads_labels, swallows, hides_behind_another_error, reads_too_much])
def test_undeclared_reads_disqualify_even_when_hidden(run: Callable[..., Record], method: Amend) -> None:
    record = run(method)
    assert record.status == "disqualified"
    assert record.failure is not None
    assert record.metrics == {}
    assert "of the retain view were asked for" in record.failure.message  # a reader must see why


def test_a_model_that_goes_on_reading_is_found_out(run: Callable[..., Record], monkeypatch: pytest.MonkeyPatch) -> None:
    """Views close with the call; what an amended model asks for in the evaluation is a violation, too."""

    class Curious(nn.Linear):
        def look(self) -> None:
            with suppress(AccessViolation):
                _ = self.view.batch(torch.tensor([0])).x  # type: ignore[union-attr, operator]

    def keeps_the_view(problem: ForgetProblem) -> nn.Module:
        model = Curious(3, 2)
        model.view = problem.retain  # type: ignore[assignment]
        return model

    def looks(scenario: Toy, seed: int, base: nn.Module, amended: Curious, context: Context) -> Evaluation:
        amended.look()
        return evaluate(scenario, seed, base, amended, context)

    monkeypatch.setattr(TOY, "evaluate", looks)
    record = run(keeps_the_view)
    assert record.status == "disqualified"
    assert record.failure is not None
    assert "after the method's call" in record.failure.message


def test_a_model_that_changes_in_use_is_flagged(run: Callable[..., Record], monkeypatch: pytest.MonkeyPatch) -> None:
    def uses(scenario: Toy, seed: int, base: nn.Module, amended: nn.Linear, context: Context) -> Evaluation:
        with torch.no_grad():
            amended.bias += 1
        return evaluate(scenario, seed, base, amended, context)

    monkeypatch.setattr(TOY, "evaluate", uses)
    assert run(lambda problem: problem.model).flags == ["the amended model changes when it is used"]


def test_a_view_that_the_task_does_not_offer_disqualifies(run: Callable[..., Record]) -> None:
    for access in (Access(test="x"), Access(retain="xa")):
        record = run(lambda problem: problem.model, access)
        assert record.status == "disqualified"
        assert record.failure is not None
        assert "offers no view" in record.failure.message


def raising(error: BaseException) -> Amend:
    def deep_inside(problem: ForgetProblem) -> nn.Module:
        raise error

    return lambda problem: deep_inside(problem)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no convergence"), "failed"),
        (DivergenceError("the loss is not finite"), "failed"),
        (KeyError("x"), "failed"),
        (MemoryError("too much"), "out-of-memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out-of-memory"),
        (AccessViolation("no"), "disqualified"),
    ],
)
def test_errors_are_typed_rows(run: Callable[..., Record], error: Exception, status: str) -> None:
    record = run(raising(error))
    assert record.status == status
    assert record.failure is not None
    assert record.failure.error == type(error).__name__
    assert record.failure.message.startswith(f"{error} (test_cell.py:")
    assert "deep_inside" in record.failure.traceback
    assert "benchmark/running/amending.py" in record.failure.traceback
    assert str(Path(amending.__file__).parents[2]) not in record.failure.traceback  # no path of this machine
    assert record.failure.traceback.rstrip().endswith(str(error))
    assert record.metrics == {}


def test_a_long_message_is_cut(run: Callable[..., Record]) -> None:
    record = run(raising(ValueError("x" * 10_000)))
    assert record.failure is not None
    assert record.failure.message.count("x") == 1000
    assert len(record.failure.traceback) <= 4000


@pytest.mark.parametrize("value", [None, 3, "model"])
def test_something_that_is_no_network_is_a_failure(run: Callable[..., Record], value: object) -> None:
    assert run(lambda problem: value).status == "failed"


def test_what_was_read_before_a_failure_is_in_the_ledger(run: Callable[..., Record]) -> None:
    def late(problem: ForgetProblem) -> nn.Module:
        _ = problem.retain.batch(torch.tensor([1])).x
        raise ValueError("late")

    assert run(late).access == [{"retain": {"samples": 1, "passes": 1}}]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_metrics_that_are_not_finite_are_blank(run: Callable[..., Record], value: float) -> None:
    def broken(problem: ForgetProblem) -> nn.Module:
        with torch.no_grad():
            problem.model.weight.fill_(value)  # type: ignore[union-attr, operator]
        return problem.model

    record = run(broken)
    assert record.metrics["tow"].value is None
    assert msgspec.json.decode(msgspec.json.encode(record), type=Record) == record


def test_a_changed_original_is_flagged(run: Callable[..., Record], monkeypatch: pytest.MonkeyPatch) -> None:
    base = nn.Linear(3, 2).eval()
    monkeypatch.setattr(TOY, "base_model", lambda *_: base)

    def tampering(problem: ForgetProblem) -> nn.Module:
        with torch.no_grad():
            base.bias[0] += 1
        return problem.model

    assert run(lambda problem: problem.model).flags == []
    assert run(tampering).flags == ["the method changed the original model"]


def test_a_method_starts_from_the_base_model(run: Callable[..., Record], context: Context) -> None:
    seen: list[str] = []

    def look(problem: ForgetProblem) -> nn.Module:
        seen.append(state_hash(problem.model))
        assert not problem.model.training
        return problem.model

    assert run(look).status == "ok"
    assert seen == [state_hash(base_model(Toy(), 3, context))]


def test_requests_follow_each_other_with_a_ledger_each(run: Callable[..., Record]) -> None:
    seen: list[tuple[tuple[int, ...], float]] = []

    def once_more(problem: ForgetProblem) -> nn.Module:
        seen.append((problem.forget_classes, float(problem.model.weight.detach()[0, 0])))  # type: ignore[index]
        _ = problem.retain.batch(torch.arange(len(seen))).x
        with torch.no_grad():
            problem.model.weight.fill_(float(len(seen)))  # type: ignore[union-attr, operator]
        return problem.model

    record = run(once_more, requests=3)
    assert [asked for asked, _ in seen] == [(0,), (1,), (2,)]
    assert [weight for _, weight in seen[1:]] == [1.0, 2.0]  # each starts from what the last one left
    assert [ledger["retain"]["samples"] for ledger in record.access] == [1, 2, 3]
    assert record.metrics["tow"].value == 18.0


def test_only_the_method_is_timed(run: Callable[..., Record], monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            time.sleep(0.2)
            return function(*arguments)

        return slow

    def napping(problem: ForgetProblem) -> nn.Module:
        time.sleep(0.03)
        return problem.model

    for name in ("data_checksum", "base_model", "build", "evaluate"):
        monkeypatch.setattr(TOY, name, slowly(getattr(TOY, name)))
    cost = run(napping, requests=2).cost
    assert cost.cell_seconds > 1.0
    assert 0.06 <= cost.seconds < 0.2  # the calls of both requests add up, and nothing else
    assert cost.device_seconds < 0.06  # a sleeping processor does no work


def test_peak_memory_is_that_of_the_call(run: Callable[..., Record]) -> None:
    def greedy(problem: ForgetProblem) -> nn.Module:
        assert float(torch.ones(16_000_000).sum()) > 0
        return problem.model

    peak = run(greedy).cost.peak_bytes
    if peak is None:
        pytest.skip("this system does not tell")
    assert peak > 50e6
    assert run(lambda problem: problem.model).cost.peak_bytes < 20e6  # type: ignore[operator]


def test_global_generators_are_seeded_by_cell_and_request(run: Callable[..., Record]) -> None:
    drawn: list[tuple[float, float]] = []

    def draws(problem: ForgetProblem) -> nn.Module:
        drawn.append((float(torch.rand(())), float(np.random.rand())))
        return problem.model

    run(draws, requests=2)
    torch.rand(5)
    run(draws, requests=2)
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("method", ["svd-forgetting", "finetune"])
def test_the_same_cell_twice_is_bit_identical(make_cell: Any, context: Context, method: str) -> None:
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        results.append(run_cell(make_cell(method), context, exclusive=False, provenance=""))
    (one, arrays), (two, again) = results
    assert one.status == "ok"
    assert one.metrics == two.metrics
    assert one.access == two.access
    assert arrays.keys() == again.keys()
    for name in arrays:
        assert arrays[name].tobytes() == again[name].tobytes(), name


def test_a_real_cell_reads_what_it_declares(make_cell: Any, context: Context) -> None:
    record, _ = run_cell(make_cell("svd-forgetting", retain_per_class=5, forget_samples=20), context,
                         exclusive=False, provenance="")  # fmt: skip
    assert record.status == "ok"
    (ledger,) = record.access
    assert ledger["retain"]["samples"] == ledger["retain"]["labels"] == 9 * 5
    assert ledger["forget"] == {"samples": 20, "passes": 20}
