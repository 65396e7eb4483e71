"""Verification: an untouched folder is fine, and each way of tampering with one is said."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from benchmark.checking.verify import Verification, print_verification, verify
from benchmark.errors import InputError
from benchmark.running.arrays import read_arrays
from benchmark.running.ensembles import EnsembleRecord
from benchmark.running.ensembles import write as write_comparison
from benchmark.running.records import Record
from benchmark.tuning.search import Study, Trial

RecordOf = Callable[[str], Record]
Change = Callable[[dict[str, Any]], object]
TASK = "debias-known"


def tampered(results: Path, record: Record, change: Change, *, rehash: bool = True) -> Verification:
    """The folder's verification after ``change`` of a record's JSON; an attacker can compute the hash, too."""
    path = results / record.cell.file
    raw = json.loads(path.read_text())
    change(raw)
    if rehash:
        raw["hash"] = msgspec.convert(raw["cell"], type(record.cell)).hash
    path.write_text(json.dumps(raw))
    return verify(results, task=record.cell.task)


def said(found: Verification) -> str:
    assert found.exit_code == (1 if found.wrong else 0)
    return "\n".join(what for _, what in found.wrong)


def printed(found: Verification) -> str:
    stream = io.StringIO()
    print_verification(found, Console(file=stream, width=160, force_terminal=True, color_system=None))
    return stream.getvalue()


# What is fine.


def test_an_untouched_folder_is_fine(results: Path) -> None:
    calls: list[tuple[int, int]] = []
    found = verify(results, report=lambda done, total: calls.append((done, total)))
    assert (found.wrong, found.exit_code) == ([], 0)
    assert {(t.records, t.sound, t.kept, t.rescored, t.wrong) for t in found.tallies.values()} == {(1, 1, 1, 1, 0)}
    assert len(found.tallies) == 6
    assert calls[0] == (0, 12)
    assert calls[-1] == (12, 12)
    assert "nothing is wrong" in printed(found)
    assert "re-scored 4 of 15 metrics" in printed(found)


def test_only_a_task_or_a_suite(results: Path) -> None:
    assert list(verify(results, task=TASK).tallies) == [("smoke", TASK)]
    assert len(verify(results, suite="smoke").tallies) == 6
    assert verify(results, suite="standard").exit_code == 3


def test_nothing_to_verify(tmp_path: Path) -> None:
    found = verify(tmp_path)
    assert found.exit_code == 3
    assert "nothing to verify" in printed(found)


@pytest.mark.parametrize("wanted", [{"task": "debias-knwon"}, {"suite": "../smoke"}])
def test_names_that_are_none(results: Path, wanted: dict[str, str]) -> None:
    with pytest.raises(InputError, match="unknown"):
        verify(results, **wanted)
    with pytest.raises(InputError, match="no folder"):
        verify(results / "nowhere")


def test_records_without_their_outputs_are_checked_by_themselves(results: Path) -> None:
    for path in results.rglob("*.npz"):
        path.unlink()
    found = verify(results)
    assert found.exit_code == 0
    assert sum(tally.kept for tally in found.tallies.values()) == 0


# A record that was changed.


def set_metric(name: str, value: Any) -> Change:
    return lambda raw: raw["metrics"][name].update(value=value)


def test_a_digit_of_a_metric_is_found_by_scoring_again(results: Path, record_of: RecordOf) -> None:
    record = record_of(TASK)
    value = record.metrics["accuracy.mean"].value
    assert value is not None
    found = tampered(results, record, set_metric("accuracy.mean", value + 0.01))
    assert said(found).startswith(f"accuracy.mean is {value + 0.01:.10g} of")
    assert f"its arrays give {value:.10g}" in said(found)
    assert "1 file is wrong" in printed(found)


def test_a_metric_that_was_dropped(results: Path, record_of: RecordOf) -> None:
    found = tampered(results, record_of(TASK), lambda raw: raw["metrics"].pop("accuracy.worst-group"))
    assert "accuracy.worst-group is not in the record" in said(found)


CHANGES: dict[str, tuple[Change, str]] = {
    "schema": (lambda raw: raw.update(schema=2), "its schema is 2, not 1"),
    "another file": (lambda raw: raw["cell"].update(scenario="digits-coloured-2"), "its path is"),
    "not a number": (set_metric("attribute.decodability", float("nan")), "it is no record"),
    "beyond any number": (set_metric("attribute.decodability", 10**400), "it is no record"),
    "above all percent": (set_metric("attribute.decodability", 100.5), "is 100.5, which it cannot be"),
    "no samples": (lambda raw: raw["metrics"]["attribute.decodability"].update(n=0), "is of 0 samples"),
    "metric of another task": (
        lambda raw: raw["metrics"].update({"pul": {"value": 1.0, "n": 9}}),
        "metric 'pul' is none that task debias-known measures",
    ),
    "metric that reports derive": (
        lambda raw: raw["metrics"].update({"gain.worst-group": {"value": 9.0, "n": 9}}),
        "'gain.worst-group' is none",
    ),
    "unknown metric": (lambda raw: raw["metrics"].update({"best": {"value": 1.0, "n": 9}}), "'best' is none"),
    "failure": (
        lambda raw: raw.update(failure={"error": "E", "message": "m"}),
        "status is ok, but there is a failure",
    ),
    "failed with metrics": (
        lambda raw: raw.update(status="failed", failure={"error": "E", "message": "m"}),
        "status is failed, but there are metrics",
    ),
    "no result": (lambda raw: raw.update(metrics={}, arrays=None), "there is no metric"),
    "unknown status": (lambda raw: raw.update(status="great"), "it is no record"),
    "unknown method": (lambda raw: raw["cell"].update(method="ermm"), "unknown method 'ermm'; did you mean erm"),
    "unknown task": (lambda raw: raw["cell"].update(task="debias"), "unknown task 'debias'"),
    "unknown field": (lambda raw: raw.update(rank=1), "unknown field `rank`"),
    "another kind": (lambda raw: raw["cell"].update(kind="paper"), "kind is paper, but method erm is a reference"),
    "hyper-parameter": (lambda raw: raw["cell"]["parameters"].update(lr=0.1), "hyper-parameter of erm"),
    "another unit": (lambda raw: raw["cell"].update(unit="hue"), "unit is 'hue', but seed 0 amends colour"),
    "settings": (lambda raw: raw["cell"]["settings"].update(selection="best"), "settings: Invalid enum value 'best'"),
    "settings of the other task": (
        lambda raw: raw["cell"]["settings"].update(task="debias-unknown"),
        "they are of task debias-unknown",
    ),
    "groups": (lambda raw: raw["groups"].update({"0 / colour 0": [9, 1]}), "9 of 1 samples right"),
    "other groups": (lambda raw: raw["groups"].popitem(), "counts by group are not those of its outputs"),
    "cost": (lambda raw: raw["cost"].update(seconds=-1.0), "it is no record"),
    "threads": (lambda raw: raw["cell"].update(threads=0), "threads are 0, not 1 to 1024"),
    "hidden": (lambda raw: raw["cell"].update(device=".."), "its path is not made of plain names"),
    "time": (lambda raw: raw.update(created="yesterday"), "which is no time"),
    "data": (lambda raw: raw.update(data="0" * 16), "data '0000000000000000' is not today's"),
    "no data": (lambda raw: raw.update(data=""), "data is empty"),
    "checksum of arrays": (lambda raw: raw.update(arrays="0" * 64), "checksum is not the record's"),
    "no checksum": (lambda raw: raw.update(arrays="../x"), "is no SHA-256"),
}


@pytest.mark.parametrize(("change", "what"), CHANGES.values(), ids=CHANGES)
def test_a_changed_record_is_wrong(change: Change, what: str, results: Path, record_of: RecordOf) -> None:
    found = tampered(results, record_of(TASK), change)
    assert what in said(found)
    assert what[:20] in " ".join(printed(found).split())


def test_a_cell_that_is_not_its_hash(results: Path, record_of: RecordOf) -> None:
    found = tampered(results, record_of(TASK), lambda raw: raw["cell"].update(threads=3), rehash=False)
    assert "its hash is" in said(found)


def test_a_record_in_another_folder(results: Path, record_of: RecordOf) -> None:
    path = results / record_of(TASK).cell.file
    moved = path.with_name("colour-seed1-cpu.json")
    path.rename(moved)
    path.with_suffix(".npz").rename(moved.with_suffix(".npz"))
    assert "its path is" in said(verify(results, task=TASK))


# Versions and code are no errors.


def test_other_versions_and_other_code_are_said(results: Path, record_of: RecordOf) -> None:
    def change(raw: dict[str, Any]) -> None:
        raw["cell"]["versions"]["method"] = 0
        raw["cell"]["digests"]["method"] = "0" * 16
        raw["cell"]["parameters"]["gone"] = 1
        raw["metrics"].pop("accuracy.mean")

    found = tampered(results, record_of(TASK), change)
    assert said(found) == ""
    assert [what.rpartition(" ")[0] for _, what in found.notes] == ["made by version 0 of the method, now"]
    assert [(tally.moved, tally.older) for tally in found.tallies.values()] == [(1, 1)]


# Arrays that were changed.


def write_arrays(results: Path, record: Record, content: bytes) -> Verification:
    """Arrays of somebody else's, under their own checksum."""
    (results / record.cell.file).with_suffix(".npz").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return tampered(results, record, lambda raw: raw.update(arrays=digest))


def test_arrays_that_were_replaced(results: Path, record_of: RecordOf) -> None:
    path = (results / record_of(TASK).cell.file).with_suffix(".npz")
    shutil.copy(next(results.glob("*/class-forget/**/*.npz")), path)
    assert said(verify(results, task=TASK)) == "arrays: their checksum is not the record's"


def test_better_outputs_with_their_checksum(results: Path, record_of: RecordOf) -> None:
    record = record_of("bias-correction")
    arrays = read_arrays((results / record.cell.file).with_suffix(".npz").read_bytes())
    arrays["attacked.logits"] = np.eye(10, dtype=np.float16)[arrays["attacked.labels"]]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    assert "accuracy.attacked is" in said(write_arrays(results, record, buffer.getvalue()))


def test_arrays_that_are_none(results: Path, record_of: RecordOf) -> None:
    assert "arrays: it does not end as an archive" in said(write_arrays(results, record_of(TASK), b"x" * 100))


# Files that are not what they should be.


def test_links_are_not_followed(results: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (results / "smoke" / TASK).rename(elsewhere)
    (results / "smoke" / TASK).symlink_to(elsewhere)
    (results / "smoke" / "x.json").symlink_to("/dev/zero")
    found = verify(results)
    assert {file for file, what in found.wrong if "symbolic link" in what} == {f"smoke/{TASK}", "smoke/x.json"}
    assert len(found.wrong) == 2


def test_pipes_and_large_files_are_not_read(results: Path, record_of: RecordOf) -> None:
    path = results / record_of(TASK).cell.file
    os.mkfifo(path.with_name("pipe.json"))
    with path.with_name("large.json").open("wb") as file:
        file.truncate(2**25)
    lines = said(verify(results, task=TASK)).splitlines()
    assert lines == ["it has 33,554,432 bytes, more than 16,777,216", "it is no regular file"]


def test_what_a_killed_run_leaves_is_a_note(results: Path, record_of: RecordOf) -> None:
    path = results / record_of(TASK).cell.file
    path.with_name(f".{path.name}.host.123.tmp").write_bytes(b"{")
    path.unlink()
    found = verify(results, task=TASK)
    assert [what.split(" ")[0] for _, what in found.notes] == ["left", "arrays"]
    assert found.exit_code == 3  # there is no record any more


def test_runs_in_progress_are_left_alone(results: Path) -> None:
    for folder in (".run", "smoke/.run"):
        (results / folder).mkdir()
        (results / folder / "x.json").write_text("{}")
    assert [file for file, _ in verify(results).wrong] == ["smoke/.run/x.json"]


# Studies and comparisons of ensembles.


def study(**changes: Any) -> Study:
    whole = Study(
        suite="smoke",
        task="class-forget",
        scenario="digits",
        method="finetune",
        criterion="accuracy",
        seeds=(100, 101),
        trials=[Trial({"lr": 0.01}, [0.5, 0.7], 0.6, 1.0, [])],
        chosen={"lr": 0.01},
        environment={},
        created="2025-01-01T00:00:00+00:00",
    )
    return msgspec.structs.replace(whole, **changes)


STUDIES: dict[str, tuple[Study, str]] = {
    "fine": (study(), ""),
    "no trial": (study(trials=[]), "it has no trial"),
    "path": (study(scenario="digits-2"), "its path is 'tuning/smoke/class-forget/digits-2/finetune.json'"),
    "method": (study(method="finetuna"), "unknown method 'finetuna'"),
    "chosen": (study(chosen={"lr": 0.02}), "chosen lr is not that of the best trial"),
    "mean": (study(trials=[Trial({"lr": 0.01}, [0.5, 0.7], 0.9, 1.0, [])]), "score is 0.9, which is not the mean"),
    "seeds": (study(trials=[Trial({"lr": 0.01}, [0.5], 0.5, 1.0, [])]), "1 scores of 2 seeds"),
    "parameter": (study(trials=[Trial({"lr": "x"}, [0.5, 0.7], 0.6, 1.0, [])]), "lr must be float"),
}


@pytest.mark.parametrize(("kept", "what"), STUDIES.values(), ids=STUDIES)
def test_studies(kept: Study, what: str, tmp_path: Path) -> None:
    path = tmp_path / "tuning" / "smoke" / "class-forget" / "digits" / "finetune.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.json.encode(kept))
    found = verify(tmp_path)
    assert what in said(found)
    assert found.exit_code == bool(what)
    assert [tally.others for tally in found.tallies.values()] == [1]


def test_comparisons_of_ensembles(tmp_path: Path) -> None:
    kept = next((Path(__file__).parents[3] / "results" / "ensembles").rglob("*.json"))
    comparison = msgspec.json.decode(kept.read_bytes(), type=EnsembleRecord)
    write_comparison(comparison, tmp_path)
    assert verify(tmp_path).exit_code == 0
    wrong = {"klom": -1.0, "rank": 1.0, "u-lira.auc": 50.0}
    write_comparison(msgspec.structs.replace(comparison, metrics=wrong, intervals={}, p=2.0, n=0), tmp_path)
    lines = said(verify(tmp_path)).splitlines()
    assert [line[:12] for line in lines] == ["klom is -1, ", "metric 'rank", "it compares ", "p is 2"]


# Hostile text.


def test_hostile_text_is_shown_as_text(results: Path, record_of: RecordOf) -> None:
    record = record_of(TASK)
    name = "[red]\x1b[2J\r\n" + "x" * 5000
    found = tampered(results, record, lambda raw: raw["cell"].update(method=name, scenario="[link=http://e]"))
    (results / "smoke" / TASK / "[b]\x1b]0;hi\x07.json").write_text("{")
    shown = printed(verify(results, task=TASK))
    assert "[red]" in said(found)
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert r"[b]\x1b]0;hi\x07.json" in shown
    assert max(map(len, shown.splitlines())) < 800


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.integers(0, 10_000), JSON | st.sampled_from([-1, 0, 10**30, 1e308, "../..", "", {}, []]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_ends_in_a_line(original_tree: Path, tmp_path: Path, where: int, value: Any) -> None:
    """One value of a record becomes any other: it is wrong or fine, but nothing breaks."""
    source = next((original_tree / "smoke" / TASK).rglob("*.json"))
    raw = json.loads(source.read_text())
    places = list(_places(raw))
    holder, key = places[where % len(places)]
    holder[key] = value
    path = tmp_path / source.relative_to(original_tree)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(raw))
    shutil.copy(source.with_suffix(".npz"), path.with_suffix(".npz"))
    assert "records" in printed(verify(tmp_path))


def _places(raw: Any) -> Any:
    """Every value of a JSON document, as what holds it and where."""
    for key in raw if isinstance(raw, dict) else range(len(raw)):
        yield raw, key
        if isinstance(raw[key], (dict, list)):
            yield from _places(raw[key])


@pytest.mark.parametrize("content", [b"", b"[", b"[" * 100_000, b'"\xff"', b'{"schema": 1e999}', b"\x00" * 9, b"null"])
@pytest.mark.parametrize("folder", ["smoke/debias-known/s/m", "tuning/smoke/t/s", "ensembles/smoke/t/s"])
def test_what_is_no_json_is_wrong(content: bytes, folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "x.json").write_bytes(content)
    found = verify(tmp_path)
    assert len(found.wrong) == 1
    assert found.exit_code == 1
