"""Versions and defaults of methods, as they were written down: who changes a default changes what results mean."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from benchmark.discovery.methods import METHODS

WRITTEN = tomllib.loads(Path(__file__).with_name("defaults.toml").read_text("utf-8"))


@pytest.mark.parametrize(("task", "name"), [(task, name) for task, names in WRITTEN.items() for name in names])
def test_a_default_changes_with_the_version_of_its_method(task: str, name: str) -> None:
    """Where this fails: raise ``version`` in the declaration, and write both into defaults.toml."""
    info = METHODS.get(name, task)
    assert {"version": info.version, **info.defaults()} == WRITTEN[task][name]


def test_all_methods_of_the_papers_are_written_down() -> None:
    papers = {(info.tasks[0], info.name) for info in METHODS.values() if info.kind == "paper"}
    assert papers <= {(task, name) for task, names in WRITTEN.items() for name in names}
