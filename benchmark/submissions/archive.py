"""``NAME.amendbench.zip``: one JSON file and an .npz a cell, written plainly and read with suspicion.

Nothing is extracted: members are read into memory, one after the other, each within a bound. What is not exactly as
``pack`` writes it is refused, so that no name of a member is ever the name of a file.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from benchmark.errors import InputError
from benchmark.running.arrays import DAMAGED, ENCRYPTED, END, LOCATOR, LOCATOR_SIZE, ArraysError, read_arrays
from benchmark.running.arrays import MOST_BYTES as MOST_ARRAYS
from benchmark.submissions.submission import MOST_CELLS, Part, Submission, read

SUFFIX = ".amendbench.zip"
JSON = "submission.json"
#: Bytes of the file, of all that is unpacked from it, and of its JSON.
MOST_BYTES, MOST_UNPACKED, MOST_JSON = 256 * 2**20, 2**30, 2 * 2**20
MOST_MEMBERS = MOST_CELLS + 1
#: Bytes of the directory at the end: more than so many names of at most 200 characters and a suffix take.
MOST_DIRECTORY = MOST_MEMBERS * 512
#: What members are dated: the same predictions give the same bytes.
MOMENT = (1980, 1, 1, 0, 0, 0)


class Archive:
    """A submission's file that was found to be whole: ``content``, ``sha256``, ``submission``, and its predictions."""

    def __init__(self, content: bytes) -> None:
        """InputError unless ``content`` is such a file; the arrays are looked at when they are asked for."""
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()
        _check_end(content)
        members = self._members()
        self.submission: Submission = read(self._read(members[JSON], MOST_JSON))
        expected = {JSON, *(part.file for part in self.submission.cells)}
        if members.keys() != expected:
            odd = sorted(members.keys() ^ expected)[0]
            raise InputError(f"member {odd!r} is {'missing' if odd in expected else 'none that submission.json names'}")
        self._by_name = members

    def _members(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
                members = archive.infolist()
        except DAMAGED as error:
            raise InputError(f"it is no intact archive ({type(error).__name__}: {str(error)[:200]})") from error
        for member in members:
            _check_member(member)
        total = sum(member.file_size for member in members)
        if total > MOST_UNPACKED:
            raise InputError(f"it would unpack to {total:,} bytes, more than {MOST_UNPACKED:,}")
        by_name = {member.filename: member for member in members}
        if len(by_name) < len(members):
            raise InputError("it has two members of one name")
        if JSON not in by_name:
            raise InputError(f"it has no {JSON}")
        return by_name

    def _read(self, member: zipfile.ZipInfo, most: int) -> bytes:
        if member.file_size > most:
            raise InputError(f"member {member.filename!r} has {member.file_size:,} bytes, more than {most:,}")
        try:
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive, archive.open(member) as file:
                return file.read(member.file_size)
        except DAMAGED as error:
            raise InputError(f"member {member.filename!r} is damaged ({str(error)[:200]})") from error

    def predictions(self, part: Part) -> dict[str, np.ndarray]:
        """The arrays of one cell; InputError unless they are plain arrays and those that the submission was made of."""
        content = self._read(self._by_name[part.file], MOST_ARRAYS)
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise InputError(f"{part.name}: the checksum of its predictions is not the one in {JSON}")
        try:
            return read_arrays(content)
        except ArraysError as error:
            raise InputError(f"{part.name}: {error}") from error


def _check_end(content: bytes) -> None:
    """InputError unless the archive ends as a small one does: zipfile would read a directory of any size."""
    if len(content) < END.size:
        raise InputError(f"it has {len(content)} bytes: it is cut off or no archive")
    signature, *_, members, directory, start, comment = END.unpack(content[-END.size :])
    if signature != b"PK\x05\x06" or comment:
        raise InputError("it does not end as an archive does: it is cut off, has something appended, or is none")
    locator = len(content) - END.size - LOCATOR_SIZE
    if locator >= 0 and content[locator : locator + len(LOCATOR)] == LOCATOR:
        raise InputError("it is an archive of the 64-bit format, which a submission does not need")
    if not 0 < members <= MOST_MEMBERS or directory > MOST_DIRECTORY:
        raise InputError(f"it has {members:,} members in {directory:,} bytes, not 1 to {MOST_MEMBERS}")
    if start + directory != len(content) - END.size:
        raise InputError("its directory is not where it says")


def _check_member(member: zipfile.ZipInfo) -> None:
    """InputError for what is no plain file; whether it is one that should be there is told by its name later."""
    name = member.orig_filename
    if member.filename != name or name.startswith(("/", "\\")) or ".." in name or "\\" in name or ":" in name:
        raise InputError(f"a member is called {name[:120]!r}, which is no name inside of the archive")
    mode = member.external_attr >> 16
    if name.endswith("/") or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
        raise InputError(f"member {name[:120]!r} is a link, a folder or something else that is no plain file")
    if member.flag_bits & ENCRYPTED:
        raise InputError(f"member {name[:120]!r} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"member {name[:120]!r} is packed by method {member.compress_type}, not stored or deflated")


def open_archive(path: Path) -> Archive:
    """The submission in the file ``path``, which its errors begin with; InputError for whatever is none."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is no regular file")
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise InputError(f"{path} has more than {MOST_BYTES:,} bytes")
    try:
        return Archive(content)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Opening a pipe that nobody writes to would wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def pack(submission: Submission, files: Mapping[str, bytes]) -> bytes:
    """The archive of a submission and the .npz files of its cells, by ``Part.file``: the same bytes for the same."""
    content = msgspec.json.format(msgspec.json.encode(submission), indent=1) + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in {JSON: content, **files}.items():
            member = zipfile.ZipInfo(name, MOMENT)
            member.compress_type = zipfile.ZIP_DEFLATED if name == JSON else zipfile.ZIP_STORED
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, raw)
    packed = buffer.getvalue()
    if len(packed) > MOST_BYTES:
        raise InputError(
            f"predictions take {len(packed):,} bytes, more than {MOST_BYTES:,}: pack fewer scenarios or seeds at a time"
        )
    return packed


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz file as the harness keeps beside its records."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
