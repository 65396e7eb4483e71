"""Run one cell: base model, problem, the timed method call, evaluation, record."""

from __future__ import annotations

import errno
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from benchmark import environment
from benchmark.artifacts.context import Context
from benchmark.contracts import Ledger, seeds_together
from benchmark.discovery import outside
from benchmark.discovery.methods import METHODS, package_folder
from benchmark.discovery.source import digest
from benchmark.errors import AccessViolation, InputError
from benchmark.files import key_hash
from benchmark.models.surgery import state_hash
from benchmark.running import locks
from benchmark.running.amending import amend, violations
from benchmark.running.records import MOST, SCHEMA, Cell, Cost, Count, Failure, Record, Status, Value
from benchmark.suites.definition import Scenario
from benchmark.tasks import TASKS, Evaluation, Selected
from benchmark.timing import Stopwatch

#: The folder that the first-party packages lie in.
ROOT = package_folder("benchmark").parent
#: What a full disk, a quota and a disk that takes nothing say.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
#: Seconds for which a base model is waited for: longer than others take to load it, not while somebody trains it, since
#: that would be on the time limit of the cell that waits.
PATIENCE = 5.0


def run_cell(
    cell: Cell,
    context: Context,
    *,
    exclusive: bool,
    provenance: str,
    keep: Callable[[nn.Module, nn.Module], None] = lambda base, amended: None,
) -> tuple[Record, dict[str, Any]]:
    """The cell's record and the arrays that its metrics come from; ``keep`` is given the base and the amended model.

    Whatever a method raises becomes a typed row: access violations ``disqualified``, exhausted memory
    ``out-of-memory``, everything else ``failed``. Raises Busy where somebody else is training its base model, OSError
    where the disk is full.
    """
    started = time.perf_counter()
    watch = Stopwatch(context.device)
    ledgers: list[Ledger] = []
    evaluation, data = Evaluation({}, {}, []), ""
    status: Status = "ok"
    failure: Failure | None = None
    try:
        task = TASKS.get(cell.task)
        implementation = task.load()
        scenario = msgspec.convert(cell.settings, task.scenario)
        data = implementation.data_checksum(scenario)
        base = _base_model(cell, scenario, context)
        before = state_hash(base)
        method = METHODS.get(cell.method, cell.task), cell.parameters
        if cell.external and digest(method[0].module) != cell.digests["method"]:
            raise InputError(f"the source of {cell.method} has changed since the run began; run it again")
        amended = amend(method, task, scenario, cell.seed, base, context, watch, ledgers, exclusive=exclusive)
        returned = state_hash(amended)
        if cell.keeps == "metrics":
            evaluation = implementation.evaluate(scenario, cell.seed, base, amended, context)
        else:
            evaluation = Evaluation({}, implementation.members(scenario, cell.seed, amended, context), [])
        if state_hash(amended) != returned:
            evaluation.flags.append("the amended model changes when it is used")
        if state_hash(base) != before:
            evaluation.flags.append("the method changed the original model")
        keep(base, amended)
    except locks.Busy:
        raise
    except Exception as error:  # the method is somebody's code: any failure of it is a row, never the end of the run
        if isinstance(error, OSError) and error.errno in DISK:
            raise  # nothing that follows could be kept either
        status, failure = _failure(error)
    if violations(ledgers):
        status = "disqualified"
        failure = Failure("AccessViolation", "; ".join(violations(ledgers)), failure.traceback if failure else "")
        evaluation = Evaluation({}, {}, [])
    record = Record(
        schema=SCHEMA,
        cell=cell,
        hash=cell.hash,
        status=status,
        failure=failure,
        arrays=None,
        metrics={name: Value(_finite(m.value), m.n) for name, m in evaluation.metrics.items()},
        access=[ledger.reads for ledger in ledgers],
        cost=Cost(
            seconds=watch.seconds,
            device_seconds=watch.device_seconds,
            peak_bytes=watch.peak_bytes,
            exclusive=exclusive,
            cell_seconds=time.perf_counter() - started,
        ),
        flags=evaluation.flags,
        provenance=provenance,
        data=data,
        environment=environment.describe(device_name(context.device)),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        groups={name: Count(*counted) for name, counted in evaluation.groups.items()},
    )
    return record, evaluation.arrays


def _base_model(cell: Cell, scenario: Any, context: Context) -> nn.Module:
    """The base model; of all processes that share the cache one trains it. Busy for the others, until it is there."""
    task = TASKS.get(cell.task)
    # Who trains one network of a stack trains all of them.
    first = seeds_together(getattr(scenario, "training", None), cell.seed)[0]
    name = key_hash([cell.device, cell.threads, task.base(scenario, first)])
    with locks.locked(context.artifacts.root / "building" / f"{name}.lock", PATIENCE):
        return task.load().base_model(scenario, cell.seed, context)


def amend_for_selection(
    scenario: Scenario, method: str, parameters: dict[str, Any], seed: int, context: Context
) -> tuple[Selected, float, str]:
    """Worth on the selection split, seconds of the method's calls, and what failed, if anything did (score 0)."""
    task = TASKS.get(scenario.task)
    watch = Stopwatch(context.device)
    ledgers: list[Ledger] = []
    base = task.load().base_model(scenario.settings, seed, context)
    try:
        chosen = METHODS.get(method, scenario.task), parameters
        amended = amend(chosen, task, scenario.settings, seed, base, context, watch, ledgers)
        found = task.load().selection_score(scenario.settings, seed, amended, context)
    except Exception as error:  # a configuration that fails scores nothing and is kept as a failure
        return Selected(0.0), watch.seconds, f"seed {seed}: {type(error).__name__}: {error}"
    refused = violations(ledgers)
    if refused:
        return Selected(0.0), watch.seconds, f"seed {seed}: {refused[0]}"
    return found, watch.seconds, ""


def _failure(error: Exception) -> tuple[Status, Failure]:
    tail = _without_folders("".join(traceback.format_exception(error)[-6:]))[-4000:]
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    failure = Failure(type(error).__name__, _without_folders(str(error))[:1000] + where, tail)
    if isinstance(error, AccessViolation):
        return "disqualified", failure
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "out-of-memory", failure
    return "failed", failure


def _without_folders(text: str) -> str:
    """Records are published: where somebody keeps the code is theirs to know."""
    for folder in (ROOT, Path(sys.prefix), *outside.folders()):
        text = text.replace(f"{folder}{os.sep}", "")
    return text


def _finite(value: float | None) -> float | None:
    """What a record may hold of it: nothing of what is no number, or is so large that it might as well be none."""
    return value if value is not None and abs(value) <= MOST else None


def device_name(device: torch.device) -> str:
    """The device as tables print it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else environment.processor()
