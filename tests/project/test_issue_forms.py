"""The forms of issues are what GitHub takes, and offer what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.tasks import TASKS

FOLDER = Path(__file__).parents[2] / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(FOLDER.glob("*.yml"))
#: Attributes that a field of each type may have; all but Markdown have a label, too.
ATTRIBUTES = {
    "markdown": {"value"},
    "input": {"label", "description", "placeholder", "value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}


def form(path: Path) -> dict[str, Any]:
    read = yaml.safe_load(path.read_text())
    assert isinstance(read, dict)
    return read


def fields(path: Path) -> dict[str, dict[str, Any]]:
    """What is filled in, by its id."""
    return {part["id"]: part for part in form(path)["body"] if part["type"] != "markdown"}


def test_the_forms_are_these() -> None:
    assert [path.stem for path in FORMS] == ["bug", "new-method", "stronger-evaluation"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_github_takes(path: Path) -> None:
    read = form(path)
    assert set(read) == {"name", "description", "title", "body"}
    filled = [part for part in read["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in filled}) == len({part["attributes"]["label"] for part in filled}) == len(filled)
    for part in read["body"]:
        assert set(part) <= {"type", "id", "attributes", "validations"}
        assert set(part["attributes"]) <= ATTRIBUTES[part["type"]]
    for part in filled:
        assert re.fullmatch(r"[a-z-]+", part["id"])
        assert set(part.get("validations", {})) <= {"required"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_options_are_different_texts(path: Path) -> None:
    for part in fields(path).values():
        options = part["attributes"].get("options", [])
        texts = [option["label"] for option in options] if part["type"] == "checkboxes" else options
        assert all(isinstance(text, str) for text in texts)
        assert len(set(texts)) == len(texts)


def test_a_method_is_of_the_tasks_that_there_are() -> None:
    assert fields(FOLDER / "new-method.yml")["tasks"]["attributes"]["options"] == list(TASKS)


def test_an_evaluation_can_be_run_again_from_what_is_asked() -> None:
    asked = fields(FOLDER / "stronger-evaluation.yml")
    for name in ("method", "scenario", "seeds", "command", "evidence"):
        assert asked[name]["validations"] == {"required": True}
