"""What is registered, as text. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable

from benchmark.data import DATA
from benchmark.discovery.methods import METHODS
from benchmark.errors import unknown
from benchmark.metrics.catalogue import METRICS
from benchmark.models import LIBRARIES, MODELS
from benchmark.suites.definition import load_suite, suite_names
from benchmark.tasks import TASKS


def print_listing(what: str) -> None:
    """Print one section, or all; InputError for a section that there is not."""
    if what != "all" and what not in SECTIONS:
        raise unknown("section", what, [*SECTIONS, "all"])
    for name, section in SECTIONS.items():
        if what in ("all", name):
            print(name)
            for key, text in section():
                print(f"  {key:32} {text}")


def _tasks() -> list[tuple[str, str]]:
    return [(task.name, task.summary) for task in TASKS.values()]


def _methods() -> list[tuple[str, str]]:
    lines = []
    for info in METHODS.values():
        parameters = ", ".join(f"{p.name}={p.default}" for p in info.parameters) or "none"
        lines.append((info.name, f"[{info.kind}] {info.summary}"))
        lines.append(("", f"tasks: {', '.join(info.tasks)}; reads {info.access}; hyper-parameters: {parameters}"))
    return lines


def _suites() -> list[tuple[str, str]]:
    lines = []
    for name in suite_names():
        suite = load_suite(name)
        lines.append((name, suite.summary))
        lines += [("", f"{s.task} / {s.name}: {len(s.methods)} methods") for s in suite.scenarios.values()]
    return lines


def _models() -> list[tuple[str, str]]:
    return [(name, "") for name in (*MODELS, *(f"{library}:NAME" for library in LIBRARIES))]


SECTIONS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "tasks": _tasks,
    "methods": _methods,
    "suites": _suites,
    "data": lambda: [(name, DATA.get(name).summary) for name in DATA],
    "models": _models,
    "metrics": lambda: [(m.name, f"{m.summary} [{m.unit or 'a number'}]") for m in METRICS.values()],
}
