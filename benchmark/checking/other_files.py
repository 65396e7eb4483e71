"""What lies below a results folder beside records: studies of tuning and comparisons of ensembles."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.errors import InputError
from benchmark.metrics.catalogue import METRICS
from benchmark.rescoring.ranges import SLACK, bounds
from benchmark.running.ensembles import FOLDER as ENSEMBLES
from benchmark.running.ensembles import EnsembleRecord
from benchmark.tasks import TASKS
from benchmark.tuning.search import Study, Trial

TUNING = "tuning"


def check_other(content: bytes, file: str) -> list[str]:
    """What is wrong with the JSON file at ``file`` below the results folder, in ``tuning`` or ``ensembles``."""
    study = file.startswith(f"{TUNING}/")
    kind: Any = Study if study else EnsembleRecord
    try:
        found = msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        return [f"it cannot be read: {error}"]
    expected = study_file(found) if study else comparison_file(found)
    wrong = [] if file == expected else [f"its path is {expected!r} by its content"]
    try:
        task = TASKS.get(found.task)
        if not found.external:
            METHODS.get(found.method, task.name)
    except InputError as error:
        return [*wrong, str(error)]
    return wrong + (_study(found) if study else _comparison(found))


def study_file(study: Study) -> str:
    """Where a study lies below the results folder."""
    return "/".join((TUNING, study.suite, study.task, study.scenario, f"{study.method}.json"))


def comparison_file(found: EnsembleRecord) -> str:
    """Where a comparison of ensembles lies below the results folder."""
    name = f"{found.method}-{found.device.replace(':', '-')}.json"
    return "/".join((ENSEMBLES, found.suite, found.task, found.scenario, name))


def _study(study: Study) -> list[str]:
    if not study.trials:
        return ["it has no trial"]
    wrong = []
    for number, trial in enumerate(study.trials):
        wrong += [f"trial {number}: {what}" for what in _trial(trial, study)]
    best = study.best.parameters
    different = [name for name, value in study.chosen.items() if name not in best or best[name] != value]
    if different:
        wrong.append(f"chosen {', '.join(different)} is not that of the best trial")
    return wrong


def _trial(trial: Trial, study: Study) -> list[str]:
    wrong = []
    if len(trial.scores) != len(study.seeds) or not trial.scores:
        return [f"{len(trial.scores)} scores of {len(study.seeds)} seeds"]
    if abs(sum(trial.scores) / len(trial.scores) - trial.score) > SLACK * max(1.0, abs(trial.score)):
        wrong.append(f"score is {trial.score}, which is not the mean over seeds")
    if study.external and not METHODS.has(study.method, study.task):  # nobody can tell here
        return wrong
    try:
        check_parameters(METHODS.get(study.method, study.task), trial.parameters, "hyper-parameters")
    except InputError as error:
        wrong.append(str(error))
    return wrong


def _comparison(found: EnsembleRecord) -> list[str]:
    wrong = []
    for name, value in found.metrics.items():
        if name not in METRICS:
            wrong.append(f"metric {name!r} is not known")
            continue
        low, high = bounds(name)
        if value is not None and not (math.isfinite(value) and low - SLACK <= value <= high + SLACK):
            wrong.append(f"{name} is {value:g}, which it cannot be")
    wrong += _intervals(found)
    if found.n < 1 or found.examples < 1:
        wrong.append(f"it compares {found.n} models on {found.examples} examples")
    if found.p is not None and not 0 <= found.p <= 1:
        wrong.append(f"p is {found.p:g}")
    return wrong


def _intervals(found: EnsembleRecord) -> list[str]:
    """What is wrong with intervals: each must hold the value that it is about."""
    wrong = []
    for name, (low, high) in found.intervals.items():
        value = found.metrics.get(name)
        if value is None:
            wrong.append(f"there is an interval of {name!r}, but no value")
        elif not low - SLACK <= value <= high + SLACK:
            wrong.append(f"the interval of {name}, {low:g} to {high:g}, is not around {value:g}")
    return wrong
