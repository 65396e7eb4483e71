"""Run one cell: base model, problem, the timed method call, evaluation, record."""

from __future__ import annotations

import time
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec
import torch
from torch import nn

from benchmark import environment
from benchmark.contracts import Access, Ledger, MethodInfo
from benchmark.determinism import seed_cell
from benchmark.discovery import METHODS, load
from benchmark.errors import AccessViolation, DivergenceError, InputError
from benchmark.models.surgery import state_hash
from benchmark.running.context import Context
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, Record, Status, Value
from benchmark.suite import Scenario
from benchmark.tasks import TASKS, Evaluation, Task
from benchmark.timing import Stopwatch


def run_cell(cell: Cell, context: Context, *, exclusive: bool, provenance: str) -> tuple[Record, dict[str, Any]]:
    """The cell's record and the arrays that its metrics come from.

    Whatever a method raises becomes a typed row: access violations ``disqualified``, exhausted memory
    ``out-of-memory``, everything else ``failed``.
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
        base = implementation.base_model(scenario, cell.seed, context)
        before = state_hash(base)
        method = METHODS.get(cell.method), cell.parameters
        amended = amend(method, task, scenario, cell.seed, base, context, watch, ledgers)
        evaluation = implementation.evaluate(scenario, cell.seed, base, amended, context)
        if state_hash(base) != before:
            evaluation.flags.append("the method changed the original model")
    except Exception as error:  # the method is somebody's code: any failure of it is a row, never the end of the run
        status, failure = _failure(error)
    if any(ledger.violations for ledger in ledgers):  # also where the method swallowed the refusal
        status = "disqualified"
        failure = failure or Failure("AccessViolation", "; ".join(v for x in ledgers for v in x.violations))
        evaluation = Evaluation({}, {}, [])
    record = Record(
        schema=SCHEMA,
        cell=cell,
        hash=cell.hash,
        status=status,
        failure=failure,
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
    )
    return record, evaluation.arrays


def amend(
    method: tuple[MethodInfo, dict[str, Any]],
    task: Task,
    scenario: Any,
    seed: int,
    base: nn.Module,
    context: Context,
    watch: Stopwatch,
    ledgers: list[Ledger],
) -> nn.Module:
    """Answer every request in turn with the method; only its calls are timed. One ledger a request."""
    info, parameters = method
    function = load(info)
    _check_views(info.access, task)
    model = base
    for request in range(task.requests(scenario)):
        ledger = Ledger()
        ledgers.append(ledger)
        guarded = task.load().build(scenario, seed, request, model, info.access, ledger, context)
        seed_cell(seed, "method", request)
        try:
            with watch.running():
                model = function(guarded.problem, **parameters)
        finally:
            counts = {view.name: view.counts() for view in guarded.views}
            ledger.reads = {name: read for name, read in counts.items() if any(read.values())}
        model.eval()
    return model


def amend_for_selection(
    scenario: Scenario, method: str, parameters: dict[str, Any], seed: int, context: Context
) -> tuple[float, str]:
    """The amended model's score on the selection split, and what failed, if anything did (the score is then 0)."""
    task = TASKS.get(scenario.task)
    implementation = task.load()
    base = implementation.base_model(scenario.settings, seed, context)
    ledgers: list[Ledger] = []
    try:
        chosen = METHODS.get(method), parameters
        watch = Stopwatch(context.device)
        amended = amend(chosen, task, scenario.settings, seed, base, context, watch, ledgers)
    except (DivergenceError, InputError) as error:
        return 0.0, f"{type(error).__name__}: {error}"
    return implementation.selection_score(scenario.settings, seed, amended, context), ""


def _check_views(access: Access, task: Task) -> None:
    for name, fields in access.views.items():
        if set(fields) - set(task.views.get(name, "")):
            raise AccessViolation(f"task {task.name} offers no view {name!r} with fields {fields!r}")


def _failure(error: Exception) -> tuple[Status, Failure]:
    tail = "".join(traceback.format_exception(error)[-6:])[-4000:]
    failure = Failure(type(error).__name__, str(error)[:1000], tail)
    if isinstance(error, AccessViolation):
        return "disqualified", failure
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return "out-of-memory", failure
    return "failed", failure


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value or abs(value) == float("inf") else value


def device_name(device: torch.device) -> str:
    """The device as tables print it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else environment.processor()
