"""Cells by their hashes: run once, found afterwards, and refused where they are not what was ordered."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import pytest

from benchmark.cli import main
from benchmark.errors import InputError
from benchmark.running import orders
from benchmark.running.orders import Submission
from benchmark.running.plan import make_plan
from benchmark.running.progress import counts, outcome
from benchmark.running.records import Record, RecordStore
from benchmark.running.run_cells import find, run_cells
from benchmark.running.turns import Turns
from benchmark.suites.definition import load_suite, select


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def ordered(results: Path) -> Submission:
    """Three cells of a toy."""
    suite = select(load_suite("smoke"), None, ["four-gaussians"], ["logit-mask"])
    plan = make_plan(suite, [0], "cpu", RecordStore(results))
    found = orders.submission(plan, suite, "slurm", "cpu", fresh=False)
    orders.keep(found, results)
    return found


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def hashes(submitted: Submission) -> list[str]:
    return [order.cell.hash for order in submitted.orders]


def test_a_cell_is_run_once(ordered: Submission, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = hashes(ordered)
    (record,) = run_cells(results, ordered.id, [first])
    assert (record.status, record.hash) == ("ok", first)
    seen = outcome(ordered, results)
    assert (len(seen.done), len(seen.failed), seen.running, seen.left) == (1, 0, 0, 2)
    written = {p: p.stat().st_mtime_ns for p in results.rglob("*.json")}
    assert call("run-cell", *[first, *rest, first], "--results", str(results)) == 0
    told = capsys.readouterr().out.splitlines()
    assert sorted(line.split()[0] for line in told) == sorted([first, *rest])
    assert {line.split()[1] for line in told} == {"ok"}
    assert {p: p.stat().st_mtime_ns for p in written} == written
    assert call("run-cell", *rest, "--results", str(results), "--submission", ordered.id) == 0
    assert (len(outcome(ordered, results).done), outcome(ordered, results).left) == (3, 0)
    reports = str(results.parent / "reports")
    assert call("collect", "--results", str(results), "--reports", reports) == 0
    said = capsys.readouterr().out
    assert "3 cells, 3 done, 0 running, 0 failed, 0 left" in said
    assert "logit-mask" in said


def test_what_is_not_known_is_named(ordered: Submission, results: Path, tmp_path: Path) -> None:
    known = hashes(ordered)[0]
    with pytest.raises(InputError, match=f"unknown cell '{known[:-2]}'; did you mean {known}"):
        find(results, known[:-2])
    with pytest.raises(InputError, match="unknown cell"):
        run_cells(results, ordered.id, ["0" * 32])
    with pytest.raises(InputError, match=f"unknown submission .*did you mean {ordered.id}"):
        run_cells(results, ordered.id[:-1], [known])
    with pytest.raises(InputError, match="nothing has been submitted"):
        find(tmp_path / "none", known)
    with pytest.raises(InputError, match="unknown submission"):
        orders.read(results, "../../etc")


@pytest.mark.parametrize("what", ["digests", "packages"])
def test_other_code_than_ordered_runs_nothing(ordered: Submission, results: Path, what: str) -> None:
    """Its results would bear the name of what was ordered."""
    first = ordered.orders[0]
    there = dict(getattr(first.cell, what))
    name = sorted(there)[0]
    moved = msgspec.structs.replace(first.cell, **{what: there | {name: "other"}})
    ordered.orders[0] = msgspec.structs.replace(first, cell=moved)
    orders.keep(ordered, results)
    with pytest.raises(InputError, match=rf"ordered with other {what} \({name}\); order it again"):
        run_cells(results, ordered.id, [moved.hash])
    assert list(RecordStore(results).all()) == []


def test_a_failure_since_it_was_ordered_stays_one(ordered: Submission, results: Path, make_record: object) -> None:
    """A task that is put back does not try it again; a new order does."""
    cell = ordered.orders[0].cell
    record = make_record("", cell=cell, status="failed", created=ordered.started)  # type: ignore[operator]
    RecordStore(results).write(record, {})
    (found,) = run_cells(results, ordered.id, [cell.hash])
    assert found == record
    later = msgspec.structs.replace(ordered, started="2999-01-01T00:00:00+00:00")
    orders.keep(later, results)
    (found,) = run_cells(results, ordered.id, [cell.hash])
    assert found.status == "ok"


def test_a_cell_that_somebody_is_at_is_waited_for(ordered: Submission, results: Path, make_record: object) -> None:
    cell = ordered.orders[0].cell
    record: Record = make_record("", cell=cell)  # type: ignore[operator]

    def at_it() -> None:
        with Turns(results).hold(cell) as mine:
            assert mine
            held.set()
            time.sleep(3)
            RecordStore(results).write(record, {})

    held = threading.Event()
    other = threading.Thread(target=at_it)
    other.start()
    assert held.wait(10)
    suite = select(load_suite("smoke"), None, ["four-gaussians"], ["logit-mask"])
    plan = make_plan(suite, [0], "cpu", RecordStore(results))
    (count,) = counts(plan, Turns(results).running())
    assert (count.done, count.running, count.left) == (0, 1, 2)
    assert outcome(ordered, results).running == 1
    (found,) = run_cells(results, ordered.id, [cell.hash])
    other.join()
    assert found == record


def test_collect_says_what_is_missing(
    ordered: Submission, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = ["--results", str(results), "--reports", str(tmp_path / "reports")]
    assert call("collect", *into) == 3
    assert "0 done, 0 running, 0 failed, 3 left" in capsys.readouterr().out
    run_cells(results, ordered.id, hashes(ordered)[:1])
    assert call("collect", ordered.id, *into) == 1
    assert call("collect", "--results", str(tmp_path / "none"), "--reports", str(tmp_path / "reports")) == 2
    assert "nothing has been submitted" in capsys.readouterr().err
