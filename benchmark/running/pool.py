"""The local engine: worker processes that live for many cells, each in a slot of its own.

A worker that dies or runs past the time limit is replaced, and its cell is recorded as failed; nothing else stops.
Cells that another run is at are left to it, and its results are taken.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec

from benchmark import environment
from benchmark.errors import WorkersLost
from benchmark.running import worker
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, NotKept, Record, RecordStore, Status
from benchmark.running.slots import VISIBLE, Slot, default_jobs, taken
from benchmark.running.turns import Turns
from benchmark.running.worker import Reply, Setting

__all__ = ["Setting", "Slot", "default_jobs", "run"]

log = logging.getLogger("amendbench")
#: glibc keeps large blocks of memory instead of giving them back: mapping them anew costs a fifth of a training step.
KEEP_MEMORY = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
#: Idle workers that may die in a row before the run gives up.
MOST_LOST = 10
#: Seconds between a worker's death by a signal and its record.
GRACE = 0.5
#: Seconds after which a cell that another run is at is looked at again.
PAUSE = 1.0


@dataclass
class Worker:
    """A process and the cell that it is at."""

    slot: Slot
    process: Any
    connection: Connection
    cell: Cell | None = None
    started: float = field(default_factory=time.monotonic)


@dataclass
class Queue:
    """Cells that wait: for a worker, for what another cell builds, or for another run that is at them."""

    cells: list[Cell]
    needs: dict[str, tuple[str, ...]]
    ready: set[str] = field(default_factory=set)
    later: dict[str, float] = field(default_factory=dict)

    def take(self, running: list[Cell]) -> Cell | None:
        """The next cell that may start beside those that run; of those that need the same thing one builds it."""
        building = {need for cell in running for need in self.needs[cell.hash]} - self.ready
        now = time.monotonic()
        for cell in self.cells:
            if self.later.get(cell.hash, 0.0) <= now and building.isdisjoint(self.needs[cell.hash]):
                self.cells.remove(cell)
                return cell
        return None

    def ended(self, cell: Cell, record: Record) -> None:
        """What the cell needed is there, unless it failed: then the next one may build it."""
        if record.status == "ok":
            self.ready.update(self.needs[cell.hash])

    def postpone(self, cell: Cell) -> None:
        """Put a cell that another run is at behind the others."""
        self.later[cell.hash] = time.monotonic() + PAUSE
        self.cells.append(cell)


def run(
    cells: list[Cell],
    needs: dict[str, tuple[str, ...]],
    provenance: dict[str, str],
    setting: Setting,
    jobs: int,
    report: Callable[[Cell], None] = lambda cell: None,
    found: Callable[[Record], None] = lambda record: None,
) -> Iterator[Record]:
    """Yield the record of each cell as it ends; the records are already in the store.

    Closing the iterator stops the workers. ``report`` is told of each cell that starts, ``found`` of each record that
    somebody else made meanwhile. Raises NotKept where a record cannot be
    written, WorkersLost where workers cannot be kept alive.
    """
    queue = Queue(list(cells), needs)
    workers: list[Worker] = []
    held = ExitStack()
    try:
        wanted = min(jobs, len(cells))
        for slot in held.enter_context(taken(wanted, setting.threads, setting.device, setting.cache)):
            workers.append(_start(slot, setting))
        while queue.cells or any(each.cell for each in workers):
            for started in _hand_out(queue, workers, provenance, setting):
                report(started)
            replies = list(_gather(workers, provenance, setting))
            for cell, reply in replies:
                if reply.record is None:
                    queue.postpone(cell)
                    continue
                queue.ended(cell, reply.record)
                if reply.outcome == "found":
                    found(reply.record)
                yield reply.record
            if not replies:
                busy = [each for each in workers if each.cell]
                wait([w.connection for w in busy] + [w.process.sentinel for w in busy], PAUSE)
    finally:
        _stop(workers)
        held.close()
        Turns(setting.results).tidy()


def _hand_out(queue: Queue, workers: list[Worker], provenance: dict[str, str], setting: Setting) -> Iterator[Cell]:
    """Give each idle worker a cell that may start now; yields those cells."""
    lost = 0
    for index in (index for index, each in enumerate(workers) if each.cell is None):
        chosen = queue.take([each.cell for each in workers if each.cell])
        while chosen is not None:
            try:
                workers[index].connection.send_bytes(msgspec.json.encode((chosen, provenance[chosen.hash])))
                break
            except OSError:  # it died while it had nothing to do
                lost += 1
                if lost > MOST_LOST:
                    raise WorkersLost(f"{lost} idle workers died one after the other") from None
                workers[index] = _start(workers[index].slot, setting)
        if chosen is None:
            return
        workers[index].cell, workers[index].started = chosen, time.monotonic()
        yield chosen


def _gather(workers: list[Worker], provenance: dict[str, str], setting: Setting) -> Iterator[tuple[Cell, Reply]]:
    """Cells that have ended, and what became of them; their workers are idle again, and new ones where they died."""
    for index, ended in enumerate(workers):
        cell = ended.cell
        reply = _poll(ended, provenance, setting)
        if cell is None or reply is None:
            continue
        ended.cell = None
        if not ended.process.is_alive():
            workers[index] = _start(ended.slot, setting)
        if reply.outcome == "unwritten":
            raise NotKept(
                f"what {cell.file} writes cannot be kept ({reply.problem}): make room for the results and for the "
                "cache, AMENDBENCH_CACHE, and give the same command again"
            )
        yield cell, reply


def _stop(workers: list[Worker]) -> None:
    """End those that are at a cell, let the others end, and see that all have."""
    for each in workers:
        each.process.kill() if each.cell else each.connection.close()
    for each in workers:
        each.process.join(5)
        if each.process.is_alive():
            each.process.kill()
            each.process.join(5)


def _poll(at: Worker, provenance: dict[str, str], setting: Setting) -> Reply | None:
    """What became of the worker's cell if it has ended, one way or another."""
    cell = at.cell
    if cell is None:
        return None
    try:
        if at.connection.poll():
            return msgspec.json.decode(at.connection.recv_bytes(), type=Reply)
    except (EOFError, ConnectionError):
        at.process.join(5)
    seconds = time.monotonic() - at.started
    limit = setting.timeout * cell.stacked  # who comes first does the work of all
    if seconds > limit:
        at.process.kill()
        at.process.join(5)
        failure = Failure("TimeoutError", f"the cell ran past its limit of {limit:.0f} s")
        return _lost(cell, provenance[cell.hash], "timeout", failure, seconds, setting)
    if not at.process.is_alive():
        code = at.process.exitcode
        if code is not None and code < 0:  # who kills a whole job kills this process next, and there is no failure
            time.sleep(GRACE)
        killed = code == -signal.SIGKILL
        why = "killed, probably for want of memory" if killed else f"exit code {code}"
        failure = Failure("WorkerDied", f"the worker process ended: {why}")
        status: Status = "out-of-memory" if killed else "failed"
        return _lost(cell, provenance[cell.hash], status, failure, seconds, setting)
    return None


def _lost(cell: Cell, provenance: str, status: Status, failure: Failure, seconds: float, setting: Setting) -> Reply:
    """Keep the record of a cell whose worker could not write one; unless it had, or somebody else is at it by now."""
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
        provenance=provenance,
        data="",
        arrays=None,
        environment=environment.describe(environment.processor() if cell.device == "cpu" else cell.device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    try:
        with Turns(setting.results).hold(cell) as mine:
            if not mine:
                return Reply("busy")
            store = RecordStore(setting.results)
            known = worker.result_of(cell, setting, store)
            return Reply("ran", known or store.write(record, {}))
    except (OSError, NotKept) as error:
        return Reply("unwritten", problem=f"{type(error).__name__}: {error}")


def _start(slot: Slot, setting: Setting) -> Worker:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(setting.threads)))
    for variable in KEEP_MEMORY:
        os.environ.setdefault(variable, str(2**32))
    process = spawn.Process(target=worker.serve, args=(theirs, slot, setting), daemon=True)
    seen = os.environ.get(VISIBLE)
    try:
        if slot.gpu is not None:
            os.environ[VISIBLE] = slot.gpu  # the process is started with it
        process.start()
    finally:
        os.environ.pop(VISIBLE, None)
        if seen is not None:
            os.environ[VISIBLE] = seen
    theirs.close()
    return Worker(slot, process, ours)
