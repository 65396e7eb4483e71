"""Files from strangers: one that is not as ours are written is refused, and nothing is ever written from it."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.errors import InputError
from benchmark.submissions import archive as module
from benchmark.submissions.archive import JSON, Archive, open_archive, pack, pack_arrays


def members(content: bytes) -> list[tuple[zipfile.ZipInfo, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as found:
        return [(info, found.read(info)) for info in found.infolist()]


def rebuilt(content: bytes, change: Callable[[list[tuple[Any, bytes]]], object]) -> bytes:
    """The archive after ``change`` of its list of members."""
    found: list[tuple[Any, bytes]] = list(members(content))
    change(found)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        for info, raw in found:
            out.writestr(info, raw)
    return buffer.getvalue()


def refused(content: bytes) -> str:
    with pytest.raises(InputError) as error:
        read_whole(content)
    return str(error.value)


def read_whole(content: bytes) -> list[dict[str, np.ndarray]]:
    found = Archive(content)
    return [found.predictions(part) for part in found.submission.cells]


def test_the_same_predictions_give_the_same_bytes(archive: Archive) -> None:
    files = {part.file: pack_arrays(archive.predictions(part)) for part in archive.submission.cells}
    assert pack(archive.submission, files) == archive.content
    assert [info.filename for info, _ in members(archive.content)] == [
        JSON, "digits-coloured/seed0.npz", "digits-coloured/seed1.npz"
    ]  # fmt: skip


def extra(name: str, mode: int = stat.S_IFREG | 0o644, raw: bytes = b"x") -> Callable[[list[Any]], object]:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return lambda found: found.append((info, raw))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (extra("/etc/passwd"), "no name inside"),
        (extra("../x"), "no name inside"),
        (extra("a/../../x"), "no name inside"),
        (extra("C:\\x"), "no name inside"),
        (extra("link", stat.S_IFLNK | 0o777, b"/etc/passwd"), "a link, a folder"),
        (extra("folder/"), "a link, a folder"),
        (extra("more.txt"), "none that submission.json names"),
        (extra("a" * 400), "none that"),
        (lambda found: found.pop(), "is missing"),
        (lambda found: found.pop(0), "it has no submission.json"),
        (lambda found: found.__setitem__(1, (found[1][0], found[2][1])), "checksum"),
        (lambda found: found.__setitem__(0, (found[0][0], b"[" * 10**6)), "submission.json"),
        (lambda found: found.__setitem__(0, (found[0][0], b" " * 3 * 2**20)), "more than"),
        (lambda found: setattr(found[1][0], "compress_type", zipfile.ZIP_BZIP2), "packed by method 12"),
        (lambda found: [found.append((f"{i}", b"")) for i in range(600)], "603 members"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members_are_refused(archive: Archive, change: Callable[[list[Any]], object], said: str) -> None:
    assert said in refused(rebuilt(archive.content, change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(archive: Archive) -> None:
    assert "two members" in refused(rebuilt(archive.content, lambda found: found.append(found[1])))


def test_a_bomb_is_not_unpacked(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipfile.ZipInfo("bomb")
    bomb.compress_type = zipfile.ZIP_DEFLATED
    content = rebuilt(archive.content, lambda found: found.append((bomb, bytes(2 * 2**20))))
    assert len(content) < len(archive.content) + 10_000
    monkeypatch.setattr(module, "MOST_UNPACKED", 2**20)
    monkeypatch.setattr(Archive, "_read", lambda *_: pytest.fail("something was unpacked"))
    assert "would unpack to" in refused(content)


def test_sizes_that_are_lies(archive: Archive) -> None:
    """A directory that promises terabytes, and one that promises a byte of what is a megabyte."""
    for size, said in ((2**32 - 2, "would unpack to"), (1, "")):
        changed = bytearray(archive.content)
        at = struct.unpack_from("<L", changed, len(changed) - 6)[0]  # where the directory starts
        struct.pack_into("<L", changed, at + 24, size)
        assert said in refused(bytes(changed))


def test_ends_that_are_none(archive: Archive) -> None:
    content = archive.content
    for other in (b"", content[:-1], content + b"x", content[: len(content) // 2], b"PK" * 50):
        assert refused(other)
    many = bytearray(content)
    struct.pack_into("<HH", many, len(many) - 14, 60_000, 60_000)
    assert "60,000 members" in refused(bytes(many))


def test_nothing_is_unpickled(changed: Callable[..., Archive]) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.abort, ()

    objects = np.array([Harmful()], dtype=object)
    found = changed(arrays={0: {"test.logits": objects}})
    with pytest.raises(InputError, match="array test"):
        found.predictions(found.submission.cells[0])


@given(at=st.integers(0, 10**9), byte=st.integers(0, 255), cut=st.integers(0, 200))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_is_refused_or_makes_no_difference(archive: Archive, at: int, byte: int, cut: int) -> None:
    content = bytearray(archive.content)
    content[at % len(content)] = byte
    try:
        arrays = read_whole(bytes(content[: len(content) - cut] if cut > 150 else content))
    except InputError:
        return
    for part, own in zip(archive.submission.cells, arrays, strict=True):
        assert np.array_equal(own["test.logits"], archive.predictions(part)["test.logits"])


def test_what_is_no_file(tmp_path: Path, archive: Archive) -> None:
    os.mkfifo(tmp_path / "pipe.amendbench.zip")
    for path, said in (
        (tmp_path, "Is a directory|no regular file"),
        (tmp_path / "pipe.amendbench.zip", "no regular file"),
        (tmp_path / "none.amendbench.zip", "No such file"),
    ):
        with pytest.raises(InputError, match=said):
            open_archive(path)
    (tmp_path / "whole").write_bytes(archive.content)
    assert open_archive(tmp_path / "whole").sha256 == archive.sha256


def test_a_large_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    (tmp_path / "large").write_bytes(bytes(2000))
    with pytest.raises(InputError, match="more than 1,000 bytes"):
        open_archive(tmp_path / "large")
