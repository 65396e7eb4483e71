"""A method as the README shows it, put into a copy of the repository with the test that the page gives it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from reading import ROOT, blocks, files, page


def test_the_readmes_method_passes_what_every_method_is_put_through(tmp_path: Path) -> None:
    for part in ("benchmark", "methods", "baselines", "tests/baselines"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("tests/conftest.py", "pyproject.toml"):
        shutil.copyfile(ROOT / part, tmp_path / part)
    ((name, content),) = files((ROOT / "README.md").read_text("utf-8")).items()
    assert not (tmp_path / name).exists()
    (tmp_path / name).write_text(content)
    tests = tmp_path / "tests/baselines/test_forgetting.py"
    tests.write_text(tests.read_text("utf-8") + blocks(page("add-a-method.md"), "python")[-1])
    own = {"PYTHONPATH": str(tmp_path), "AMENDBENCH_CACHE": str(tmp_path / "cache"), "AMENDBENCH_METHODS": ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-vv",
        "-p",
        "no:cacheprovider",
        str(tests),
        "-k",
        "sign_flip or sign-flip",
    ]
    ran = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, check=False, timeout=240
    )
    assert ran.returncode == 0, ran.stdout
    assert "test_sign_flip_turns_the_rows_of_the_forgotten_classes_around" in ran.stdout
    assert "test_contract[one-sign-flip]" in ran.stdout
