"""What counts as not deterministic, and whose machine may be blamed for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmark.gate import sections
from benchmark.gate.determinism import Strict, against_committed, twice
from benchmark.gate.kept import Kept
from benchmark.hardware import Computer, computer, unlike_hardware
from benchmark.running.records import Record

Records = dict[str, Record]
Run = Callable[..., Records]
HERE = {"processor": "a processor", "platform": "Linux x86_64"}
NOTHING = Strict(0, [])


@pytest.fixture
def run(make_record: Callable[..., Record]) -> Run:
    """``run(values, field=...)``: records by a name, one a seed; fields of the cell change for all of them."""

    def make(values: list[float], environment: dict[str, str] | None = None, **changes: Any) -> Records:
        records = {}
        for seed, value in enumerate(values):
            record = make_record("svd-forgetting", {"accuracy.test.retain": value}, seed=seed)
            cell = msgspec.structs.replace(record.cell, **changes)
            records[str(seed)] = msgspec.structs.replace(record, cell=cell, environment=environment or HERE)
        return records

    return make


def section_of(again: Strict, committed: Strict, kept: Records, ran: Records | None = None) -> sections.Section:
    """The part's verdict; ``ran`` twice are the cells that are kept, if left out."""
    return sections.determinism(again, committed, Kept(kept), kept if ran is None else ran)


def test_two_equal_runs_are_deterministic(run: Run) -> None:
    again = twice(run([90.0, 91.0, 92.0]), run([90.0, 91.0]))
    assert (again.equal, again.differing, again.compared) == (2, [], 2)
    assert section_of(again, NOTHING, run([90.0, 91.0])).outcome == "fine"


def test_a_last_bit_is_a_difference(run: Run) -> None:
    again = twice(run([90.0, 91.0]), run([90.0, 91.0 + 1e-13]))
    found = section_of(again, NOTHING, run([90.0, 91.0]))
    assert (again.equal, [d.cell.seed for d in again.differing]) == (1, [1])
    assert found.outcome == "regressed"
    assert "the same code gave two results" in found.remarks[0]
    assert found.rows[0][:3] == ["digits svd-forgetting", "1", "run twice"]


def test_a_result_that_moved_with_its_source_asks_for_a_version(run: Run) -> None:
    kept = run([90.0, 91.0], digests={"task": "1", "method": "1", "harness": "1"})
    found = run([90.0, 88.0], digests={"task": "1", "method": "2", "harness": "1"})
    committed = against_committed(found, kept, [])
    assert [d.moved for d in committed.source_moved] == [["method"]]
    section = section_of(twice(found, found), committed, kept)
    assert section.outcome == "regressed"
    assert "raise the version" in section.remarks[0]


def test_moved_source_with_equal_results_is_fine(run: Run) -> None:
    found, kept = run([90.0], digests={"method": "2"}), run([90.0], digests={"method": "1"})
    assert section_of(twice(found, found), against_committed(found, kept, []), kept).outcome == "fine"


def test_a_change_without_changed_source_is_drift_where_the_machine_is_the_same(run: Run) -> None:
    found, kept = run([90.0, 88.0]), run([90.0, 91.0])
    section = section_of(twice(found, found), against_committed(found, kept, []), kept)
    assert section.outcome == "regressed"
    assert "although their source" in section.remarks[0]


def test_a_processor_of_the_same_name_with_other_instructions_is_another_one(run: Run) -> None:
    """The records say the same of both machines; the file beside them does not."""
    made = Computer("AMD EPYC", "AVX512", "AuthenticAMD 26 2 1", "abc", "Linux x86_64", "cpu")
    here = msgspec.structs.replace(made, capability="AVX2")
    found, kept = run([90.0, 91.1]), run([90.0, 91.0])
    elsewhere = against_committed(found, kept, unlike_hardware(here, made))
    section = section_of(twice(found, found), elsewhere, kept)
    assert (elsewhere.apart, section.outcome) == ({"capability": 2}, "fine")
    assert section.remarks == ["advice: 2 committed records are not compared bit for bit: other capability"]
    alike = against_committed(found, kept, unlike_hardware(made, made))
    assert section_of(twice(found, found), alike, kept).outcome == "regressed"


@pytest.mark.parametrize("field", Computer.__struct_fields__)
def test_computers_are_alike_in_everything(field: str) -> None:
    here = computer("cpu")
    assert unlike_hardware(here, here) == []
    assert unlike_hardware(here, msgspec.structs.replace(here, **{field: "another"})) == [field]
    assert unlike_hardware(here, None) == ["hardware"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"environment": {**HERE, "processor": "another"}}, "processor"),
        ({"environment": {**HERE, "platform": "Darwin arm64"}}, "platform"),
        ({"packages": {"torch": "9"}}, "torch"),
    ],
)
def test_records_of_other_machines_are_not_compared_bit_for_bit(run: Run, changes: dict[str, Any], why: str) -> None:
    packages = {"packages": {}} if "packages" not in changes else {}
    found, kept = run([1.0], **changes, **packages), run([90.0], packages={})
    committed = against_committed(found, kept, [])
    assert (committed.compared, committed.apart) == (0, {why: 1})
    section = section_of(twice(found, found), committed, kept)
    assert section.outcome == "fine"
    assert section.remarks == [f"advice: 1 committed records are not compared bit for bit: other {why}"]


def test_cells_that_fail_alike_are_deterministic_and_not_as_committed(run: Run) -> None:
    failed = {n: msgspec.structs.replace(r, status="failed", metrics={}) for n, r in run([90.0]).items()}
    assert twice(failed, failed).equal == 1
    assert against_committed(failed, run([90.0]), []).equal == 0


def test_a_cell_that_fails_now_is_lost_on_whatever_machine(run: Run) -> None:
    failed = {n: msgspec.structs.replace(r, status="failed", metrics={}) for n, r in run([90.0]).items()}
    committed = against_committed(failed, run([90.0]), ["processor", "flags"])
    section = section_of(twice(failed, failed), committed, run([90.0]))
    assert (committed.compared, section.outcome) == (0, "regressed")
    assert section.remarks == ["1 cells that had a result have none: digits svd-forgetting x 1"]


def test_rows_without_committed_records_are_not_fine(run: Run) -> None:
    found, kept = run([90.0, 91.0]), run([90.0])
    section = section_of(twice(found, found), against_committed(found, kept, []), kept, found)
    assert section.outcome == "nothing"
    assert section_of(twice(found, found), NOTHING, {}, found).outcome == "nothing"
