"""Chosen hyper-parameters in the file of a suite, where they stand for one scenario alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmark.files import write_atomically
from benchmark.suites.alike import heirs, hyperparameters_in_full
from benchmark.suites.definition import Tuned


def write_tuned(suite: Path, scenario: str, method: str, tuned: Tuned) -> None:
    """Write what was chosen for a method in a scenario into a suite's file, in the place of what is there.

    Comments and order are kept. Scenarios that are like this one keep what they had of it: it is written out for them.
    """
    import tomlkit

    document = tomlkit.parse(suite.read_text("utf-8"))
    for other, kept in _kept_by_others(document.unwrap(), scenario, method, suite.name).items():
        _put(document, other, method, kept)
    _put(document, scenario, method, msgspec.to_builtins(tuned))
    write_atomically(suite, tomlkit.dumps(document).encode())


def _kept_by_others(file: Mapping[str, Any], scenario: str, method: str, where: str) -> dict[str, Any]:
    """What scenarios have of this one now, by their names."""
    own = file.get("hyperparameters", {})
    above = heirs(file["scenarios"], where)
    now = hyperparameters_in_full(file["scenarios"], own, where)[scenario]
    kept = now.get(method, {"parameters": {}, "provenance": "defaults"})
    return {name: kept for name, other in above.items() if other == scenario and method not in own.get(name, {})}


def _put(document: Any, scenario: str, method: str, tuned: Mapping[str, Any]) -> None:
    import tomlkit

    table = document.setdefault("hyperparameters", tomlkit.table(is_super_table=True))
    entry = tomlkit.inline_table()
    entry.update(tuned)
    table.setdefault(scenario, tomlkit.table())[method] = entry
