"""The local engine: worker processes that live for many cells, pinned to cores of their own.

A worker that dies or runs past the time limit is replaced, and its cell is recorded as failed; nothing else stops.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmark import environment
from benchmark.errors import WorkersLost
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, Record, RecordStore, Status

if TYPE_CHECKING:
    from benchmark.running.context import Context


log = logging.getLogger("amendbench")
#: glibc keeps large blocks of memory instead of giving them back: mapping them anew costs a fifth of a training step.
KEEP_MEMORY = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
#: Idle workers that may die in a row before the run gives up.
MOST_LOST = 10


@dataclass(frozen=True)
class Slot:
    """Where one worker runs: its cores (empty: not pinned) and whether nothing else of the run shares them."""

    cores: tuple[int, ...]
    exclusive: bool


@dataclass(frozen=True)
class Setting:
    """What every worker of a run needs to know."""

    results: Path
    cache: Path
    device: str
    threads: int
    timeout: float


def slots(jobs: int, threads: int, device: str) -> list[Slot]:
    """Disjoint cores for each of ``jobs`` workers where there are enough; else none is pinned or exclusive."""
    if device != "cpu":
        return [Slot((), jobs == 1)] * jobs
    available = environment.cores()
    if jobs * threads > len(available):
        return [Slot((), False)] * jobs
    return [Slot(tuple(available[i * threads : (i + 1) * threads]), True) for i in range(jobs)]


def default_jobs(threads: int, device: str) -> int:
    """As many workers as there are cores for; one on a GPU."""
    return max(1, len(environment.cores()) // threads) if device == "cpu" else 1


@dataclass
class Worker:
    """A process and the cell that it is at."""

    slot: Slot
    process: Any
    connection: Connection
    cell: Cell | None = None
    started: float = field(default_factory=time.monotonic)


def run(
    cells: list[Cell],
    needs: dict[str, tuple[str, ...]],
    provenance: dict[str, str],
    setting: Setting,
    jobs: int,
    report: Callable[[Cell], None] = lambda cell: None,
) -> Iterator[Record]:
    """Yield the record of each cell as it ends; the records are already in the store.

    Of the cells that need the same thing (a base model, a stage) only one runs until it is there. Closing the iterator
    stops the workers. ``report`` is told of each cell that starts.
    """
    waiting = list(cells)
    ready: set[str] = set()
    lost = 0
    store = RecordStore(setting.results)
    workers = [_start(slot, setting) for slot in slots(min(jobs, len(cells)), setting.threads, setting.device)]
    try:
        while waiting or any(worker.cell for worker in workers):
            for index, worker in enumerate(workers):
                if worker.cell is None:
                    building = {need for w in workers if w.cell for need in needs[w.cell.hash]} - ready
                    chosen = next((c for c in waiting if building.isdisjoint(needs[c.hash])), None)
                    if chosen is None:
                        continue
                    try:
                        worker.connection.send_bytes(msgspec.json.encode((chosen, provenance[chosen.hash])))
                    except OSError:  # it died while it had nothing to do
                        lost += 1
                        if lost > MOST_LOST:
                            raise WorkersLost(f"{lost} idle workers died one after the other") from None
                        workers[index] = _start(worker.slot, setting)
                        continue
                    waiting.remove(chosen)
                    worker.cell, worker.started, lost = chosen, time.monotonic(), 0
                    report(chosen)
            ended = False
            for index, worker in enumerate(workers):
                record = _poll(worker, setting, store)
                if record is not None:
                    ended = True
                    ready.update(needs[record.hash])
                    if not worker.process.is_alive():
                        workers[index] = _start(worker.slot, setting)
                    worker.cell = None
                    yield record
            if ended:
                continue  # a worker is free
            wait([w.connection for w in workers if w.cell] + [w.process.sentinel for w in workers if w.cell], 1.0)
    finally:
        for worker in workers:
            worker.process.kill() if worker.cell else worker.connection.close()
        for worker in workers:
            worker.process.join(5)


def _poll(worker: Worker, setting: Setting, store: RecordStore) -> Record | None:
    """The record of the worker's cell if it has ended, one way or another."""
    cell = worker.cell
    if cell is None:
        return None
    try:
        if worker.connection.poll():
            return msgspec.json.decode(worker.connection.recv_bytes(), type=Record)
    except (EOFError, ConnectionError):
        worker.process.join(5)
    seconds = time.monotonic() - worker.started
    if seconds > setting.timeout:
        worker.process.kill()
        worker.process.join(5)
        failure = Failure("TimeoutError", f"the cell ran past its limit of {setting.timeout:.0f} s")
        return _lost(cell, "timeout", failure, seconds, store)
    if not worker.process.is_alive():
        code = worker.process.exitcode
        killed = code == -signal.SIGKILL
        why = "killed, probably for want of memory" if killed else f"exit code {code}"
        failure = Failure("WorkerDied", f"the worker process ended: {why}")
        return _lost(cell, "out-of-memory" if killed else "failed", failure, seconds, store)
    return None


def _lost(cell: Cell, status: Status, failure: Failure, seconds: float, store: RecordStore) -> Record:
    """The record of a cell whose worker could not write one."""
    record = Record(
        schema=SCHEMA,
        cell=cell,
        hash=cell.hash,
        status=status,
        failure=failure,
        metrics={},
        access=[],
        cost=Cost(seconds, seconds, None, False, seconds),
        flags=[],
        provenance="",
        data="",
        arrays=None,
        environment=environment.describe(cell.device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    try:
        store.write(record, {})
    except OSError as error:
        log.warning("the record of %s could not be written: %s", cell.file, error)
    return record


def _start(slot: Slot, setting: Setting) -> Worker:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(setting.threads)))
    for variable in KEEP_MEMORY:
        os.environ.setdefault(variable, str(2**32))
    process = spawn.Process(target=_serve, args=(theirs, slot, setting), daemon=True)
    process.start()
    theirs.close()
    return Worker(slot, process, ours)


def _serve(connection: Connection, slot: Slot, setting: Setting) -> None:
    """A worker's life: cells come in, records go out, until the other end closes."""
    _settle(slot, setting)
    from benchmark.running.cell import run_cell

    context = make_context(setting)
    store = RecordStore(setting.results)
    while True:
        try:
            cell, provenance = msgspec.json.decode(connection.recv_bytes(), type=tuple[Cell, str])
        except (EOFError, ConnectionError):
            return
        record, arrays = run_cell(cell, context, exclusive=slot.exclusive, provenance=provenance)
        try:
            record = store.write(record, arrays)
        except OSError as error:  # a full disk, say: the cell has no record, and the others go on
            failure = Failure(type(error).__name__, f"the record could not be written: {error}")
            record = msgspec.structs.replace(record, status="failed", failure=failure)
        connection.send_bytes(msgspec.json.encode(record))


def prepare_worker(slots: Any, setting: Setting) -> None:
    """Initialiser of an executor's worker: takes a slot from a queue and settles there."""
    _settle(slots.get(), setting)


def make_context(setting: Setting) -> Context:
    """The context of a worker's cells."""
    import torch

    from benchmark.running.artifacts import ArtifactStore
    from benchmark.running.context import Context

    return Context(torch.device(setting.device), setting.threads, ArtifactStore(setting.cache / "artifacts"))


def _settle(slot: Slot, setting: Setting) -> None:
    """Make this process a worker: its cores, its threads, deterministic algorithms."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    if slot.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, slot.cores)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from benchmark.determinism import make_deterministic
    from benchmark.timing import warm_up

    make_deterministic(setting.threads)
    warm_up(setting.device)
