"""Let a method answer a scenario's requests: guarded views, seeded generators, and a stopwatch around its calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from benchmark.artifacts.context import Context
from benchmark.contracts import Access, Kind, Ledger, MethodInfo, Problem
from benchmark.determinism import seed_cell
from benchmark.discovery.methods import load
from benchmark.discovery.source import digest
from benchmark.errors import AccessViolation, DivergenceError
from benchmark.models.surgery import state_hash
from benchmark.running.companions import answer
from benchmark.running.stages import StoredStages, charge
from benchmark.tasks import Task, answered_together
from benchmark.timing import Stopwatch


def amend(
    method: tuple[MethodInfo, dict[str, Any]],
    task: Task,
    scenario: Any,
    seed: int,
    base: nn.Module,
    context: Context,
    watch: Stopwatch,
    ledgers: list[Ledger],
    *,
    exclusive: bool = True,
) -> nn.Module:
    """The amended model in evaluation mode; only the method's calls are timed. One ledger a request is added.

    The views close when a call ends: a model that goes on reading later is found out.
    """
    info, parameters = method
    function = load(info)
    if info.kind == "reference":
        scenario = task.for_references(scenario)
    access = info.access.granted(task.views)
    _check_views(access, task, info.kind)
    model = base
    for request in range(task.requests(scenario)):
        ledger = Ledger()
        ledgers.append(ledger)
        guarded = task.load().build(scenario, seed, request, model, access, ledger, context)
        guarded.problem.stages = StoredStages(
            context,
            watch,
            guarded.problem,
            guarded.views,
            info.module,
            {
                "settings": scenario,
                "seed": seed,
                "request": request,
                "model": state_hash(model),
                "few labels": sorted(v for v, f in access.views.items() if "y" in f and access.few_labels),
                "exclusive": exclusive,
                "tasks": digest(task.implementation),
            },
        )
        kept = None
        try:
            if answered_together(info, task, scenario):
                kept = _together(method, task, scenario, seed, context, ledger, exclusive=exclusive)
            seed_cell(seed, "method", request)
            with watch.running():
                model = function(guarded.problem, **parameters) if kept is None else _taken(kept, guarded.problem)
                if not isinstance(model, nn.Module):
                    raise TypeError(f"{info.name} returned {type(model).__name__}, not a model")
                model = guarded.finish(model)
            if kept is not None:
                charge(kept, watch, guarded.views)
        finally:
            for view in guarded.views:
                view.close()
            counts = {view.name: view.counts() for view in guarded.views}
            ledger.reads = {name: read for name, read in counts.items() if any(read.values())}
        model.eval()
    return model


def _together(
    method: tuple[MethodInfo, dict[str, Any]],
    task: Task,
    scenario: Any,
    seed: int,
    context: Context,
    ledger: Ledger,
    *,
    exclusive: bool,
) -> dict[str, Tensor] | None:
    """What the method gives for this seed, found with those of its stack; None where it must answer for itself."""
    try:
        return answer(method, task, scenario, seed, context, exclusive=exclusive)
    except DivergenceError:  # of any of the seeds
        return None
    except AccessViolation as error:
        raise ledger.refuse(str(error)) from error


def _taken(kept: Mapping[str, Tensor], problem: Problem) -> nn.Module:
    """A network with the weights that were found together with those of other seeds."""
    model = problem.fresh_model()
    model.load_state_dict({k.removeprefix("model."): t for k, t in kept.items() if k.startswith("model.")})
    return model


def violations(ledgers: list[Ledger]) -> list[str]:
    """Every read that was refused, also where the method swallowed the error."""
    return [violation for ledger in ledgers for violation in ledger.violations]


def _check_views(access: Access, task: Task, kind: Kind) -> None:
    for name, fields in access.views.items():
        if name in task.reference_views and kind != "reference":
            raise AccessViolation(f"task {task.name} offers view {name!r} to references only, not to a {kind}")
        if set(fields) - set(task.views.get(name, "")):
            raise AccessViolation(f"task {task.name} offers no view {name!r} with fields {fields!r}")
