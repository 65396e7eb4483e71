"""The types that everything else speaks: access, methods, problems.

Nothing here imports torch at run time, so that listing, planning and reporting stay fast.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmark.contracts.access import FIELDS, Access, Ledger
from benchmark.contracts.methods import Kind, Method, MethodInfo, Parameter, method
from benchmark.contracts.problems import (
    BiasProblem,
    DebiasProblem,
    ForgetProblem,
    GanProblem,
    Problem,
    Stages,
    Watch,
)
from benchmark.contracts.recipes import GanRecipe, Recipe, StepRecipe, seeds_together

__all__ = [
    "FIELDS",
    "Access",
    "BiasProblem",
    "DebiasProblem",
    "ForgetProblem",
    "GanProblem",
    "GanRecipe",
    "Kind",
    "Ledger",
    "Measured",
    "Method",
    "MethodInfo",
    "Parameter",
    "Problem",
    "Recipe",
    "Stages",
    "StepRecipe",
    "Watch",
    "method",
    "seeds_together",
]


class Measured(NamedTuple):
    """A metric's value (None where n is too small for one) and the number of samples that it was computed from."""

    value: float | None
    n: int
