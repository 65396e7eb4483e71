"""Locks end with their process; of all processes one runs a cell, and what killed ones leave behind hinders nobody."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import msgspec
import pytest

from benchmark.running import locks
from benchmark.running.records import Cell
from benchmark.running.turns import Turns

SPAWN = multiprocessing.get_context("spawn")


def make(number: int = 0) -> Cell:
    return Cell(
        suite="s", task="t", scenario="c", settings={}, unit=f"u{number}", seed=number, method="m", kind="baseline",
        parameters={}, device="cpu", threads=1, versions={}, digests={}, packages={},
    )  # fmt: skip


def hold(results: Path, cell: Cell, holding: Event, release: Event) -> None:
    with Turns(results).hold(cell) as mine:
        assert mine
        holding.set()
        release.wait(30)


class Holder:
    """Another process that is at a cell."""

    def __init__(self, results: Path, cell: Cell) -> None:
        holding, self.release = SPAWN.Event(), SPAWN.Event()
        self.process = SPAWN.Process(target=hold, args=(results, cell, holding, self.release), daemon=True)
        self.process.start()
        assert holding.wait(30)


def test_who_is_at_a_cell_has_it_alone(tmp_path: Path) -> None:
    other = Holder(tmp_path, make())
    with Turns(tmp_path).hold(make()) as mine:
        assert not mine
    with Turns(tmp_path).hold(make(1)) as mine:
        assert mine
    (turn,) = Turns(tmp_path).running()
    assert (turn.file, turn.pid, turn.hash) == (make().file, other.process.pid, make().hash)
    other.release.set()
    other.process.join(10)
    assert Turns(tmp_path).running() == []
    with Turns(tmp_path).hold(make()) as mine:
        assert mine
    Turns(tmp_path).tidy()
    assert list(tmp_path.iterdir()) == []


def test_cells_of_one_record_are_claimed_together(tmp_path: Path) -> None:
    """Two versions of a cell write the same file."""
    other = msgspec.structs.replace(make(), parameters={"lr": 1.0})
    assert other.hash != make().hash
    with Turns(tmp_path).hold(make()), Turns(tmp_path).hold(other) as mine:
        assert not mine


def test_a_killed_process_leaves_no_claim(tmp_path: Path) -> None:
    other = Holder(tmp_path, make())
    assert other.process.pid is not None
    os.kill(other.process.pid, signal.SIGKILL)
    other.process.join(10)
    assert list((tmp_path / ".run" / "turns").iterdir())  # its files are there
    assert Turns(tmp_path).running() == []  # and are no turn
    with Turns(tmp_path).hold(make()) as mine:
        assert mine
        assert [turn.pid for turn in Turns(tmp_path).running()] == [os.getpid()]


def test_looking_takes_no_claim_away(tmp_path: Path) -> None:
    with Turns(tmp_path).hold(make()):
        for _ in range(3):
            assert len(Turns(tmp_path).running()) == 1
        with Turns(tmp_path).hold(make()) as mine:
            assert not mine


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"hash": 1}', b"[" * 5000])
def test_a_note_that_cannot_be_read_is_no_claim(tmp_path: Path, content: bytes) -> None:
    with Turns(tmp_path).hold(make()):
        (note,) = (tmp_path / ".run" / "turns").glob("*.json")
        note.write_bytes(content)
        assert Turns(tmp_path).running() == []


def add_one(path: Path, times: int) -> None:
    for _ in range(times):
        with locks.locked(path.with_suffix(".lock")):
            value = int(path.read_text())
            time.sleep(0.001)
            path.write_text(str(value + 1))


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    """Although its file is removed each time: who waits for the removed one looks again."""
    path = tmp_path / "count"
    path.write_text("0")
    processes = [SPAWN.Process(target=add_one, args=(path, 25)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert path.read_text() == "75"
    assert [p.name for p in tmp_path.iterdir()] == ["count"]


def test_a_lock_that_nobody_holds_is_left_alone_by_who_looks(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not locks.is_held(path)
    path.touch()
    assert not locks.is_held(path)
    assert path.exists()
    with locks.try_lock(path) as free:
        assert free
        assert locks.is_held(path)
    assert not path.exists()


def hold_often(results: Path, times: int) -> None:
    for number in range(times):
        with Turns(results).hold(make(number % 3)):
            pass
        Turns(results).tidy()


def test_folders_that_others_remove_are_made_again(tmp_path: Path) -> None:
    """One run tidies up at its end while another turns its next cell."""
    processes = [SPAWN.Process(target=hold_often, args=(tmp_path, 300)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_waited_for_as_long_as_was_said(tmp_path: Path) -> None:
    other = Holder(tmp_path, make())
    lock = next((tmp_path / ".run" / "turns").glob("*.lock"))
    started = time.monotonic()
    with pytest.raises(locks.Busy, match="somebody else"), locks.locked(lock, 0.3):
        pass
    assert 0.2 < time.monotonic() - started < 10
    other.release.set()
    with locks.locked(lock, 30):
        pass
