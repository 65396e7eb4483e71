"""The command line from end to end, and every way to use it wrongly."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmark.boards.board import Row
from benchmark.cli import main
from benchmark.running.records import RecordStore

METHODS = ["original", "retrain", "svd-forgetting", "finetune", "logit-mask"]
BENCH = ["bench", "--suite", "smoke", "--scenarios", "digits", "--seeds", "1"]
CHOSEN = [*BENCH, "--methods", "svd-forgetting,finetune,logit-mask"]


def call(*arguments: str) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="session")
def finished(shared_folder: Path, cache_folder: Path) -> Path:
    """A folder with the results and reports of one run, shared by all processes of this test run: read only."""
    folder = shared_folder / "bench"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "stdout").exists():
            into = ["--results", "results", "--reports", "reports"]
            told = subprocess.run(
                [sys.executable, "-m", "benchmark", *CHOSEN, "--jobs", "2", *into],
                cwd=folder, capture_output=True, text=True, check=False, timeout=240,
            )  # fmt: skip
            assert told.returncode == 0, told.stderr + told.stdout
            (folder / "stderr").write_text(told.stderr)
            (folder / "stdout").write_text(told.stdout)
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_bench_leaves_records_a_board_and_a_report(finished: Path) -> None:
    records = list(RecordStore(finished / "results").all())
    assert sorted(r.cell.method for r in records) == sorted(METHODS)
    assert {r.status for r in records} == {"ok"}
    assert {(r.cell.suite, r.cell.scenario, r.cell.seed, r.cell.unit) for r in records} == {
        ("smoke", "digits", 0, "class-0")
    }
    assert len({r.environment["machine"] for r in records}) == 1
    stdout = (finished / "stdout").read_text()
    assert "5 of 5 cells to run" in stdout
    assert "class-forget / digits" in stdout
    assert all(name in stdout for name in METHODS)
    assert "wrote reports/leaderboard.md" in stdout
    assert (finished / "stderr").read_text() == ""
    assert "](class-forget.md)" in (finished / "reports" / "leaderboard.md").read_text()
    page = (finished / "reports" / "class-forget.md").read_text()
    assert "### class-forget / digits" in page
    assert "**svd-forgetting**" in page
    left = [name for name in snapshot(finished / "results") if not name.endswith((".json", ".npz"))]
    assert not left or left == [".results.lock"]


def test_the_second_run_has_nothing_to_do(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(finished / "results")
    arguments = ["--results", str(finished / "results"), "--reports", str(tmp_path)]
    assert call(*CHOSEN, *arguments) == 0
    said = capsys.readouterr().out
    assert "all 5 cells are cached; nothing to run" in said
    assert "svd-forgetting" in said  # the board comes all the same
    assert snapshot(finished / "results") == before
    assert (tmp_path / "leaderboard.md").read_bytes() == (finished / "reports" / "leaderboard.md").read_bytes()


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ["--results", str(tmp_path / "new"), "--reports", str(tmp_path / "reports")]
    assert call(*CHOSEN, *results, "--dry-run") == 0
    assert "5 of 5 cells to run" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert call(*CHOSEN, "--results", str(finished / "results"), "--fresh", "--dry-run") == 0
    assert "5 of 5 cells to run" in capsys.readouterr().out


def test_jobs_do_not_change_a_result(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    into = ["--results", str(tmp_path / "r"), "--reports", str(tmp_path)]
    assert call(*BENCH, "--methods", "svd-forgetting", "--jobs", "1", *into) == 0
    capsys.readouterr()
    one, two = RecordStore(tmp_path / "r"), RecordStore(finished / "results")
    records = list(one.all())
    assert len(records) == 3
    for record in records:
        other = two.read(record.cell.file)
        assert other is not None
        assert (other.hash, other.metrics, other.access) == (record.hash, record.metrics, record.access)
        arrays, others = one.arrays(record), two.arrays(other)
        assert arrays.keys() == others.keys() >= {"test.logits", "train.logits"}
        assert all(np.array_equal(arrays[name], others[name]) for name in arrays)


def test_the_leaderboard_as_json_has_the_promised_keys(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("leaderboard", "--suite", "smoke", "--format", "json", "--results", str(finished / "results")) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows][:2] == ["original", "retrain"]
    assert rows[-1]["method"] == "logit-mask"
    section = (Path(__file__).parents[2] / "docs" / "tables.md").read_text("utf-8").split("## Rows for scripts")[1]
    promised = {name for line in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in line.split("`")[1::2]}
    for row in rows:
        assert set(row) == promised
        for metric in row["metrics"].values():
            assert set(metric) == {"mean", "low", "high", "n", "unit", "better", "by_seed"}
        assert set(row["cost"]) == {"seconds", "device_seconds", "ratio_to_retrain", "peak_bytes", "exclusive"}
        assert (row["task"], row["scenario"], row["n"]) == ("class-forget", "digits", 1)
        assert row["status"] == "ok"
        assert row["metrics"]["tow"]["mean"] is not None
    msgspec.convert(rows, list[Row], strict=False)
    by_name = {row["method"]: row for row in rows}
    assert {row["method"]: row["rank"] for row in rows} == dict.fromkeys(by_name) | {
        row["method"]: number for number, row in enumerate(rows[2:-1], start=1)
    }
    assert all(row["rank_label_free"] is None for row in rows)  # of the ranked ones each reads labels
    assert {row["method"] for row in rows if row["label_free"]} == {"original", "logit-mask"}
    assert by_name["logit-mask"]["access"] == {}
    assert by_name["svd-forgetting"]["access"]["retain"]["labels"] > 0
    assert by_name["svd-forgetting"]["metrics"]["accuracy.test.forget"]["mean"] < 10
    assert by_name["original"]["metrics"]["accuracy.test.forget"]["mean"] > 90


def test_the_leaderboard_as_a_table(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("leaderboard", "--suite", "smoke", "--results", str(finished / "results")) == 0
    assert "logit-mask" in capsys.readouterr().out
    assert call("leaderboard", "--suite", "embedded", "--results", str(finished / "results")) == 2
    assert "there are no such records" in capsys.readouterr().err


def test_report_twice_is_the_same(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished / "results", results)
    for name in ("one", "two"):
        assert call("report", "--results", str(results), "--reports", str(tmp_path / name)) == 0
    assert f"wrote {tmp_path / 'one' / 'leaderboard.md'} and " in " ".join(capsys.readouterr().out.split())
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two") == snapshot(finished / "reports")


def test_status_counts(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("status", "--suite", "smoke", "--seeds", "2", "--results", str(finished / "results")) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    assert lines["digits"] == ["5", "0", "0", "0", "5"]
    assert lines["four-gaussians"][:4] == ["0", "0", "0", "0"]
    assert call("status", "--suite", "smoke", "--results", str(tmp_path / "none")) == 0
    assert list(tmp_path.iterdir()) == []


BROKEN = """
name = "broken"
summary = "One method cannot run with these hyper-parameters."
threads = 1
timeout = 60.0
tuning = { seeds = [102], configurations = 1 }
[scenarios.toy]
task = "class-forget"
data = "four-gaussians"
model = "mlp-toy"
training = { epochs = 10, batch_size = 2048, lr = 0.1 }
methods = ["original", "svd-forgetting"]
[hyperparameters.toy]
svd-forgetting = { parameters = { retain_per_class = -1 }, provenance = "on purpose" }
"""


def test_a_failure_is_a_row_an_exit_code_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text(BROKEN)
    assert call("bench", "--suite", "broken.toml", "--seeds", "1", "--jobs", "1") == 1
    said = capsys.readouterr().out
    assert "1 of 2 cells have no result" in said
    assert "retain_per_class" in said
    statuses = {r.cell.method: r.status for r in RecordStore(Path("results")).all()}
    assert statuses == {"original": "ok", "svd-forgetting": "failed"}
    assert call("bench", "--suite", "broken.toml", "--seeds", "1", "--dry-run") == 0
    assert "1 of 2 cells to run" in capsys.readouterr().out
    assert "failed" in Path("reports/leaderboard.md").read_text()


WRONG = {
    "task": (["bench", "--task", "clas-forget"], "'clas-forget'", "class-forget"),
    "method": (["bench", "--methods", "svd-forgeting"], "'svd-forgeting'", "svd-forgetting"),
    "method of another scenario": ([*BENCH, "--methods", "scrub"], "'scrub'", ""),
    "scenario": (["bench", "--suite", "smoke", "--scenarios", "digit"], "'digit'", "digits"),
    "suite": (["bench", "--suite", "smok"], "'smok'", "smoke"),
    "suite file": (["bench", "--suite", "none.toml"], "none.toml", ""),
    "negative seeds": (["bench", "--seeds", "-1"], "-1", ""),
    "no seeds": (["bench", "--seeds", "0"], "0", ""),
    "seeds that are no number": (["bench", "--seeds", "three"], "'three'", ""),
    "seeds that are no integer": (["bench", "--seeds", "1.5"], "'1.5'", ""),
    "no jobs": (["bench", "--jobs", "0"], "0", ""),
    "negative jobs": (["bench", "--jobs", "-2"], "-2", ""),
    "device": (["bench", "--device", "gpuu"], "'gpuu'", "cpu, cuda"),
    "device number": (["bench", "--device", "cuda:x"], "'cuda:x'", ""),
    "device number in superscript": (["bench", "--device", "cuda:²"], "'cuda:²'", "cuda:N"),
    "option": (["bench", "--sedes", "3"], "--sedes", "--seeds"),
    "argument": (["bench", "class-forget"], "class-forget", ""),
    "command": (["benhc"], "'benhc'", ""),
    "results": (["bench", "--suite", "smoke", "--results", "file/results"], "file/results", ""),
    "report without records": (["report", "--results", "nothing"], "nothing", ""),
    "board without records": (["leaderboard", "--results", "nothing"], "nothing", ""),
    "format": (["leaderboard", "--format", "yaml"], "'yaml'", "table"),
    "board of a task": (["leaderboard", "--task", "clas-forget"], "'clas-forget'", "class-forget"),
    "board of a suite": (["leaderboard", "--suite", "smok"], "'smok'", "smoke"),
    "status of a suite": (["status", "--suite", "smok"], "'smok'", "smoke"),
    "status of no seeds": (["status", "--seeds", "0"], "0", ""),
    "status of a device": (["status", "--device", "gpuu"], "'gpuu'", "cpu"),
    "section": (["list", "method"], "'method'", "methods"),
    "tuning without jobs": (["tune", "--jobs", "0"], "0", ""),
    "tuning of a task": (["tune", "--task", "clas-forget"], "'clas-forget'", "class-forget"),
    "tuning on a device": (["tune", "--device", "gpuu"], "'gpuu'", "cpu"),
    "tuning of a method": (["tune", "--methods", "scrubb"], "'scrubb'", "scrub"),
}
SUITE_KEYS = {
    "key": ("threads = 1", "thread = 1", "'thread'", "threads"),
    "type": ("threads = 1", "threads = 'one'", "threads", "int"),
    "model": ('"mlp-toy"', '"mlp-toi"', "'mlp-toi'", "mlp-toy"),
    "data set": ('"four-gaussians"', '"four-gausians"', "'four-gausians'", "four-gaussians"),
    "task": ('"class-forget"', '"class-forgot"', "'class-forgot'", "class-forget"),
    "hyper-parameter": ("retain_per_class", "retain_per_clas", "'retain_per_clas'", "retain_per_class"),
    "hyper-parameter's type": ("= -1", "= 'many'", "'many'", "int"),
    "hyper-parameter that is no number": ("{ retain_per_class = -1 }", "{ alpha_r = nan }", "nan", "alpha_r"),
    "method": ('"svd-forgetting"]', '"svd-forgeting"]', "'svd-forgeting'", "svd-forgetting"),
    "syntax": ("threads = 1", "threads : 1", "broken.toml", ""),
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The single line that bad input gets; nothing is written."""
    before = snapshot(Path.cwd())
    assert call(*arguments) == 2
    told = capsys.readouterr()
    assert snapshot(Path.cwd()) == before
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    assert lines[0].startswith("amendbench: ")
    return lines[0]


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_one_line_that_names_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, value, near = WRONG[what]
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    line = refused(capsys, *arguments)
    assert value in line
    assert near in line
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("what", SUITE_KEYS)
def test_a_wrong_suite_file_is_one_line_that_names_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, value, near = SUITE_KEYS[what]
    assert old in BROKEN
    monkeypatch.chdir(tmp_path)
    Path("broken.toml").write_text(BROKEN.replace(old, new))
    line = refused(capsys, "bench", "--suite", "broken.toml")
    assert value in line
    assert near in line


def test_a_graphics_card_that_is_not_there_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.chdir(tmp_path)
    for device in ("cuda", "cuda:1"):
        assert f"'{device}'" in refused(capsys, "bench", "--device", device)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert "'cuda:2'" in refused(capsys, "bench", "--device", "cuda:2")


@pytest.mark.parametrize("command", ["report", "bench"])
def test_reports_that_cannot_be_written_are_bad_input(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    arguments = CHOSEN if command == "bench" else ["report"]
    assert call(*arguments, "--results", str(finished / "results"), "--reports", "file/reports") == 2
    assert "file/reports" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    told = subprocess.run(
        [sys.executable, "-m", "benchmark", *BENCH, "--methods", "logit-mask", "--results", "results"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": "", "AMENDBENCH_CACHE": str(tmp_path / "file" / "cache")},
    )  # fmt: skip
    assert told.returncode == 2
    assert "AMENDBENCH_CACHE" in told.stderr
    assert len(told.stderr.splitlines()) == 1, told.stderr
