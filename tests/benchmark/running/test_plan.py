"""The plan: which cells there are, in which order, and which of them are done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark import environment
from benchmark.running import plan as planning
from benchmark.running.plan import UNKNOWN_SECONDS, Plan, is_current, make_plan
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, Record, RecordStore
from benchmark.suites.definition import Suite, load_suite, select


def done(cell: Cell, seconds: float = 2.0, **changes: Any) -> Record:
    whole = Record(
        schema=SCHEMA,
        cell=cell,
        hash=cell.hash,
        status="ok",
        failure=None,
        metrics={},
        access=[],
        cost=Cost(1.0, 1.0, None, True, seconds),
        flags=[],
        provenance="",
        data="",
        arrays=None,
        environment={"machine": environment.machine()},
        created=datetime.now(UTC).isoformat(),
    )
    return msgspec.structs.replace(whole, **changes)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "results")


@pytest.fixture
def suite() -> Suite:
    return select(load_suite("smoke"), "class-forget", None, ["svd-forgetting", "finetune"])


def planned(suite: Suite, store: RecordStore, seeds: int = 2, **options: bool) -> Plan:
    return make_plan(suite, range(seeds), "cpu", store, **options)


def test_cells_come_seed_by_seed_and_references_first(suite: Suite, store: RecordStore) -> None:
    methods = ["original", "retrain", "svd-forgetting", "finetune"]
    found = [(c.seed, c.scenario, c.method) for c in planned(suite, store).cells]
    assert found == [(s, name, m) for s in (0, 1) for name in ("four-gaussians", "digits") for m in methods]


def test_a_cell_says_everything(suite: Suite, store: RecordStore) -> None:
    cell = next(c for c in planned(suite, store).cells if (c.method, c.scenario, c.seed) == ("finetune", "digits", 1))
    assert (cell.suite, cell.task, cell.unit, cell.kind) == ("smoke", "class-forget", "class-1", "baseline")
    assert cell.parameters == suite.scenarios["digits"].methods["finetune"]
    assert cell.settings["training"]["epochs"] == suite.scenarios["digits"].settings.training.epochs
    assert (cell.device, cell.threads) == ("cpu", suite.threads)
    assert cell.digests.keys() == {"task", "method", "harness"}
    assert {"torch", "numpy", "scipy", "scikit-learn"} <= cell.packages.keys()


def test_hashes_and_files_are_unique(suite: Suite, store: RecordStore) -> None:
    cells = planned(suite, store, 12).cells  # twelve seeds: units come round again
    assert len({c.hash for c in cells}) == len({c.file for c in cells}) == len(cells) == 12 * 8


def test_cells_of_one_seed_and_scenario_share_a_base(suite: Suite, store: RecordStore) -> None:
    plan = planned(suite, store)
    bases: dict[tuple[int, str], set[str]] = {}
    for cell in plan.cells:
        bases.setdefault((cell.seed, cell.scenario), set()).add(plan.needs[cell.hash][0])
    assert all(len(names) == 1 for names in bases.values())
    assert len({name for names in bases.values() for name in names}) == 4


def test_methods_with_a_stage_in_common_need_it_and_others_do_not(store: RecordStore) -> None:
    names = ["laf", "laf-r", "laf-r+few-labels", "finetune"]
    suite = select(load_suite("smoke"), "label-free-forget", None, names)
    plan = planned(suite, store)
    needs = {(c.scenario, c.seed, c.method): plan.needs[c.hash] for c in plan.cells}
    stages = set()
    for scenario, seed in {(scenario, seed) for scenario, seed, _ in needs}:
        (base,) = needs[scenario, seed, "finetune"]
        assert needs[scenario, seed, "retrain"] == (base,)
        shared = {needs[scenario, seed, name] for name in names[:3]}
        assert len(shared) == 1
        ((first, stage),) = shared
        assert first == base != stage
        stages.add(stage)
    assert len(stages) == 6  # one a scenario and seed, although two scenarios have a base in common
    assert len({needs[s, 0, "finetune"] for s in suite.scenarios}) == 2


def test_nothing_is_cached_at_first(suite: Suite, store: RecordStore) -> None:
    plan = planned(suite, store)
    assert plan.cached == {}
    assert plan.todo == plan.cells
    assert plan.estimate(2) == len(plan.cells) * UNKNOWN_SECONDS / 2


@pytest.mark.parametrize(
    ("spoil", "counts"),
    [
        (lambda r: r, True),
        (lambda r: msgspec.structs.replace(r, status="failed", failure=Failure("E", "m")), False),
        (lambda r: msgspec.structs.replace(r, status="timeout", failure=Failure("E", "m")), False),
        (lambda r: msgspec.structs.replace(r, status="disqualified", failure=Failure("E", "m")), False),
        (lambda r: msgspec.structs.replace(r, environment={"machine": "another"}), False),
        (lambda r: msgspec.structs.replace(r, environment={}), False),
        (lambda r: done(msgspec.structs.replace(r.cell, parameters={**r.cell.parameters, "x": 1})), False),
        (lambda r: done(msgspec.structs.replace(r.cell, digests={**r.cell.digests, "method": "old"})), False),
        (lambda r: done(msgspec.structs.replace(r.cell, packages={**r.cell.packages, "torch": "1"})), False),
    ],
)
def test_only_an_ok_result_of_this_cell_on_this_machine_is_cached(
    suite: Suite, store: RecordStore, spoil: Callable[[Record], Record], counts: bool
) -> None:
    plan = planned(suite, store)
    first = plan.cells[3]
    record = spoil(done(first))
    store.write(record, {})
    again = planned(suite, store)
    assert (first.hash in again.cached) is counts is is_current(record, first)
    assert len(again.todo) == len(plan.cells) - counts
    assert planned(suite, store, fresh=True).cached == {}


def test_estimates_are_medians_of_what_was_measured(suite: Suite, store: RecordStore) -> None:
    cells = [c for c in planned(suite, store, 3).cells if (c.scenario, c.method) == ("digits", "retrain")]
    for cell, seconds in zip(cells, (1.0, 7.0, 100.0), strict=True):
        store.write(done(cell, seconds, environment={"machine": "another"}), {})
    plan = planned(suite, store, 1)
    known = {(c.scenario, c.method): plan.seconds[c.hash] for c in plan.cells}
    assert known["digits", "retrain"] == 7.0
    assert known["digits", "original"] == UNKNOWN_SECONDS
    assert plan.estimate(1) == 7 * UNKNOWN_SECONDS + 7.0


def test_changed_source_changes_the_hash_of_its_cells_only(
    suite: Suite, store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = planned(suite, store).cells
    real = planning.digest
    monkeypatch.setattr(planning, "digest", lambda name: "new" if name == "methods.svd_forgetting" else real(name))
    changed = {old.method for old, new in zip(before, planned(suite, store).cells, strict=True) if old.hash != new.hash}
    assert changed == {"svd-forgetting"}
