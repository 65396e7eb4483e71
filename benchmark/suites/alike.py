"""Scenarios that are like another one of their suite file: what they do not say themselves is said there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.errors import InputError, unknown

#: The setting that names the other scenario.
LIKE = "like"
#: Scenarios of a circle that an error names.
NAMED = 5

Table = Mapping[str, Mapping[str, Any]]


def patterns(scenarios: Table, where: str) -> dict[str, str | None]:
    """Each scenario to the one that it is like, None where there is none; a scenario stands behind the one it is like.

    InputError for a name that no scenario has, and where scenarios are like each other in a circle.
    """
    found: dict[str, str | None] = {}
    for name in scenarios:
        chain: dict[str, str | None] = {}
        at: str | None = name
        while at is not None and at not in found:
            if at in chain:
                raise InputError(f"{where}: scenarios.{at}.{LIKE}: {_circle(list(chain), at)}")
            chain[at] = _pattern(scenarios, at, where)
            at = chain[at]
        found.update(reversed(chain.items()))
    return found


def _pattern(scenarios: Table, name: str, where: str) -> str | None:
    other = scenarios[name].get(LIKE)
    if other is None:
        return None
    if not isinstance(other, str):
        raise InputError(f"{where}: scenarios.{name}.{LIKE} must name a scenario, not {other!r:.50}")
    if other not in scenarios:
        raise InputError(f"{where}: scenarios.{name}.{LIKE}: {unknown('scenario', other, scenarios)}")
    return other


def _circle(chain: list[str], first: str) -> str:
    members = [*chain[chain.index(first) :], first]
    shown = members if len(members) <= NAMED else [*members[: NAMED - 1], "...", first]
    return f"{' is like '.join(shown)}: one of them must say all of its settings"


def settings_in_full(scenarios: Table, where: str) -> dict[str, dict[str, Any]]:
    """The settings of every scenario, its own in the place of those of the one that it is like.

    A setting is replaced whole, tables too. InputError as for :func:`patterns`.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, other in patterns(scenarios, where).items():
        own = {key: value for key, value in scenarios[name].items() if key != LIKE}
        found[name] = (found[other] if other is not None else {}) | own
    return {name: found[name] for name in scenarios}


def heirs(scenarios: Table, where: str) -> dict[str, str]:
    """Scenarios that have hyper-parameters of another one, to that one: the one that they are like, of the same task.

    A scenario stands behind the one that it is like. InputError as for :func:`patterns`.
    """
    full = settings_in_full(scenarios, where)
    found = {name: other for name, other in patterns(scenarios, where).items() if other is not None}
    return {name: other for name, other in found.items() if full[name].get("task") == full[other].get("task")}


def hyperparameters_in_full(scenarios: Table, own: Table, where: str) -> dict[str, dict[str, Any]]:
    """What is said of every scenario's methods: of each method its own, else that of the one that it is like.

    ``own``: by scenario and method what the file says. InputError as for :func:`patterns`.
    """
    above = heirs(scenarios, where)
    found: dict[str, dict[str, Any]] = {}
    for name in patterns(scenarios, where):
        inherited = found[above[name]] if name in above else {}
        found[name] = inherited | dict(own.get(name, {}))
    return found
