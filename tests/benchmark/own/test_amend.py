"""``amendbench amend`` and ``bench --data`` from end to end, on pictures never seen before."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmark.boards.board import build_board
from benchmark.cli import main
from benchmark.models.classifiers import build_classifier
from benchmark.running.records import RecordStore


def call(*arguments: str) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def given(flat: tuple[Path, Path], weights: Path) -> list[str]:
    """Data, network and task, as both commands take them."""
    folder, table = flat
    own = ["--data", str(folder), "--attributes", str(table), "--model", "lenet", "--weights", str(weights)]
    return [*own, "--task", "class-forget", "--forget-class", "tench", "--epochs", "1", "--batch-size", "8"]


@pytest.fixture(autouse=True)
def undisturbed() -> object:
    """Deterministic algorithms are switched on in this process."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def test_amended_weights_come_with_a_card_and_records(given: list[str], weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "amended"
    assert call("amend", *given, "--method", "finetune", "--set", "lr=0.3", "--retrain", "--out", str(out)) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "MODEL_CARD.md",
        "amended.safetensors",
        "amendment.json",
        "records",
    ]
    records = {r.cell.method: r for r in RecordStore(out / "records").all()}
    assert sorted(records) == ["finetune", "original", "retrain"]
    assert records["finetune"].cell.parameters["lr"] == 0.3
    content = (out / "amended.safetensors").read_bytes()
    told = json.loads((out / "amendment.json").read_text())
    assert told["amended_weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert told["base_weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    before, after = load_file(weights), load_file(out / "amended.safetensors")
    assert before.keys() == after.keys()
    assert not torch.equal(before["11.weight"], after["11.weight"])
    build_classifier("lenet", 3, (3, 16, 16)).load_state_dict(after)
    card = (out / "MODEL_CARD.md").read_text()
    for expected in (
        "by hand: lr",
        "class-2 \\(tench\\)",
        "lr = 0.3",
        told["amended_weights_sha256"],
        "0 finch, 1 pike, 2 tench",
    ):
        assert expected in card, expected
    retain = records["finetune"].metrics["accuracy.test.retain"].value
    assert f"| test retain (`accuracy.test.retain`) | {retain:.2f} % |" in card


def test_what_is_no_weights_is_not_saved(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "amended"
    assert call("amend", *given, "--method", "logit-mask", "--out", str(out)) == 2
    assert "is a cheat" in capsys.readouterr().err
    assert not out.exists()


WRONG = {
    "a method": (["--method", "svd-forgeting"], "did you mean svd-forgetting"),
    "a hyper-parameter": (["--method", "finetune", "--set", "rate=1"], "unknown hyper-parameter of finetune 'rate'"),
    "its type": (["--method", "finetune", "--set", "epochs=many"], "--set epochs: 'many' is no int"),
    "no value": (["--method", "finetune", "--set", "epochs"], "is not NAME=VALUE"),
    "a seed": (["--method", "finetune", "--seed", "-1"], "seed must be at least 0, not -1"),
    "an option of another task": (["--method", "finetune", "--attribute", "ruler"], "--attribute has no effect"),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_one_line_and_nothing_is_written(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    arguments, expected = WRONG[what]
    out = tmp_path / "amended"
    assert call("amend", *given, *arguments, "--out", str(out)) == 2
    assert expected in capsys.readouterr().err
    assert not out.exists()
    assert not list(tmp_path.glob(".amended*"))


def test_what_is_there_is_not_overwritten(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "amended"
    out.mkdir()
    (out / "mine").write_text("mine")
    assert call("amend", *given, "--method", "finetune", "--out", str(out)) == 2
    assert "is there already" in capsys.readouterr().err
    assert [p.name for p in out.iterdir()] == ["mine"]


def test_bench_runs_the_methods_on_them(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = ["--results", str(tmp_path / "results"), "--reports", str(tmp_path / "reports")]
    assert call("bench", *given, "--methods", "finetune", "--seeds", "2", "--jobs", "1", *into) == 0
    records = list(RecordStore(tmp_path / "results").all("own"))
    assert sorted({r.cell.method for r in records}) == ["finetune", "original", "retrain"]
    assert {r.status for r in records} == {"ok"}
    (row,) = (row for row in build_board(records) if row.method == "finetune")
    assert (row.n, row.cells) == (1, 2)  # two seeds of one base model are no two base models
    assert not any("seeds: not ranked" in reason for reason in row.reasons)
    found = row.metrics["accuracy.test.retain"]
    own = [r.metrics["accuracy.test.retain"].value for r in records if r.cell.method == "finetune"]
    assert found.mean == pytest.approx(sum(value or 0.0 for value in own) / 2)
    assert found.low is None
    published = (tmp_path / "reports" / "class-forget.md").read_text()
    for record in records:
        assert str(tmp_path) not in record.cell.settings["data"]
    assert "SUITE=own SCENARIOS=pictures-lenet-forget-tench-" in published


def test_options_of_ones_own_need_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bench", "--forget-class", "tench") == 2
    assert "--forget-class has no effect without --data FOLDER" in capsys.readouterr().err
    assert call("bench", "--epochs", "3") == 2
    assert "--epochs has no effect without --data" in capsys.readouterr().err
