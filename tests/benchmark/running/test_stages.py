"""Stages that methods share: built once, billed to every user, and guarded as if they were built anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

import methods.laf
from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, ForgetProblem, Ledger
from benchmark.data.views import Samples, View
from benchmark.errors import AccessViolation
from benchmark.running.cell import run_cell
from benchmark.running.records import Cell, Record
from benchmark.running.stages import StoredStages
from benchmark.timing import Lap, Stopwatch

Build = Callable[[], dict[str, Tensor]]
CPU = torch.device("cpu")
TAKES = 0.05


class User:
    """One call of a method: its views, its ledger, its bill, and a stage that takes TAKES seconds."""

    def __init__(self, folder: Path, access: Access, **key: object) -> None:
        self.ledger, self.watch, self.built = Ledger(), Stopwatch(CPU), 0
        samples = Samples(torch.arange(20.0).view(10, 2), torch.arange(10) % 2)
        self.retain, self.forget = (View(name, samples, access, self.ledger) for name in ("retain", "forget"))
        whole = {"model": "m", "few labels": False, "exclusive": True, **key}
        context = Context(CPU, 1, ArtifactStore(folder))
        self.problem = SimpleNamespace(forget_classes=(3,))
        views = self.retain, self.forget
        self.stages = StoredStages(context, self.watch, self.problem, views, "methods.laf", whole)

    def build(self) -> dict[str, Tensor]:
        self.built += 1
        time.sleep(TAKES)
        x = torch.cat([self.retain.batch(torch.tensor(index)).x for index in ([0, 1, 2], [2, 3])])
        return {"sum": x.sum(0), "forget": self.forget.batch(torch.tensor([7])).x, "n": torch.tensor(5)}

    def get(self, build: Build | None = None, name: str = "stage", **depends: object) -> dict[str, Tensor]:
        with self.watch.running():
            return self.stages.get(name, build or self.build, depends)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {view.name: view.counts() for view in (self.retain, self.forget)}


READ = Access(retain="xy", forget="x")
Join = Callable[..., User]


@pytest.fixture
def join(tmp_path: Path) -> Join:
    """A user of the one store of this test: ``join(access, key=...)``."""
    return lambda access=READ, **key: User(tmp_path / "artifacts", access, **key)


def test_a_stage_is_built_once_and_given_back_as_it_was(join: Join) -> None:
    one, two = join(), join()
    first, second = one.get(lr=0.1), two.get(lr=0.1)
    assert (one.built, two.built) == (1, 0)
    assert first.keys() == second.keys() == {"sum", "forget", "n"}
    assert all(torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first)
    assert torch.equal(first["sum"], torch.tensor([0.0 + 2 + 4 + 4 + 6, 1 + 3 + 5 + 5 + 7]))


def test_whoever_takes_a_stage_pays_for_it(join: Join) -> None:
    one, two = join(), join()
    one.get()
    started = time.perf_counter()
    two.get()
    assert time.perf_counter() - started < TAKES / 2 + 0.5  # it did not sleep, as slow as this machine may be
    assert TAKES <= one.watch.seconds < 2 * TAKES + 0.5  # once: the builder's own clock ran meanwhile
    assert two.watch.seconds >= TAKES
    assert one.counts == two.counts == {"retain": {"samples": 4, "passes": 5}, "forget": {"samples": 1, "passes": 1}}


def test_processor_time_is_billed_too(join: Join) -> None:
    def busy() -> dict[str, Tensor]:
        until = time.process_time() + TAKES
        while time.process_time() < until:
            pass
        return {"n": torch.tensor(1)}

    one, two = join(), join()
    one.get(busy)
    two.get(busy)
    assert one.watch.device_seconds >= TAKES
    assert two.watch.device_seconds >= TAKES


def test_what_is_read_after_a_stage_is_counted_as_ever(join: Join) -> None:
    users = join(), join()
    for user in users:
        user.get()
        batch = user.retain.batch(torch.tensor([3, 4]))
        _ = batch.x, batch.y
    assert users[0].counts == users[1].counts
    assert users[1].counts["retain"] == {"samples": 5, "labels": 2, "passes": 7}


def test_all_that_was_read_before_a_stage_ended_is_on_its_bill(join: Join) -> None:
    """A method could read before it asks: whoever takes the stage has used what was read."""
    one, two = join(), join()
    _ = one.retain.batch(torch.tensor([9])).x
    _ = one.retain.batch(torch.tensor([8, 9])).y
    one.get()
    _ = one.forget.batch(torch.tensor([0])).x  # too late to be in it
    two.get()
    assert two.counts == {
        "retain": {"samples": 5, "labels": 2, "passes": 6}, "forget": {"samples": 1, "passes": 1},
    }  # fmt: skip


def test_what_a_taker_has_read_itself_is_no_other_sample(join: Join) -> None:
    one, two = join(), join()
    for user in (one, two):
        _ = user.retain.batch(torch.tensor([9])).x
        user.get()
    assert one.counts["retain"] == {"samples": 5, "passes": 6}
    assert two.counts["retain"]["samples"] == 5
    assert two.counts["forget"] == one.counts["forget"]


def test_a_tally_is_what_was_read_and_is_counted_by_another_view(join: Join) -> None:
    one, two = join(), join()
    assert one.retain.tally().passes == 0
    one.build()
    tally = one.retain.tally()
    assert tally.passes == 5
    assert {letter: seen.nonzero().squeeze(1).tolist() for letter, seen in tally.seen.items()} == {
        "x": [0, 1, 2, 3], "y": [], "a": [], "m": [], "w": [],
    }  # fmt: skip
    two.retain.count(tally)
    assert two.retain.counts() == one.retain.counts()
    narrow = join(Access(forget="x"))
    with pytest.raises(AccessViolation, match="images of the retain view were asked for but not declared"):
        narrow.retain.count(tally)
    assert narrow.retain.refusals == narrow.forget.refusals == 1
    assert narrow.retain.counts() == {"passes": 0}


def test_a_stage_that_reads_nothing_costs_no_reads(join: Join) -> None:
    for user in (join(), join()):
        user.get(lambda: {"n": torch.tensor(1)})
        assert user.counts == {"retain": {"passes": 0}, "forget": {"passes": 0}}


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (Access(retain="x", forget="x"), "labels of the retain view were asked for but not declared"),
        (Access(retain="xy"), "images of the forget view were asked for but not declared"),
        (Access(retain="xy", forget="x", max_samples={"retain": 3}), "more than 3 samples of the retain view"),
    ],
)
def test_a_stage_of_another_is_guarded(join: Join, access: Access, said: str) -> None:
    def reads() -> dict[str, Tensor]:
        return {**one.build(), "labels": one.retain.batch(torch.tensor([0])).y}

    one, two = join(), join(access)
    one.get(reads)
    with pytest.raises(AccessViolation, match=said):
        two.get(reads)
    assert any(said in violation for violation in two.ledger.violations)


def test_a_label_read_before_a_stage_is_refused_to_who_may_not(join: Join) -> None:
    """What a builder knew before is in what it made: such a stage is no way around the guard."""
    one, two = join(), join(Access(retain="x", forget="x"))
    label = one.retain.batch(torch.tensor([1])).y
    one.get(lambda: {"label": label})
    with pytest.raises(AccessViolation, match="labels of the retain view were asked for but not declared"):
        two.get(lambda: {"label": torch.tensor([1])})
    assert two.ledger.violations == ["labels of the retain view were asked for but not declared"]
    three = join()
    assert torch.equal(three.get()["label"], torch.tensor([1]))
    assert three.counts["retain"] == {"labels": 1, "passes": 0}


@pytest.mark.parametrize("swallowed", [True, False])
def test_a_stage_of_a_refused_read_is_not_kept(join: Join, swallowed: bool) -> None:
    user = join(Access(retain="x", forget="x"))

    def reads() -> dict[str, Tensor]:
        try:
            _ = user.retain.batch(torch.tensor([0])).y
        except AccessViolation:
            if not swallowed:
                raise
        return user.build()

    said = "'stage' was built by a refused read" if swallowed else "labels of the retain view"
    for times in (1, 2):
        with pytest.raises(AccessViolation, match=said):
            user.get(reads)
        assert len(user.ledger.violations) == times
    user.get()  # nothing is kept, and earlier refusals are not this builder's
    assert user.built == (3 if swallowed else 1)


def test_no_class_is_named_while_a_stage_is_built(join: Join) -> None:
    told = []

    def asks(fails: bool = False) -> dict[str, Tensor]:
        told.append(user.problem.forget_classes)
        if fails:
            raise RuntimeError("no")
        return {"n": torch.tensor(1)}

    def nested() -> dict[str, Tensor]:
        told.append(user.problem.forget_classes)
        return user.stages.get("inner", asks, {}) | {"of": torch.tensor(len(user.problem.forget_classes))}

    user = join()
    with pytest.raises(RuntimeError, match="no"):
        user.get(lambda: asks(fails=True))
    assert user.problem.forget_classes == (3,)
    assert int(user.get(nested)["of"]) == 0
    assert user.problem.forget_classes == (3,)
    user.get(nested)
    assert user.problem.forget_classes == (3,)
    assert told == [(), (), ()]


def test_global_generators_are_a_stages_own(tmp_path: Path) -> None:
    """The same draws whoever builds it, another stage's own, and nothing is drawn from the method's."""
    drawn, after = [], []
    for number, name in enumerate(("stage", "stage", "other")):
        user = User(tmp_path / str(number), READ)
        torch.manual_seed(number)
        with torch.random.fork_rng():
            follows = torch.rand(3)
        drawn.append(user.get(lambda: {"drawn": torch.rand(3)}, name)["drawn"])
        after.append(torch.equal(torch.rand(3), follows))
    assert after == [True] * 3
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_global_generators_are_left_as_they_were_by_a_stage_that_fails(join: Join) -> None:
    def fails() -> dict[str, Tensor]:
        torch.rand(7)
        raise RuntimeError("no")

    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        join().get(fails)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_stage_within_a_stage_is_billed_in_full(join: Join) -> None:
    """Also where the inner one came from the store, and took no time."""
    one, two, three = join(), join(), join()

    def outer(user: User) -> Build:
        return lambda: user.stages.get("inner", user.build, {}) | {"outer": torch.tensor(1)}

    one.get(name="inner")
    two.get(outer(two), "outer")
    assert two.built == 0
    assert two.watch.seconds >= TAKES
    three.get(outer(three), "outer")
    assert three.built == 0
    assert three.watch.seconds >= TAKES
    assert one.counts == two.counts == three.counts


def test_a_lap_includes_what_was_added_meanwhile() -> None:
    watch = Stopwatch(CPU)
    watch.add(Lap(100.0, 100.0, None))
    with watch.running(), watch.lap() as lap:
        watch.add(Lap(5.0, 7.0, None))
    assert 5.0 <= lap.seconds < 10.0
    assert 7.0 <= lap.device_seconds < 12.0
    assert 105.0 <= watch.seconds < 110.0
    assert 107.0 <= watch.device_seconds < 112.0


def test_a_stage_is_not_given_after_the_call(join: Join) -> None:
    one, two = join(), join()
    one.get()
    two.retain.close()
    with pytest.raises(AccessViolation, match="after the method's call"):
        two.get()


def test_what_a_stage_depends_on_builds_it_anew(join: Join) -> None:
    first = join()
    keys: list[dict[str, object]] = [{"model": "other"}, {"few labels": True}, {"exclusive": False}, {"seed": 4}]
    first.get(lr=0.1)
    for other in (join(**key) for key in keys):
        other.get(lr=0.1)
        assert other.built == 1
    first.get(lr=0.2)
    first.get(lr=0.1, epochs=1)
    first.get()
    assert first.built == 4
    first.stages.get("of another name", first.build, {"lr": 0.1})
    assert first.built == 5
    again = join()
    again.get(lr=0.1)
    assert again.built == 0


def test_a_damaged_stage_is_built_again(join: Join, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = join(), join(), join()
    first = one.get()
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    second = two.get()
    assert "built again" in caplog.text
    assert all(torch.equal(first[name], second[name]) for name in first)
    three.get()
    assert (two.built, three.built) == (1, 0)
    assert one.counts == two.counts == three.counts


def test_a_stage_that_fails_is_not_kept_and_what_it_read_counts(join: Join) -> None:
    def fails() -> dict[str, Tensor]:
        user.build()
        raise RuntimeError("no")

    user = join()
    with pytest.raises(RuntimeError, match="no"):
        user.get(fails)
    assert user.counts["retain"] == {"samples": 4, "passes": 5}
    user.get()
    assert user.built == 2


Run = Callable[..., Record]
Count = list[int]


@pytest.fixture
def run(make_cell: Callable[..., Cell], context: Context, tmp_path: Path) -> Run:
    """Run a variant of LAF for an epoch on a base model of one epoch: ``run(method, cache, evaluated=True)``."""

    def run(
        method: str,
        cache: str = "cache",
        *,
        seed: int = 0,
        exclusive: bool = True,
        evaluated: bool = False,
        **parameters: Any,
    ) -> Record:
        cell = make_cell(method, "digits-class-removal", seed, epochs=1, vae_epochs=1, batch_size=32, **parameters)
        settings = {**cell.settings, "training": {**cell.settings["training"], "epochs": 1}}
        own = Context(CPU, 1, ArtifactStore(tmp_path / cache))
        keeps = "metrics" if evaluated else "forget-set outputs"
        cell = msgspec.structs.replace(cell, settings=settings, keeps=keeps)
        return run_cell(cell, own, exclusive=exclusive, provenance="")[0]

    return run


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Grows by one for every time that Steps 1 and 2 of LAF are computed."""
    calls: Count = []
    real = methods.laf.steps_1_and_2

    def counted(problem: ForgetProblem, s: methods.laf.Settings) -> dict[str, Tensor]:
        calls.append(1)
        return real(problem, s)

    monkeypatch.setattr(methods.laf, "steps_1_and_2", counted)
    return calls


def stage_seconds(folder: Path) -> float:
    """Wall seconds of the one stage that is kept in a cache."""
    from safetensors.torch import load_file

    (cost,) = [kept["bill.cost"] for path in folder.rglob("*.safetensors") if "bill.cost" in (kept := load_file(path))]
    return float(cost[0])


def test_variants_of_laf_share_their_first_steps(run: Run, built: Count, tmp_path: Path) -> None:
    repaired, plain = run("laf-r", evaluated=True), run("laf", evaluated=True)
    few = run("laf-r+few-labels")
    assert len(built) == 1
    alone, after = run("laf", "fresh", evaluated=True), run("laf-r", "fresh", evaluated=True)
    assert len(built) == 2
    assert [r.status for r in (repaired, plain, few, alone, after)] == ["ok"] * 5
    assert "gap.average" not in plain.metrics != {}
    assert (plain.metrics, plain.access) == (alone.metrics, alone.access)
    assert (repaired.metrics, repaired.access) == (after.metrics, after.access)
    assert "labels" not in plain.access[0]["retain"]
    assert repaired.access[0]["retain"]["labels"] > 0
    assert few.access[0]["labelled"]["labels"] < repaired.access[0]["retain"]["labels"]
    seconds = stage_seconds(tmp_path / "cache")
    assert min(r.cost.seconds for r in (repaired, plain, few)) >= seconds > 0
    assert min(alone.cost.seconds, after.cost.seconds) >= stage_seconds(tmp_path / "fresh")


def test_a_stage_is_of_one_base_model_one_setting_and_one_load_of_the_machine(run: Run, built: Count) -> None:
    for changes in ({}, {"temperature": 3.0}, {"seed": 1}, {"exclusive": False}):
        assert run("laf", **changes).status == "ok"
    assert len(built) == 4
    for changes in ({}, {"temperature": 3.0}, {"seed": 1}, {"exclusive": False}):
        run("laf", **changes)
    assert run("laf-r", repair_lr=0.1).status == "ok"  # what only the repair depends on
    assert len(built) == 4


def test_a_label_that_laf_asks_for_disqualifies_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = methods.laf.steps_1_and_2

    def reads(problem: ForgetProblem, s: methods.laf.Settings) -> dict[str, Tensor]:
        _ = problem.retain.everything().y
        return real(problem, s)

    monkeypatch.setattr(methods.laf, "steps_1_and_2", reads)
    records = [run("laf"), run("laf-r"), run("laf")]  # the second may, and the third finds its stage
    assert [record.status for record in records] == ["disqualified", "ok", "disqualified"]
    for record in (records[0], records[2]):
        assert record.failure is not None
        assert "labels of the retain view were asked for but not declared" in record.failure.message
        assert record.metrics == {}


def test_a_refusal_that_a_stage_swallows_disqualifies_whenever_it_is_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = methods.laf.steps_1_and_2

    def swallows(problem: ForgetProblem, s: methods.laf.Settings) -> dict[str, Tensor]:
        try:
            _ = problem.retain.everything().y
        except AccessViolation:
            return real(problem, s)
        raise AssertionError("it was not refused")

    monkeypatch.setattr(methods.laf, "steps_1_and_2", swallows)
    assert [run("laf").status for _ in range(2)] == ["disqualified"] * 2
