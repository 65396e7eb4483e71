"""Turns: who runs a cell now. Of all runs that share a results folder one at a time runs a cell.

The process that runs a cell holds a lock named by the path of its record, ``<results>/.run/turns/<name>.lock``, and
says beside it what it is at. The lock ends with the process: what a killed one leaves behind is no turn.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmark.files import key_hash, read_regular, write_atomically
from benchmark.running import locks
from benchmark.running.records import RUN, Cell, check_inside

FOLDER = "turns"
#: Bytes of a turn; it is a few hundred.
LARGEST = 2**16


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is at a cell, and since when."""

    hash: str
    file: str
    host: str
    pid: int
    started: str

    def __post_init__(self) -> None:
        if datetime.fromisoformat(self.started).tzinfo is None:
            raise ValueError(f"started: {self.started!r} has no time zone")

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds())


class Turns:
    """The turns on the cells of a results folder."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.folder = results / RUN / FOLDER

    @contextmanager
    def hold(self, cell: Cell) -> Iterator[bool]:
        """Whether nobody else is at the cell; if so it is this process's in the block. NotKept as for its record."""
        lock = self.folder / f"{key_hash(cell.file)}.lock"
        check_inside(lock, self.results)
        with locks.try_lock(lock) as free:
            if not free:
                yield False
                return
            note = lock.with_suffix(".json")
            for left in self.folder.glob(f".{note.name}.*.tmp"):  # by a killed process
                left.unlink(missing_ok=True)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            turn = Turn(cell.hash, cell.file, socket.gethostname(), os.getpid(), now)
            try:
                write_atomically(note, msgspec.json.encode(turn))
                yield True
            finally:
                note.unlink(missing_ok=True)

    def running(self) -> list[Turn]:
        """Every cell that somebody is at now, the longest first; from files alone."""
        found = []
        for note in sorted(self.folder.glob("*.json")):
            if locks.is_held(note.with_suffix(".lock")):
                try:
                    found.append(msgspec.json.decode(read_regular(note, LARGEST), type=Turn))
                except (OSError, ValueError, RecursionError):
                    continue  # it has just ended, or is none
        return sorted(found, key=lambda turn: turn.started)

    def tidy(self) -> None:
        """Remove the folders where nobody is at anything."""
        for folder in (self.folder, self.folder.parent):
            locks.remove_if_empty(folder)
