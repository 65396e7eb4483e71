"""A worker: a process that lives for many cells. Whatever runs a cell, here or on a cluster, runs it through here.

Running a cell is idempotent: one whose result is there is not run again, and one that somebody else is at is left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from benchmark.models.weights import tensors_only
from benchmark.running.locks import Busy
from benchmark.running.plan import is_current, is_of_here
from benchmark.running.processes import serve_parent
from benchmark.running.records import Cell, NotKept, Record, RecordStore
from benchmark.running.slots import VISIBLE, Slot
from benchmark.running.turns import Turns
from benchmark.visible import log_visibly

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context


@dataclass(frozen=True)
class Setting:
    """What every worker of a run needs to know. ``timeout`` is a cell's limit in seconds.

    ``started`` (ISO 8601, UTC) is when the run began: a failure since then is not tried again. ``fresh``: what was
    there before then does not count.
    """

    results: Path
    cache: Path
    device: str
    threads: int
    timeout: float
    started: str = ""
    fresh: bool = False


class Reply(msgspec.Struct, frozen=True):
    """What became of a cell.

    ``ran``: it was run now; ``found``: its result was there; ``busy``: somebody else is at it or at its base model;
    ``unwritten``: its record could not be kept, for the reason in ``problem``.
    """

    outcome: Literal["ran", "found", "busy", "unwritten"]
    record: Record | None = None
    problem: str = ""


def run_in_turn(cell: Cell, provenance: str, setting: Setting, context: Context, *, exclusive: bool) -> Reply:
    """Run a cell unless its result is there or somebody else is at it; its record is kept while the turn is held."""
    from benchmark.running.cell import run_cell

    store = RecordStore(setting.results)
    try:
        with Turns(setting.results).hold(cell) as mine:
            if not mine:
                return Reply("busy")
            known = result_of(cell, setting, store)
            if known is not None:
                return Reply("found", known)
            record, arrays = run_cell(cell, context, exclusive=exclusive, provenance=provenance)
            return Reply("ran", store.write(record, arrays))
    except Busy:
        return Reply("busy")
    except (OSError, NotKept) as error:  # a full disk, say; what a method raises is in the record
        return Reply("unwritten", problem=f"{type(error).__name__}: {error}")


def result_of(cell: Cell, setting: Setting, store: RecordStore) -> Record | None:
    """The record that stands for the cell in this run: a current one, or a failure since the run began."""
    record = store.read(cell.file)
    if record is None or not is_of_here(record, cell):
        return None
    since = bool(setting.started) and record.created >= setting.started
    return record if since or (is_current(record, cell) and not setting.fresh) else None


def serve(connection: Connection, slot: Slot, setting: Setting) -> None:
    """A worker's life: cells come in, replies go out, until the other end closes."""
    settle(slot, setting)
    context = make_context(setting)
    while True:
        try:
            cell, provenance = msgspec.json.decode(connection.recv_bytes(), type=tuple[Cell, str])
        except (EOFError, ConnectionError):
            return
        reply = run_in_turn(cell, provenance, setting, context, exclusive=slot.exclusive)
        connection.send_bytes(msgspec.json.encode(reply))


def prepare(slots: Any, setting: Setting) -> None:
    """Initialiser of an executor's worker: takes a slot from a queue and settles there."""
    slot = slots.get()
    if slot.gpu is not None:
        os.environ[VISIBLE] = slot.gpu
    settle(slot, setting)


def make_context(setting: Setting) -> Context:
    """The context of a worker's cells. A worker sees one GPU, whatever its number."""
    import torch

    from benchmark.artifacts.context import Context
    from benchmark.artifacts.store import ArtifactStore

    device = torch.device(setting.device.partition(":")[0])
    return Context(device, setting.threads, ArtifactStore(setting.cache / "artifacts"))


def settle(slot: Slot, setting: Setting) -> None:
    """Make this process a worker: its cores, its threads, deterministic algorithms, an end when its parent ends."""
    serve_parent()
    if slot.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, slot.cores)
    log_visibly()
    tensors_only()
    from benchmark.determinism import make_deterministic
    from benchmark.timing import warm_up

    make_deterministic(setting.threads)
    warm_up(setting.device.partition(":")[0])
