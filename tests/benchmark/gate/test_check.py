"""The gate from end to end, on copies of the source in which regressions are planted."""

from __future__ import annotations

import fcntl
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.gate.check import check
from benchmark.gate.speed import compare_all, file_of, read_baseline
from benchmark.gate.updating import update, update_speed
from benchmark.hardware import computer, hardware, read_made
from benchmark.speed import timed

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
SMALL = """
suite = "smoke"
records = "gate"
quality = { false_alarms = 0.005 }
speed = { benchmarks = "tests/speed/hot", false_alarms = 0.005, factor = 1.5, only = ["planning"] }
determinism = { seeds = 1, also = { digits-coloured = ["groupdro"] } }

[cells.digits-coloured]
seeds = 3
methods = ["gerne"]

[[watched]]
scenario = "digits-coloured"
method = "gerne"
metric = "accuracy.group-balanced"
tolerance = 0.5
why = "a test"
"""
DRIVER = """
import sys
from pathlib import Path
from rich.console import Console
import benchmark
from benchmark.gate.check import check
assert Path(benchmark.__file__).parent.parent == Path.cwd(), benchmark.__file__
if __name__ == "__main__":
    given = {"declaration": Path(sys.argv[2]), "only": ["quality", "determinism"], "jobs": 1}
    sys.exit(check(Path(sys.argv[1]), Console(width=200, highlight=False), **given))
"""
#: What is planted: a file, what of it is replaced, and by what.
WEAKER = (
    "methods/gerne.py",
    "train_on_draws(problem, steps, lr_scale, decay_scale)",
    "train_on_draws(problem, steps, 0.001 * lr_scale, decay_scale)",
)
CLOCK = (
    "baselines/groupdro.py",
    'problem.generator("batches")',
    '__import__("torch").Generator().manual_seed(__import__("time").time_ns() % 2**40)',
)
SLEEPY = (
    "benchmark/running/plan.py",
    "    seeds = list(seeds)\n",
    '    seeds = __import__("time").sleep(0.1) or list(seeds)\n',
)


def copied(folder: Path, *planted: tuple[str, str, str]) -> Path:
    """A copy of the source below ``folder`` with regressions planted."""
    for name in ("benchmark", "methods", "baselines", "tests/speed"):
        shutil.copytree(ROOT / name, folder / name)  # with bytecode: times of files are kept
    for name in ("tests/conftest.py", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    for name, old, new in planted:
        source = (folder / name).read_text()
        assert source.count(old) == 1
        (folder / name).write_text(source.replace(old, new))
    return folder


@pytest.fixture(scope="session")
def committed(shared_folder: Path, cache_folder: Path) -> Path:
    """Results with the records and times of the source as it is, shared by all processes of this test run."""
    folder = shared_folder / "gate"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            declared, console = folder / "small.toml", Console(file=io.StringIO())
            declared.write_text(SMALL)
            assert update(folder / "results", console, jobs=1, declaration=declared) == 0
            assert update_speed(folder / "results", console, runs=1, declaration=declared) == 0
            (folder / "done").touch()
    return folder


def lines_of(text: str, part: str) -> str:
    """The paragraph of a part's verdict."""
    (found,) = (block for block in text.split("\n\n") if block.startswith(f"{part}:"))
    return found


@pytest.fixture(scope="session")
def regressed(committed: Path, shared_folder: Path) -> str:
    """What the gate says of cells of a source with regressions; it is run once, and its exit code is 1."""
    said = committed / "regressed.txt"
    with (committed / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            tree = copied(committed / "planted", WEAKER, CLOCK, SLEEPY)
            told = subprocess.run(
                [sys.executable, "-c", DRIVER, str(committed / "results"), str(committed / "small.toml")],
                cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False,
                timeout=240,
            )  # fmt: skip
            assert "Traceback" not in told.stderr, told.stderr
            assert told.returncode == 1, told.stdout
            said.write_text(told.stdout)
    return said.read_text()


def test_unchanged_code_is_fine(committed: Path) -> None:
    before = {p: p.read_bytes() for p in (committed / "results").rglob("*") if p.is_file()}
    console, only = Console(file=io.StringIO(), width=200), ("quality", "determinism")
    assert check(committed / "results", console, jobs=1, only=only, declaration=committed / "small.toml") == 0
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 1 watched metrics compared, 0 worse" in lines_of(said, "quality")
    assert "2 of 2 cells the same when run twice, 4 of 4 the same as committed" in lines_of(said, "determinism")
    assert "check: fine" in said
    assert {p: p.read_bytes() for p in (committed / "results").rglob("*") if p.is_file()} == before


def test_updating_notes_what_hardware_made_the_records(committed: Path) -> None:
    assert read_made(committed / "results" / "gate") == {"cpu": computer("cpu")}


def test_a_weaker_method_is_worse_and_asks_for_a_version(regressed: str) -> None:
    """Its version is what it was, so that the committed records must be met bit for bit, too."""
    assert re.search(r"gerne .* worse", lines_of(regressed, "quality"))
    assert "0 of 4 the same as committed" in lines_of(regressed, "determinism")
    assert "raise the version of the method" in regressed
    assert "check: regressed (quality, determinism)" in regressed


def test_a_method_that_reads_the_clock_is_not_deterministic(regressed: str) -> None:
    """The weaker one is as it was in both runs."""
    assert "1 of 2 cells the same when run twice" in lines_of(regressed, "determinism")
    assert re.search(r"digits-coloured groupdro .* run twice", lines_of(regressed, "determinism"))
    assert "the same code gave two results here" in regressed


def test_a_hot_path_that_sleeps_is_slower(committed: Path, regressed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside what --update-speed has measured; the gate measures a second time before it says so."""
    monkeypatch.setattr(timed, "package_folder", lambda name: committed / "planted" / name)
    kept = read_baseline(file_of(committed / "results", hardware("cpu")))
    assert kept is not None
    (found,) = compare_all(kept.benchmarks, timed.measure("tests/speed/hot", "cpu", ["planning"]), 0.005, 1.5)
    assert (found.name, found.pace) == ("test_planning", "slower")
