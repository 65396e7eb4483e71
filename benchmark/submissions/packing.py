"""``amendbench submit`` from records of this harness: their predictions, and their metrics as what is reported."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError, unknown
from benchmark.running.records import Record, RecordStore
from benchmark.submissions.archive import pack, pack_arrays
from benchmark.submissions.submission import SCHEMA, Missing, Part, Submission, check, left_out
from benchmark.suites.definition import Suite, load_suite, select
from benchmark.tasks import TASKS

#: The arrays beside a record that are predictions, by task; all others are the benchmark's, or follow from these.
PREDICTIONS = {
    "class-forget": ("train.logits", "test.logits"),
    "label-free-forget": ("train.logits", "test.logits"),
    "debias-known": ("test.logits",),
    "debias-unknown": ("test.logits",),
    "bias-correction": ("clean.logits", "attacked.logits"),
    "gan-feature-removal": ("scores", "before"),
}


@dataclass(frozen=True)
class Wanted:
    """What is to be packed; ``scenarios`` None for all that the method has records of."""

    suite: str
    task: str
    method: str
    scenarios: Sequence[str] | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Who:
    """What no record says: whose predictions they are, and under which licence."""

    authors: list[str]
    licence: str
    link: str = ""
    contact: str = ""
    hardware: str = ""
    notes: str = ""


def pack_records(results: Path, wanted: Wanted, who: Who) -> tuple[Submission, bytes]:
    """The submission and its archive; InputError where there is nothing to pack or something is not as it must be."""
    suite = load_suite(wanted.suite)
    store = RecordStore(results)
    records = _records(store, suite, wanted)
    parts: list[Part] = []
    files: dict[str, bytes] = {}
    missing: list[Missing] = []
    for record in records:
        arrays = _arrays(store, record)
        if isinstance(arrays, str):
            missing.append(Missing(record.cell.scenario, record.cell.seed, arrays))
            continue
        part = _part(record, arrays)
        parts.append(part)
        files[part.file] = arrays
    if not parts:
        raise InputError(
            f"no cell of {wanted.method} has predictions in {results}; {left_out(missing)[0]}: "
            "amendbench bench --fresh runs cells again and keeps them"
        )
    kept = [record for record in records if f"{record.cell.scenario}/seed{record.cell.seed}.npz" in files]
    submission = _submission(kept, parts, missing, wanted, who)
    check(submission)
    return submission, pack(submission, files)


def _records(store: RecordStore, suite: Suite, wanted: Wanted) -> list[Record]:
    """Records of the method, one a scenario and seed; those of other settings than today's are an InputError."""
    select(suite, wanted.task, wanted.scenarios, None)
    names = [name for name, s in suite.scenarios.items() if s.task == wanted.task]
    of_task = [record for record in store.all(suite.name) if record.cell.task == wanted.task]
    here = [record for record in of_task if record.cell.device == wanted.device]
    found = [record for record in here if record.cell.scenario in (wanted.scenarios or names)]
    if not found:
        raise InputError(f"there are no records of {wanted.task} on {wanted.device} in {store.root / suite.name}")
    own = [record for record in found if record.cell.method == wanted.method]
    if not own:
        raise unknown("method with records", wanted.method, {record.cell.method for record in found})
    for record in own:
        _check_current(record, suite)
    return sorted(own, key=lambda record: (names.index(record.cell.scenario), record.cell.seed))


def _check_current(record: Record, suite: Suite) -> None:
    """InputError for a record of other settings or another version: nobody could score it as what it was."""
    cell, task = record.cell, TASKS.get(record.cell.task)
    again = f"run it again: amendbench bench --suite {suite.name} --scenarios {cell.scenario} --methods {cell.method}"
    try:
        same = msgspec.convert(cell.settings, task.scenario) == suite.scenarios[cell.scenario].settings
    except msgspec.ValidationError:
        same = False
    if not same:
        raise InputError(f"{cell.file}: the settings of scenario {cell.scenario} are others now; {again}")
    if cell.versions.get("task") != task.version:
        raise InputError(f"{cell.file}: it is of version {cell.versions.get('task')} of the task; {again}")


def _arrays(store: RecordStore, record: Record) -> bytes | str:
    """The .npz file of a record's predictions, or why there is none."""
    if record.status != "ok":
        return record.status
    arrays = store.arrays(record)
    names = PREDICTIONS[record.cell.task]
    if not set(names) <= arrays.keys():
        return "predictions were not kept"
    return pack_arrays({name: arrays[name] for name in names})


def _part(record: Record, arrays: bytes) -> Part:
    cell = record.cell
    digest = hashlib.sha256(arrays).hexdigest()
    return Part(cell.scenario, cell.seed, cell.unit, digest, record.values(), record.cost.seconds)


def _submission(
    records: Sequence[Record], parts: list[Part], missing: list[Missing], wanted: Wanted, who: Who
) -> Submission:
    task = TASKS.get(wanted.task)
    first = {record.cell.scenario: record for record in reversed(records)}
    access, few = _access(wanted.method, wanted.task)
    return Submission(
        schema=SCHEMA,
        method=wanted.method,
        authors=who.authors,
        licence=who.licence,
        date=date.today().isoformat(),
        suite=records[0].cell.suite,
        task=task.name,
        version=task.version,
        settings={name: record.cell.settings for name, record in first.items()},
        data={name: record.data for name, record in first.items()},
        cells=parts,
        access=access,
        few_labels=few,
        parameters={name: _plain(record.cell.parameters) for name, record in first.items()},
        link=who.link,
        contact=who.contact,
        hardware=who.hardware or _hardware(records),
        notes=who.notes,
        missing=missing,
    )


def _access(method: str, name: str) -> tuple[dict[str, str], bool]:
    """What the method declares to read, as far as the task offers it."""
    if not METHODS.has(method, name):
        return {}, False
    granted = METHODS.get(method, name).access.granted(TASKS.get(name).views)
    return dict(granted.views), granted.few_labels


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    scalars = (bool, int, float, str, type(None))
    return {name: value if isinstance(value, scalars) else str(value) for name, value in parameters.items()}


def _hardware(records: Collection[Record]) -> str:
    return ", ".join(sorted({record.environment.get("device", "") for record in records} - {""}))
