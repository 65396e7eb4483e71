"""Cells, their records, and the store that keeps one JSON file a cell."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from benchmark.contracts import Kind
from benchmark.files import check_writable, key_hash, read_regular

if TYPE_CHECKING:
    import numpy as np

log = logging.getLogger("amendbench")
SCHEMA = 1
#: A record is some kilobytes; what has more bytes than this is none.
LARGEST = 16 * 2**20
#: What a part of a record's path may be.
NAME = re.compile(r"[^/\x00.][^/\x00]{0,150}")
#: Folder below the results with what runs are at; nothing in it is published.
RUN = ".run"
#: Folder below the results with predictions from elsewhere that were accepted.
SUBMISSIONS = "submissions"
#: Folder below the results with the records of studies, each in a folder of its own, and what they measured.
STUDIES = "studies"
#: Folders below the results that hold something else than records.
OTHERS = ("tuning", "ensembles", "gate", "speed", "reports", "measured", STUDIES, SUBMISSIONS, RUN)
#: What is counted: up to the numbers that every reader of JSON takes.
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
#: What is beyond is no measurement; of smaller numbers products and squares are finite.
MOST = 1e30
Real = Annotated[float, msgspec.Meta(ge=-MOST, le=MOST)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e10)]
Status = Literal["ok", "failed", "timeout", "out-of-memory", "disqualified"]


class NotKept(Exception):  # noqa: N818 - it names what happened
    """A record cannot be written, and neither could those of the cells that follow."""


@lru_cache(maxsize=4096)
def _is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The full specification of a run: everything that can change its result.

    ``versions`` are the declared ones of task and method; ``digests`` are of their source and its imports, and of
    what fixes threads and seeds; ``packages`` are installed versions. ``keeps``: the metrics of one amended model, or,
    where it is a member of an ensemble, only its outputs on the forget set. ``external``: the method came from outside
    (``benchmark.discovery.outside``), so that who reads the record need not have it.
    """

    suite: str
    task: str
    scenario: str
    settings: dict[str, Any]
    unit: str
    seed: Whole
    method: str
    kind: Kind
    parameters: dict[str, Any]
    device: str
    threads: Whole
    versions: dict[str, Whole]
    digests: dict[str, str]
    packages: dict[str, str]
    keeps: Literal["metrics", "forget-set outputs"] = "metrics"
    external: bool = False

    def __post_init__(self) -> None:
        # A default is left out of the encoding, and of the hash, if it is the very object: also after unpickling.
        msgspec.structs.force_setattr(self, "keeps", sys.intern(self.keeps))

    @property
    def hash(self) -> str:
        return key_hash(self)

    @property
    def stacked(self) -> int:
        """Of how many seeds the networks are trained together, by whichever cell comes first."""
        training = self.settings.get("training")
        found = training.get("stacked", 1) if isinstance(training, dict) else 1
        return found if isinstance(found, int) else 1

    def has_plain_names(self) -> bool:
        """Whether what the record's path is made of are names, and nothing that leads elsewhere."""
        names = (self.suite, self.task, self.scenario, self.method, self.unit, self.device)
        return all(map(_is_name, names))

    @property
    def file(self) -> str:
        """The record's path below the results folder."""
        name = f"{self.unit}-seed{self.seed}-{self.device}.json"
        return f"{self.suite}/{self.task}/{self.scenario}/{self.method}/{name}"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Why a cell has no result."""

    error: str
    message: str
    traceback: str = ""


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A metric: None where it is blank; ``n`` samples."""

    value: Real | None
    n: Whole


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What the method calls cost; see benchmark.timing. ``cell_seconds`` is the whole cell, evaluation included."""

    seconds: Seconds
    device_seconds: Seconds
    peak_bytes: Whole | None
    exclusive: bool
    cell_seconds: Seconds


class Count(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Test samples of a group that were classified right, of ``n``."""

    right: Whole
    n: Whole


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The immutable result of a cell.

    ``access`` has one ledger a request; ``data`` is the data set's checksum; ``arrays`` the SHA-256 of the file beside
    the record that keeps what its metrics come from; ``groups`` the test samples by group, where there are groups.
    """

    schema: int
    cell: Cell
    hash: str
    status: Status
    failure: Failure | None
    metrics: dict[str, Value]
    access: list[dict[str, dict[str, Whole]]]
    cost: Cost
    flags: list[str]
    provenance: str
    data: str
    arrays: str | None
    environment: dict[str, str]
    created: str
    groups: dict[str, Count] = {}

    def values(self) -> dict[str, float | None]:
        return {name: metric.value for name, metric in self.metrics.items()}


def check_inside(path: Path, root: Path) -> None:
    """NotKept where links lead what would be written to ``path`` out of the folder ``root``; that may be one."""
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise NotKept(f"{str(path)!r} would be outside of {root}")


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz file: the same bytes for the same arrays in the same order."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _files(root: Path, below: str) -> Iterator[str]:
    """Paths from ``root`` on, in the order of their parts, of what may be records in ``below`` ("", or "folder/")."""
    waiting = [below]
    while waiting:
        path = waiting.pop()
        if path and not path.endswith("/"):
            yield path
            continue
        try:
            with os.scandir(root / path) as found:
                entries = sorted(found, key=lambda entry: entry.name, reverse=True)
        except OSError:  # there is none, it is no folder, or none of ours
            continue
        for entry in entries:
            inner = path + entry.name
            if inner.partition("/")[0] in OTHERS:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{inner}/")
            if entry.name.endswith(".json") and not entry.name.startswith("."):
                waiting.append(inner)


class RecordStore:
    """The results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check_writable(self) -> None:
        """InputError unless records can be written."""
        check_writable(self.root)

    def write(self, record: Record, arrays: Mapping[str, np.ndarray]) -> Record:
        """Keep a record, and return it as kept; what its metrics come from goes beside it, compressed.

        Both are written before either takes its place: a full disk leaves what was there. NotKept where that would be
        outside of this folder.
        """
        path = self._path(record.cell)
        predictions = path.with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.stem}.*.tmp"):  # by a killed process: who is at a cell has it for itself
            left.unlink(missing_ok=True)
        contents: dict[Path, bytes] = {}
        if arrays:
            contents[predictions] = packed = _packed(arrays)
            record = msgspec.structs.replace(record, arrays=hashlib.sha256(packed).hexdigest())
        contents[path] = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
        staged: dict[Path, Path] = {}
        try:
            for target, content in contents.items():
                staged[target] = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
                staged[target].write_bytes(content)
            path.unlink(missing_ok=True)  # whoever is killed here has no record, rather than one with other arrays
            for target, temporary in staged.items():
                temporary.replace(target)
        finally:
            for temporary in staged.values():
                temporary.unlink(missing_ok=True)
        if not arrays:
            predictions.unlink(missing_ok=True)
        return record

    def _path(self, cell: Cell) -> Path:
        path = self.root / cell.file
        if not cell.has_plain_names():
            raise NotKept(f"{cell.file!r} would be outside of {self.root}")
        check_inside(path, self.root)
        return path

    def read(self, file: str) -> Record | None:
        """The record at a path below the root; None if there is none or it cannot be read, which is reported."""
        path = os.path.join(self.root, file)  # a Path for each of thousands takes as long as reading them
        try:
            record = msgspec.json.decode(read_regular(path, LARGEST), type=Record)
            expected = {"schema": SCHEMA, "hash": record.cell.hash, "path": os.path.normpath(file)}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, OverflowError) as error:  # the last: numbers of over 64 bits
            log.warning("record %s is left out: %s", path, error)
            return None
        found = {"schema": record.schema, "hash": record.hash, "path": record.cell.file}
        wrong = [what for what in expected if expected[what] != found[what]]
        if wrong or not record.cell.has_plain_names():
            wrong = wrong or ["path, which is made of names with slashes or of none,"]
            log.warning("record %s is left out: its %s does not match", path, " and ".join(wrong))
            return None
        return record

    def all(self, suite: str | None = None) -> Iterator[Record]:
        """Every readable record, in the order of their paths; links to folders lead anywhere, and are not followed."""
        below = self.root / (suite or "")
        if suite and below.is_symlink():
            log.warning("records below %s are left out: it is a link", below)
            return
        for file in _files(self.root, f"{suite}/" if suite else ""):
            record = self.read(file)
            if record is not None:
                yield record

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """What the record's metrics come from; empty where that is not kept here or is not what was written."""
        from benchmark.running.arrays import MOST_BYTES, read_arrays

        path = (self.root / record.cell.file).with_suffix(".npz")
        if record.arrays is None or not path.exists():
            return {}
        try:
            content = read_regular(path, MOST_BYTES)
            if hashlib.sha256(content).hexdigest() != record.arrays:
                raise ValueError("its checksum does not match")
            return read_arrays(content)
        except (OSError, ValueError) as error:
            log.warning("%s is left out: %s", path, error)
            return {}
