"""Feedback: what is asked of it is declared, counted and limited, and stages are billed for it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, GanProblem, Ledger, MethodInfo
from benchmark.data.feedback import Feedback, Mistaken
from benchmark.discovery.methods import METHODS, MethodRegistry
from benchmark.errors import AccessViolation
from benchmark.running import amending
from benchmark.running import cell as running
from benchmark.running.cell import run_cell
from benchmark.running.records import Cell, Record
from benchmark.running.stages import StoredStages
from benchmark.suites.definition import methods_of
from benchmark.timing import Stopwatch

CPU = torch.device("cpu")
POINTS = torch.tensor([[1.0, 0.0], [-1.0, 5.0], [0.5, 0.0], [0.0, 3.0]])


class First(nn.Module):
    """Undesired is what has a first number, or a mean pixel, above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen = list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        found: Tensor = self.scale * (x[:, 0] if x.dim() == 2 else x.mean((1, 2, 3)))
        return found


def ask(fields: str = "yw", limit: int | None = None, judge: nn.Module | None = None) -> tuple[Feedback, Ledger]:
    access = Access(feedback=fields, max_samples={} if limit is None else {"feedback": limit}) if fields else Access()
    ledger = Ledger()
    return Feedback(judge or First(), access, ledger), ledger


def test_images_are_judged_and_counted() -> None:
    feedback, ledger = ask("y")
    assert feedback.counts() == {}
    found = feedback.undesired(POINTS)
    assert found.dtype == torch.bool
    assert found.tolist() == [True, False, True, False]  # what is just 0 is desired
    assert not found.requires_grad
    feedback.undesired(POINTS[:3])
    assert feedback.counts() == {"samples": 7, "labels": 7, "passes": 7}
    assert (ledger.violations, feedback.refusals) == ([], 0)


def test_the_judge_sees_what_it_is_given() -> None:
    judge = First()
    feedback, _ = ask("y", judge=judge)
    image = torch.tensor([[[[0.9, -1.0], [-1.0, 0.5]]]])
    assert feedback.undesired(image).tolist() == [False]
    far = torch.tensor([[3.0, -7.0]])
    assert feedback.undesired(far).tolist() == [True]
    assert torch.equal(judge.seen[0], image)
    assert torch.equal(judge.seen[1], far)


def test_the_judge_judges_in_evaluation_mode() -> None:
    judge = nn.Sequential(nn.Dropout(0.5), First()).train()
    feedback, _ = ask("y", judge=judge)
    assert feedback.undesired(torch.ones(200, 2)).all()


def test_no_more_images_are_judged_than_are_declared() -> None:
    feedback, ledger = ask("y", limit=6)
    feedback.undesired(POINTS)
    with pytest.raises(AccessViolation, match="more than 6 images were given to the feedback"):
        feedback.undesired(POINTS[:3])
    assert feedback.counts()["samples"] == 4  # what is refused is not counted
    assert feedback.undesired(POINTS[:2]).tolist() == [True, False]
    assert feedback.counts()["samples"] == 6
    assert ledger.violations == ["more than 6 images were given to the feedback"]
    assert feedback.refusals == 1


@pytest.mark.parametrize("fields", ["", "w"])
def test_judgements_that_are_not_declared_are_refused(fields: str) -> None:
    feedback, ledger = ask(fields)
    with pytest.raises(AccessViolation, match="judgements of the feedback were asked for but not declared"):
        feedback.undesired(POINTS)
    assert feedback.counts() == {}
    assert len(ledger.violations) == 1


@pytest.mark.parametrize("fields", ["", "y"])
def test_the_network_must_be_declared(fields: str) -> None:
    feedback, ledger = ask(fields)
    with pytest.raises(AccessViolation, match="the network of the feedback were asked for but not declared"):
        feedback.network()
    assert feedback.counts() == {}
    assert len(ledger.violations) == 1


def test_nothing_is_told_after_the_call() -> None:
    feedback, ledger = ask()
    feedback.undesired(POINTS)
    feedback.close()
    with pytest.raises(AccessViolation, match="judgements of the feedback were asked for after the method's call"):
        feedback.undesired(POINTS)
    with pytest.raises(AccessViolation, match="the network of the feedback were asked for after the method's call"):
        feedback.network()
    assert len(ledger.violations) == 2
    assert feedback.counts() == {"samples": 4, "labels": 4, "passes": 4}


def test_the_network_is_a_copy_that_can_be_differentiated() -> None:
    judge = First()
    feedback, _ = ask("w", judge=judge)
    network = feedback.network()
    points = POINTS.clone().requires_grad_()
    network(points).sum().backward()
    assert points.grad is not None
    assert points.grad[:, 0].tolist() == [1, 1, 1, 1]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert float(judge.scale.detach()) == 1
    assert not judge.seen


def test_what_the_network_is_asked_during_the_call_counts() -> None:
    feedback, ledger = ask("w", limit=9)
    network = feedback.network()
    assert feedback.counts() == {"networks": 1}
    network(POINTS)
    copy.deepcopy(network)(POINTS)
    assert feedback.counts() == {"samples": 8, "labels": 8, "passes": 8, "networks": 1}
    with pytest.raises(AccessViolation, match="more than 9 images"):
        network(POINTS)
    feedback.close()
    network(POINTS)  # of a model that takes it along
    assert feedback.counts()["samples"] == 8
    assert len(ledger.violations) == 1


def test_a_tally_is_counted_elsewhere_as_it_was() -> None:
    one, other = ask()[0], ask()[0]
    one.undesired(POINTS)
    tally = one.tally()
    other.count(tally)
    assert other.counts() == one.counts() == {"samples": 4, "labels": 4, "passes": 4}
    one.network()
    other.count(one.tally())
    assert other.counts() == {"samples": 8, "labels": 8, "passes": 8, "networks": 1}


def test_a_tally_is_guarded() -> None:
    one, _ = ask()
    one.count(ask()[0].tally())
    assert one.counts() == {}
    one.undesired(POINTS)
    judged = one.tally()
    one.network()
    taken = one.tally()
    for fields, limit, tally, message in (
        ("w", None, judged, "judgements of the feedback were asked for but not declared"),
        ("y", None, taken, "the network of the feedback were asked for but not declared"),
        ("yw", 3, judged, "more than 3 images"),
    ):
        feedback, ledger = ask(fields, limit)
        with pytest.raises(AccessViolation, match=message):
            feedback.count(tally)
        assert len(ledger.violations) == 1


# Errors.

MANY = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))


def test_so_many_verdicts_are_the_opposite() -> None:
    for share in (0.03, 0.3):
        mistaken = Mistaken(First(), share, 5)
        right, said = First()(MANY) > 0, mistaken(MANY) > 0
        assert torch.equal(said != right, mistaken.drawn(MANY) < share)
        assert abs(float((said != right).double().mean()) - share) < 0.02
        assert abs(float((said != right)[right].double().mean()) - share) < 0.04  # of either kind
    assert torch.equal(Mistaken(First(), 0.0, 5)(MANY), First()(MANY))


def test_a_score_of_nought_is_turned_into_a_verdict() -> None:
    assert (Mistaken(First(), 1.0, 5)(POINTS) > 0).tolist() == [False, True, False, True]


def test_who_is_wrong_about_an_image_is_so_whenever_it_is_shown() -> None:
    mistaken = Mistaken(First(), 0.3, 5)
    said = mistaken(MANY)
    assert torch.equal(torch.cat([mistaken(part) for part in MANY.split(7)]), said)
    assert torch.equal(mistaken(MANY.flip(0)).flip(0), said)
    assert torch.equal(Mistaken(First(), 0.3, 5)(MANY), said)
    assert not torch.equal(Mistaken(First(), 0.3, 6)(MANY), said)
    seldom, often = (Mistaken(First(), share, 5)(MANY) != First()(MANY) for share in (0.1, 0.3))
    assert bool(often[seldom].all())
    images = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other_layout = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(mistaken.drawn(other_layout), mistaken.drawn(images))
    assert torch.equal(mistaken.drawn(images + 1e-9), mistaken.drawn(images))
    assert len(mistaken.drawn(images).unique()) == 50


def test_the_network_errs_as_the_judgements_do() -> None:
    feedback, _ = ask("yw", judge=Mistaken(First(), 0.3, 5))
    network = feedback.network()
    points = MANY.clone().requires_grad_()
    scores = network(points)
    assert torch.equal(scores > 0, feedback.undesired(MANY))
    scores.sum().backward()
    assert points.grad is not None
    assert set(points.grad[:, 0].tolist()) == {1.0, -1.0}
    assert feedback.counts()["samples"] == 2 * len(MANY)


# Stages.


def test_a_stage_from_the_store_is_billed_what_was_judged(tmp_path: Path) -> None:
    built = []

    def user(fields: str = "y") -> tuple[Feedback, Callable[[], dict[str, Tensor]]]:
        feedback, _ = ask(fields)

        def build() -> dict[str, Tensor]:
            built.append(1)
            return {"found": feedback.undesired(POINTS)}

        watch, context = Stopwatch(CPU), Context(CPU, 1, ArtifactStore(tmp_path))
        stages = StoredStages(context, watch, copy.copy(ask), (feedback,), "methods.adapt_then_unlearn", {"m": 1})  # type: ignore[arg-type]
        return feedback, lambda: stages.get("adapted", build, {})

    counts, results = [], []
    for _ in range(3):
        feedback, get = user()
        results.append(get()["found"].tolist())
        feedback.undesired(POINTS[:1])
        counts.append(feedback.counts())
    assert built == [1]
    assert counts == [{"samples": 5, "labels": 5, "passes": 5}] * 3
    assert results == [[True, False, True, False]] * 3
    _, refused = user("w")
    with pytest.raises(AccessViolation, match="judgements of the feedback were asked for but not declared"):
        refused()


# Cells.

Run = Callable[..., Record]


@pytest.fixture
def run(make_cell: Callable[..., Cell], context: Context, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a function as a method of the toy ring: ``run(function, kind="baseline", view="fields")``."""

    def run(function: Callable[[GanProblem], nn.Module], kind: Any = "baseline", **views: str) -> Record:
        cell = make_cell("finetune", "ring")
        access = Access(**views)  # type: ignore[arg-type]
        info = MethodInfo("finetune", kind, (cell.task,), "", access, 1, (), "m", "f", "")
        monkeypatch.setattr(running, "METHODS", MethodRegistry(lambda: [info]))
        monkeypatch.setattr(amending, "load", lambda info: function)
        settings = {**cell.settings, "samples": 50, "training": {**cell.settings["training"], "steps": 3}}
        cell = msgspec.structs.replace(cell, settings=settings, parameters={})
        return run_cell(cell, context, exclusive=True, provenance="")[0]

    return run


def untouched(problem: GanProblem) -> nn.Module:
    return problem.model


def reads_real(problem: GanProblem) -> nn.Module:
    _ = problem.real.everything().x
    return problem.model


def test_only_references_may_declare_real_images(run: Run) -> None:
    for kind in ("paper", "baseline", "cheat"):
        record = run(untouched, kind, real="x")
        assert record.status == "disqualified"
        assert record.failure is not None
        assert f"offers view 'real' to references only, not to a {kind}" in record.failure.message
    assert run(reads_real, "reference", real="x").access == [{"real": {"samples": 6000, "passes": 6000}}]


def test_who_reads_real_images_all_the_same_is_disqualified(run: Run) -> None:
    def swallows(problem: GanProblem) -> nn.Module:
        try:
            reads_real(problem)
        except AccessViolation:
            return problem.model
        raise AssertionError("it was not refused")

    for method in (reads_real, swallows):
        record = run(method, feedback="y")
        assert record.status == "disqualified"
        assert record.failure is not None
        assert "images of the real view were asked for but not declared" in record.failure.message
        assert record.metrics == {}


@pytest.mark.parametrize(("view", "fields"), [("feedback", "x"), ("feedback", "a"), ("real", "xy"), ("test", "x")])
def test_what_the_task_does_not_offer_cannot_be_declared(run: Run, view: str, fields: str) -> None:
    record = run(untouched, "reference", **{view: fields})
    assert record.status == "disqualified"
    assert record.failure is not None
    assert f"offers no view {view!r} with fields {fields!r}" in record.failure.message


def test_a_model_that_goes_on_asking_is_found_out(run: Run) -> None:
    class Curious(nn.Module):
        def __init__(self, problem: GanProblem) -> None:
            super().__init__()
            self.model, self.feedback = problem.model, problem.feedback

        def forward(self, z: Tensor) -> Tensor:
            points: Tensor = self.model(z)
            return points[~self.feedback.undesired(points)]

    record = run(Curious, feedback="y")
    assert record.status == "disqualified"
    assert record.failure is not None
    assert "judgements of the feedback were asked for after the method's call" in record.failure.message


def test_only_retraining_declares_real_images_and_the_others_nothing_but_feedback() -> None:
    task = "gan-feature-removal"
    views = {name: set(METHODS.get(name, task).access.views) for name in methods_of(task)}
    assert views.pop("retrain") == {"real"}
    assert len(views) > 8
    assert all(names <= {"feedback"} for names in views.values())
