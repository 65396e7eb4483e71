"""What a scenario's cells need of a machine, as far as a scheduler has to be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from benchmark.errors import InputError, unknown

#: The entry that holds for every scenario, as far as its own does not say otherwise.
DEFAULT = "default"
#: Where nothing is said: main memory that the scenarios of the package's suites stay below.
MEMORY_GB = 8.0

Memory = Annotated[float, msgspec.Meta(ge=0.1, le=10_000)]
Gpus = Annotated[int, msgspec.Meta(ge=0, le=16)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[resources.<scenario>]`` or ``[resources.default]`` of a suite file; whatever is left out has a default.

    ``memory_gb``: main memory; ``gpus``: one on CUDA, else none; ``minutes``: the time limit of a scheduler's task,
    which else follows from the estimates and the suite's ``timeout``.
    """

    memory_gb: Memory | None = None
    gpus: Gpus | None = None
    minutes: Minutes | None = None


def resources_of(scenario: str, given: Mapping[str, Resources], device: str) -> Resources:
    """What a scenario needs: its own hints, then those of the default, then what holds where nothing is said."""
    last = Resources(MEMORY_GB, 0 if device == "cpu" else 1)
    merged = {}
    for field in Resources.__struct_fields__:
        hints = [getattr(hint, field) for hint in (given.get(scenario), given.get(DEFAULT), last) if hint is not None]
        merged[field] = next((hint for hint in hints if hint is not None), None)
    return Resources(**merged)


def check_resources(given: Mapping[str, Resources], scenarios: Iterable[str], where: str) -> None:
    """InputError for hints of a scenario that the suite does not have."""
    known = [DEFAULT, *scenarios]
    for name in given:
        if name not in known:
            raise InputError(f"{where}: resources: {unknown('scenario', name, known)}")
