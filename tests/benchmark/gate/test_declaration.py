"""The declared gate holds, and a wrong one is one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.gate import cells
from benchmark.gate.declaration import DECLARED, load_declaration
from benchmark.gate.kept import find_kept
from benchmark.running.plan import make_plan
from benchmark.running.records import Cell, Record, RecordStore

SMALL = """
suite = "smoke"
records = "gate"
quality = { false_alarms = 0.005 }
speed = { benchmarks = "tests/speed", false_alarms = 0.005, factor = 1.5 }
determinism = { seeds = 1, also = { digits = ["finetune"] } }

[cells.digits]
seeds = 3
methods = ["svd-forgetting"]

[[watched]]
scenario = "digits"
method = "svd-forgetting"
metric = "accuracy.test.retain"
tolerance = 0.5
why = "a test"
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(old, new)``: the small declaration with a part of it replaced."""

    def make(old: str = "", new: str = "") -> Path:
        assert old in SMALL
        path = tmp_path / "small.toml"
        path.write_text(SMALL.replace(old, new, 1) if old else SMALL)
        return path

    return make


def test_the_declared_gate_covers_every_task_and_stays_small() -> None:
    declared, suite = load_declaration()
    assert DECLARED.name == "gate.toml"
    tasks = {s.task for s in suite.scenarios.values()}
    assert len(tasks) == 6
    assert {suite.scenarios[w.scenario].task for w in declared.watched} == tasks - {"debias-unknown"}
    assert sum(declared.rows().values()) < 300
    assert declared.quality.false_alarms + declared.speed.false_alarms <= 0.01
    assert all(w.why for w in declared.watched)


def test_cells_are_the_declared_rows_seed_by_seed(write: Write, tmp_path: Path) -> None:
    declared, suite = load_declaration(write())
    plan = cells.plan_of(declared, suite, "cpu", RecordStore(tmp_path))
    found = sorted((c.method, c.seed) for c in plan.cells)
    assert found == [("finetune", 0), ("svd-forgetting", 0), ("svd-forgetting", 1), ("svd-forgetting", 2)]
    over_seeds = cells.watched_by_quality(plan, declared)
    assert {c.method for c in over_seeds.cells} == {"svd-forgetting"}
    again = cells.run_twice(plan, declared)
    assert [c.hash for c in again.cells] == [c.hash for c in plan.cells if c.seed == 0][::-1]


def test_its_cells_are_those_that_bench_runs(write: Write, make_cell: Callable[..., Cell], tmp_path: Path) -> None:
    declared, suite = load_declaration(write())
    plan = cells.plan_of(declared, suite, "cpu", RecordStore(tmp_path))
    assert make_cell("svd-forgetting", seed=2) in plan.cells
    assert make_plan(suite, range(1), "cpu", RecordStore(tmp_path)).cells == [c for c in plan.cells if c.seed == 0]


def test_what_is_committed_of_each_cell(
    write: Write, make_record: Callable[..., Record], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    from msgspec.structs import replace

    store = RecordStore(tmp_path / "results")
    here = [make_cell("svd-forgetting", seed=seed) for seed in range(5)]
    moved = replace(here[1], versions={"task": 1, "method": 99})
    tuned = replace(here[2], parameters={**here[2].parameters, "alpha_f": 7.0})
    older = replace(here[3], digests={"method": "old"}, packages={"torch": "1"})
    for cell in (here[0], moved, tuned, older):
        store.write(make_record("", {"accuracy.test.retain": 1.0}, cell=cell), {})
    store.write(make_record("", cell=here[4], status="failed"), {})
    kept = find_kept(here, store)
    assert sorted(kept.records) == sorted(c.hash for c in (here[0], here[3]))
    assert {why: [c.seed for c in own] for why, own in kept.moved.items()} == {
        "another declared version": [1],
        "other parameters": [2],
    }
    assert [c.seed for c in kept.absent] == [4]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('suite = "smoke"', 'suite = "smok"', "did you mean smoke"),
        ('records = "gate"', 'records = "../gate"', "is no name"),
        ("[cells.digits]", "[cells.digit]", "did you mean digits"),
        ('methods = ["svd-forgetting"]', 'methods = ["svd"]', "did you mean svd-forgetting"),
        ("seeds = 3", "seeds = 0", "1 to 100,000"),
        ("seeds = 3", "seeds = 1", "no spread"),
        ("seeds = 3", "seed = 3", "did you mean seeds"),
        ("tolerance = 0.5", "tolerance = -1.0", "tolerance"),
        ("tolerance = 0.5", "tolerance = nan", "finite"),
        ("false_alarms = 0.005", "false_alarms = 0.5", "at most 0.05"),
        ("factor = 1.5", "factor = 1.0", "factor"),
        ('metric = "accuracy.test.retain"', 'metric = "accuracy.test.retained"', "unknown metric"),
        ('metric = "accuracy.test.retain"', 'metric = "pul"', "metric of class-forget"),
        ('metric = "accuracy.test.retain"', 'metric = "tow"', "relative to retrain"),
        ('metric = "accuracy.test.retain"', 'metric = "accuracy.test.all"', "relative to retrain"),
        ('scenario = "digits"', 'scenario = "ring"', "not among the cells"),
        ('method = "svd-forgetting"', 'method = "finetune"', "not among the cells"),
    ],
)
def test_a_wrong_declaration_is_bad_input(write: Write, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_declaration(write(old, new))
