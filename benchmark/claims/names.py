"""Whether what the checks of claims name is there: suites, scenarios, methods, metrics, and what studies have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from benchmark.claims.checks import At, Check, Difference, Kind, Ratio, Reads, Transfer, Trend
from benchmark.claims.declared import ClaimFile
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError, unknown
from benchmark.metrics.catalogue import metric
from benchmark.studies.definition import Study, Sweep, load_study, study_names
from benchmark.studies.expansion import Point, measured_points, points_of
from benchmark.studies.found import is_at
from benchmark.studies.transfer import PLACE
from benchmark.suites.definition import Suite, load_suite
from benchmark.tasks import TASKS, Task


@cache
def suite_called(name: str) -> Suite:
    """A suite, read once."""
    return load_suite(name)


def check_names(file: ClaimFile, where: str) -> None:
    """InputError for the first name that there is none of, with the near ones; a study that is not there has none."""
    for name, claim in file.claims.items():
        for number, check in enumerate(claim.checks, start=1):
            place = f"{where}: claims.{name}, check {number}"
            for task in _in_suite(check, place) if check.suite else _in_study(check, place):
                _check_reads(check, task, place)
                _check_per(check, task, place)
                for own in metrics_of(check):
                    _check_metric(own, task, place)


def metrics_of(check: Check) -> list[str]:
    """The metrics that a check takes."""
    return [name for name in (getattr(check, "metric", ""), getattr(check, "less", "")) if name]


def _in_suite(check: Kind, where: str) -> Iterator[Task]:
    try:
        suite = suite_called(check.suite)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    for name in check.scenarios:
        if name not in suite.scenarios:
            raise InputError(f"{where}: {unknown(f'scenario of {suite.name}', name, suite.scenarios)}")
        task = TASKS.get(suite.scenarios[name].task)
        _check_methods(check.methods, suite.scenarios[name].methods, f"{where}: {name}")
        yield task


def _check_methods(wanted: Iterable[str], known: Iterable[str], where: str) -> None:
    _check_known(wanted, list(known), "method", where)


def _check_metric(name: str, task: Task, where: str) -> None:
    """A metric of the task: recorded, derived from the reference, or at another selection rule."""
    try:
        metric(name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    base = name.removesuffix(".gap").partition("@")[0]
    known = {own.removesuffix(".gap").partition("@")[0] for own in (*task.metrics, *task.headline)}
    if base not in known:
        raise InputError(f"{where}: {unknown(f'metric of {task.name}', name, {*task.metrics, *task.headline})}")


def _check_reads(check: Kind, task: Task, where: str) -> None:
    for view in check.views if isinstance(check, Reads) else ():
        if view not in (*task.views, "selection"):
            raise InputError(f"{where}: {unknown(f'view of {task.name}', view, task.views)}")


def _check_per(check: Kind, task: Task, where: str) -> None:
    """The hyper-parameter that costs are divided by is one of each method."""
    if isinstance(check, Ratio) and check.per:
        for method in check.methods:
            _check_known([check.per], METHODS.get(method, task.name).defaults(), f"hyper-parameter of {method}", where)


def _in_study(check: Kind, where: str) -> Iterator[Task]:
    if check.study not in study_names():
        return
    study = load_study(check.study)
    if check.measurement:
        _check_measurement(check, study, where)
        return
    sweeps = [check.sweep, *([check.versus_sweep] if isinstance(check, Difference) and check.versus_sweep else [])]
    found = [_sweep(study, name, where) for name in sweeps]
    scenario = suite_called(found[0].suite or study.file.suite).scenarios[found[0].scenario]
    task = TASKS.get(scenario.task)
    references = (task.original, task.reference)
    _check_methods([check.method], found[0].methods, where)
    others = check.methods[1:]
    _check_methods(others, [*found[-1].methods, *references], where)
    for method in check.methods:
        METHODS.get(method, task.name)
    _check_fields(check, found, where)
    yield task


def _check_measurement(check: Kind, study: Study, where: str) -> None:
    known = study.file.measurements
    if check.measurement not in known:
        raise InputError(f"{where}: {unknown(f'measurement of {study.name}', check.measurement, known)}")
    own = known[check.measurement]
    points = measured_points(own, where)
    if isinstance(check, Transfer):
        _check_known([check.of, *check.to], [str(point.get(PLACE)) for point in points], PLACE, where)
    fields = {name for point in points for name in point}
    _check_known(_fields_named(check), fields, f"field of {check.measurement}", where)
    shown = [name for name in metrics_of(check) if "@" not in name]
    _check_known(shown, own.metrics, f"metric of {check.measurement}", where)
    for at in (*(at for _, at in check.places), getattr(check, "versus_at", None)):
        if at is not None and sum(is_at("", point, at) for point in points) != 1:
            raise InputError(f"{where}: {at} is no one point of {check.measurement}")


def _fields_named(check: Check) -> list[str]:
    """Fields of points by which a check says where it is made."""
    return [name for _, at in check.places if isinstance(at, dict) for name in at]


def _check_known(wanted: Iterable[str], known: Iterable[str], what: str, where: str) -> None:
    for name in wanted:
        if name not in known:
            raise InputError(f"{where}: {unknown(what, name, known)}")


def _sweep(study: Study, name: str, where: str) -> Sweep:
    if name not in study.file.sweeps:
        raise InputError(f"{where}: {unknown(f'sweep of {study.name}', name, study.file.sweeps)}")
    return study.file.sweeps[name]


def _check_fields(check: Kind, sweeps: list[Sweep], where: str) -> None:
    """The fields that say which points are meant must be fields of points, and each point must be one."""
    every = points_of(sweeps[0], where)
    known = {field for point in every for field in point.fields}
    _check_known(_fields_named(check), known, f"field of {check.sweep}", where)
    if isinstance(check, Trend):
        _check_known([check.over, *check.within], known | {"x"}, f"field of {check.sweep}", where)
        return
    for _, at in check.places:
        _check_point(at, every, check.sweep, where)
    if isinstance(check, Difference) and (check.versus_sweep or check.versus_at is not None):
        _check_point(check.versus_at, points_of(sweeps[-1], where), check.versus_sweep or check.sweep, where)


def _check_point(at: At, points: list[Point], sweep: str, where: str) -> None:
    meant = sum(is_at(point.x, point.fields, at) for point in points)
    if meant != 1:
        places = ", ".join(f"{point.x}" for point in points)
        raise InputError(f"{where}: {at} is {meant} points of {sweep}, not one; on its axis there are {places}")
