"""Submissions that were accepted: what is kept of them below the results, and how boards read it.

A folder has the archive as it was handed in and ``verified.json``: all that the archive says, its checksum, and what
its predictions gave. Boards are rendered from the latter alone; ``amendbench verify`` compares the two.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from benchmark.errors import InputError
from benchmark.files import read_regular, write_atomically
from benchmark.running.records import SUBMISSIONS, Real, Value, Whole, check_inside
from benchmark.submissions.submission import SHA256, Submission, check

if TYPE_CHECKING:
    from benchmark.submissions.archive import Archive

log = logging.getLogger("amendbench")
SCHEMA = 1
FILE = "verified.json"
#: Bytes of that file.
LARGEST = 8 * 2**20
Verdict = Literal["agrees", "differs", "not verifiable", "not reported"]


class Judged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metric of a cell as its predictions give it: None where it is blank or cannot be had; ``n`` samples."""

    value: Real | None
    n: Whole
    verdict: Verdict


class Verified(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``verified.json``. ``metrics``: by ``Part.name`` and metric; ``created``: when it was accepted, UTC."""

    schema: int
    sha256: str
    submission: Submission
    metrics: dict[str, dict[str, Judged]]
    created: str

    @classmethod
    def of(cls, archive: Archive) -> Verified:
        """Of an archive none of whose cells was scored yet."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(SCHEMA, archive.sha256, archive.submission, {}, now)


def archive_of(folder: Path, submission: Submission) -> Path:
    """Where the archive of an accepted submission lies in its folder."""
    return folder / f"{submission.method}.amendbench.zip"


def accept(verified: Verified, content: bytes, results: Path) -> Path:
    """Keep a submission below ``results``; returns its folder.

    InputError where there is another one of that name, NotKept where links lead out of ``results``.
    """
    folder = results / verified.submission.folder
    target = folder / FILE
    check_inside(target, results)
    before = read_verified(target) if target.exists() else None
    if target.exists() and (before is None or before.sha256 != verified.sha256):
        raise InputError(
            f"{folder} has another submission of method {verified.submission.method}: remove that folder, or ask for "
            "another name"
        )
    write_atomically(archive_of(folder, verified.submission), content)
    write_atomically(target, msgspec.json.format(msgspec.json.encode(verified), indent=1) + b"\n")
    return folder


def decode(content: bytes) -> Verified:
    """What a ``verified.json`` says; InputError unless every field is as it must be."""
    try:
        found = msgspec.json.decode(content, type=Verified)
    except (ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{FILE}: {error}") from error
    if found.schema != SCHEMA or not SHA256.fullmatch(found.sha256):
        raise InputError(f"{FILE}: its schema or sha256 is none that this version reads")
    check(found.submission)
    names = [part.name for part in found.submission.cells]
    if sorted(found.metrics) != sorted(names):
        raise InputError(f"{FILE}: its metrics are not of the cells that were submitted")
    _check_metrics(found)
    return found


def _check_metrics(found: Verified) -> None:
    from benchmark.rescoring.ranges import impossible

    for own in found.metrics.values():
        values = {name: Value(judged.value, max(judged.n, 1)) for name, judged in own.items()}
        wrong = impossible(values, found.submission.task)
        if wrong:
            raise InputError(f"{FILE}: {wrong[0]}")


def read_verified(path: Path) -> Verified | None:
    """What was verified of one submission; None, with a warning, for what is not where it belongs or as it must be."""
    try:
        found = decode(read_regular(path, LARGEST))
    except (OSError, ValueError, InputError) as error:
        log.warning("submission %s is left out: %s", path, error)
        return None
    if path.parent.parts[-4:] != Path(found.submission.folder).parts:
        log.warning("submission %s is left out: it is %s by its content", path, found.submission.folder)
        return None
    return found


def accepted(results: Path, suite: str | None = None) -> Iterator[Verified]:
    """Every readable accepted submission, or those for one suite, in the order of their paths; no link is followed."""
    root = results / SUBMISSIONS
    if root.is_symlink() or not root.is_dir():
        return
    for path in sorted(root.glob(f"{suite or '*'}/*/*/{FILE}")):
        inner = path.relative_to(root).parents
        if any((root / part).is_symlink() for part in inner):
            continue
        found = read_verified(path)
        if found is not None:
            yield found
