"""Records: whole, validated, and known by the hash of everything that can change them."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmark.errors import InputError
from benchmark.files import key_hash, write_atomically
from benchmark.running.records import SCHEMA, Cell, Cost, Failure, NotKept, Record, RecordStore, Value

CELL = Cell(
    suite="smoke",
    task="class-forget",
    scenario="digits",
    settings={"data": "digits", "training": {"lr": 0.1}},
    unit="class-0",
    seed=0,
    method="finetune",
    kind="baseline",
    parameters={"lr": 0.01, "epochs": 1},
    device="cpu",
    threads=1,
    versions={"task": 1, "method": 1},
    digests={"task": "a", "method": "b", "harness": "c"},
    packages={"torch": "2.0"},
)


def record(cell: Cell = CELL, **changes: Any) -> Record:
    whole = Record(
        schema=SCHEMA,
        cell=cell,
        hash=cell.hash,
        status="ok",
        failure=None,
        metrics={"tow": Value(0.1 + 0.2, 7), "blank": Value(None, 3)},
        access=[{"retain": {"samples": 3, "passes": 9}}],
        cost=Cost(1.5, 1.25, None, True, 3.0),
        flags=["one"],
        provenance="defaults",
        data="checksum",
        arrays=None,
        environment={"machine": "m"},
        created="2025-01-01T00:00:00+00:00",
    )
    return msgspec.structs.replace(whole, **changes)


@pytest.fixture
def store(tmp_path: Path) -> RecordStore:
    return RecordStore(tmp_path / "results")


def test_round_trip_at_the_promised_place(store: RecordStore) -> None:
    arrays = {"test.logits": np.arange(6, dtype=np.float16).reshape(2, 3), "labels": np.array([1, 2], dtype=np.int16)}
    store.write(record(), arrays)
    assert CELL.file == "smoke/class-forget/digits/finetune/class-0-seed0-cpu.json"
    kept = store.read(CELL.file)
    assert kept is not None
    assert kept.arrays == hashlib.sha256((store.root / CELL.file).with_suffix(".npz").read_bytes()).hexdigest()
    assert msgspec.structs.replace(kept, arrays=None) == record()
    found = store.arrays(kept)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert (found[name] == array).all()
    text = (store.root / CELL.file).read_text()
    assert text.endswith("}\n")
    assert json.loads(text)["metrics"]["tow"] == {"value": 0.1 + 0.2, "n": 7}  # to the last bit


def test_all_lists_in_order_and_by_suite(store: RecordStore) -> None:
    cells = [msgspec.structs.replace(CELL, seed=seed, suite=suite) for suite in ("b", "a") for seed in (1, 0)]
    for cell in cells:
        store.write(record(cell), {})
    (store.root / "tuning" / "a").mkdir(parents=True)
    (store.root / "tuning" / "a" / "study.json").write_text("{}")
    (store.root / "a" / ".hidden.json").write_text("{")
    assert [(r.cell.suite, r.cell.seed) for r in store.all()] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [(r.cell.suite, r.cell.seed) for r in store.all("b")] == [("b", 0), ("b", 1)]
    assert list(store.all("c")) == []


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        raw = json.loads(content)
        change(raw)
        return json.dumps(raw).encode()

    return apply


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (rewritten(lambda r: r.update(surprise=1)), "unknown field `surprise`"),
        (rewritten(lambda r: r["cell"].update(surprise=1)), "unknown field `surprise`"),
        (rewritten(lambda r: r["cost"].update(seconds="1.5")), "Expected `float`"),
        (rewritten(lambda r: r.update(status="fine")), "Invalid enum value 'fine'"),
        (rewritten(lambda r: r.pop("flags")), "missing required field `flags`"),
        (rewritten(lambda r: r["cell"]["parameters"].update(lr=0.02)), "hash does not match"),
        (rewritten(lambda r: r["cell"].update(seed=1)), "hash and path does not match"),
        (rewritten(lambda r: r.update(hash="0" * 32)), "hash does not match"),
        (rewritten(lambda r: r.update(schema=SCHEMA + 1)), "schema does not match"),
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: b"", "truncated"),
        (lambda content: b"\x80\x04" + content, ""),
        (lambda content: content.replace(b"one", b"\xff\xff\xff"), ""),
    ],
)
def test_what_is_not_a_record_is_left_out_and_said(
    store: RecordStore, caplog: pytest.LogCaptureFixture, damage: Callable[[bytes], bytes], reason: str
) -> None:
    store.write(record(), {})
    path = store.root / CELL.file
    path.write_bytes(damage(path.read_bytes()))
    assert store.read(CELL.file) is None
    assert list(store.all()) == []
    messages = [r.getMessage() for r in caplog.records]
    assert messages
    assert all("is left out" in m and CELL.file in m and reason in m for m in messages)


def test_a_record_that_is_not_there_is_no_warning(store: RecordStore, caplog: pytest.LogCaptureFixture) -> None:
    assert store.read(CELL.file) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"lr": 0.01, "epochs": 2}},
        {"parameters": {"lr": 0.01}},
        {"threads": 2},
        {"seed": 1},
        {"unit": "class-1"},
        {"method": "retrain"},
        {"device": "cuda"},
        {"settings": {"data": "digits", "training": {"lr": 0.2}}},
        {"versions": {"task": 2, "method": 1}},
        {"versions": {"task": 1, "method": 2}},
        {"digests": {**CELL.digests, "task": "x"}},
        {"digests": {**CELL.digests, "method": "x"}},
        {"digests": {**CELL.digests, "harness": "x"}},
        {"packages": {"torch": "2.1"}},
    ],
)
def test_the_hash_changes_with_everything_that_can_change_the_result(change: dict[str, Any]) -> None:
    assert msgspec.structs.replace(CELL, **change).hash != CELL.hash


def test_the_hash_is_canonical() -> None:
    shuffled = msgspec.structs.replace(CELL, parameters=dict(reversed(CELL.parameters.items())))
    assert shuffled.hash == CELL.hash
    assert msgspec.json.decode(msgspec.json.encode(CELL), type=Cell).hash == CELL.hash
    assert key_hash({"a": 1, "b": {"c": 2, "d": 3}}) == key_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert len(CELL.hash) == 32


def test_atomic_writes_leave_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"newer")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_writing_leaves_no_temporary_files(store: RecordStore) -> None:
    store.write(record(), {"a": np.zeros(3)})
    store.write(record(), {"a": np.ones(3)})
    assert sorted(p.name for p in store.root.rglob("*") if p.is_file()) == [
        "class-0-seed0-cpu.json",
        "class-0-seed0-cpu.npz",
    ]


def test_a_record_without_arrays_takes_old_ones_away(store: RecordStore) -> None:
    store.write(record(), {"a": np.zeros(3)})
    failed = record(status="failed", failure=Failure("ValueError", "no"), metrics={})
    store.write(failed, {})
    assert store.read(CELL.file) == failed
    assert store.arrays(failed) == {}


def test_arrays_are_never_unpickled(store: RecordStore, tmp_path: Path) -> None:
    class Explosive:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return (tmp_path / "exploded").touch, ()

    store.write(record(), {"a": np.zeros(3)})
    path = (store.root / CELL.file).with_suffix(".npz")
    hostile = np.empty(1, dtype=object)
    hostile[0] = Explosive()
    np.savez(path, a=hostile)
    trusting = record(arrays=hashlib.sha256(path.read_bytes()).hexdigest())  # whoever can write one can write both
    assert store.arrays(trusting) == {}
    path.write_bytes(pickle.dumps(Explosive()))
    trusting = record(arrays=hashlib.sha256(path.read_bytes()).hexdigest())
    assert store.arrays(trusting) == {}
    assert not (tmp_path / "exploded").exists()


def test_arrays_that_are_not_what_was_written_are_left_out(
    store: RecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(record(), {"a": np.zeros(3)})
    kept = store.read(CELL.file)
    assert kept is not None
    path = (store.root / CELL.file).with_suffix(".npz")
    path.write_bytes(path.read_bytes()[:-1])
    assert store.arrays(kept) == {}
    assert "checksum does not match" in caplog.text
    path.unlink()
    assert store.arrays(kept) == {}


def test_a_record_in_another_place_is_left_out(store: RecordStore, caplog: pytest.LogCaptureFixture) -> None:
    store.write(record(), {})
    moved = store.root / CELL.file.replace("finetune", "retrain")
    moved.parent.mkdir()
    (store.root / CELL.file).rename(moved)
    assert list(store.all()) == []
    assert "its path does not match" in caplog.text


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"folder .*file/below cannot be written: "):
        RecordStore(tmp_path / "file" / "below").check_writable()
    with pytest.raises(InputError, match="cannot be written"):
        RecordStore(tmp_path / "file").check_writable()
    RecordStore(tmp_path / "new" / "folder").check_writable()
    assert not (tmp_path / "new").exists()  # looking leaves nothing behind


def test_a_hash_is_the_same_however_the_cell_came(make_cell: Callable[..., Cell]) -> None:
    """Made, unpickled, or decoded with or without what is left out."""
    cell = make_cell("finetune")
    told = msgspec.json.decode(msgspec.json.encode(cell)) | {"keeps": "".join(["met", "rics"])}
    again = [pickle.loads(pickle.dumps(cell)), msgspec.convert(told, Cell), msgspec.structs.replace(cell, **told)]
    assert "keeps" not in msgspec.to_builtins(cell)
    assert {c.hash for c in [cell, *again]} == {cell.hash}


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "../../x", "/etc", ".hidden", "a\0b"])
@pytest.mark.parametrize("field", ["suite", "scenario", "unit", "method", "device"])
def test_nothing_is_written_outside_of_the_results(
    make_record: Callable[..., Record], tmp_path: Path, field: str, name: str
) -> None:
    store = RecordStore(tmp_path / "deep" / "below" / "results")
    cell = msgspec.structs.replace(make_record("finetune").cell, **{field: name})
    with pytest.raises(NotKept, match="outside of"):
        store.write(make_record("", cell=cell), {})
    assert not (tmp_path / "deep").exists()


def test_a_link_leads_nothing_outside(make_record: Callable[..., Record], tmp_path: Path) -> None:
    record = make_record("finetune")
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / record.cell.suite).symlink_to(outside)
    with pytest.raises(NotKept, match="outside of"):
        RecordStore(tmp_path / "results").write(record, {})
    assert list(outside.iterdir()) == []
    (tmp_path / "link").symlink_to(outside)
    assert RecordStore(tmp_path / "link").write(record, {}) == record  # the folder itself may be elsewhere


def test_links_pipes_and_large_files_are_left_out(
    make_record: Callable[..., Record], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them hangs, and none leads outside."""
    store = RecordStore(tmp_path)
    paths = []
    for seed in range(4):
        record = make_record("finetune", seed=seed)
        store.write(record, {})
        paths.append(tmp_path / record.cell.file)
    (tmp_path / "elsewhere").mkdir()
    aside = tmp_path / "elsewhere" / "kept"
    paths[0].replace(aside)
    paths[0].symlink_to(aside)
    paths[1].unlink()
    os.mkfifo(paths[1])
    with paths[2].open("ab") as file:
        file.truncate(2**30)
    assert [record.cell.seed for record in store.all()] == [3]
    assert [text.count("left out") for text in caplog.messages] == [1, 1, 1]


def test_what_a_killed_writer_left_goes_with_the_next_record(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    record = make_record("finetune")
    path = tmp_path / record.cell.file
    path.parent.mkdir(parents=True)
    others = path.with_name(f".other-{path.name}.1.tmp")
    for left in (path.with_name(f".{path.name}.1.tmp"), path.with_name(f".{path.stem}.npz.77.tmp"), others):
        left.write_bytes(b"half")
    RecordStore(tmp_path).write(record, {})
    assert sorted(p.name for p in path.parent.iterdir()) == [others.name, path.name]


def test_a_disk_that_fills_up_leaves_what_was_there(
    make_record: Callable[..., Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record and predictions: a run that fails to replace them has lost nothing."""
    store = RecordStore(tmp_path)
    before = store.write(make_record("finetune"), {"a": np.zeros(3)})
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if ".json" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        store.write(make_record("finetune", status="failed"), {})
    with pytest.raises(OSError, match="No space"):
        store.write(make_record("finetune"), {"a": np.ones(3)})
    kept = store.read(before.cell.file)
    assert kept == before
    assert store.arrays(kept)["a"].tolist() == [0, 0, 0]
    assert not list(tmp_path.rglob("*.tmp"))
