"""Measurements of a study: taken where they are missing, kept as JSON, and read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmark import environment
from benchmark.discovery.source import digest
from benchmark.errors import InputError
from benchmark.files import read_regular, write_atomically
from benchmark.running.records import MOST, STUDIES
from benchmark.studies.definition import Study
from benchmark.studies.expansion import measured_points

#: The folder beside the studies' records that has their measurements.
FOLDER = "measured"
LARGEST = 2**20


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was measured at one point with one seed. ``digest``: of the source that measured it."""

    study: str
    name: str
    point: dict[str, Any]
    seed: int
    values: dict[str, float]
    digest: str
    seconds: float
    environment: dict[str, str]
    created: str


def read_measurements(study: Study, name: str, results: Path) -> list[Measurement]:
    """Those that are there of what the study asks for today, in the order of its points."""
    read = (_read(_path(study, name, point, seed, results)) for point, seed in asked(study, name))
    return [one for one in read if one is not None]


def missing(study: Study, results: Path, *, fresh: bool = False) -> list[tuple[str, dict[str, Any], int]]:
    """What has to be measured: all that is not there, or was measured by other source."""
    found = []
    for name, own in study.file.measurements.items():
        now = digest(module_of(own.of))
        for point, seed in asked(study, name):
            kept = None if fresh else _read(_path(study, name, point, seed, results))
            if kept is None or kept.digest != now:
                found.append((name, point, seed))
    return found


def stale(study: Study, name: str, results: Path) -> int:
    """How many measurements were taken by other source than today's."""
    now = digest(module_of(study.file.measurements[name].of))
    return sum(one.digest != now for one in read_measurements(study, name, results))


def measure(study: Study, name: str, point: dict[str, Any], seed: int, results: Path) -> Measurement:
    """Measure one point with one seed, and keep it. Whatever the function raises is raised."""
    import time

    own = study.file.measurements[name]
    function = _function(own.of)
    start = time.perf_counter()
    values = function(point, seed)
    wrong = [key for key, value in values.items() if not abs(value) <= MOST]
    if wrong:
        raise InputError(f"{study.name}: {name} at {point}, seed {seed}: {wrong[0]} is {values[wrong[0]]}")
    taken = Measurement(
        study.name,
        name,
        point,
        seed,
        {key: float(value) for key, value in values.items()},
        digest(module_of(own.of)),
        time.perf_counter() - start,
        environment.describe(environment.processor()),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    content = msgspec.json.format(msgspec.json.encode(taken, order="sorted"), indent=1) + b"\n"
    write_atomically(_path(study, name, point, seed, results), content)
    return taken


def module_of(name: str) -> str:
    """The module of a measurement."""
    return f"benchmark.studies.measuring.{name}"


def _function(name: str) -> Callable[[dict[str, Any], int], dict[str, float]]:
    try:
        module = importlib.import_module(module_of(name))
    except ModuleNotFoundError as error:
        if error.name != module_of(name):
            raise
        raise InputError(f"there is no measurement called {name!r}") from error
    function: Callable[[dict[str, Any], int], dict[str, float]] = module.measure
    return function


def asked(study: Study, name: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The points and seeds of a measurement."""
    own = study.file.measurements[name]
    for point in measured_points(own, f"{study.name}.toml: measurements.{name}"):
        for seed in range(own.seeds):
            yield point, seed


def _path(study: Study, name: str, point: dict[str, Any], seed: int, results: Path) -> Path:
    short = hashlib.sha256(json.dumps(point, sort_keys=True).encode()).hexdigest()[:12]
    return results / STUDIES / FOLDER / study.name / f"{name}-{short}-seed{seed}.json"


def _read(path: Path) -> Measurement | None:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return msgspec.json.decode(read_regular(path, LARGEST), type=Measurement)
    return None
