"""What CONTRIBUTING.md says can be done: targets, commands and pages are there, and hooks run what `make lint` runs."""

from __future__ import annotations

import re
from pathlib import Path

import typer
import yaml

from benchmark.cli import app

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_targets_are_in_the_makefile() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)`", TEXT))
    assert {"test", "long", "nightly", "lint", "check", "report"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_commands_are_there() -> None:
    named = set(re.findall(r"\bamendbench ([a-z][a-z-]*)", TEXT))
    assert {"new-method", "test-method", "bench", "tune", "verify", "reproduce"} <= named
    assert named <= set(typer.main.get_group(app).commands)


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_hooks_run_what_lint_runs() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    linted = re.findall(r"\$\(VENV\)/bin/(ruff \w+|\w+)", recipe[1])
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [re.findall(r"^\.venv/bin/(ruff \w+|\w+)", hook["entry"]) for hook in hooks] == [[name] for name in linted]
