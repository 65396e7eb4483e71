"""Kill anything, lose nothing: real runs are killed at random moments, and what is there in the end is the same.

Eight kills; a hundred where AMENDBENCH_TESTS is ``nightly``.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NIGHTLY = os.environ.get("AMENDBENCH_TESTS") == "nightly"
KILLS = 100 if NIGHTLY else 5
SCENARIOS = "four-gaussians,digits" if NIGHTLY else "four-gaussians"
METHODS = "svd-forgetting,finetune,neggrad-plus,logit-mask"
#: Six methods of the first and two seeds; the second has no neggrad-plus.
CELLS = 2 * 6 + (2 * 5 if NIGHTLY else 0)
PROGRAM = [sys.executable, "-m", "benchmark"]
BENCH = ["bench", "--suite", "smoke", "--scenarios", SCENARIOS, "--methods", METHODS, "--seeds", "2"]


@dataclass
class Place:
    """A results folder and a cache of its own."""

    root: Path
    kills: dict[str, int] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[str]:
        """A run in a process group of its own."""
        return subprocess.Popen(
            [*PROGRAM, *BENCH, "--jobs", "2", "--results", "results", "--reports", "reports"],
            cwd=self.root, env={**os.environ, "AMENDBENCH_CACHE": str(self.root / "cache")}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def finish(self) -> str:
        """A run that nothing disturbs; what it says."""
        run = self.start()
        said, _ = run.communicate(timeout=300)
        assert run.returncode == 0, said
        return said

    def tell(self, *plan: str) -> str:
        """The board as JSON, or the plan of a run that is only asked for."""
        asked = ["bench", *plan] if plan else ["leaderboard", "--suite", "smoke", "--format", "json"]
        told = subprocess.run(
            [*PROGRAM, *asked, "--results", "results"],
            cwd=self.root, env={**os.environ, "AMENDBENCH_CACHE": str(self.root / "cache")}, capture_output=True,
            text=True, check=True, timeout=60,
        )  # fmt: skip
        return told.stdout

    def records(self) -> dict[str, dict[str, Any]]:
        """Records by path, without what tells when and how fast they were made."""
        found = {}
        for path in (self.root / "results").rglob("*.json"):
            if any(part.startswith(".") for part in path.relative_to(self.root).parts):
                continue
            record = json.loads(path.read_text())
            found[path.relative_to(self.root).as_posix()] = {
                name: value for name, value in record.items() if name not in ("cost", "created", "environment")
            }
        return found

    def left(self) -> list[str]:
        """What is in the results folder and is neither a record nor its arrays."""
        paths = (p for p in (self.root / "results").rglob("*") if not p.is_dir() or ".run" in p.parts)
        return [str(p) for p in paths if p.name.startswith(".") or p.suffix not in (".json", ".npz") or p.is_dir()]


def workers(run: subprocess.Popen[str]) -> list[int]:
    """Processes that the run has started, workers and multiprocessing's own."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def kill_worker(run: subprocess.Popen[str], rng: random.Random) -> None:
    """A worker dies as if for want of memory, and a little later the run as well."""
    for pid in rng.sample(workers(run), min(1, len(workers(run)))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    time.sleep(rng.uniform(0, 1))
    run.kill()


def kill_all(run: subprocess.Popen[str], rng: random.Random) -> None:
    """Everything at once, as when a machine goes down."""
    os.killpg(run.pid, signal.SIGKILL)


def ask(number: int) -> Callable[[subprocess.Popen[str], random.Random], None]:
    return lambda run, rng: run.send_signal(number)


WAYS: dict[str, Callable[[subprocess.Popen[str], random.Random], None]] = {
    "SIGKILL": ask(signal.SIGKILL),
    "SIGTERM": ask(signal.SIGTERM),
    "SIGINT": ask(signal.SIGINT),
    "worker": kill_worker,
    "group": kill_all,
}


def is_gone(group: int) -> bool:
    """Whether within some seconds nothing of a process group is left but what nobody has waited for."""
    for _ in range(100):
        alive = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
                alive += [stat] if int(pgrp) == group and state not in "ZX" else []
        if not alive:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.long
@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are counted in /proc")
def test_runs_killed_at_random_moments_end_as_one_that_was_not(tmp_path: Path) -> None:
    undisturbed, place = Place(tmp_path / "undisturbed"), Place(tmp_path / "killed")
    for each in (undisturbed, place):
        each.root.mkdir()
    started = time.time()
    undisturbed.finish()
    work = max(path.stat().st_mtime for path in (undisturbed.root / "results").rglob("*.json")) - started
    expected = undisturbed.records()
    assert len(expected) == CELLS
    rng = random.Random(20)
    for number in range(KILLS):
        before = place.records()
        if len(before) == len(expected):  # begin anew, sometimes with base models that are there
            assert before == expected
            shutil.rmtree(place.root / "results")
            if rng.random() < 0.5:
                shutil.rmtree(place.root / "cache" / "artifacts")
            before = {}
        way = list(WAYS)[number % len(WAYS)]
        run = place.start()
        assert run.stdout is not None
        run.stdout.readline()  # it has begun
        time.sleep(rng.uniform(0.0, 1.1 * work))  # now and then while it renders
        WAYS[way](run, rng)
        said, _ = run.communicate(timeout=60)
        assert is_gone(run.pid), f"{way} left processes behind"
        assert "Traceback" not in said or way in ("worker", "group"), said
        if way in ("SIGTERM", "SIGINT"):
            assert run.returncode in (130, 0), said  # 0: it had come to its end
        after = place.records()
        assert {path: after.get(path) for path in before if before[path]["status"] == "ok"} == {
            path: record for path, record in before.items() if record["status"] == "ok"
        }, f"{way} lost what was finished"
    said = place.finish()
    assert place.records() == expected
    assert place.left() == []
    assert f"all {CELLS} cells are cached" in place.tell("--dry-run", *BENCH[1:])
    boards = [json.loads(each.tell()) for each in (undisturbed, place)]
    for row in (row for rows in boards for row in rows):
        del row["cost"], row["origin"], row["devices"]  # where timing is
    assert boards[0] == boards[1]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are counted in /proc")
@pytest.mark.parametrize("way", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_report_that_is_killed_leaves_nobody_who_draws(tmp_path: Path, way: str) -> None:
    committed = Path(__file__).parents[3] / "results"
    for name in ("smoke", "ensembles"):
        shutil.copytree(committed / name, tmp_path / "results" / name)
    run = subprocess.Popen(
        [*PROGRAM, "report", "--results", "results", "--reports", "reports"],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(tmp_path.rglob("*.png")) and time.monotonic() < end:  # they are at it
        time.sleep(0.05)
    WAYS[way](run, random.Random(0))
    said, _ = run.communicate(timeout=60)
    assert is_gone(run.pid), said
    assert "Traceback" not in said
    assert run.returncode in ((130, 0) if way != "SIGKILL" else (-signal.SIGKILL, 0))


@pytest.mark.long
def test_two_runs_at_once_share_the_work(tmp_path: Path) -> None:
    place = Place(tmp_path)
    runs = [place.start(), place.start()]
    said = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    lines = [line.split() for text in said for line in text.splitlines()]
    wanted = sum(int(line[0]) for line in lines if line[1:2] == ["of"] and line[3:6] == ["cells", "to", "run"])
    taken = sum(int(line[0]) for line in lines if "were run by another run" in " ".join(line))
    assert wanted - taken == CELLS  # each cell was run by one of them
    assert taken
    assert {record["status"] for record in place.records().values()} == {"ok"}
    assert len(place.records()) == CELLS
    assert place.left() == []


@pytest.mark.parametrize("small", ["results", "cache"])
def test_a_full_disk_ends_a_run_and_keeps_what_there_was(tmp_path: Path, small: str) -> None:
    """A file system of its own, in a namespace of its own, that is too small for all records, or for base models."""
    place = Place(tmp_path)
    (tmp_path / small).mkdir()
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        assert not NIGHTLY, "this system grants no namespaces"
        pytest.skip("this system grants no namespaces")
    size = "64k" if small == "results" else "8k"
    script = f'mount -t tmpfs -o size={size} tmpfs {small} && "$@"; echo "exit $?"; ls results/smoke/*/*'
    one = ["bench", "--suite", "smoke", "--scenarios", "four-gaussians", "--methods", METHODS, "--jobs", "1"]
    told = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *PROGRAM, *one, "--results", "results", "--reports", "reports"],
        cwd=place.root, env={**os.environ, "AMENDBENCH_CACHE": str(tmp_path / "cache")}, capture_output=True,
        text=True, check=False, timeout=300,
    )  # fmt: skip
    assert "exit 1" in told.stdout, told
    assert "No space left on device" in told.stderr
    assert "Traceback" not in told.stderr
    assert ("original" in told.stdout) == (small == "results")
