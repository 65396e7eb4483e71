"""Decoded samples that are kept on disk: made once, then read as memory-mapped tensors that need not fit in memory.

A set of samples is two files of the cache: its rows as they lie in memory, and a JSON file that says what they are and
what their SHA-256 is. The JSON file is written last: where there is one, the rows are whole. Reading them again does
not compute the sum again, for some sets have tens of gigabytes. What does not fit on a device is read row by row from
where it is (``Rows``).
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from filelock import FileLock
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from benchmark.data.looking import looking
from benchmark.environment import cache_root
from benchmark.errors import InputError

log = logging.getLogger("amendbench")

#: Counts up when the same files would be decoded differently.
FORMAT = 1
#: Names of files end in what their numbers are.
SUFFIXES = {"uint8": ".u8", "int64": ".i64"}


@dataclass(frozen=True)
class Decoding:
    """Samples that can be decoded: (N, ...) = ``shape`` numbers of type ``dtype``, one of SUFFIXES.

    ``rows`` gives them in order, several at a time; it raises InputError where it cannot. They depend on the
    ``sources``, which are files below ``root`` or elsewhere, and on ``settings``.
    """

    name: str
    root: Path
    sources: tuple[Path, ...]
    settings: tuple[object, ...]
    shape: tuple[int, ...]
    dtype: str
    rows: Callable[[], Iterator[np.ndarray]]

    @property
    def size(self) -> int:
        """Bytes of all rows."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def key(self) -> str:
        """32 hex digits over settings and the sources' names, sizes and times; InputError for one that is missing."""
        what = (FORMAT, self.name, self.settings, self.shape, self.dtype)
        total, root = hashlib.sha256(repr(what).encode()), f"{self.root}{os.sep}"
        for path in self.sources:
            try:
                found = os.stat(path)
            except OSError as error:
                raise InputError(f"data set {self.name}: {path} cannot be read: {error.strerror}") from error
            name = str(path).removeprefix(root)
            total.update(f"{name} {found.st_size} {found.st_mtime_ns}\n".encode())
        return total.hexdigest()[:32]


@dataclass(frozen=True)
class Decoded:
    """``rows`` of shape (N, ...), mapped read-only: writing to them ends the process; ``sha256`` of their bytes."""

    rows: Tensor
    sha256: str


class _Header(msgspec.Struct, frozen=True):
    """What lies beside the rows."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str


def decoded(decoding: Decoding) -> Decoded:
    """The samples, kept or decoded now; of several processes that ask for the same ones, one decodes them.

    InputError where a source cannot be read or decoded, or the cache not be written. While samples are only looked at
    (``benchmark.data.looking``) what is kept has to match its checksum, and what is not kept is decoded for nothing.
    """
    key, folder = decoding.key, cache_root() / "data" / "decoded"
    found = _restore(decoding, key, folder)
    if looking():
        return _looked_at(decoding, found)
    if found is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f".{key}.lock"):
                found = _restore(decoding, key, folder) or _make(decoding, key, folder)
        except OSError as error:
            raise InputError(
                f"decoded data cannot be written to {folder} ({error.strerror or error}); "
                "set AMENDBENCH_CACHE to another folder"
            ) from error
    return found


def _looked_at(decoding: Decoding, found: Decoded | None) -> Decoded:
    """What is kept, if it is as it was written; else zeros that take no memory, with the sum of what was decoded."""
    if found is not None:
        if _sum_of(part.numpy() for part in found.rows.split(256)) != found.sha256:
            files = cache_root() / "data" / "decoded" / f"{decoding.key}.*"
            raise InputError(f"decoded data {files} do not match their checksum; without them they are made again")
        return found
    # all that a text's files hold was read when its labels were, and turning it into tokens needs more than that
    rows = decoding.rows() if decoding.dtype == "uint8" else iter(())
    total = _sum_of(_told(decoding, rows))
    return Decoded(torch.zeros((), dtype=getattr(torch, decoding.dtype)).expand(decoding.shape), total)


def _sum_of(parts: Iterable[np.ndarray]) -> str:
    """The SHA-256 of the bytes of rows."""
    total = hashlib.sha256()
    for rows in parts:
        total.update(np.ascontiguousarray(rows).data)
    return total.hexdigest()


def _rows_path(decoding: Decoding, key: str, folder: Path) -> Path:
    return folder / f"{key}{SUFFIXES[decoding.dtype]}"


def _restore(decoding: Decoding, key: str, folder: Path) -> Decoded | None:
    """What is kept; None where there is nothing, or where it is damaged; InputError if that is only looked at."""
    header, rows = folder / f"{key}.json", _rows_path(decoding, key, folder)
    if not header.exists():
        return None
    try:
        told = msgspec.json.decode(header.read_bytes(), type=_Header)
        whole = (told.key, told.dtype, told.shape) == (key, decoding.dtype, decoding.shape)
        if whole and rows.stat().st_size == decoding.size:
            return Decoded(_mapped(rows, decoding), told.sha256)
        reason = "it is not whole"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    if looking():
        raise InputError(f"decoded data {rows} cannot be read ({reason}); they are made again when they are next used")
    log.warning("decoded data %s cannot be read (%s); decoded again", rows, reason)
    return None


def _mapped(path: Path, decoding: Decoding) -> Tensor:
    """The rows as a tensor whose memory is the file."""
    rows = np.memmap(path, decoding.dtype, "r", shape=decoding.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they cannot be written to is meant so
        return torch.from_numpy(rows)


def _make(decoding: Decoding, key: str, folder: Path) -> Decoded:
    """Decode to a temporary file and rename it: there is all of it or nothing, whatever ends this."""
    _check_room(decoding, folder)
    header, rows = folder / f"{key}.json", _rows_path(decoding, key, folder)
    temporary = folder / f".{key}.tmp"
    try:
        told = _Header(key, decoding.dtype, decoding.shape, _write(temporary, decoding))
        header.unlink(missing_ok=True)
        temporary.replace(rows)
        temporary.write_bytes(msgspec.json.encode(told))
        temporary.replace(header)
    finally:
        temporary.unlink(missing_ok=True)
    return Decoded(_mapped(rows, decoding), told.sha256)


def _check_room(decoding: Decoding, folder: Path) -> None:
    """InputError unless the rows fit on the disk."""
    free = shutil.disk_usage(folder).free
    if free < decoding.size:
        raise InputError(
            f"data set {decoding.name} takes {decoding.size / 1e9:.1f} GB when it is decoded, "
            f"but {folder} has {free / 1e9:.1f} GB left; set AMENDBENCH_CACHE to another folder"
        )


def _write(path: Path, decoding: Decoding) -> str:
    """Write all rows one after the other, with progress on a terminal; the SHA-256 of what was written."""
    total, done = hashlib.sha256(), 0
    with path.open("wb") as file:
        for rows in _told(decoding, decoding.rows()):
            content = np.ascontiguousarray(rows, decoding.dtype)
            total.update(content.data)
            file.write(content.data)
            done += len(content)
    if (done, path.stat().st_size) != (decoding.shape[0], decoding.size):
        raise InputError(f"data set {decoding.name} changed while it was decoded")
    return total.hexdigest()


def _told(decoding: Decoding, parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same rows, with progress on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"decoding {escape(decoding.name)}", total=decoding.shape[0])
        for rows in parts:
            yield rows
            bar.advance(task, len(rows))
