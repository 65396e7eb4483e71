"""What RR-ClArC did at every lambda that was tried, read from the studies that tuning keeps below the results."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmark.files import read_regular
from benchmark.running.records import LARGEST

log = logging.getLogger("amendbench")
TASK, METHOD, PARAMETER = "bias-correction", "rr-clarc", "lam"
#: What is beyond it, or closer to 0 on a logarithmic axis than its inverse, is no value that a network can have.
MOST = 1e30
#: A margin closer to 0 than that is 0.
ROUNDING = 1e-9
#: What is drawn, in the order of the figure.
METRICS = ("accuracy.clean", "accuracy.attacked", "tcav", "tcav.sensitivity")


class Trial(msgspec.Struct, frozen=True):
    """Of a trial what is drawn; numbers that were not finite are written as null."""

    parameters: dict[str, Any]
    scores: list[float | None]
    failures: list[str]
    metrics: list[dict[str, float | None]] = []
    margin: float = 0.0


class Study(msgspec.Struct, frozen=True):
    suite: str
    task: str
    scenario: str
    method: str
    seeds: list[int]
    trials: list[Trial]
    chosen: dict[str, Any]


class Point(NamedTuple):
    """A metric at one lambda: mean, lowest and highest over the tuning seeds that have a value."""

    lam: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sweep:
    """One scenario: points by metric, lambda rising; metrics without any are left out.

    ``chosen``: None where that is lambda = 0, which has no place on the axis. ``refused``: the values of lambda at
    which a tuning seed failed, or clean accuracy fell below the scenario's floor, which a margin below 0 tells.
    """

    scenario: str
    seeds: tuple[int, ...]
    chosen: float | None
    curves: Mapping[str, Sequence[Point]]
    refused: frozenset[float]


def sweeps(results: Path, suite: str) -> list[Sweep]:
    """The suite's sweeps by scenario. Files that cannot be read or are something else are left out with a warning."""
    found = []
    for path in sorted((results / "tuning" / suite / TASK).glob(f"*/{METHOD}.json")):
        study = read_study(path, suite)
        sweep = None if study is None else _sweep(study)
        if sweep is not None and sweep.curves:
            found.append(sweep)
    return found


def read_study(path: Path, suite: str, method: str = METHOD) -> Study | None:
    try:
        study = msgspec.json.decode(read_regular(path, LARGEST), type=Study)
    except (OSError, ValueError, RecursionError) as error:
        log.warning("study %s is left out: %s", path, error)
        return None
    if (study.suite, study.task, study.scenario, study.method) != (suite, TASK, path.parent.name, method):
        log.warning("study %s is left out: it is one of another suite, task, scenario or method", path)
        return None
    if number(study.chosen.get(PARAMETER)) is None:
        log.warning("study %s is left out: it chose no %s", path, PARAMETER)
        return None
    return study


def _sweep(study: Study) -> Sweep:
    chosen = _positive(study.chosen.get(PARAMETER))
    trials = {lam: trial for trial in study.trials if (lam := _positive(trial.parameters.get(PARAMETER))) is not None}
    curves = {}
    for name in METRICS:
        points = [_point(lam, (values.get(name) for values in trials[lam].metrics)) for lam in sorted(trials)]
        curves[name] = [point for point in points if point is not None]
    refused = (lam for lam, trial in trials.items() if trial.failures or trial.margin < -ROUNDING)
    shown = {name: points for name, points in curves.items() if points}
    return Sweep(study.scenario, tuple(study.seeds), chosen, shown, frozenset(refused))


def _point(lam: float, values: Iterable[float | None]) -> Point | None:
    present = [value for value in values if value is not None and abs(value) < MOST]
    return Point(lam, sum(present) / len(present), min(present), max(present)) if present else None


def number(value: Any) -> float | None:
    """A number from 0 on; None for anything else."""
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and 0 <= value < MOST else None


def _positive(value: Any) -> float | None:
    """A number that has a place on a logarithmic axis; None for anything else."""
    known = number(value)
    return known if known is not None and known > 1 / MOST else None
