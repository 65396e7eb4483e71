"""Commands on the pages: options, names and targets are those that there are. Nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from reading import DOCS, ROOT, blocks

from benchmark import cli
from benchmark.errors import InputError, unknown
from benchmark.suites.definition import load_suite, select, suite_names

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) +\?=", MAKEFILE, re.MULTILINE))
#: What ends a command on a line of shell.
ENDS = {"|", "&&", ">", ";"}


def commands(name: str) -> Iterator[tuple[str, list[str]]]:
    """Page and words of every command of a name in blocks of shell."""
    for path in PAGES:
        text = path.read_text("utf-8")
        for block in (*blocks(text, "sh"), *blocks(text, "")):
            for line in block.replace("\\\n", " ").splitlines():
                if not line.strip().startswith(("amendbench ", ".venv/bin/amendbench ", "make ")):
                    continue
                words = shlex.split(line, comments=True)
                if words[0].endswith(name) and "..." not in words:
                    end = next((k for k, word in enumerate(words) if word in ENDS), len(words))
                    yield path.relative_to(ROOT).as_posix(), words[1:end]


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of a command line, read as the command line reads them; whatever it raises where they are wrong."""
    command: Any = typer.main.get_command(cli.app)
    while hasattr(command, "commands"):
        name, *words = words
        if name not in command.commands:
            raise unknown("command", name, command.commands)
        command = command.commands[name]
    found: dict[str, Any] = command.make_context(None, words).params
    return found


OURS, MADE = list(commands("amendbench")), list(commands("make"))


@pytest.mark.parametrize(("name", "words"), OURS, ids=[f"{name}: {shlex.join(words)}" for name, words in OURS])
def test_options_and_names_are_known(name: str, words: list[str]) -> None:
    options = parsed(words)
    suite = options.get("suite")
    assert suite is None or suite in (*suite_names(), "own") or suite.endswith(".toml")
    if words[0] in ("bench", "status", "tune") and suite in suite_names() and not options.get("data"):
        listed = {key: options[key].split(",") if options.get(key) else None for key in ("scenarios", "methods")}
        ours = [name for name in listed["methods"] or () if ".py" not in name]
        select(load_suite(suite), options["task"], listed["scenarios"], ours or None)


@pytest.mark.parametrize(("name", "words"), MADE, ids=[f"{name}: {shlex.join(words)}" for name, words in MADE])
def test_targets_and_variables_are_known(name: str, words: list[str]) -> None:
    for word in words:
        variable, equals, _ = word.partition("=")
        assert variable in VARIABLES | {"PYTHON"} if equals else word in TARGETS, word


def test_commands_are_found() -> None:
    assert {"docs/tutorial.md", "docs/running.md", "docs/add-a-method.md", "README.md"} <= {name for name, _ in OURS}
    assert len(OURS) > 40
    assert len(MADE) > 10


@pytest.mark.parametrize("line", ["bench --suit smoke", "leaderbord", "data fetch x", "bench --seeds many"])
def test_what_is_wrong_is_noticed(line: str) -> None:
    with pytest.raises((cli.USAGE_ERROR, InputError)):
        parsed(line.split())
