"""``amendbench export``: what it writes, and every way to use it wrongly."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.boards.board import build_board
from benchmark.errors import InputError
from benchmark.reporting.export_command import export, exported
from benchmark.running.records import Record, RecordStore
from benchmark.suites.definition import load_suite

Make = Callable[..., Record]
RESULTS = Path(__file__).parents[3] / "results"
NASTY = "x: {y} - #'\"&*!%@\nz"


def text_of(format: str, results: Path = RESULTS, **changes: Any) -> str:
    chosen: dict[str, Any] = {"suite": "smoke", "task": None, "scenarios": None, "methods": None, **changes}
    return exported(**chosen, format=format, results=results)


def models_of(text: str) -> dict[str, list[Any]]:
    """The results in a model index by model, as huggingface_hub reads them."""
    cards = pytest.importorskip("huggingface_hub.repocard_data")
    yaml = pytest.importorskip("yaml")
    index = yaml.safe_load(text)["model-index"]
    return dict(cards.model_index_to_eval_results([model]) for model in index)


def test_json_has_the_columns_of_the_board() -> None:
    rows = build_board(RecordStore(RESULTS).all("smoke"), load_suite("smoke"))
    found = json.loads(text_of("json"))
    by_row = {(one["scenario"], one["method"], one["metric"]["id"]): one for one in found}
    assert len(by_row) == len(found)
    assert {key[:2] for key in by_row} == {(row.scenario, row.method) for row in rows}
    for row in rows:
        one, cell = by_row[row.scenario, row.method, row.rank_by], row.metrics[row.rank_by]
        assert (one["value"], one["low"], one["high"], one["n"]) == (cell.mean, cell.low, cell.high, cell.n)
        assert (one["unit"], one["better"], one["status"]) == (cell.unit, cell.better, row.status)
        assert one["task"]["name"] == row.task
        assert f"SCENARIOS={row.scenario} METHODS={row.method} " in one["command"]


def test_a_model_index_is_read_back() -> None:
    models = models_of(text_of("model-index", source="https://example.org/board"))
    found = [one for one in json.loads(text_of("json")) if one["value"] is not None]
    assert list(models) == list(dict.fromkeys(f"smoke/{one['scenario']}/{one['method']}" for one in found))
    read = [(name, r.metric_args["metric"], r.metric_value) for name, results in models.items() for r in results]
    assert read == [(f"smoke/{o['scenario']}/{o['method']}", o["metric"]["id"], o["value"]) for o in found]
    result = models["smoke/digits/retrain"][0]
    assert (result.task_type, result.task_name) == ("image-classification", "class-forget")
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("digits", "digits", "test")
    assert (result.metric_type, result.metric_name, result.verified) == ("accuracy", "test retain", False)
    assert (result.source_name, result.source_url) == ("AmendBench", "https://example.org/board")
    assert models["smoke/ring/retrain"][0].task_type == "unconditional-image-generation"
    assert models["smoke/four-gaussians/retrain"][0].task_type == "tabular-classification"


def test_what_was_asked_for_is_chosen_after_rows_were_paired() -> None:
    everything = json.loads(text_of("json"))
    chosen = json.loads(text_of("json", task="class-forget", scenarios=["digits"], methods=["finetune", "retrain"]))
    wanted = [o for o in everything if o["scenario"] == "digits" and o["method"] in ("finetune", "retrain")]
    assert chosen == wanted
    assert {one["method"] for one in chosen} == {"finetune", "retrain"}


@pytest.fixture
def odd(make_record: Make, tmp_path: Path) -> Path:
    """A results folder with a hostile method and one that failed."""
    store = RecordStore(tmp_path / "results")
    named = make_record("finetune", {"tow": 0.5})
    cell = msgspec.structs.replace(named.cell, method=NASTY)
    store.write(msgspec.structs.replace(named, cell=cell, hash=cell.hash), {})
    store.write(make_record("retrain", {"tow": 1.0}), {})
    store.write(make_record("svd-forgetting", status="failed"), {})
    return tmp_path / "results"


def test_hostile_names_are_text(odd: Path) -> None:
    models = models_of(text_of("model-index", odd))
    assert list(models) == ["smoke/digits/retrain", f"smoke/digits/{NASTY}"]
    command = models[f"smoke/digits/{NASTY}"][0].metric_args["command"]
    assert not set(command) & set("\n'\"&*!%@#{}")
    assert NASTY in {one["method"] for one in json.loads(text_of("json", odd))}


def test_methods_without_a_result(odd: Path) -> None:
    found = [one for one in json.loads(text_of("json", odd)) if one["method"] == "svd-forgetting"]
    assert found
    assert {(one["value"], one["status"]) for one in found} == {(None, "failed")}
    with pytest.raises(InputError, match="none of these methods has a result"):
        text_of("model-index", odd, methods=["svd-forgetting"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"suite": "smokey"}, "unknown suite 'smokey'; did you mean smoke"),
        ({"task": "class-forgett"}, "unknown task 'class-forgett'; did you mean class-forget"),
        ({"scenarios": ["digit"]}, "unknown scenario with records 'digit'; did you mean digits"),
        ({"methods": ["finetun"]}, "unknown method with records 'finetun'; did you mean finetune"),
        ({"scenarios": ["digits"], "methods": ["salun"]}, "unknown method with records 'salun'"),
        ({"format": "yaml"}, "unknown format 'yaml'"),
        ({"methods": []}, "methods were asked for, but none was named"),
        ({"task": "debias-known"}, "there are no such records"),
        ({"results": Path("nowhere")}, "there are no such records in nowhere"),
    ],
)
def test_bad_input_writes_nothing(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    chosen: dict[str, Any] = {"suite": "smoke", "task": None, "scenarios": None, "methods": None, "format": "json"}
    chosen |= {"output": tmp_path / "out.json", "results": RESULTS}
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        export(**{**chosen, **changes})
    assert list(tmp_path.iterdir()) == []


def test_it_is_written_to_a_file_or_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ("smoke", None, ["digits"], ["finetune"], "json")
    export(*chosen, tmp_path / "out.json", RESULTS)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"wrote {tmp_path / 'out.json'}\n")
    export(*chosen, None, RESULTS)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out.json").read_text() == exported(*chosen, RESULTS)
    with pytest.raises(InputError, match="is a folder"):
        export(*chosen, tmp_path, RESULTS)
    with pytest.raises(InputError, match=r"there is no folder .*mistyped"):
        export(*chosen, tmp_path / "mistyped" / "out.json", RESULTS)
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_model_index_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'amendbench\[vision\]', or use --format json"):
        text_of("model-index")
