"""The problems that a debiasing method gets in a suite's scenario, for measurements that look at what is inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import DebiasProblem, Ledger
from benchmark.data.biased import Biased
from benchmark.determinism import seed_cell
from benchmark.discovery.methods import METHODS
from benchmark.environment import cache_root
from benchmark.errors import InputError, unknown
from benchmark.suites.definition import Scenario, load_suite
from benchmark.tasks import TASKS
from benchmark.tasks.debias import Debias
from benchmark.tasks.debiasing import on_device


class Kept:
    """Stages of a method, kept as long as the problem is: what several points share is computed once."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Tensor]] = {}

    def get(
        self, name: str, build: Callable[[], dict[str, Tensor]], depends: Mapping[str, object]
    ) -> dict[str, Tensor]:
        key = f"{name} {sorted(depends.items())}"
        if key not in self._found:
            self._found[key] = build()
        return self._found[key]


@dataclass(frozen=True)
class Posed:
    """A problem as a method gets it, on the CPU, the scenario, and the data with the attributes that it may not see."""

    problem: DebiasProblem
    scenario: Scenario
    data: Biased


def posed(suite: str, name: str, method: str, seed: int) -> Posed:
    """What ``method`` gets for ``seed`` in a scenario of a suite; InputError for one that is no debiasing scenario."""
    scenarios = load_suite(suite).scenarios
    if name not in scenarios:
        raise unknown("scenario", name, scenarios)
    scenario = scenarios[name]
    if not isinstance(scenario.settings, Debias):
        raise InputError(f"scenario {name} is of task {scenario.task}, not of debiasing")
    task = TASKS.get(scenario.task)
    context = Context(torch.device("cpu"), torch.get_num_threads(), ArtifactStore(cache_root() / "artifacts"))
    implementation = task.load()
    seed_cell(seed, "base")
    base = implementation.base_model(scenario.settings, seed, context)
    access = METHODS.get(method, scenario.task).access.granted(task.views)
    guarded = implementation.build(scenario.settings, seed, 0, base, access, Ledger(), context)
    assert isinstance(guarded.problem, DebiasProblem)
    guarded.problem.stages = Kept()
    return Posed(guarded.problem, scenario, on_device(scenario.settings, context.device))
