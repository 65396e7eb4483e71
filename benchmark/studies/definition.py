"""What a study is: a TOML file that says what is varied in which scenarios, and what was found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from benchmark.config import convert, read_toml
from benchmark.errors import InputError, unknown
from benchmark.metrics.catalogue import metric

FOLDER = Path(__file__).parent
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
#: What a module of measurements or analyses may be called.
MODULE = re.compile(r"[a-z][a-z0-9_]*")
#: The sweep that scenarios with references alone belong to.
REFERENCES = "references"
#: Points of a sweep or a measurement at most: more is a slip of the pen.
MOST_POINTS = 500
Values = dict[str, list[Any]]


class PointFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A point by hand: its place on the axis, what it changes, and ``fields`` that say what else it is."""

    x: float | str
    settings: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    fields: dict[str, Any] = {}


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is changed at every point of a sweep."""

    settings: dict[str, Any] = {}
    parameters: dict[str, Any] = {}


class Sweep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Methods in one scenario, with settings of the scenario or hyper-parameters that vary.

    ``settings`` and ``parameters`` are lists that are crossed, or ``points`` are listed; dotted names of settings reach
    inside. ``lines``: the varying field that makes the lines of a figure. Sweeps with one ``figure`` are shown
    together. ``reference``: whether the task's original and reference are run at every setting; otherwise gaps are
    taken to those of the scenario as it is. ``suite`` is the study's unless it is said.
    """

    scenario: str
    methods: list[str]
    x: str
    title: str = ""
    suite: str = ""
    log: bool = False
    lines: str = ""
    figure: str = ""
    reference: bool = True
    fixed: Fixed = Fixed()
    settings: Values = {}
    parameters: Values = {}
    points: list[PointFile] = []
    metrics: list[str] = []


class MeasurementFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function of ``benchmark.studies.measuring`` at points that are crossed or listed, for seeds 0 to n - 1."""

    of: str
    x: str
    metrics: list[str]
    title: str = ""
    points: Values | list[dict[str, Any]] = {}
    seeds: int = 3
    lines: str = ""
    log: bool = False


class StudyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A study's file. ``found``, ``meaning`` and ``contradicts`` are templates
    (``benchmark.reporting.studies.texts``).
    """

    title: str
    question: str
    paper: str
    suite: str = "embedded"
    seeds: int = 3
    metrics: list[str] = []
    sweeps: dict[str, Sweep] = {}
    measurements: dict[str, MeasurementFile] = {}
    analyses: list[str] = []
    found: str = ""
    meaning: str = ""
    contradicts: str = ""


class Study(msgspec.Struct, frozen=True):
    """A study by its name, which is that of its file."""

    name: str
    file: StudyFile

    @property
    def command(self) -> str:
        """The command that makes it."""
        return f"make study STUDY={self.name}"

    def metrics_of(self, sweep: str) -> list[str]:
        """What tables and figures of a sweep show."""
        return self.file.sweeps[sweep].metrics or self.file.metrics


def study_names() -> list[str]:
    """The studies that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_study(name: str) -> Study:
    """The study called ``name``, or the one in the file ``name`` if it ends in ``.toml``; InputError if it is wrong."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in study_names():
        raise unknown("study", name, study_names())
    if not NAME.fullmatch(path.stem):
        raise InputError(f"{path.name}: a study is called by lower-case letters, digits and -, not {path.stem!r}")
    file = convert(read_toml(path), StudyFile, path.name)
    _check(file, path.name)
    return Study(path.stem, file)


def _check(file: StudyFile, where: str) -> None:
    if not file.sweeps and not file.measurements and not file.analyses:
        raise InputError(f"{where}: there is nothing in it; it needs sweeps, measurements or analyses")
    if file.seeds < 1:
        raise InputError(f"{where}: seeds must be at least 1, not {file.seeds}")
    for name in (*file.sweeps, *file.measurements):
        if not NAME.fullmatch(name):
            raise InputError(f"{where}: {name!r} is no name; use lower-case letters, digits and -")
    if REFERENCES in file.sweeps:
        raise InputError(f"{where}: sweeps.{REFERENCES}: that is what the originals and references are called")
    both = sorted(file.sweeps.keys() & file.measurements.keys())
    if both:
        raise InputError(f"{where}: {both[0]} is a sweep and a measurement; give them different names")
    for module in (*(own.of for own in file.measurements.values()), *file.analyses):
        if not MODULE.fullmatch(module):
            raise InputError(f"{where}: {module!r} is no module's name")
    for name, sweep in file.sweeps.items():
        _check_sweep(sweep, file, f"{where}: sweeps.{name}")


def _check_sweep(sweep: Sweep, file: StudyFile, where: str) -> None:
    if sweep.points and (sweep.settings or sweep.parameters):
        raise InputError(f"{where}: points are listed or crossed, not both")
    empty = [name for own in (sweep.settings, sweep.parameters) for name, values in own.items() if not values]
    if empty:
        raise InputError(f"{where}: {empty[0]} has no value")
    if not sweep.metrics and not file.metrics:
        raise InputError(f"{where}: metrics are missing")
    for name in (*sweep.metrics, *file.metrics):
        metric(name)
