"""Hashes of specifications, files that are either whole or not there, and files from strangers that are files."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from benchmark.errors import InputError


def key_hash(key: Any) -> str:
    """32 hex digits over the canonical JSON of a key."""
    return hashlib.sha256(msgspec.json.encode(key, order="sorted")).hexdigest()[:32]


def check_writable(folder: Path) -> None:
    """InputError unless files can be written into ``folder``, or the folder be made; leaves nothing behind."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(f"folder {folder} cannot be written: {error.strerror}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write to a temporary file beside ``path`` and rename it: readers see the old or the whole new content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_regular(path: Path | str, largest: int) -> bytes:
    """The content of a file that is one: OSError for links, pipes and devices, ValueError above ``largest`` bytes."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{os.path.basename(path)} is not a regular file")
    if status.st_size > largest:
        raise ValueError(f"it has {status.st_size:,} bytes, more than any ({largest:,})")
    with open(path, "rb") as file:
        return file.read()
