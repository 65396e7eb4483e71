"""Comparisons with ensembles, and what tuning tried, from strangers: read and shown, or left out with one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hostile_values import campaign, damaged, json_values, mutated
from hypothesis import given
from hypothesis import strategies as st

from benchmark.reporting.ensembles import ensemble_tables, summary
from benchmark.reporting.figures.drawings import drawings
from benchmark.reporting.legitimate import legitimate_tables
from benchmark.running import ensembles
from benchmark.running.records import RecordStore
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS

RESULTS = Path(__file__).parents[3] / "results"
COMPARED = {path.relative_to(RESULTS): json.loads(path.read_bytes()) for path in RESULTS.glob("ensembles/*/*/*/*.json")}
SMOKE = load_suite("smoke")
TUNED = RESULTS / "tuning" / "embedded" / "bias-correction" / "mnist5k-stamp-legitimate"
STUDIES = {name: json.loads((TUNED / f"{name}.json").read_bytes()) for name in ("rr-clarc", "rr-clarc+class-specific")}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies") / "results"


def written(results: Path, files: dict[Path, bytes]) -> None:
    shutil.rmtree(results, ignore_errors=True)
    for name, content in files.items():
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_bytes(content)


def page(lines: list[str]) -> None:
    text = "\n".join(lines)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "<img" not in text


@given(st.data())
@campaign(0.5)
def test_comparisons_with_odd_values(results: Path, data: Any) -> None:
    chosen = data.draw(st.lists(st.sampled_from(sorted(COMPARED)), min_size=1, max_size=3, unique=True))
    told = {name: data.draw(mutated(st.just(COMPARED[name]), json_values())) for name in chosen}
    written(results, {name: json.dumps(value).encode() for name, value in told.items()})
    found = [record for record in ensembles.read_all(results) if record.task in TASKS]
    page(ensemble_tables(found, SMOKE))
    for record in found:
        assert summary(record)


@given(st.data())
@campaign(0.3)
def test_comparisons_of_damaged_bytes(results: Path, data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(COMPARED)))
    content = json.dumps(COMPARED[name], indent=1).encode()
    written(results, {name: data.draw(damaged(st.just(content), st.binary(max_size=6)))})
    found = [record for record in ensembles.read_all(results) if record.task in TASKS]
    page(ensemble_tables(found, SMOKE))


@given(st.data())
@campaign(0.5)
def test_studies(results: Path, data: Any) -> None:
    folder = TUNED.relative_to(RESULTS)
    files = {}
    for name, study in STUDIES.items():
        if data.draw(st.booleans()):
            content = json.dumps(data.draw(mutated(st.just(study), json_values()))).encode()
        else:
            whole = json.dumps(study, indent=1).encode()
            content = data.draw(damaged(st.just(whole), st.binary(max_size=6)))
        files[folder / f"{name}.json"] = content
    written(results, files)
    for lines in legitimate_tables(results, "embedded").values():
        page(lines)
    for drawing in drawings("embedded", [], [], RecordStore(results)):
        page([drawing.caption, drawing.alt])
