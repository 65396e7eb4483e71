"""The strict level: a cell's result is a function of its specification, bit for bit.

Cells of all tasks are run twice, each time in other processes, with base models and shared stages of their own: once
one after the other, once two at a time in the opposite order. Some here; where AMENDBENCH_TESTS is ``nightly``, every
cell of the first seed of the suites ``smoke`` and ``embedded``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmark.checking.agreement import agreement
from benchmark.running import pool
from benchmark.running.plan import Plan, make_plan
from benchmark.running.records import Record, RecordStore
from benchmark.suites.definition import Suite, load_suite, select

NIGHTLY = os.environ.get("AMENDBENCH_TESTS") == "nightly"
#: Scenarios and methods by suite: each task's paper method, and what trains longest beside it.
CHOSEN = {
    "smoke": {
        "digits": "svd-forgetting",
        "digits-class-removal": "laf-r",
        "digits-coloured": "gerne",
        "digits-coloured-hidden": "gerne",
        "digits-light": "rr-clarc",
        "ring": "atu-el2",
    },
    "embedded": {"mnist5k-residual": "svd-forgetting"},
}


def plans(suite: Suite, tmp_path: Path) -> list[Plan]:
    store = RecordStore(tmp_path / "nothing")
    if NIGHTLY:
        return [make_plan(suite, [0], "cpu", store)]
    chosen = CHOSEN[suite.name].items()
    return [make_plan(select(suite, None, [name], [method]), [0], "cpu", store) for name, method in chosen]


def run(plans: list[Plan], folder: Path, suite: Suite, jobs: int, *, backwards: bool) -> dict[str, Record]:
    setting = pool.Setting(folder / "results", folder / "cache", "cpu", suite.threads, suite.timeout)
    cells = [cell for plan in plans for cell in plan.todo]
    needs = {name: need for plan in plans for name, need in plan.needs.items()}
    ended = pool.run(cells[::-1] if backwards else cells, needs, dict.fromkeys(needs, ""), setting, jobs)
    return {record.hash: record for record in ended}


@pytest.mark.long
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["smoke", "embedded"])
def test_twice_in_other_processes_in_another_order_is_the_same(name: str, tmp_path: Path) -> None:
    suite = load_suite(name)
    planned = plans(suite, tmp_path)
    one = run(planned, tmp_path / "one", suite, 1, backwards=False)
    two = run(planned, tmp_path / "two", suite, 2, backwards=True)
    assert one.keys() == two.keys() == {cell.hash for plan in planned for cell in plan.cells}
    differ = {}
    for key, record in one.items():
        assert record.status == "ok", record.failure
        assert record.arrays, "there are no predictions to compare"
        found = agreement(two[key], record)
        if found.level != "strict" or two[key].arrays != record.arrays:
            differ[record.cell.file] = found
    assert differ == {}
