"""The gate from end to end, on copies of the source in which regressions are planted."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.errors import InputError
from benchmark.gate.check import check
from benchmark.running.records import RecordStore

ROOT = Path(__file__).parents[3]
SMALL = """
suite = "smoke"
records = "gate"
quality = { false_alarms = 0.005 }
speed = { benchmarks = "tests/speed", false_alarms = 0.005, factor = 1.5, only = ["laf"] }
determinism = { seeds = 1 }

[cells.digits]
seeds = 3
methods = ["svd-forgetting"]

[[watched]]
scenario = "digits"
method = "svd-forgetting"
metric = "accuracy.test.forget"
tolerance = 0.5
why = "nothing of the class is left"
"""
DRIVER = """
import json, sys
from pathlib import Path
from rich.console import Console
import benchmark
from benchmark.gate import check, updating
assert Path(benchmark.__file__).parent.parent == Path.cwd(), benchmark.__file__
what, results, given = json.loads(sys.argv[1])
call = {"check": check.check, "update": updating.update, "update_speed": updating.update_speed}[what]
if __name__ == "__main__":
    sys.exit(call(Path(results), Console(width=200, highlight=False), declaration=Path("small.toml"), **given))
"""
#: What is planted: a file, what of it is replaced, and by what.
WEAKER = (
    "methods/svd_forgetting.py",
    "W[layer] - P_f[layer](W_free[layer])",
    "W[layer] - 0.2 * P_f[layer](W_free[layer])",
)
CLOCK = (
    "methods/svd_forgetting.py",
    'generator = problem.generator("svd-forgetting")',
    'generator = torch.Generator().manual_seed(__import__("time").time_ns() % 2**40)',
)
SLEEPY = ("methods/laf.py", "    if min(s.latent_dim", '    __import__("time").sleep(0.05)\n    if min(s.latent_dim')
Tree = Callable[..., Path]


def copied(folder: Path, *planted: tuple[str, str, str]) -> Path:
    """A copy of the source below ``folder`` with regressions planted."""
    for name in ("benchmark", "methods", "baselines", "tests/speed"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests/conftest.py", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "small.toml").write_text(SMALL)
    for name, old, new in planted:
        source = (folder / name).read_text()
        assert source.count(old) == 1
        (folder / name).write_text(source.replace(old, new))
    return folder


def call(tree: Path, what: str, results: Path, **given: object) -> tuple[int, str]:
    """Exit code and output of a part of the gate, run from a copy of the source."""
    told = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps([what, str(results), given])],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert "Traceback" not in told.stderr, told.stderr
    return told.returncode, told.stdout


@pytest.fixture(scope="session")
def committed(shared_folder: Path, cache_folder: Path) -> Path:
    """Results with the records and times of the source as it is, shared by all processes of this test run."""
    folder = shared_folder / "gate"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            tree = copied(folder / "source")
            assert call(tree, "update", folder / "results", jobs=1)[0] == 0
            assert call(tree, "update_speed", folder / "results", runs=1)[0] == 0
            (folder / "done").touch()
    return folder


def lines_of(text: str, part: str) -> str:
    """The paragraph of a part's verdict."""
    (found,) = (block for block in text.split("\n\n") if block.startswith(f"{part}:"))
    return found


def test_unchanged_code_is_fine(committed: Path) -> None:
    before = {p: p.read_bytes() for p in (committed / "results").rglob("*") if p.is_file()}
    code, said = call(committed / "source", "check", committed / "results", only=["quality", "determinism"], jobs=1)
    assert code == 0, said
    assert "1 of 1 watched metrics compared, 0 worse" in lines_of(said, "quality")
    assert "1 of 1 cells the same when run twice, 3 of 3 the same as committed" in lines_of(said, "determinism")
    assert "check: fine" in said
    assert {p: p.read_bytes() for p in (committed / "results").rglob("*") if p.is_file()} == before


def test_a_weaker_method_is_worse_and_asks_for_a_version(committed: Path, tmp_path: Path) -> None:
    """Its version is what it was, so that the committed records must be met bit for bit, too."""
    tree = copied(tmp_path / "source", WEAKER)
    code, said = call(tree, "check", committed / "results", only=["quality", "determinism"], jobs=1)
    assert code == 1, said
    assert re.search(r"svd-forgetting .* worse", lines_of(said, "quality"))
    assert "1 of 1 cells the same when run twice, 0 of 3" in lines_of(said, "determinism")
    assert "raise the version of the method" in said
    assert "check: regressed (quality, determinism)" in said


def test_a_method_that_reads_the_clock_is_not_deterministic(committed: Path, tmp_path: Path) -> None:
    tree = copied(tmp_path / "source", CLOCK)
    code, said = call(tree, "check", committed / "results", only=["determinism"], jobs=1)
    assert code == 1, said
    assert "0 of 1 cells the same when run twice" in said
    assert "the same code gave two results here" in said


def test_a_method_that_sleeps_is_slower(committed: Path, tmp_path: Path) -> None:
    tree = copied(tmp_path / "source", SLEEPY)
    code, said = call(tree, "check", committed / "results", only=["time"])
    assert code == 1, said
    assert "the benchmarks run a second time" in said
    assert re.search(r"test_method\[laf\] .* slower", lines_of(said, "time"))


def test_a_raised_version_is_another_experiment(committed: Path, tmp_path: Path) -> None:
    """Nothing of it can be compared any more, which is not the same as fine."""
    declared = 'paper="arXiv:2312.00761",\n    access=Access(retain="xy", forget="x", max_samples'
    raised = ("methods/svd_forgetting.py", declared, declared.replace("access=", "version=2,\n    access="))
    tree = copied(tmp_path / "source", raised, WEAKER)
    code, said = call(tree, "check", committed / "results", only=["quality", "determinism"])
    assert code == 3, said
    assert "3 records of other versions or settings" in said


def test_nothing_to_compare_with_is_no_verdict(tmp_path: Path) -> None:
    declared = tmp_path / "small.toml"
    declared.write_text(SMALL)
    console = Console(file=io.StringIO(), width=200)
    assert check(tmp_path / "results", console, declaration=declared) == 3
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "check: nothing could be measured" in said
    assert said.count("nothing could be compared") == 3
    assert not (tmp_path / "results").exists()


def test_a_part_that_is_none_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean quality"):
        check(tmp_path, Console(file=io.StringIO()), only=["qualities"])


def test_updating_removes_what_is_no_longer_declared(committed: Path) -> None:
    """The fixture updated an empty folder; what a second update leaves is told from one with a stranger in it."""
    from benchmark.gate.updating import replace_records

    results = committed.parent / "gate-copy"
    shutil.copytree(committed / "results", results, dirs_exist_ok=True)
    store = RecordStore(results / "gate")
    records = list(store.all("smoke"))
    assert [r.cell.seed for r in records] == [0, 1, 2]
    made = RecordStore(committed / "results" / "gate")
    assert replace_records(store, "smoke", made, records[:2]) == 2
    assert [r.cell.seed for r in store.all("smoke")] == [0, 1]
    assert replace_records(store, "smoke", made, []) == 0
    assert not any((store.root / "smoke").iterdir())
