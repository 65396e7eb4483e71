"""Decoded samples on disk: whole or not there, made once, mapped when they are read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch

from benchmark.data import decoded
from benchmark.data.decoded import Decoding
from benchmark.errors import InputError

Rows = Callable[[], Iterator[np.ndarray]]
NUMBERS = np.arange(8).reshape(4, 2)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an empty cache keeps what is decoded."""
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path))
    return tmp_path / "data" / "decoded"


def numbers() -> Iterator[np.ndarray]:
    yield NUMBERS[:3]
    yield NUMBERS[3:]


def refused() -> Iterator[np.ndarray]:
    raise AssertionError("decoded again")


def decoding(rows: Rows = numbers, dtype: str = "int64", sources: tuple[Path, ...] = ()) -> Decoding:
    return Decoding("a set", Path("/"), sources, (), (4, 2), dtype, rows)


def left(folder: Path) -> list[str]:
    """What lies there beside locks."""
    return sorted(path.suffix for path in folder.iterdir() if path.suffix != ".lock") if folder.exists() else []


@pytest.mark.parametrize(("dtype", "suffix"), [("uint8", ".u8"), ("int64", ".i64")])
def test_rows_are_decoded_once_and_then_mapped(folder: Path, dtype: str, suffix: str) -> None:
    sums = set()
    for rows in (numbers, refused):
        found = decoded.decoded(decoding(rows, dtype))
        assert found.rows.dtype == getattr(torch, dtype)
        assert found.rows.tolist() == NUMBERS.tolist()
        sums.add(found.sha256)
    assert len(sums) == 1
    assert left(folder) == sorted([suffix, ".json"])
    (path,) = folder.glob(f"*{suffix}")
    assert path.read_bytes() == NUMBERS.astype(dtype).tobytes()
    if Path("/proc/self/maps").exists():
        assert str(path) in Path("/proc/self/maps").read_text()


def test_the_key_depends_on_sources_and_what_is_made_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a")
    key = decoding(sources=(path,)).key
    assert key == decoding(sources=(path,)).key
    others = {decoding(sources=(path, path)).key, decoding(dtype="uint8", sources=(path,)).key}
    path.write_text("ab")
    assert key not in {*others, decoding(sources=(path,)).key}


def test_of_those_that_ask_at_once_one_decodes() -> None:
    times = []

    def slow() -> Iterator[np.ndarray]:
        times.append(1)
        time.sleep(0.2)
        yield NUMBERS

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: decoded.decoded(decoding(slow)).rows.tolist(), range(3)))
    assert found == [NUMBERS.tolist()] * 3
    assert times == [1]


@pytest.mark.parametrize("damage", ["cut", "gone", "no header", "header", "another's header"])
def test_what_is_damaged_is_decoded_again(folder: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    whole = decoded.decoded(decoding())
    (rows,), (header,) = folder.glob("*.i64"), folder.glob("*.json")
    content, told = rows.read_bytes(), header.read_bytes()
    if damage == "cut":
        rows.write_bytes(content[:-1])
    elif damage == "gone":
        rows.unlink()
    elif damage == "no header":
        header.unlink()
    elif damage == "header":
        header.write_text("{")
    else:
        header.write_bytes(msgspec.json.encode({**msgspec.json.decode(told), "key": "0"}))
    with caplog.at_level(logging.WARNING, "amendbench"):
        assert decoded.decoded(decoding()).sha256 == whole.sha256
    assert ("decoded again" in caplog.text) == (damage != "no header")
    assert (rows.read_bytes(), header.read_bytes()) == (content, told)


def cut_short() -> Iterator[np.ndarray]:
    yield NUMBERS[:3]


def interrupted() -> Iterator[np.ndarray]:
    yield NUMBERS[:3]
    raise KeyboardInterrupt


def full() -> Iterator[np.ndarray]:
    yield NUMBERS[:3]
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (cut_short, InputError, "a set changed while it was decoded"),
        (interrupted, KeyboardInterrupt, "^$"),
        (full, InputError, r"cannot be written to .*No space left.*AMENDBENCH_CACHE"),
    ],
)
def test_what_is_not_finished_leaves_nothing(
    folder: Path, rows: Rows, error: type[BaseException], message: str
) -> None:
    with pytest.raises(error, match=message):
        decoded.decoded(decoding(rows))
    assert left(folder) == []


def test_a_full_disk_is_told_before_decoding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: SimpleNamespace(free=63))
    with pytest.raises(InputError, match=r"a set takes 0\.0 GB when it is decoded, but .* has 0\.0 GB left"):
        decoded.decoded(decoding(refused))
    assert left(folder) == []


def test_a_cache_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot be written to .*AMENDBENCH_CACHE"):
        decoded.decoded(decoding(refused))
