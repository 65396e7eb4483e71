"""The problems that a class-forgetting method gets in a suite's scenario, for measurements that look inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import msgspec
import torch
from torch import nn

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, ForgetProblem, Ledger
from benchmark.data.views import Samples, View
from benchmark.determinism import seed_cell
from benchmark.discovery.methods import METHODS
from benchmark.environment import cache_root
from benchmark.errors import InputError, unknown
from benchmark.models.edited import EditedAccuracies
from benchmark.seeding import generator
from benchmark.suites.definition import Scenario, load_suite
from benchmark.tasks import base_models, forgetting
from benchmark.tasks.class_forget import ClassForget

#: Test samples that accuracies are measured on at most: 2,000 are within a point of all 10,000.
JUDGED = 2000
#: Threads of a measurement: those that the suites give a cell.
THREADS = 1

Measure = Callable[[dict[str, Any], int], dict[str, float]]


@dataclass(frozen=True)
class Posed:
    """A problem as ``method`` gets it, on the CPU; accuracies on the selection split and on test samples.

    ``base`` is the model that is to be amended, of which the problem has a copy; ``chosen_by`` and ``judged_by`` are
    functions of edited weights to ACC_r and ACC_f as fractions.
    """

    scenario: Scenario
    settings: ClassForget
    context: Context
    base: nn.Module
    problem: ForgetProblem
    chosen_by: EditedAccuracies
    judged_by: EditedAccuracies


def posed(suite: str, name: str, method: str, seed: int, epochs: int = 0) -> Posed:
    """What ``method`` gets for ``seed`` in a scenario of a suite, as it is or with ``epochs`` of training.

    InputError for a scenario that is none, or none of class forgetting.
    """
    whole = load_suite(suite)
    if name not in whole.scenarios:
        raise unknown("scenario", name, whole.scenarios)
    scenario = whole.scenarios[name]
    settings = scenario.settings
    if not isinstance(settings, ClassForget):
        raise InputError(f"scenario {name} is of task {scenario.task}, not of class-forget")
    if epochs:
        settings = msgspec.structs.replace(settings, training=msgspec.structs.replace(settings.training, epochs=epochs))
    context = Context(torch.device("cpu"), THREADS, ArtifactStore(cache_root() / "artifacts"))
    seed_cell(seed, "base")
    base = forgetting.base_model(settings, seed, context)
    access = METHODS.get(method, "class-forget").access
    problem = forgetting.build(settings, seed, 0, base, access, Ledger(), context).problem
    data = base_models.on_device(settings.data, context.device, settings.holdout)
    judged_by = judge(problem, some(data.test, seed))
    return Posed(scenario, settings, context, base, problem, judge(problem, data.selection), judged_by)


def judge(problem: ForgetProblem, samples: Samples) -> EditedAccuracies:
    """ACC_r and ACC_f of edited weights on labelled samples, whatever the method may read."""
    return EditedAccuracies(replace(problem, selection=View("selection", samples, Access(selection="xy"), Ledger())))


def some(samples: Samples, seed: int) -> Samples:
    """At most JUDGED of the samples, at random."""
    if len(samples) <= JUDGED:
        return samples
    return samples.subset(torch.randperm(len(samples), generator=generator(seed, "judged"))[:JUDGED])


def one_thread(measure: Measure) -> Measure:
    """The same measurement with one thread, as cells have it, whatever else the process has."""

    @wraps(measure)
    def measured(point: dict[str, Any], seed: int) -> dict[str, float]:
        before = torch.get_num_threads()
        torch.set_num_threads(THREADS)
        try:
            return measure(point, seed)
        finally:
            torch.set_num_threads(before)

    return measured


def score(accuracies: tuple[float, float]) -> float:
    """ACC_r (1 - ACC_f) in percent, of fractions."""
    return 100 * accuracies[0] * (1 - accuracies[1])
