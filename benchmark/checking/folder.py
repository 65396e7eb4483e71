"""What lies below a results folder: every file that is to be checked, and what is none."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.hardware import FILE as HARDWARE
from benchmark.running.arrays import MOST_BYTES
from benchmark.running.records import OTHERS, SUBMISSIONS
from benchmark.submissions.accepted import FILE as VERIFIED

Kind = Literal["record", "other", "submission", "arrays", "leftover", "link", "unreadable"]
#: Folders right below the results whose files are neither records nor made by tuning or ensembles, nor accepted.
IGNORED = tuple(name for name in OTHERS if name not in ("tuning", "ensembles", SUBMISSIONS))
#: What a file is called while it is being written: see ``benchmark.files.write_atomically``.
LEFTOVER = re.compile(r"\..+\.tmp")
#: Bytes of a JSON file: a record has a few thousand, a study up to some hundred thousand.
MOST_JSON = 16 * 2**20


@dataclass(frozen=True)
class Found:
    """A file below the results folder; ``file`` is its path there, with slashes."""

    file: str
    kind: Kind

    @property
    def group(self) -> tuple[str, str]:
        """Suite and task that it is of, by its path."""
        parts = self.file.split("/")
        parts = parts[1:] if parts[0] in OTHERS else parts
        suite, task = (*parts[:-1], "", "")[:2]
        return suite, task


def files_below(results: Path, suite: str | None = None, task: str | None = None) -> list[Found]:
    """Every file below ``results`` that is to be checked or said something of, sorted by path; links are not followed.

    With ``suite`` or ``task`` only theirs, tuning and ensembles included.
    """
    every = sorted(_walk(results), key=lambda found: found.file)
    return [f for f in every if suite in (None, f.group[0]) and task in (None, f.group[1])]


def _walk(results: Path) -> Iterator[Found]:
    unreadable: list[str] = []

    def note(error: OSError) -> None:
        unreadable.append(os.path.relpath(error.filename, results))

    for folder, folders, names in os.walk(results, onerror=note):
        below = Path(folder).relative_to(results)
        for name in list(folders):
            if (Path(folder) / name).is_symlink():
                yield Found((below / name).as_posix(), "link")
        skipped = IGNORED if folder == os.fspath(results) else ()
        folders[:] = [name for name in folders if name not in skipped]
        for name in names:
            if name == HARDWARE and folder == os.fspath(results):  # beside the gate's records: no record
                continue
            kind = _kind(Path(folder) / name, (below / name).parts[0])
            if kind is not None:
                yield Found((below / name).as_posix(), kind)
    for file in unreadable:
        yield Found(Path(file).as_posix(), "unreadable")


def _kind(path: Path, first: str) -> Kind | None:
    """None where the file is nothing of ours, as the store sees it."""
    if LEFTOVER.fullmatch(path.name):
        return "leftover"
    if path.name.startswith(".") or path.suffix not in (".json", ".npz"):
        return None
    if path.is_symlink():
        return "link"
    if first == SUBMISSIONS:
        return "submission" if path.name == VERIFIED else None
    if path.suffix == ".npz":
        return "arrays"
    return "other" if first in ("tuning", "ensembles") else "record"


def content_of(path: Path, most: int = MOST_JSON) -> bytes:
    """A regular file's bytes; ValueError, which says what it is, for anything else, and for more than ``most`` bytes.

    Opening what is no file (a pipe, a device) might never end.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > most:
            raise ValueError(f"it has {status.st_size:,} bytes, more than {most:,}")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error


def arrays_of(results: Path, file: str) -> bytes | None:
    """The bytes of the arrays beside a record; None where there are none, ValueError as ``content_of``."""
    path = (results / file).with_suffix(".npz")
    return content_of(path, MOST_BYTES) if os.path.lexists(path) else None
