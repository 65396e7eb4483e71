"""What a record claims of itself, checked without its arrays: identity, names, hyper-parameters, status, values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from benchmark.contracts import MethodInfo
from benchmark.data import DATA, OWN
from benchmark.discovery.methods import METHODS, check_parameters, from_outside
from benchmark.discovery.methods import NAME as METHOD
from benchmark.errors import InputError
from benchmark.rescoring.ranges import impossible
from benchmark.running.plan import digests
from benchmark.running.records import SCHEMA, Cell, Record
from benchmark.suites.definition import NAME, RESERVED
from benchmark.tasks import TASKS, Task

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Claimed:
    """What was found. ``wrong``: a line each. ``older``: declared versions that are others today; empty where none is.

    ``moved``: code that the result depends on is not today's. ``scenario``: the settings, where they are valid today.
    ``absent``: its method is from outside and not installed here, so that nothing that it declares could be checked.
    ``foreign``: its data set is somebody's own and is not known here, so that nothing that depends on it could be.
    """

    wrong: list[str] = field(default_factory=list)
    sound: bool = False
    older: str = ""
    moved: bool = False
    absent: bool = False
    foreign: bool = False
    scenario: Any = None


def check(record: Record, file: str) -> Claimed:
    """Everything that a record's JSON, at ``file`` below the results folder, can be checked for by itself."""
    found = Claimed()
    found.wrong += _identity(record, file)
    found.sound = not found.wrong
    cell = record.cell
    try:
        task = TASKS.get(cell.task)
        found.absent = cell.external and not METHODS.has(cell.method, task.name)
        info = None if found.absent else METHODS.get(cell.method, task.name)
    except InputError as error:
        found.wrong.append(str(error))
        return found
    found.older = _older(cell, task, info)
    found.moved = info is not None and cell.digests != digests(task.implementation, info.module)
    found.wrong += _names(cell, info)
    if info is not None and not found.older:
        found.wrong += _parameters(cell, info, complete=not found.moved)
    data = str(cell.settings.get("data", ""))
    found.foreign = data.startswith(OWN) and data not in DATA
    try:
        found.scenario = None if found.foreign else _scenario(cell, task)
    except InputError as error:
        found.wrong += [] if found.older else [str(error)]
    found.wrong += _result(record)
    return found


def _identity(record: Record, file: str) -> list[str]:
    """The store leaves such a record out."""
    cell = record.cell
    pairs = {"schema": (record.schema, SCHEMA), "hash": (record.hash, cell.hash), "path": (cell.file, file)}
    wrong = [f"its {what} is {own!r}, not {expected!r}" for what, (own, expected) in pairs.items() if own != expected]
    return wrong if cell.has_plain_names() else [*wrong, "its path is not made of plain names"]


def _older(cell: Cell, task: Task, info: MethodInfo | None) -> str:
    now = {"task": task.version} if info is None else {"task": task.version, "method": info.version}
    if info is not None and cell.external != from_outside(info):
        return f"made when {cell.method} was a method {'from outside' if cell.external else 'of AmendBench'}"
    other = [what for what in now if cell.versions.get(what) != now[what]]
    return " and ".join(f"made by version {cell.versions.get(what)} of the {what}, now {now[what]}" for what in other)


def _names(cell: Cell, info: MethodInfo | None) -> list[str]:
    wrong = []
    for what, name in (("suite", cell.suite), ("scenario", cell.scenario)):
        if not NAME.fullmatch(name) or name in RESERVED:
            wrong.append(f"{what} {name!r} is no name")
    if info is None and not METHOD.fullmatch(cell.method):
        wrong.append(f"method {cell.method!r} is no name")
    if info is not None and cell.external == from_outside(info) and cell.kind != info.kind:
        wrong.append(f"kind is {cell.kind}, but method {cell.method} is a {info.kind}")
    if not 1 <= cell.threads <= 1024:
        wrong.append(f"threads are {cell.threads}, not 1 to 1024")
    return wrong


def _parameters(cell: Cell, info: MethodInfo, *, complete: bool) -> list[str]:
    """Earlier code of the same version may have had fewer hyper-parameters: a new one whose default changes nothing."""
    try:
        whole = check_parameters(info, cell.parameters, "hyper-parameters")
    except InputError as error:
        return [str(error)]
    missing = sorted(set(whole) - set(cell.parameters))
    return [f"hyper-parameters: {', '.join(missing)} missing"] if missing and complete else []


def _scenario(cell: Cell, task: Task) -> Any:
    """The settings in their type; InputError where they are none of today's, or the unit is not what they give."""
    try:
        scenario: Any = msgspec.convert(cell.settings, task.scenario)
        task.check(scenario)
        unit = task.unit(scenario, cell.seed)
    except (InputError, ValueError, TypeError, ArithmeticError) as error:
        raise InputError(f"settings: {error}") from error
    if scenario.task != task.name:
        raise InputError(f"settings: they are of task {scenario.task}")
    if cell.unit != unit:
        raise InputError(f"unit is {cell.unit!r}, but seed {cell.seed} amends {unit}")
    return scenario


def _result(record: Record) -> list[str]:
    wrong = impossible(record.metrics, record.cell.task)
    has_result = bool(record.metrics) or record.arrays is not None
    if (record.status == "ok") != (record.failure is None):
        wrong.append(f"status is {record.status}, but there is {'a' if record.failure else 'no'} failure")
    if record.status != "ok" and has_result:
        wrong.append(f"status is {record.status}, but there are metrics or arrays")
    if record.status == "ok" and not has_result:
        wrong.append("status is ok, but there is no metric")
    for name, count in record.groups.items():
        if count.right > count.n:
            wrong.append(f"group {name!r}: {count.right} of {count.n} samples right")
    return wrong + _circumstances(record)


def _circumstances(record: Record) -> list[str]:
    wrong = []
    if record.arrays is not None and not SHA256.fullmatch(record.arrays):
        wrong.append(f"arrays is {record.arrays!r}, which is no SHA-256")
    try:
        datetime.fromisoformat(record.created)
    except ValueError:
        wrong.append(f"created is {record.created!r}, which is no time")
    return wrong
