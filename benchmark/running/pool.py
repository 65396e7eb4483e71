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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from typing import Any

import msgspec

from benchmark import environment
from benchmark.errors import WorkersLost
from benchmark.running import worker
from benchmark.running.claims import Claims
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, NotKept, Record, RecordStore, Status
from benchmark.running.slots import VISIBLE, Slot, default_jobs, slots
from benchmark.running.worker import Reply, Setting

__all__ = ["Setting", "Slot", "default_jobs", "run", "slots"]

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

    def ended(self, cell: Cell) -> None:
        """What the cell needed is there."""
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
    lost = 0
    store = RecordStore(setting.results)
    workers = [_start(slot, setting) for slot in slots(min(jobs, len(cells)), setting.threads, setting.device)]
    try:
        while queue.cells or any(worker.cell for worker in workers):
            for index, idle in enumerate(workers):
                if idle.cell is not None:
                    continue
                chosen = queue.take([w.cell for w in workers if w.cell])
                if chosen is None:
                    break
                try:
                    idle.connection.send_bytes(msgspec.json.encode((chosen, provenance[chosen.hash])))
                except OSError:  # it died while it had nothing to do
                    queue.cells.insert(0, chosen)
                    lost += 1
                    if lost > MOST_LOST:
                        raise WorkersLost(f"{lost} idle workers died one after the other") from None
                    workers[index] = _start(idle.slot, setting)
                    continue
                idle.cell, idle.started, lost = chosen, time.monotonic(), 0
                report(chosen)
            ended = False
            for index, busy in enumerate(workers):
                reply = _poll(busy, setting, store)
                if reply is None or busy.cell is None:
                    continue
                ended = True
                cell, busy.cell = busy.cell, None
                if not busy.process.is_alive():
                    workers[index] = _start(busy.slot, setting)
                if reply.outcome == "unwritten":
                    raise NotKept(f"the record {cell.file} cannot be kept ({reply.problem})")
                if reply.record is None:
                    queue.postpone(cell)
                    continue
                queue.ended(cell)
                if reply.outcome == "found":
                    found(reply.record)
                yield reply.record
            if not ended:
                busy_ones = [w for w in workers if w.cell]
                wait([w.connection for w in busy_ones] + [w.process.sentinel for w in busy_ones], PAUSE)
    finally:
        for each in workers:
            each.process.kill() if each.cell else each.connection.close()
        for each in workers:
            each.process.join(5)
        Claims(setting.results).tidy()


def _poll(at: Worker, setting: Setting, store: RecordStore) -> Reply | None:
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
    if seconds > setting.timeout:
        at.process.kill()
        at.process.join(5)
        failure = Failure("TimeoutError", f"the cell ran past its limit of {setting.timeout:.0f} s")
        return _lost(cell, "timeout", failure, seconds, setting, store)
    if not at.process.is_alive():
        code = at.process.exitcode
        if code is not None and code < 0:  # who kills a whole job kills this process next, and there is no failure
            time.sleep(GRACE)
        killed = code == -signal.SIGKILL
        why = "killed, probably for want of memory" if killed else f"exit code {code}"
        failure = Failure("WorkerDied", f"the worker process ended: {why}")
        return _lost(cell, "out-of-memory" if killed else "failed", failure, seconds, setting, store)
    return None


def _lost(cell: Cell, status: Status, failure: Failure, seconds: float, setting: Setting, store: RecordStore) -> Reply:
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
        provenance="",
        data="",
        arrays=None,
        environment=environment.describe(cell.device),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    try:
        with Claims(setting.results).hold(cell) as mine:
            if not mine:
                return Reply("busy")
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
