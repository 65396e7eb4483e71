"""Cells of several seeds whose method answers their problems in one go: a stack of networks trained together.

Whoever comes first answers for all seeds of the stack and keeps what it found, each with its bill: its share of the
time, and what was read of its own views. The others find theirs there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from benchmark.artifacts.context import Context
from benchmark.contracts import Ledger, MethodInfo, seeds_together
from benchmark.determinism import seed_cell
from benchmark.discovery.methods import load_together
from benchmark.discovery.source import digest
from benchmark.errors import AccessViolation
from benchmark.running.stages import bill
from benchmark.tasks import Guarded, Task
from benchmark.timing import Lap, Stopwatch


def answer(
    method: tuple[MethodInfo, dict[str, Any]],
    task: Task,
    scenario: Any,
    seed: int,
    context: Context,
    *,
    exclusive: bool,
) -> dict[str, Tensor]:
    """The state of the network that a method makes for one seed, under "model.", and its bill."""
    info, parameters = method
    key = {
        "kind": "together",
        "method": info.name,
        "parameters": parameters,
        "settings": scenario,
        "exclusive": exclusive,
        "place": str(context.device),
        "tasks": digest(task.implementation),
        "data": task.load().data_checksum(scenario),
        "bill": [digest(__name__), digest("benchmark.running.stages")],
    }

    def build() -> dict[str, Tensor]:
        found = _all(method, task, scenario, seeds_together(scenario.training, seed), context)
        for other in (s for s in found if s != seed):
            context.artifact(info.module, {**key, "seed": other}, _given(found[other]))
        return found[seed]

    return context.artifact(info.module, {**key, "seed": seed}, build)


def _given(tensors: dict[str, Tensor]) -> Callable[[], dict[str, Tensor]]:
    return lambda: tensors


def _all(
    method: tuple[MethodInfo, dict[str, Any]], task: Task, scenario: Any, seeds: range, context: Context
) -> dict[int, dict[str, Tensor]]:
    """The same of every seed. AccessViolation where anything was read that may not be."""
    info, parameters = method
    guarded, ledgers = _problems(info, task, scenario, seeds, context)
    watch = Stopwatch(context.device)
    seed_cell(seeds[0], "method", 0)
    try:
        with watch.running():
            models = load_together(info)([each.problem for each in guarded], **parameters)
    finally:
        for view in (view for each in guarded for view in each.views):
            view.close()
    refused = [violation for ledger in ledgers for violation in ledger.violations]
    if refused:
        raise AccessViolation("; ".join(refused))
    share = Lap(watch.seconds / len(seeds), watch.device_seconds / len(seeds), watch.peak_bytes)
    return {
        seed: {f"model.{name}": t for name, t in model.state_dict().items()} | bill(share, each.views)
        for seed, model, each in zip(seeds, models, guarded, strict=True)
    }


def _problems(
    info: MethodInfo, task: Task, scenario: Any, seeds: range, context: Context
) -> tuple[list[Guarded], list[Ledger]]:
    implementation, access = task.load(), info.access.granted(task.views)
    ledgers = [Ledger() for _ in seeds]
    guarded = []
    for seed, ledger in zip(seeds, ledgers, strict=True):
        base = implementation.base_model(scenario, seed, context)
        guarded.append(implementation.build(scenario, seed, 0, base, access, ledger, context))
    return guarded, ledgers
