"""What a method is, and what is known of it without importing it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec

from benchmark.contracts.access import Access
from benchmark.errors import InputError

if TYPE_CHECKING:
    from torch import nn

#: ``ablation``: a method with a part of it changed or left out, for studies; no suite has it unless it names it.
Kind = Literal["paper", "baseline", "reference", "cheat", "ablation"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter, read from a method's signature."""

    name: str
    type: str
    default: Any

    def check(self, value: Any, where: str) -> Any:
        """``value`` in the declared type, or an InputError that names the field."""
        try:
            checked: Any = msgspec.convert(value, {"int": int, "float": float, "bool": bool, "str": str}[self.type])
        except msgspec.ValidationError:
            raise InputError(f"{where}: {self.name} must be {self.type}, not {value!r}") from None
        if self.type == "float" and not math.isfinite(checked):
            raise InputError(f"{where}: {self.name} must be a finite number, not {value!r}")
        return checked


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method without importing it."""

    name: str
    kind: Kind
    tasks: tuple[str, ...]
    paper: str
    access: Access
    version: int
    parameters: tuple[Parameter, ...]
    module: str
    function: str
    summary: str
    shares: str = ""
    together: str = ""

    def defaults(self) -> dict[str, Any]:
        return {p.name: p.default for p in self.parameters}


class Method(Protocol):
    """A function from a problem to an amended model; its keyword arguments are its hyper-parameters."""

    def __call__(self, problem: Any, **parameters: Any) -> nn.Module: ...


def method(
    name: str,
    *,
    tasks: str | tuple[str, ...],
    paper: str,
    access: Access,
    kind: Kind | None = None,
    version: int = 1,
    shares: str = "",
    together: str = "",
) -> Callable[[F], F]:
    """Declare a function as a method.

    The arguments must be literals: they are read from the source without importing it (``benchmark.discovery``).
    ``kind`` defaults to ``paper`` in ``methods/`` and to ``baseline`` in ``baselines/``. ``version`` goes up when a
    change alters the method's results. Methods that name the same ``shares`` have a stage in common
    (``ForgetProblem.stage``): on one base model they run one after the other, so that it is computed once.
    ``together`` names a function of the same file that takes a list of problems and gives a list of models: what the
    method would give for each, found in one go, where a suite says that several seeds are trained together.
    """

    def declare(function: F) -> F:
        declared = getattr(function, "amendbench_methods", {})
        function.amendbench_methods = {**declared, name: access}  # type: ignore[attr-defined]
        return function

    return declare
