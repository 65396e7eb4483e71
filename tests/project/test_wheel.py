"""The wheel, installed where there is no checkout, has all that its commands need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmark", "methods", "baselines")
NEEDED = ("pyproject.toml", "README.md", "LICENSE")

Run = Callable[..., str]


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """Standard output of a command that must end well, with nothing of this checkout on its path."""
    usual = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AMENDBENCH_METHODS")}
    told = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env={**usual, **variables}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, built from a copy: building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        shutil.copy(ROOT / name, source)
    build = ("-m", "pip", "wheel", ".", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder)
    run(sys.executable, *build, folder=source)
    return folder / f"amendbench-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def amendbench(wheel: Path, tmp_path_factory: pytest.TempPathFactory, cache_folder: Path) -> Run:
    """The console script of the installed wheel, called in an empty folder; other packages are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", symlinks=True)
    places = sysconfig.get_paths(vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")}, scheme="venv")
    # What lies in a folder on the path can be imported; .pth files in it, such as that of this checkout, are not read.
    Path(places["purelib"], "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = Path(places["scripts"], "python")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, folder=folder)
    (folder / "empty").mkdir()

    def call(*arguments: str) -> str:
        script = python.with_name("amendbench")
        return run(script, *arguments, folder=folder / "empty", AMENDBENCH_CACHE=str(cache_folder))

    where = run(python, "-c", "import benchmark; print(benchmark.__file__)", folder=folder / "empty")
    assert Path(where.strip()).is_relative_to(folder)
    return call


@pytest.mark.long
def test_every_file_of_the_packages_is_in_it(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.partition("/")[0] in PACKAGES}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert inside == {path.relative_to(ROOT).as_posix() for path in files if path.parent.name != "__pycache__"}


@pytest.mark.long
def test_commands_work_in_an_empty_folder(amendbench: Run, tmp_path: Path) -> None:
    assert amendbench("--version") == f"amendbench {__version__}\n"
    assert "bench" in amendbench("--help")
    assert "svd-forgetting" in amendbench("list")
    assert "svd-samples" in amendbench("study", "--list")
    results, reports = str(tmp_path / "results"), tmp_path / "reports"
    toy = ("bench", "--suite", "smoke", "--scenarios", "digits", "--methods", "svd-forgetting")
    board = amendbench(*toy, "--seeds", "1", "--jobs", "1", "--results", results, "--reports", str(reports))
    assert "svd-forgetting" in board
    assert "svd-forgetting" in (reports / "site" / "class-forget.html").read_text()
    assert (reports / "site" / "assets" / "board.js").exists()
    assert "wrote" in amendbench("report", "--results", results, "--reports", str(reports))
    assert "re-scored" in amendbench("verify", "--results", results)
    assert "push-away" in amendbench("new-method", "push-away", "--task", "class-forget")


@pytest.mark.long
def test_claims_are_judged_over_records_that_lie_elsewhere(amendbench: Run, tmp_path: Path) -> None:
    said = amendbench("claims", "--results", str(ROOT / "results"), "--reports", str(tmp_path))
    assert "reproduced" in said
    assert (tmp_path / "claims.md").stat().st_size > 0
