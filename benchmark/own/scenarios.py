"""Scenarios of the suite ``own``: each is added to its file, so that it can be run again.

Nothing here needs torch but what takes in weights and decodes pictures, which is imported when it is needed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from filelock import FileLock

from benchmark.config import convert
from benchmark.data import OWN as PREFIX
from benchmark.data import manifest
from benchmark.errors import InputError, unknown
from benchmark.files import key_hash, write_atomically
from benchmark.own.brought import Brought
from benchmark.own.inputs import data_of, slug
from benchmark.own.networks import network_name, start_of
from benchmark.own.tasks import settings_of
from benchmark.suites.definition import OWN, Suite, SuiteFile, own_suite, suite_of
from benchmark.tasks import TASKS

#: Seconds of a cell, and threads: what a user's data and model take is not known.
TIMEOUT, THREADS = 86_400.0, 1


def add(brought: Brought, *, keep: bool = True) -> Suite:
    """Take in what was brought, and give the suite ``own`` with its scenario alone, which is added to that if ``keep``.

    InputError, and no scenario is written, where something is wrong with it.
    """
    if brought.task not in TASKS:
        raise unknown("task", brought.task, TASKS)
    network = network_name(brought.model)
    if brought.grey and network.startswith("torchvision:"):
        raise InputError(
            f"--grey: {network} takes pictures in colour; leave it out, or take timm's network of that name"
        )
    if brought.layer and brought.task != "bias-correction":
        raise InputError(f"--layer has no effect in task {brought.task}; leave it out")
    data = data_of(brought)
    told = f"{PREFIX}{data.name}" + (f"@{brought.attribute}" if brought.attribute else "")
    common = {"task": brought.task, "data": told, "model": network}
    settings = common | start_of(brought, network, data) | settings_of(brought, network, data)
    manifest.keep(data)
    _check(settings)
    name = _scenario_name(brought, settings)
    if keep:
        _write(name, settings)
    return suite_of(_alone(name, settings), own_suite())


def _alone(name: str, settings: Mapping[str, Any]) -> SuiteFile:
    """The suite's file with this scenario alone, and what was tuned for it."""
    written = tomllib.loads(_written())
    same = written.get("scenarios", {}).get(name) == settings
    tuned = written.get("hyperparameters", {}).get(name, {}) if same else {}
    only = {"scenarios": {name: dict(settings)}, "hyperparameters": {name: tuned}}
    return convert({**written, **only}, SuiteFile, "suite.toml")


def _check(settings: Mapping[str, Any]) -> None:
    """InputError for settings that are no scenario: the suite's file must stay one that can be read."""
    task = TASKS.get(settings["task"])
    own = {name: value for name, value in settings.items() if name != "methods"}
    try:
        task.check(convert(own, task.scenario, "scenario"))
    except ValueError as error:
        raise InputError(str(error)) from error


def _scenario_name(brought: Brought, settings: Mapping[str, Any]) -> str:
    """What it is, readable, and 8 hex digits of everything but the recipe: with another one it is the same question."""
    parts = [brought.name or brought.data.resolve().name, brought.model]
    parts += ["forget", brought.forget] if brought.forget else []
    parts += ["by", brought.attribute] if brought.attribute else []
    question = {name: value for name, value in settings.items() if name not in ("training", "methods")}
    return f"{slug(' '.join(parts))}-{key_hash(question)[:8]}"


def _write(name: str, settings: Mapping[str, Any]) -> None:
    """Put the scenario into the suite's file, in the place of one of that name; what was tuned for it stays."""
    import tomlkit

    path = own_suite()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        document = tomlkit.parse(_written())
        scenarios = document.setdefault("scenarios", tomlkit.table(is_super_table=True))
        if scenarios.get(name, settings) != settings:
            document.get("hyperparameters", {}).pop(name, None)  # it was another scenario
        scenarios[name] = dict(settings)
        write_atomically(path, tomlkit.dumps(document).encode())


def _written() -> str:
    """What the suite's file says so far."""
    return own_suite().read_text("utf-8") if own_suite().is_file() else _EMPTY


_EMPTY = f"""name = "{OWN}"
summary = "Data and models of the user's own."
threads = {THREADS}
timeout = {TIMEOUT}
tuning = {{ seeds = [102, 105, 108], configurations = 12 }}
"""
