"""Reading ``.npz`` files that strangers may have made: plain arrays or one clear error, with bounds on everything.

numpy's own reader would do for what we wrote ourselves. Of others' files it takes archives with thousands of members,
headers that promise gigabytes and whatever the zip format has grown over the years; here what ``numpy.savez`` writes is
read, and all else is refused. Nothing is unpickled and no header is evaluated.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib

import numpy as np

#: Bytes that the file, and its arrays together, may take; ours take a few megabytes.
MOST_BYTES = 256 * 2**20
MOST_MEMBERS = 64
#: Bytes of the directory at the end of the archive: more than enough for so many members.
MOST_DIRECTORY = MOST_MEMBERS * 512
MOST_DIMENSIONS = 8
#: What members are called: an array's name of at most 100 printable characters, and a suffix.
NAME = re.compile(r"(?P<array>[^\W_](?:[\w .,:@+=-]{0,98}[^\W])?)\.npy", re.ASCII)
#: As numpy writes them on the machines that there are; no objects, no text, no structures.
TYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
HEADER = re.compile(
    r"\{'descr': '(?P<type>[<|][a-z]\d)', 'fortran_order': (?P<order>True|False), "
    r"'shape': \((?P<shape>[0-9, ]{0,120})\), \} *\n"
)
#: Magic string and version 1.0 of the ``.npy`` format, then the header's length.
PREFIX = b"\x93NUMPY\x01\x00"
#: The record that an archive ends with: numbers of this disk and of members, size and place of the directory.
END = struct.Struct("<4s4H2LH")
#: What stands before that record in an archive of the 64-bit format, and how many bytes before it.
LOCATOR, LOCATOR_SIZE = b"PK\x06\x07", 20
#: The flag of a member that needs a password.
ENCRYPTED = 0x1
#: What zipfile raises, over Python's versions, for archives that are not as they should be.
DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, LookupError, RuntimeError)


class ArraysError(ValueError):
    """A file of arrays that is not as we write it; the message says in what."""


def read_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file by name, in its order; ArraysError for anything but plain arrays of numbers.

    At most ``MOST_MEMBERS`` arrays of ``MOST_BYTES`` together, of the types that ``TYPES`` lists.
    """
    _check_end(content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            names = _checked(members)
            unpacked = [archive.open(member).read(member.file_size) for member in members]
    except ArraysError:
        raise
    except DAMAGED as error:
        raise ArraysError(f"it is no intact archive ({_said(error)})") from error
    return {name: _array(name, raw) for name, raw in zip(names, unpacked, strict=True)}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def _check_end(content: bytes) -> None:
    """ArraysError unless the archive ends as a small one does: zipfile would read a directory of any size."""
    if len(content) > MOST_BYTES:
        raise ArraysError(f"it has {len(content):,} bytes, more than {MOST_BYTES:,}")
    if len(content) < END.size:
        raise ArraysError(f"it has {len(content)} bytes: it is cut off or no archive")
    signature, *_, members, directory, start, comment = END.unpack(content[-END.size :])
    if signature != b"PK\x05\x06" or comment:
        raise ArraysError("it does not end as an archive does: it is cut off, has something appended, or is none")
    locator = len(content) - END.size - LOCATOR_SIZE
    if locator >= 0 and content[locator : locator + len(LOCATOR)] == LOCATOR:
        raise ArraysError("it is an archive of the 64-bit format, which arrays of this size do not need")
    if not 0 < members <= MOST_MEMBERS or directory > MOST_DIRECTORY:
        raise ArraysError(f"it has {members:,} members in {directory:,} bytes, not 1 to {MOST_MEMBERS}")
    if start + directory != len(content) - END.size:
        raise ArraysError("its directory is not where it says")


def _checked(members: list[zipfile.ZipInfo]) -> list[str]:
    """Names of the arrays; ArraysError for a member that is none, and where they would take too much memory."""
    names = []
    for member in members:
        found = NAME.fullmatch(member.filename)
        if not found or member.orig_filename != member.filename:
            raise ArraysError(f"a member is called {member.orig_filename[:120]!r}, which is no name of an array")
        if member.flag_bits & ENCRYPTED:
            raise ArraysError(f"member {member.filename} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArraysError(f"member {member.filename} is packed by method {member.compress_type}, not by deflate")
        names.append(found["array"])
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES:
        raise ArraysError(f"its arrays would take {total:,} bytes, more than {MOST_BYTES:,}")
    if len(set(names)) < len(names) or not names:
        raise ArraysError("it has two arrays of one name" if names else "it has no array")
    return names


def _array(name: str, raw: bytes) -> np.ndarray:
    """The array in a member's bytes: a copy that owns its memory."""
    start = len(PREFIX) + 2
    if not raw.startswith(PREFIX) or len(raw) < start:
        raise ArraysError(f"array {name} is not in numpy's format, version 1.0")
    length = int.from_bytes(raw[len(PREFIX) : start], "little")
    found = HEADER.fullmatch(raw[start : start + length].decode("latin-1"))
    if not found or found["type"] not in TYPES:
        what = "its type is not one of plain numbers" if found else "its header is not as numpy writes it"
        raise ArraysError(f"array {name}: {what}")
    shape, dtype = _shape(name, found["shape"]), np.dtype(found["type"])
    promised, there = math.prod(shape) * dtype.itemsize, len(raw) - start - length
    if promised != there:
        raise ArraysError(f"array {name}: shape {shape} takes {promised:,} bytes, but {there:,} are there")
    if dtype == np.bool_ and raw[start + length :].strip(b"\x00\x01"):
        raise ArraysError(f"array {name}: a truth value is neither 0 nor 1")
    flat = np.frombuffer(raw, dtype, offset=start + length) if promised else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if found["order"] == "True" else "C").copy("K")


def _shape(name: str, told: str) -> tuple[int, ...]:
    """The shape that a header tells: ``1000, 10``, ``10,`` or nothing for a single number."""
    numbers = [part.strip() for part in told.split(",")]
    if numbers[-1] == "":
        numbers.pop()
    plain = all(number.isdecimal() and len(number) <= 10 for number in numbers)
    if not plain or len(numbers) > MOST_DIMENSIONS or (len(numbers) == 1) != (told.strip()[-1:] == ","):
        raise ArraysError(f"array {name}: ({told}) is no shape")
    shape = tuple(int(number) for number in numbers)
    if math.prod(max(size, 1) for size in shape) > MOST_BYTES:  # one that is empty may still be too long for numpy
        raise ArraysError(f"array {name}: shape {shape} is too large")
    return shape
