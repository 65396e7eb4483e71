"""The version stands in one place, and whoever else names it says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import benchmark
from benchmark.cli import main

ROOT = Path(__file__).parents[2]


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"amendbench {benchmark.__version__}\n"


def test_the_distribution_takes_it_from_the_package() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in declared["project"]
    assert declared["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "benchmark.__version__"}


def test_the_changelog_begins_with_it() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == benchmark.__version__


def test_the_citation_names_it_and_the_licence() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert cited["version"] == benchmark.__version__
    assert cited["license"] == declared["license"]
    assert cited["keywords"] == declared["keywords"]
    # what version 1.2.0 of the format asks for
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)
