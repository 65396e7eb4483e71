"""The contract of methods: what each must keep to, checked on a tiny real problem of each of its tasks.

``amendbench test-method`` checks one, of anybody's; the test suite checks all that are registered.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark import environment
from benchmark.contracts import MethodInfo
from benchmark.discovery.methods import check_parameters, load
from benchmark.errors import InputError
from benchmark.suites.choosing import check_declared, methods_of, name_files

Outcome = Literal["ok", "note", "failed"]


class Finding(NamedTuple):
    """How a method keeps a promise on a task: ``note`` is nothing wrong, but to be known."""

    method: str
    task: str
    promise: str
    outcome: Outcome
    said: str


def check_file(path: Path, parameters: Mapping[str, Any] | None = None) -> list[Finding]:
    """Check every method that a file declares: for a test of one's own. InputError for a file that cannot be read."""
    name_files([path])
    return [found for info in methods_of(str(path)) for found in check_method(info, parameters=parameters)]


def check_method(
    info: MethodInfo,
    tasks: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> list[Finding]:
    """Check a method on each of its tasks, or on those named; with its defaults but for ``parameters``.

    Base models, which take seconds, are kept below ``cache``; in the cache folder if it is left out. InputError for
    hyper-parameters that it does not have, and for tasks that are none of its own.
    """
    chosen = check_parameters(info, parameters or {}, "parameters")
    found: list[Finding] = []
    for task in tasks or info.tasks:
        if task not in info.tasks:
            raise InputError(f"{info.name} is no method of task {task!r}; its tasks: {', '.join(info.tasks)}")
        promises = [*_declared(info)]
        if all(outcome != "failed" for _, outcome, _ in promises):
            from benchmark.checking.calls import used  # with torch, which nothing before needs

            promises += used(info, task, chosen, cache or environment.cache_root())
        found += [Finding(info.name, task, *promise) for promise in promises]
    return found


def failures(findings: Sequence[Finding]) -> list[str]:
    """A line for each promise that is not kept."""
    return [f"{f.method}, {f.task}: {f.promise}: {f.said}" for f in findings if f.outcome == "failed"]


def judged(promise: str, wrong: str, otherwise: Outcome = "failed") -> tuple[str, Outcome, str]:
    """A promise that is kept where nothing is ``wrong``."""
    return promise, otherwise if wrong else "ok", wrong


def told(error: Exception) -> str:
    """An error in a line, with the place that it was raised in."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}"[:300] + where


def _declared(info: MethodInfo) -> Iterator[tuple[str, Outcome, str]]:
    """What can be told without calling it."""
    try:
        check_declared(info)
        offered = ""
    except InputError as error:
        offered = str(error)
    yield judged("asks for what its tasks offer", offered)
    try:
        imported = _differs(info)
    except Exception as error:  # it is somebody's code
        imported = told(error)
    yield judged("is imported as it was read", imported)
    yield judged("says what it does", "" if info.summary else "it has no docstring, so that lists say nothing of it")
    yield judged("names its paper", "" if info.paper else "paper is empty", "note")


def _differs(info: MethodInfo) -> str:
    """What the imported function has otherwise than its source; empty where it has nothing."""
    function: Any = load(info)
    _, *others = inspect.signature(function).parameters.values()
    types = {p.name: getattr(p.annotation, "__name__", p.annotation) for p in others}
    if [(p.name, p.type, p.default) for p in info.parameters] != [(p.name, types[p.name], p.default) for p in others]:
        return f"its hyper-parameters are {', '.join(map(str, others)) or 'none'}"
    if function.amendbench_methods[info.name] != info.access:
        return f"its access is {function.amendbench_methods[info.name]}"
    if (inspect.getdoc(function) or "").partition("\n")[0] != info.summary:
        return "its docstring is another one: does a decorator leave it out?"
    return ""
