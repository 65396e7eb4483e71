"""Search spaces: the values that hyper-parameters may take in tuning, read from TOML and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmark.config import convert, read_toml
from benchmark.contracts import MethodInfo, Parameter
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError, unknown
from benchmark.suites.definition import FOLDER, Scenario

#: Tasks with common search spaces.
FORGETTING = ("class-forget", "label-free-forget")


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The values that one hyper-parameter may take: ``choices``, or from ``low`` to ``high``."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: list[Any] | None = None

    def __post_init__(self) -> None:
        if self.choices is None:
            if self.low is None or self.high is None or not self.low <= self.high or (self.log and self.low <= 0):
                raise ValueError("give choices, or low and high above it, which are above 0 on a logarithmic scale")
        elif not self.choices or self.low is not None or self.high is not None:
            raise ValueError("choices must be some, and stand without low and high")

    def nearest(self, value: Any) -> Any:
        """``value`` where it may be taken, else the first choice or the end of the range that is next to it."""
        if self.choices is not None:
            return value if value in self.choices else self.choices[0]
        assert self.low is not None
        assert self.high is not None
        return min(max(value, self.low), self.high)


def spaces(task: str, more: Path | None = None) -> dict[str, dict[str, Range]]:
    """Search spaces by method, checked against its hyper-parameters: ``spaces-<task>.toml``.

    The forgetting tasks have common ones in ``spaces.toml``, which their own replace. ``method@scenario`` replaces
    ``method`` in that scenario. ``more`` is a file with further ones, of methods of any task.
    """
    own = FOLDER / f"spaces-{task}.toml"
    common = _spaces(FOLDER / "spaces.toml", task) if task in FORGETTING else {}
    return common | (_spaces(own, task) if own.exists() else {}) | (_further(more, task) if more else {})


def _further(path: Path, task: str) -> dict[str, dict[str, Range]]:
    """Search spaces of a user's own file, those of the task; InputError for a method that no task has."""
    found = convert(read_toml(path), dict[str, dict[str, Range]], path.name)
    for method in found:
        if method.partition("@")[0] not in METHODS:
            raise InputError(f"{path.name}: {unknown('method', method, METHODS)}")
    theirs = {key: ranges for key, ranges in found.items() if METHODS.has(key.partition("@")[0], task)}
    for method, ranges in theirs.items():
        _check_ranges(METHODS.get(method.partition("@")[0], task), ranges, f"{path.name}: {method}")
    return theirs


def _spaces(path: Path, task: str) -> dict[str, dict[str, Range]]:
    found = convert(read_toml(path), dict[str, dict[str, Range]], path.name)
    for method, ranges in found.items():
        name = method.partition("@")[0]
        where = next((t for t in (task, *FORGETTING) if METHODS.has(name, t)), task)
        _check_ranges(METHODS.get(name, where), ranges, f"{path.name}: {method}")
    return found


def _check_ranges(info: MethodInfo, ranges: Mapping[str, Range], where: str) -> None:
    """InputError unless a method has the hyper-parameters of its search space, and they may have its values."""
    known = {parameter.name: parameter for parameter in info.parameters}
    for name, space in ranges.items():
        if name not in known:
            raise InputError(f"{where}: {unknown('hyper-parameter', name, known)}")
        _check_space(space, known[name], where)


def _check_space(space: Range, parameter: Parameter, where: str) -> None:
    """InputError unless the hyper-parameter may have the values of its space."""
    for choice in space.choices or ():
        parameter.check(choice, where)
    if space.choices is None and parameter.type not in ("int", "float"):
        raise InputError(f"{where}: {parameter.name} is of type {parameter.type}, and needs choices, not low and high")


def space_of(known: Mapping[str, dict[str, Range]], scenario: Scenario, method: str) -> dict[str, Range]:
    """The search space of a method in a scenario; empty where it has none."""
    return known.get(f"{method}@{scenario.name}", known.get(method, {}))
