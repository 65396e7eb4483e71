"""The pool: nothing that a worker does stops the others. Workers here speak the protocol without torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pytest

from benchmark import environment
from benchmark.running import pool, worker
from benchmark.running.pool import Setting, Slot, default_jobs
from benchmark.running.records import SCHEMA, Cell, Cost, NotKept, Record, RecordStore
from benchmark.running.slots import slots, taken
from benchmark.running.worker import Reply

TIMEOUT = 4.0


def cell(behaviour: str, number: int = 0) -> Cell:
    return Cell(
        suite="s", task="t", scenario="c", settings={}, unit=f"u{number}", seed=number, method=behaviour,
        kind="baseline", parameters={}, device="cpu", threads=1, versions={}, digests={}, packages={},
    )  # fmt: skip


def record_of(cell: Cell, provenance: str) -> Record:
    return Record(
        schema=SCHEMA, cell=cell, hash=cell.hash, status="ok", failure=None, metrics={}, access=[],
        cost=Cost(0, 0, None, True, 0), flags=[f"pid {os.getpid()}"], provenance=provenance, data="",
        arrays=None, environment={"machine": environment.machine()}, created="",
    )  # fmt: skip


def serve(connection: Connection, slot: Slot, setting: Setting) -> None:
    """A worker whose cells behave as their method is called."""
    while True:
        try:
            cell, provenance = msgspec.json.decode(connection.recv_bytes(), type=tuple[Cell, str])
        except (EOFError, ConnectionError):
            return
        if cell.method == "exit":
            os._exit(3)
        if cell.method == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if cell.method == "hang":
            time.sleep(30)
        if cell.method == "full":
            connection.send_bytes(msgspec.json.encode(Reply("unwritten", problem="OSError: No space left on device")))
            continue
        record = record_of(cell, provenance)
        if cell.method == "taken" and not (setting.results / "asked").exists():
            (setting.results / "asked").touch()
            connection.send_bytes(msgspec.json.encode(Reply("busy")))
            continue
        if cell.method == "gpu":
            record = msgspec.structs.replace(record, flags=[f"gpu {os.environ['CUDA_VISIBLE_DEVICES']}"])
        RecordStore(setting.results).write(record, {})
        if cell.method == "taken":
            connection.send_bytes(msgspec.json.encode(Reply("found", record)))
            continue
        if cell.method == "silent":
            os._exit(1)
        connection.send_bytes(msgspec.json.encode(Reply("ran", record)))
        if cell.method == "last":
            os._exit(0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordStore:
    monkeypatch.setattr(worker, "serve", serve)
    (tmp_path / "results").mkdir()
    return RecordStore(tmp_path / "results")


def start(
    cells: list[Cell],
    store: RecordStore,
    jobs: int,
    needs: dict[str, tuple[str, ...]] | None = None,
    events: list[str] | None = None,
) -> Iterator[Record]:
    setting = Setting(store.root, store.root / "cache", "cpu", 1, TIMEOUT)
    each = {c.hash: (f"base {c.hash}",) for c in cells} if needs is None else needs
    told = [] if events is None else events
    provenance = {c.hash: f"from {c.unit}" for c in cells}
    return pool.run(cells, each, provenance, setting, jobs, lambda c: told.append(f"start {c.unit}"))


def test_every_cell_is_run_once_by_workers_that_live_on(store: RecordStore) -> None:
    cells = [cell("ok", i) for i in range(8)]
    records = list(start(cells, store, 2))
    assert sorted(r.cell.seed for r in records) == list(range(8))
    assert all(r.provenance == f"from {r.cell.unit}" for r in records)
    assert len({flag for r in records for flag in r.flags}) <= 2
    assert {r.hash for r in store.all()} == {c.hash for c in cells}
    assert not multiprocessing.active_children()


def test_a_free_worker_gets_its_next_cell_at_once(store: RecordStore) -> None:
    ends = [time.monotonic() for _ in start([cell("ok", i) for i in range(6)], store, 1)]
    waits = sorted(later - earlier for earlier, later in pairwise(ends))
    assert waits[2] < 0.5  # the median, because others may use this machine


def test_no_cells_need_no_workers(store: RecordStore) -> None:
    assert list(start([], store, 4)) == []


@pytest.mark.parametrize(
    ("behaviour", "status", "said"), [("exit", "failed", "exit code 3"), ("kill", "out-of-memory", "want of memory")]
)
def test_a_worker_that_dies_is_a_row_and_the_others_run(
    store: RecordStore, behaviour: str, status: str, said: str
) -> None:
    cells = [cell("ok", 0), cell(behaviour, 1), cell("ok", 2), cell("ok", 3)]
    records = {r.cell.seed: r for r in start(cells, store, 1)}
    assert {seed: r.status for seed, r in records.items()} == {0: "ok", 1: status, 2: "ok", 3: "ok"}
    failure = records[1].failure
    assert failure is not None
    assert failure.error == "WorkerDied"
    assert said in failure.message
    assert store.read(cells[1].file) == records[1]
    assert records[0].flags != records[2].flags == records[3].flags  # one replacement


def test_a_cell_past_its_limit_is_ended_and_the_worker_replaced(store: RecordStore) -> None:
    cells = [cell("hang", 0), cell("ok", 1)]
    started = time.monotonic()
    records = {r.cell.seed: r for r in start(cells, store, 1)}
    assert time.monotonic() - started < 4 * TIMEOUT
    assert {seed: r.status for seed, r in records.items()} == {0: "timeout", 1: "ok"}
    assert records[0].failure is not None
    assert "limit of 4 s" in records[0].failure.message
    assert records[0].cost.cell_seconds >= TIMEOUT
    assert store.read(cells[0].file) == records[0]


def test_a_worker_that_ends_between_cells_is_replaced(store: RecordStore) -> None:
    """It is no cell's failure, and above all not the run's."""
    cells = [cell("last", 0), cell("ok", 1), cell("ok", 2)]
    statuses = []
    for record in start(cells, store, 1):
        statuses.append(record.status)
        for child in multiprocessing.active_children():
            child.join(0.5 if record.cell.method == "last" else 0)
    assert statuses == ["ok"] * 3


def test_one_cell_builds_a_base_and_the_others_wait_for_it(store: RecordStore) -> None:
    cells = [cell("ok", i) for i in range(5)]
    bases = {c.hash: (base,) for c, base in zip(cells, ("a", "a", "a", "b", "a"), strict=True)}
    events: list[str] = []
    for record in start(cells, store, 3, bases, events):
        events.append(f"end {record.cell.unit}")
    first = events.index("end u0")
    assert events[:2] == ["start u0", "start u3"]  # another base need not wait
    assert all(events.index(f"start {unit}") > first for unit in ("u1", "u2", "u4"))
    assert len([e for e in events if e.startswith("end")]) == 5


def test_a_base_that_is_there_serves_many_at_once(store: RecordStore) -> None:
    cells = [cell("ok", i) for i in range(3)]
    events: list[str] = []
    for record in start(cells, store, 2, {c.hash: ("a",) for c in cells}, events):
        events.append(f"end {record.cell.unit}")
    assert events[:4] == ["start u0", "end u0", "start u1", "start u2"]


def test_cells_that_share_a_stage_run_one_after_the_other(store: RecordStore) -> None:
    """Also where their base model is there already; who needs the base alone need not wait."""
    cells = [cell("ok", i) for i in range(5)]
    stage = ("a", "a/stage")
    needs = {c.hash: need for c, need in zip(cells, (("a",), stage, stage, ("a",), stage), strict=True)}
    events: list[str] = []
    for record in start(cells, store, 3, needs, events):
        events.append(f"end {record.cell.unit}")
    built = events.index("end u1")
    assert events.index("end u0") < events.index("start u1") < built
    assert events.index("start u3") < built  # it does not wait for the stage
    assert min(events.index("start u2"), events.index("start u4")) > built
    assert len([e for e in events if e.startswith("end")]) == 5


def test_a_builder_that_dies_does_not_block_its_base(store: RecordStore) -> None:
    cells = [cell("exit", 0), cell("ok", 1), cell("ok", 2)]
    records = list(start(cells, store, 2, {c.hash: ("a",) for c in cells}))
    assert sorted((r.cell.seed, r.status) for r in records) == [(0, "failed"), (1, "ok"), (2, "ok")]


def test_closing_the_iterator_stops_busy_and_idle_workers(store: RecordStore) -> None:
    running = start([cell("ok", 0), cell("hang", 1)], store, 2)
    assert next(running).status == "ok"
    started = time.monotonic()
    running.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 3
    assert not multiprocessing.active_children()
    assert store.read(cell("hang", 1).file) is None


def test_workers_have_cores_of_their_own_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.environment.cores", lambda: [0, 2, 4, 6, 1, 3])
    assert slots(3, 2, "cpu") == [Slot((0, 2), True), Slot((4, 6), True), Slot((1, 3), True)]
    assert slots(1, 1, "cpu") == [Slot((0,), True)]
    assert slots(4, 2, "cpu") == [Slot((), False)] * 4  # too many: nobody's cost is exclusive
    assert (default_jobs(1, "cpu"), default_jobs(4, "cpu"), default_jobs(8, "cpu")) == (6, 1, 1)


def test_runs_at_once_have_other_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmark.environment.cores", lambda: [0, 1, 2])
    with taken(1, 1, "cpu", tmp_path) as first, taken(2, 1, "cpu", tmp_path) as second:
        assert first == [Slot((0,), True)]
        assert second == [Slot((1,), True), Slot((2,), True)]
        with taken(1, 1, "cpu", tmp_path) as third:
            assert third == [Slot((), False)]
    with taken(3, 1, "cpu", tmp_path) as alone:
        assert alone == [Slot((i,), True) for i in range(3)]


def test_a_task_of_slurm_that_is_not_bound_takes_no_cores_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tasks of the node see the same cores."""
    monkeypatch.setattr("benchmark.environment.cores", lambda: [0, 1, 2, 3])
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    assert slots(1, 1, "cpu") == [Slot((), False)]
    monkeypatch.setattr("benchmark.environment.cores", lambda: [2])
    assert slots(1, 1, "cpu") == [Slot((2,), True)]


def test_workers_have_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5f")
    assert default_jobs(1, "cuda") == 2
    assert [(slot.gpu, slot.exclusive) for slot in slots(2, 1, "cuda")] == [("3", True), ("GPU-5f", True)]
    assert [(slot.gpu, slot.exclusive) for slot in slots(3, 1, "cuda")] == [
        ("3", False),
        ("GPU-5f", False),
        ("3", False),
    ]
    assert slots(1, 1, "cuda:1") == [Slot((), True, "GPU-5f")]
    assert default_jobs(1, "cuda:1") == 1
    assert slots(2, 1, "cuda:1") == [Slot((), False, "GPU-5f")] * 2


def test_no_gpu_that_may_be_used_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the first of the machine nor one of somebody else's job."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert [slot.gpu for slot in slots(1, 1, "cuda")] == [""]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert [slot.gpu for slot in slots(1, 1, "cuda:1")] == [""]


def test_gpus_are_counted_where_nothing_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert [slot.gpu for slot in slots(4, 1, "cuda")] == ["0", "1", "2", "0"]
    assert [slot.gpu for slot in slots(1, 1, "cuda:2")] == ["2"]


def test_a_worker_is_started_with_its_gpu(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    setting = Setting(store.root, store.root / "cache", "cuda", 1, TIMEOUT)
    cells = [cell("gpu", i) for i in range(4)]
    needs = {c.hash: (c.unit,) for c in cells}
    records = list(pool.run(cells, needs, dict.fromkeys(needs, ""), setting, 2))
    assert {flag for record in records for flag in record.flags} == {"gpu 4", "gpu 6"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,6"


def test_a_cell_that_another_run_is_at_is_left_to_it_and_its_result_taken(store: RecordStore) -> None:
    cells = [cell("taken", 0), cell("ok", 1), cell("ok", 2)]
    found: list[Record] = []
    needs = {c.hash: (c.unit,) for c in cells}
    setting = Setting(store.root, store.root / "cache", "cpu", 1, TIMEOUT)
    run = pool.run(cells, needs, dict.fromkeys(needs, ""), setting, 1, found=found.append)
    units = [record.cell.unit for record in run]
    assert units == ["u1", "u2", "u0"]
    assert [record.cell.unit for record in found] == ["u0"]


def test_a_record_that_cannot_be_kept_ends_the_run(store: RecordStore) -> None:
    """Nor could those that follow: an hour of a full disk is an hour lost."""
    running = start([cell("ok", 0), cell("full", 1), cell("ok", 2)], store, 1)
    assert next(running).cell.unit == "u0"
    with pytest.raises(NotKept, match="No space left"):
        next(running)
    assert not multiprocessing.active_children()
    assert [record.cell.unit for record in store.all()] == ["u0"]


def test_a_lost_cell_that_somebody_else_has_finished_keeps_its_result(store: RecordStore) -> None:
    """Its worker wrote the record and died before it could say so."""
    (record,) = start([cell("silent", 0)], store, 1)
    assert record.status == "ok"
    assert store.read(record.cell.file) == record
