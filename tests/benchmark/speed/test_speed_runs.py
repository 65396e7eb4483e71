"""Runs of pytest behind ``amendbench speed``: works that fail or that nobody knows, and what outlives its limit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.commands import measure_speed as command
from benchmark.errors import InputError
from benchmark.speed import timed
from benchmark.speed.timed import Broken

ROOT = Path(__file__).parents[3]
#: Works of a checkout: two that pass, one that is measured and then fails, and one that raises.
WORKS = """
import pytest

def measured(benchmark):
    benchmark.extra_info.update({"title": "t", "limit": 1.0})
    benchmark.pedantic(int, rounds=2)

@pytest.mark.parametrize("size", [1, 2])
def test_good(benchmark, size):
    measured(benchmark)

def test_wrong(benchmark):
    measured(benchmark)
    assert False, "it is - wrong"

def test_raising(benchmark):
    benchmark.pedantic(int, args=("x",))

"""
Run = Callable[..., int]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with works of its own; the clock is this one's."""
    folder = tmp_path / command.PAIRS
    folder.mkdir(parents=True)
    (folder / "test_some_speed.py").write_text(WORKS)
    for module in (timed, command):
        monkeypatch.setattr(module, "package_folder", lambda name: tmp_path / name)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def run(checkout: Path) -> Run:
    def measure(*only: str) -> int:
        places = checkout / "results", checkout / "reports"
        return command.measure(*places, Console(width=200), device="cpu", rounds=1, only=only)

    return measure


def test_works_that_fail(run: Run, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What passed is printed, what failed is told, and nothing is kept."""
    assert run() == 1
    told = capsys.readouterr().out
    assert "failed, so nothing was kept: test_wrong; test_raising" in told
    assert told.count("1 s") == 2
    assert not (checkout / "results").exists() or not list((checkout / "results").rglob("*.*"))
    assert not list((checkout / "reports").rglob("*.*"))


def test_works_that_nobody_knows(run: Run) -> None:
    with pytest.raises(InputError, match=r"unknown work 'goud'; did you mean good\?"):
        run("goud")
    assert command.names_of_works() == {"some", "good", "wrong", "raising"}


@pytest.mark.parametrize("part", ["not", "a b", "x)", "", "-k", "Good", "a\n"])
def test_parts_of_no_name(run: Run, part: str) -> None:
    with pytest.raises(InputError, match="only: "):
        run("good", part)


def call(code: str, longest: float, watch: timed.Watch = lambda name, percent: None) -> tuple[int, list[str]]:
    return timed.follow([sys.executable, "-c", code], ROOT, dict(os.environ), longest, watch)


def test_a_limit_is_one_for_what_was_started_too() -> None:
    """A process of the command's holds the pipe open, which nobody waits for."""
    started = time.monotonic()
    with pytest.raises(Broken, match="did not end within 1 s"):
        call("import subprocess; subprocess.run(['sleep', '30'])", 1.0)
    assert time.monotonic() - started < 5
    assert call("print('x'); raise SystemExit(4)", 30.0) == (4, ["x\n"])


def test_whoever_stops_the_run_stops_its_processes() -> None:
    """Ctrl-C is not handed on to a group of its own."""
    pids: list[int] = []

    def interrupted(name: str, percent: int) -> None:
        pids.append(int(name))
        raise KeyboardInterrupt

    code = "import os, time; print(f'x::{os.getpid()} PASSED [ 50%]', flush=True); time.sleep(30)"
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        call(code, 60.0, interrupted)
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


NO_BENCHMARK = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "pytest_benchmark" else find(name, *more)
"""


def test_without_the_extra_no_work_is_collected(tmp_path: Path) -> None:
    """Neither those of the gate nor those beside plain ways, in folders of their own."""
    (tmp_path / "nobench.py").write_text(NO_BENCHMARK)
    speed = tmp_path / "speed"
    for name in ("hot/test_one.py", "pairs/test_two.py"):
        (speed / name).parent.mkdir(parents=True)
        (speed / name).write_text("def test_it(benchmark): pass\n")
    shutil.copy(ROOT / "tests" / "speed" / "conftest.py", speed)

    collecting = [sys.executable, "-m", "pytest", str(speed), "--collect-only", "-q", "-p", "no:cacheprovider"]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(tmp_path)])
    without = subprocess.run([*collecting, "-p", "nobench"], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (without.returncode, "test_it" in without.stdout) == (5, False)
