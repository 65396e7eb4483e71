"""What the pages say on adding a scenario, a metric and a data set, done; the latter two in a copy of the package."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from reading import ROOT, additions, blocks, files, page
from test_metric_definitions import BEST, rows

from benchmark.cli import main
from benchmark.suites.definition import load_suite, methods_of
from benchmark.tasks import TASKS

SCENARIO, METRIC, DATA = (page(f"add-a-{what}.md") for what in ("scenario", "metric", "data-set"))


def call(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output of the command line in this process."""
    with pytest.raises(SystemExit) as ended, redirect_stdout(io.StringIO()) as said:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code, said.getvalue()


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the suite that is on the page."""
    (tmp_path / "pairs.toml").write_text(blocks(SCENARIO, "toml")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_scenario_is_planned_as_the_page_says(pairs: Path) -> None:
    line = next(line for line in blocks(SCENARIO, "sh")[0].splitlines() if "--dry-run" in line)
    code, said = call(*line.split()[1:])
    assert code == 0
    assert "class-forget / digits-two: 15 cells" in said
    assert "class-forget / digits-two-in-sequence: 15 cells" in said
    suite = load_suite("pairs.toml")
    settings = {name: scenario.settings for name, scenario in suite.scenarios.items()}
    assert settings["digits-two"].forgotten(3) == (3, 4)
    assert settings["digits-two-in-sequence"].requests == "in-sequence"
    assert suite.scenarios["digits-two-in-sequence"].methods["svd-forgetting"]["alpha_r"] == 30.0
    assert suite.tuning.seeds == (102, 105, 108)


def test_references_on_the_page_are_those_of_the_tasks() -> None:
    for task in TASKS.values():
        assert f"`{task.reference}`" in SCENARIO
        assert f"`{task.original}`" in SCENARIO
        assert {task.reference, task.original} <= {*methods_of(task.name)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages with everything that the two pages add."""
    folder = tmp_path_factory.mktemp("copy")
    for package in ("benchmark", "methods", "baselines"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for text in (METRIC, DATA):
        for name, content in files(text).items():
            path = folder / name
            assert not path.exists(), name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name, before, after in additions(text):
            content = (folder / name).read_text("utf-8")
            assert content.count(before) == 1, f"{name} has not these lines just once:\n{before}"
            (folder / name).write_text(content.replace(before, after))
    (folder / "striped.toml").write_text(blocks(DATA, "toml")[0])
    (folder / "pairs.toml").write_text(blocks(SCENARIO, "toml")[0])
    return folder


@pytest.fixture(scope="module")
def found(copy: Path) -> dict[str, Any]:
    """What the copy gives, in a process of its own."""
    own = {"PYTHONPATH": str(copy), "AMENDBENCH_CACHE": str(copy / "cache"), "AMENDBENCH_METHODS": ""}
    command = [sys.executable, str(Path(__file__).with_name("in_a_copy.py"))]
    ran = subprocess.run(command, cwd=copy, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    given: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    assert Path(given["file"]).is_relative_to(copy)
    return given


@pytest.mark.parametrize(("scenario", "unit"), [("digits-two", "class-0-1"), ("stripes", "class-0")])
def test_cells_of_the_scenarios_have_results(found: dict[str, Any], scenario: str, unit: str) -> None:
    status, own, metrics, gates = found[scenario]
    assert (status, own, gates) == ("ok", unit, [])
    assert 0 <= metrics["entropy.test.forget"] <= 100
    assert metrics["accuracy.test.retain"] > 90


def test_the_metric_is_defined_as_the_catalogue_has_it(found: dict[str, Any]) -> None:
    (definition,) = blocks(METRIC, "markdown")
    name, label, unit, better = found["catalogued"]
    assert rows(definition) == [(name, label, unit, BEST[better])]
    assert blocks(definition, "math")
    assert "Source:" in definition


def test_the_data_set_is_known_and_checked(found: dict[str, Any]) -> None:
    assert found["data"] == ["right", 4, [200, 400, 800]]
    assert re.search(r"^\| stripes \| .* \| 800 / 200 / 400 \|", found["table"], re.MULTILINE)


def test_additions_are_what_the_pages_show() -> None:
    text = "```diff\n@@ a/b.py @@\n one\n+two\n three\n```\n"
    assert additions(text) == [("a/b.py", "one\nthree\n", "one\ntwo\nthree\n")]
    assert {name for name, *_ in additions(METRIC) + additions(DATA)} == {
        "benchmark/metrics/catalogue/forgetting.py",
        "benchmark/tasks/forgetting.py",
        "benchmark/tasks/class_forget.py",
        "benchmark/data/__init__.py",
        "benchmark/data/catalogue.toml",
    }
