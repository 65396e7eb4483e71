"""``amendbench submit --predictions FOLDER``: predictions of somebody who ran outside of the harness.

The folder has ``metadata.toml`` and an .npz file a cell, as ``amendbench submit --template`` describes them.
"""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from benchmark.config import convert, read_toml
from benchmark.errors import InputError, unknown
from benchmark.files import read_regular
from benchmark.running.arrays import MOST_BYTES, read_arrays
from benchmark.submissions.archive import pack, pack_arrays
from benchmark.submissions.expected import check_predictions, checksum, expected, halved
from benchmark.submissions.submission import SCHEMA, Part, Submission, check, check_reported
from benchmark.suites.definition import Scenario, load_suite
from benchmark.tasks import TASKS

METADATA = "metadata.toml"


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell in ``metadata.toml``: ``file`` is the .npz below the folder."""

    scenario: str
    seed: int
    file: str
    seconds: float | None = None
    reported: dict[str, float] = {}
    blank: list[str] = []


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``metadata.toml``; fields as in ``Submission``. ``suite``: a suite's name or the path of its TOML file."""

    method: str
    authors: list[str]
    licence: str
    suite: str
    task: str
    cells: list[Told]
    date: datetime.date | None = None
    link: str = ""
    contact: str = ""
    hardware: str = ""
    notes: str = ""
    access: dict[str, str] = {}
    few_labels: bool = False
    parameters: dict[str, dict[str, bool | int | float | str]] = {}


def pack_folder(folder: Path) -> tuple[Submission, bytes]:
    """The submission and its archive; InputError names the file, the field and the value that is not as it must be."""
    path = folder / METADATA
    if not path.is_file():
        raise InputError(f"{folder} has no {METADATA}; amendbench submit --template prints one")
    told = convert(read_toml(path), Metadata, METADATA)
    suite = load_suite(told.suite)
    task = TASKS.get(told.task)
    if not told.cells:
        raise InputError(f"{METADATA}: cells: there is none")
    parts: list[Part] = []
    files: dict[str, bytes] = {}
    for number, cell in enumerate(told.cells):
        where = f"{METADATA}: cells[{number}]"
        if cell.scenario not in suite.scenarios:
            raise InputError(f"{where}: {unknown('scenario', cell.scenario, suite.scenarios)}")
        part, content = _part(folder, cell, suite.scenarios[cell.scenario], task.name, where)
        parts.append(part)
        files[part.file] = content
    names = dict.fromkeys(part.scenario for part in parts)
    settings = {name: suite.scenarios[name].settings for name in names}
    found = Submission(
        schema=SCHEMA,
        suite=suite.name,
        version=task.version,
        settings={name: msgspec.to_builtins(own) for name, own in settings.items()},
        data={name: checksum(own) for name, own in settings.items()},
        cells=parts,
        date=(told.date or datetime.date.today()).isoformat(),
        parameters={name: dict(own) for name, own in told.parameters.items()},
        **{name: getattr(told, name) for name in _COPIED},
    )
    check(found)
    return found, pack(found, files)


_COPIED = ("method", "authors", "licence", "task", "link", "contact", "hardware", "notes", "access", "few_labels")


def _part(folder: Path, told: Told, scenario: Scenario, task: str, where: str) -> tuple[Part, bytes]:
    if scenario.task != task:
        raise InputError(f"{where}: scenario {scenario.name} is of task {scenario.task}, not {task}")
    if not 0 <= told.seed < 2**53:
        raise InputError(f"{where}: seed is {told.seed}, not a number from 0 on")
    reported: dict[str, Any] = {**told.reported, **dict.fromkeys(told.blank)}
    check_reported(reported, TASKS.get(task), where)
    arrays = _arrays(folder, told.file, where)
    needed = expected(scenario.settings, told.seed)
    check_predictions(arrays, needed, f"{where}: {told.file}")
    content = pack_arrays(halved({name: arrays[name] for name in needed.predictions}))
    unit = TASKS.get(task).unit(scenario.settings, told.seed)
    digest = hashlib.sha256(content).hexdigest()
    return Part(scenario.name, told.seed, unit, digest, reported, told.seconds), content


def _arrays(folder: Path, file: str, where: str) -> dict[str, Any]:
    named = PurePosixPath(file)
    if named.is_absolute() or ".." in named.parts or not named.parts:
        raise InputError(f"{where}: file is {file!r}, which is not below {folder}")
    try:
        return read_arrays(read_regular(folder / named, MOST_BYTES))
    except OSError as error:
        raise InputError(f"{where}: file {file} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{where}: file {file!r}: {error}") from error
