"""A study's sweeps as a suite: each point is a scenario, and so is each setting that references are run at."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from benchmark.config import convert
from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.errors import InputError, unknown
from benchmark.running.plan import settings_of
from benchmark.studies.definition import MOST_POINTS, REFERENCES, MeasurementFile, Study, Sweep
from benchmark.suites.definition import Scenario, Suite, load_suite
from benchmark.tasks import TASKS


@dataclass(frozen=True)
class Point:
    """A place in a sweep: where it is on the axis, and everything that says what it is."""

    x: float | str
    fields: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What a scenario of the expanded suite is: a point of a sweep, and where its references are."""

    sweep: str
    point: Point
    references: str


@dataclass(frozen=True)
class Expanded:
    """A study's sweeps: the suite that runs them, and what each of its scenarios is. No suite: no sweeps."""

    suite: Suite | None
    places: dict[str, Place]


def points_of(sweep: Sweep, where: str) -> list[Point]:
    """The points of a sweep in their order; InputError for too many."""
    if sweep.points:
        found = [
            Point(p.x, {"x": p.x, **p.settings, **p.parameters, **p.fields}, p.settings, p.parameters)
            for p in sweep.points
        ]
    else:
        varying = {**sweep.settings, **sweep.parameters}
        _check_apart(sweep, where)
        found = [_crossed(sweep, dict(zip(varying, values, strict=True))) for values in _product(varying, where)]
    return found


def measured_points(measurement: MeasurementFile, where: str) -> list[dict[str, Any]]:
    """The points of a measurement in their order."""
    if isinstance(measurement.points, list):
        return measurement.points
    return [dict(zip(measurement.points, values, strict=True)) for values in _product(measurement.points, where)]


def expanded(study: Study) -> Expanded:
    """The suite of a study; InputError where a name, a setting or a hyper-parameter is wrong."""
    if not study.file.sweeps:
        return Expanded(None, {})
    first = load_suite(study.file.suite)
    scenarios: dict[str, Scenario] = {}
    places: dict[str, Place] = {}
    wanted: dict[str, tuple[str, Scenario, Scenario]] = {}
    for name, sweep in study.file.sweeps.items():
        where = f"{study.name}.toml: sweeps.{name}"
        base = _base(sweep, study, where)
        for point in points_of(sweep, where):
            made = _scenario(f"{name}{_slug(point.fields)}", base, sweep, point, where)
            if made.name in scenarios:
                raise InputError(f"{where}: two points are called {made.name}")
            scenarios[made.name] = made
            compared = made if sweep.reference else base
            key = _key(compared)
            if key not in wanted:
                wanted[key] = f"{REFERENCES}-{len(wanted)}", compared, base
            places[made.name] = Place(name, point, wanted[key][0])
    for name, compared, base in wanted.values():
        scenarios[name] = _references(name, compared, base)
        places[name] = Place(REFERENCES, Point(name, {}), name)
    suite = msgspec.structs.replace(
        first, name=study.name, summary=study.file.title, scenarios=scenarios, resources={}, stacked={}
    )
    return Expanded(suite, places)


def _check_apart(sweep: Sweep, where: str) -> None:
    both = sorted(sweep.settings.keys() & sweep.parameters.keys())
    if both:
        raise InputError(f"{where}: {both[0]} is a setting and a hyper-parameter; list the points instead")


def _product(varying: Mapping[str, list[Any]], where: str) -> Iterator[tuple[Any, ...]]:
    count = 1
    for values in varying.values():
        count *= len(values)
    if not 0 < count <= MOST_POINTS:
        raise InputError(f"{where}: it has {count} points; 1 to {MOST_POINTS} are allowed")
    return itertools.product(*varying.values())


def _crossed(sweep: Sweep, fields: dict[str, Any]) -> Point:
    on_axis = next((value for name, value in fields.items() if name != sweep.lines), "")
    x = on_axis if isinstance(on_axis, (int, float)) and not isinstance(on_axis, bool) else _text(on_axis)
    settings = {name: fields[name] for name in sweep.settings}
    return Point(x, fields, settings, {name: fields[name] for name in sweep.parameters})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _base(sweep: Sweep, study: Study, where: str) -> Scenario:
    suite = load_suite(sweep.suite or study.file.suite)
    if sweep.scenario not in suite.scenarios:
        raise InputError(f"{where}: {unknown('scenario', sweep.scenario, suite.scenarios)}")
    if not sweep.methods:
        raise InputError(f"{where}: methods: there is none")
    return suite.scenarios[sweep.scenario]


def _scenario(name: str, base: Scenario, sweep: Sweep, point: Point, where: str) -> Scenario:
    changes = {**sweep.fixed.settings, **point.settings}
    settings = changed(base, changes, where)
    own = {**sweep.fixed.parameters, **point.parameters}
    methods, provenance = {}, {}
    for method in sweep.methods:
        methods[method] = _parameters(method, base, own, where)
        said = ", ".join(f"{key} = {_text(value)}" for key, value in own.items())
        start = base.provenance.get(_start(method, base), "defaults")
        provenance[method] = f"{start}; the study sets {said}" if said else start
    return Scenario(name, base.task, settings, methods, provenance)


def changed(base: Scenario, changes: Mapping[str, Any], where: str) -> Any:
    """A scenario's settings with some changed, checked by its task; InputError for what does not fit."""
    task = TASKS.get(base.task)
    raw = settings_of(base.settings)
    for name, value in changes.items():
        inside, last = raw, name.split(".")[-1]
        for part in name.split(".")[:-1]:
            if not isinstance(inside.get(part), dict):
                raise InputError(f"{where}: {unknown('setting', name, raw)}")
            inside = inside[part]
        if last not in inside:
            raise InputError(f"{where}: {unknown('setting', name, inside)}")
        inside[last] = value
    typed = convert(raw, task.scenario, where)
    try:
        task.check(typed)
    except (InputError, ValueError) as error:
        raise InputError(f"{where}: {error}") from error
    return typed


def _start(method: str, base: Scenario) -> str:
    """The method whose tuned hyper-parameters a method starts from: an ablation from those of its parent."""
    return method if method in base.methods else method.partition("+")[0]


def _parameters(method: str, base: Scenario, own: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = METHODS.get(method, base.task)
    names = known.defaults()
    tuned = {key: value for key, value in base.methods.get(_start(method, base), {}).items() if key in names}
    return check_parameters(known, {**tuned, **own}, f"{where}: {method}")


def _key(scenario: Scenario) -> str:
    return json.dumps([scenario.task, settings_of(scenario.settings)], sort_keys=True)


def _references(name: str, like: Scenario, base: Scenario) -> Scenario:
    task = TASKS.get(like.task)
    methods = {method: _parameters(method, base, {}, name) for method in (task.original, task.reference)}
    provenance = {method: base.provenance.get(method, "defaults") for method in methods}
    return Scenario(name, like.task, like.settings, methods, provenance)


def _slug(fields: Mapping[str, Any]) -> str:
    """What a point adds to its scenario's name."""
    parts = [name for pair in fields.items() for name in pair]
    words = [str(part).lower().replace("-", "m" if isinstance(part, (int, float)) else "-") for part in parts]
    plain = [re.sub(r"[^a-z0-9]+", "-", word.replace(".", "p").replace("+", "")).strip("-") for word in words]
    return "".join(f"-{word}" for word in plain if word)
