"""The commands from end to end: records and folders are packed, verified, accepted, and verified with everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from handed_in import SCENARIO, logits

from benchmark.cli import main
from benchmark.running.records import Record, RecordStore
from benchmark.submissions.accepted import FILE
from benchmark.submissions.archive import open_archive

Run = Callable[..., tuple[int, str]]
MakeRecord = Callable[..., Record]
WHO = ("--authors", "A, B", "--licence", "CC0-1.0")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command's exit code and what it printed, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert isinstance(ended.value.code, int)
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    return command


def test_a_folder_becomes_a_row(run: Run, folder: Path, tmp_path: Path) -> None:
    code, said = run("submit", "--predictions", folder)
    assert (code, "packed 2 cells of digits-coloured" in said) == (0, True)
    code, said = run("verify", "their-method.amendbench.zip")
    assert (code, "Zoë Ångström" in said) == (0, True)
    assert "accuracy.mean" in said
    assert not (tmp_path / "results").exists()
    code, said = run("verify", "their-method.amendbench.zip", "--accept", "--results", "kept")
    kept = tmp_path / "kept/submissions/smoke/debias-known/their-method"
    assert (code, (kept / FILE).is_file()) == (0, True)
    code, said = run("verify", "--results", "kept")
    assert (code, "nothing is wrong" in said) == (0, True)


def test_a_template_is_what_is_read(run: Run, folder: Path) -> None:
    code, said = run("submit", "--template", "--suite", "smoke", "--scenarios", SCENARIO, "--seeds", 2)
    shape = logits().shape
    assert (code, f"test.logits  float16 of shape {shape}" in said) == (0, True)
    assert '# "accuracy.mean" = 0.0' in said
    (folder / "metadata.toml").write_text(said)
    for seed in (0, 1):
        (folder / f"s{seed}.npz").rename(folder / f"{SCENARIO}-seed{seed}.npz")
    assert run("submit", "--predictions", folder)[0] == 0
    assert open_archive(Path("my-method.amendbench.zip")).submission.access == {"train": "xya", "validation": "xya",
                                                                              "unbiased": "xy"}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"their-method"', '"Their Method"', "method is 'Their Method'"),
        ('"digits-coloured"', '"digits-colored"', "did you mean digits-coloured"),
        ('task = "debias-known"', 'task = "class-forget"', "is of task debias-known, not class-forget"),
        ('suite = "smoke"', 'suite = "smok"', "did you mean smoke"),
        ("seconds = 1.5", "secnds = 1.5", "did you mean seconds"),
        ("seconds = 1.5", "seconds = nan", "must be a finite number"),
        ('file = "s0.npz"', 'file = "../s0.npz"', "which is not below"),
        ('file = "s0.npz"', 'file = "s2.npz"', "cannot be read: No such file"),
        ('file = "s0.npz"', 'file = "metadata.toml"', "cells[0]"),
        ("seed = 0", "seed = -1", "seed is -1"),
        ("seconds = 1.5", 'reported = { "accuracy.men" = 1.0 }', "did you mean accuracy.mean"),
        ("lr = 0.1", "lr = [0.1]", "parameters"),
        ('licence = "CC0-1.0"', "", "licence"),
        ("2026-01-31", '"soon"', "date"),
    ],
)
def test_bad_metadata_writes_nothing(run: Run, folder: Path, tmp_path: Path, old: str, new: str, said: str) -> None:
    path = folder / "metadata.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    code, printed = run("submit", "--predictions", folder)
    assert (code, said in printed) == (2, True), printed
    assert not list(tmp_path.glob("*.zip"))


def test_wrong_arrays_are_named(run: Run, folder: Path) -> None:
    for arrays, said in (
        ({"test.logits": logits()[:5]}, "array test.logits is float32 of shape (5, 2), not float16"),
        ({"test.logits": logits(), "test.labels": logits().argmax(1)}, "test.labels: the benchmark has its own"),
        ({"logits": logits()}, "unknown array 'logits'"),
    ):
        np.savez(folder / "s1.npz", **arrays)
        code, printed = run("submit", "--predictions", folder)
        assert (code, said in printed) == (2, True), printed


def test_a_value_that_differs_is_not_accepted(run: Run, folder: Path, tmp_path: Path) -> None:
    path = folder / "metadata.toml"
    path.write_text(path.read_text() + 'reported = { "accuracy.mean" = 99.9 }\n')
    assert run("submit", "--predictions", folder)[0] == 0
    code, said = run("verify", "their-method.amendbench.zip", "--accept", "--results", tmp_path / "kept")
    assert code == 1
    assert "accuracy.mean is 99.9; its predictions give" in said
    assert "not accepted" in said
    assert not (tmp_path / "kept").exists()


@pytest.fixture
def kept(run: Run, folder: Path, tmp_path: Path) -> Path:
    """The folder of an accepted submission in ``kept``."""
    run("submit", "--predictions", folder)
    assert run("verify", "their-method.amendbench.zip", "--accept", "--results", "kept")[0] == 0
    return tmp_path / "kept/submissions/smoke/debias-known/their-method"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda raw: raw["metrics"][f"{SCENARIO}, seed 1"]["accuracy.mean"].update(value=99.0),
            "accuracy.mean was 99.0",
        ),
        (lambda raw: raw["submission"].update(authors=["C"]), "it does not say what"),
        (lambda raw: raw.update(sha256="0" * 64), "is not the one that was verified"),
        (lambda raw: raw["submission"].update(method="mine"), "its path is"),
        (lambda raw: raw.update(metrics={}), "not of the cells"),
        (lambda raw: raw.update(schema=9), "schema"),
    ],
)
def test_what_was_accepted_is_verified_again(
    run: Run, kept: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    raw = json.loads((kept / FILE).read_text())
    change(raw)
    (kept / FILE).write_text(json.dumps(raw))
    code, printed = run("verify", "--results", "kept")
    assert (code, said in printed) == (1, True), printed


def test_predictions_that_are_elsewhere_are_a_note(run: Run, kept: Path) -> None:
    (kept / "their-method.amendbench.zip").unlink()
    code, said = run("verify", "--results", "kept", "--suite", "smoke")
    assert (code, "predictions are not here" in said) == (0, True)


def test_usage(run: Run, tmp_path: Path) -> None:
    for arguments, said in (
        (("verify", "--accept"), "accept is for a submission"),
        (("verify", "x.zip", "--task", "debias-known"), "names its own"),
        (("verify", "x.zip"), "cannot be read"),
        (("submit",), "task is missing"),
        (("submit", "--task", "debias-known"), "method is missing"),
        (("submit", "--task", "debias-known", "--method", "erm"), "authors are missing"),
        (("submit", "--task", "debias-known", "--method", "erm", "--authors", "A"), "licence is missing"),
        (("submit", "--predictions", tmp_path), "has no metadata.toml"),
        (("submit", "--predictions", tmp_path, "--authors", "A"), "authors is 'A', but metadata.toml"),
        (("submit", "--template", "--scenarios", "digits"), "unknown scenario"),
    ):
        code, printed = run(*arguments)
        assert (code, said in printed) == (2, True), printed


# From records.


@pytest.fixture
def records(tmp_path: Path, make_record: MakeRecord) -> Path:
    """Records of two seeds with predictions, of one without, and of one that failed."""
    from benchmark.submissions.expected import expected
    from benchmark.suites.definition import load_suite

    store = RecordStore(tmp_path / "results")
    truth = expected(load_suite("smoke").scenarios[SCENARIO].settings, 0).truth
    for seed, values in ((0, {"test.logits": logits(0).astype(np.float16), **truth}), (1, {})):
        record = make_record("erm", {"accuracy.mean": 97.5}, scenario=SCENARIO, seed=seed)
        store.write(record, values)
    failed = make_record("erm", scenario=SCENARIO, seed=2, status="failed")
    store.write(failed, {})
    return tmp_path / "results"


def test_records_become_a_submission(run: Run, records: Path) -> None:
    asked = ("submit", "--suite", "smoke", "--task", "debias-known", "--results", records, *WHO)
    code, said = run(*asked, "--method", "erm", "--out", "x.amendbench.zip")
    assert code == 0, said
    assert "digits-coloured: predictions were not kept (seed 1)" in said
    assert "digits-coloured: failed (seed 2)" in said
    found = open_archive(Path("x.amendbench.zip"))
    (part,) = found.submission.cells
    assert (part.reported, part.seconds) == ({"accuracy.mean": 97.5}, 1.0)
    assert found.predictions(part).keys() == {"test.logits"}
    assert found.submission.access == {"train": "xy"}
    assert found.submission.hardware == "a processor"


def test_records_that_are_not_there(run: Run, records: Path) -> None:
    asked = ("submit", "--suite", "smoke", "--task", "debias-known", *WHO)
    for arguments, said in (
        (("--method", "emr", "--results", records), "did you mean erm"),
        (("--method", "erm", "--results", "nowhere"), "there are no records of debias-known"),
        (("--method", "erm", "--results", records, "--out", "x.zip"), "ends in .amendbench.zip"),
        (("--method", "erm", "--results", records, "--out", "no/x.amendbench.zip"), "there is no folder no"),
        (("--method", "erm", "--results", records, "--link", "javascript:x"), "link is 'javascript:x'"),
        (("--method", "erm", "--results", records, "--scenarios", "digits-color"), "did you mean digits-coloured"),
    ):
        code, printed = run(*asked, *arguments)
        assert (code, said in printed) == (2, True), printed
    shutil.rmtree(records / f"smoke/debias-known/{SCENARIO}/erm")
    assert run(*asked, "--method", "erm", "--results", records)[0] == 2


def test_records_of_other_settings_are_not_packed(run: Run, records: Path, make_record: MakeRecord) -> None:
    record = make_record("erm", {"accuracy.mean": 97.5}, scenario=SCENARIO, seed=0)
    cell = msgspec.structs.replace(record.cell, settings={**record.cell.settings, "selection": "last"})
    RecordStore(records).write(msgspec.structs.replace(record, cell=cell, hash=cell.hash), {})
    asked = ("submit", "--suite", "smoke", "--task", "debias-known", "--method", "erm", "--results", records, *WHO)
    code, said = run(*asked)
    assert (code, "the settings of scenario digits-coloured are others now" in said) == (2, True), said
