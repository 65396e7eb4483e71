"""Tasks: families of amendments with one contract and one set of metrics. Listing them imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import msgspec

from benchmark.contracts import Access, Ledger, Measured, MethodInfo, seeds_together
from benchmark.data import DATA
from benchmark.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from benchmark.artifacts.context import Context

#: Metric name -> value (None where blank).
Values = Mapping[str, float | None]


@dataclass(frozen=True)
class Evaluation:
    """What evaluating one amended model gives: metrics, the arrays they come from, and warnings for the row.

    ``groups``: right and all test samples by group, where there are groups.
    """

    metrics: dict[str, Measured]
    arrays: dict[str, np.ndarray]
    flags: list[str]
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)


class Selected(NamedTuple):
    """What a network is worth to tuning, higher is better, and metrics on the selection split that say why.

    ``margin``: by how much a condition is met; what does not meet it on average over seeds, with a margin below 0,
    comes after all that does.
    """

    score: float
    metrics: Mapping[str, float] = {}
    margin: float = 0.0


def _as_it_is(model: nn.Module) -> nn.Module:
    return model


@dataclass(frozen=True)
class Guarded:
    """A problem beside the views that are read for it, so that the harness can see their counts.

    ``finish`` makes the result of what the method returns, before the views close: by model selection, for example.
    """

    problem: Any
    views: tuple[Any, ...]
    finish: Callable[[nn.Module], nn.Module] = _as_it_is


class Implementation(Protocol):
    """The part of a task that needs torch: a module with these functions."""

    def data_checksum(self, scenario: Any) -> str: ...

    def base_model(self, scenario: Any, seed: int, context: Context) -> nn.Module: ...

    def build(
        self,
        scenario: Any,
        seed: int,
        request: int,
        model: nn.Module,
        access: Access,
        ledger: Ledger,
        context: Context,
    ) -> Guarded: ...

    def evaluate(
        self, scenario: Any, seed: int, base: nn.Module, amended: nn.Module, context: Context
    ) -> Evaluation: ...

    def members(self, scenario: Any, seed: int, amended: nn.Module, context: Context) -> dict[str, np.ndarray]: ...

    def selection_score(self, scenario: Any, seed: int, amended: nn.Module, context: Context) -> Selected: ...


def _unchanged(scenario: Any) -> Any:
    return scenario


def _has_selection_split(scenario: Any) -> bool:
    return DATA.get(scenario.data).selection


@dataclass(frozen=True)
class Task:
    """A family of amendments.

    ``scenario`` is the type of its scenarios' settings; ``unit(scenario, seed)`` names what a cell amends
    and ``base(scenario, seed)`` the base model that it starts from (equal names: the same model);
    ``requests(scenario)`` counts the amendments asked for one after the other; ``derive(own, reference)`` adds the
    metrics that are relative to the reference method's; ``gates(original, reference)`` gives reasons why a block
    of rows is unreliable; ``headline`` are the board's columns and ``rank_by`` orders its rows. ``with_gaps``: every
    metric is best where retraining has it, and its gap is shown beside it. ``ranked_by(scenario)`` replaces
    ``rank_by``. ``track(scenario, access)`` says what information a method was granted there, where rows of several
    kinds must not be ranked together; ``ensembles`` whether ensembles of its models can be compared;
    ``tunable(scenario)`` whether it has held-out samples to choose hyper-parameters on; only references may
    read ``reference_views``, and they answer ``for_references(scenario)``: without what is kept from other methods.
    """

    name: str
    summary: str
    version: int
    scenario: type[msgspec.Struct]
    views: Mapping[str, str]
    metrics: tuple[str, ...]
    headline: tuple[str, ...]
    rank_by: str
    reference: str
    original: str
    implementation: str
    unit: Callable[[Any, int], str]
    base: Callable[[Any, int], str]
    requests: Callable[[Any], int]
    check: Callable[[Any], None]
    derive: Callable[[Values, Values], dict[str, float | None]]
    gates: Callable[[Values | None, Values | None], list[str]]
    selection_criterion: str
    with_gaps: bool = False
    track: Callable[[Any, Access], str] | None = None
    ranked_by: Callable[[Any], str] | None = None
    ensembles: bool = True
    tunable: Callable[[Any], bool] = _has_selection_split
    reference_views: tuple[str, ...] = ()
    for_references: Callable[[Any], Any] = _unchanged

    def load(self) -> Implementation:
        """The implementation; imports torch."""
        return cast(Implementation, importlib.import_module(self.implementation))


def answered_together(info: MethodInfo, task: Task, scenario: Any) -> bool:
    """Whether a method answers the problems of several seeds of a scenario in one go."""
    seeds = seeds_together(getattr(scenario, "training", None), 0)
    return bool(info.together) and len(seeds) > 1 and task.requests(scenario) == 1


def _tasks() -> Iterator[tuple[str, Task]]:
    for name in ("class_forget", "label_free_forget", "debias", "bias_correction", "gan_feature_removal"):
        module = importlib.import_module(f"benchmark.tasks.{name}")
        tasks: tuple[Task, ...] = getattr(module, "TASKS", ()) or (module.TASK,)
        for task in tasks:
            yield task.name, task


TASKS: Registry[Task] = Registry("task", _tasks)
