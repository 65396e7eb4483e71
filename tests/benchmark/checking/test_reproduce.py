"""A committed row again: one for real, and every way in which it cannot be."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from benchmark.checking import reproduce as module
from benchmark.checking.reproduce import others_of, read_record, reproduce
from benchmark.errors import InputError
from benchmark.running.records import Cell, Failure, Record, RecordStore, Value

Make = Callable[..., Record]
NAME = "accuracy.test.retain"


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "results")


@pytest.fixture
def kept(store: RecordStore, make_record: Make) -> Path:
    """A record with a result, in a results folder."""
    record = store.write(make_record("svd-forgetting", {NAME: 97.0}), {})
    return store.root / record.cell.file


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Cell]]:
    """``finds(field=...)``: no cell is run; its record is the kept one with changes. Returns the cells asked for."""

    def replace(**changes: Any) -> list[Cell]:
        asked: list[Cell] = []

        def run(cell: Cell, kept: Record, *rest: Any) -> Record:
            asked.append(cell)
            return msgspec.structs.replace(kept, cell=cell, hash=cell.hash, **changes)

        monkeypatch.setattr(module, "_run", run)
        return asked

    return replace


def told(path: Path) -> tuple[int, str]:
    """Exit code and what was printed."""
    console = Console(file=io.StringIO(), width=200)
    code = reproduce(path, console)
    return code, console.file.getvalue()  # type: ignore[attr-defined]


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The record at ``path`` with its content changed and its hash made to fit."""
    content = json.loads(path.read_bytes())
    change(content)
    content["hash"] = msgspec.convert(content["cell"], Cell).hash
    path.write_text(json.dumps(content))
    return path


def test_a_row_runs_again_from_nothing(store: RecordStore, make_record: Make, make_cell: Callable[..., Cell]) -> None:
    """For real: the first run of a record that says something else finds the truth, and its own record is met."""
    wrong = make_record("", {NAME: 1.0}, cell=make_cell("logit-mask"), data="sum")
    path = store.root / store.write(wrong, {}).cell.file
    before = path.read_bytes()
    code, said = told(path)
    assert code == 1
    assert "agreement: none" in said
    assert [p for p in store.root.rglob("*") if p.is_file()] == [path]
    assert path.read_bytes() == before


def test_an_equal_result_agrees_strictly(kept: Path, finds: Callable[..., list[Cell]]) -> None:
    finds()
    code, said = told(kept)
    assert code == 0
    assert "agreement: strict" in said
    assert "source, packages and processor are those of the record" in said


def test_todays_source_and_packages_are_what_runs(kept: Path, finds: Callable[..., list[Cell]]) -> None:
    original = read_record(kept).cell
    changed(kept, lambda r: r["cell"].update(digests={"method": "old"}, packages={"torch": "1.0"}))
    asked = finds()
    code, said = told(kept)
    assert (code, asked[0].digests, asked[0].packages) == (0, original.digests, original.packages)
    assert "source of task, method, harness: changed since" in said
    assert "torch: 1.0 then" in said


def test_a_different_result_is_shown_beside_the_kept_one(kept: Path, finds: Callable[..., list[Cell]]) -> None:
    finds(metrics={NAME: Value(12.5, 100)})
    code, said = told(kept)
    assert code == 1
    assert "only 0 other seeds" in said
    (line,) = (line for line in said.splitlines() if NAME in line)
    assert [part.strip() for part in line.strip("│ ").split("│")] == [NAME, "97", "12.5", "-84.5", "2", "none"]


def test_other_seeds_of_the_row_are_found(store: RecordStore, make_record: Make, kept: Path) -> None:
    for seed in (1, 2, 3):
        store.write(make_record("svd-forgetting", {NAME: 90.0 + seed}, seed=seed), {})
    store.write(make_record("svd-forgetting", None, seed=4, status="failed"), {})
    assert [r.cell.seed for r in others_of(kept, read_record(kept))] == [1, 2, 3]
    elsewhere = store.root / "copied.json"
    elsewhere.write_bytes(kept.read_bytes())
    assert others_of(elsewhere, read_record(elsewhere)) == []


def test_the_same_failure_is_reproduced(
    store: RecordStore, make_record: Make, finds: Callable[..., list[Cell]]
) -> None:
    failed = make_record("svd-forgetting", None, status="failed", failure=Failure("ValueError", "no [red]colour"))
    path = store.root / store.write(failed, {}).cell.file
    finds()
    code, said = told(path)
    assert (code, "fails in the same way" in said, "no [red]colour" in said) == (0, True, True)
    finds(failure=Failure("KeyError", "else"))
    assert told(path)[0] == 1
    finds(failure=None, status="ok")
    assert told(path)[0] == 1


def test_no_result_is_nothing_to_compare(kept: Path, finds: Callable[..., list[Cell]]) -> None:
    finds(status="timeout", failure=Failure("TimeoutError", "long"), metrics={})
    assert told(kept)[0] == 3


def test_another_declared_version_is_not_run(kept: Path, finds: Callable[..., list[Cell]]) -> None:
    changed(kept, lambda r: r["cell"]["versions"].update(method=99))
    asked = finds()
    code, said = told(kept)
    assert (code, asked) == (3, [])
    assert "another experiment" in said


def test_a_device_that_is_not_here_measures_nothing(
    store: RecordStore, make_record: Make, make_cell: Callable[..., Cell], finds: Callable[..., list[Cell]]
) -> None:
    cell = msgspec.structs.replace(make_cell("svd-forgetting"), device="cuda:77")
    path = store.root / store.write(make_record("", {NAME: 1.0}, cell=cell), {}).cell.file
    asked = finds()
    assert (told(path)[0], asked) == (3, [])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("suite", "../../outside", "is no name"),
        ("scenario", "speed", "is no name"),
        ("task", "class-forge", "did you mean class-forget"),
        ("method", "svd-forgeting", "did you mean svd-forgetting"),
        ("parameters", {"alpha": 1.0}, "unknown hyper-parameter"),
        ("parameters", {"alpha_r": "much"}, "alpha_r must be float"),
        ("settings", {"task": "class-forget"}, "settings"),
        ("unit", "../class-0", "unit: seed 0 amends class-0"),
        ("threads", 0, "threads"),
        ("device", "tpu", "unknown device"),
    ],
)
def test_hostile_specifications_are_bad_input(kept: Path, field: str, value: Any, message: str) -> None:
    changed(kept, lambda r: r["cell"].update({field: value}))
    with pytest.raises(InputError, match=message):
        told(kept)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no record"),
        (b"[" * 100_000, "is no record"),
        (b'{"schema": 1, "\x1b[31m": 2}', "is no record"),
        (b"\xff\xfe", "is no record"),
    ],
)
def test_what_is_no_record_is_bad_input(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        told(path)
    assert "\x1b" not in str(caught.value)


def test_a_record_whose_hash_is_not_its_cells(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes().replace(read_record(kept).hash.encode(), b"0" * 32))
    with pytest.raises(InputError, match="hash does not match"):
        told(kept)


def test_a_missing_file_names_what_is_near(kept: Path) -> None:
    with pytest.raises(InputError, match=r"did you mean class-0-seed0-cpu\.json"):
        told(kept.with_name("class-0-seed1-cpu.json"))
    with pytest.raises(InputError, match="did you mean svd-forgetting"):
        told(kept.parent.with_name("svd") / kept.name)
    with pytest.raises(InputError, match="is no record"):
        told(kept.parent)
