"""Artifacts are whole, checked and never unpickled."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Recipe

KEY: dict[str, Any] = {"kind": "test", "recipe": Recipe(1, 0.1, 4), "seed": 3}
TENSORS = {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)}


class Builder:
    """Builds TENSORS and counts how often."""

    def __init__(self, tensors: dict[str, Tensor] | None = None) -> None:
        self.tensors = TENSORS if tensors is None else tensors
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return self.tensors


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one
    )


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_round_trip(store: ArtifactStore) -> None:
    build = Builder({**TENSORS, "turned": torch.arange(6.0).view(2, 3).T})
    first = store.get_or_build(KEY, build)
    second = store.get_or_build(dict(KEY), build)
    assert build.calls == 1
    assert equal(first, build.tensors)
    assert equal(second, build.tensors)
    assert sorted(p.suffix for p in store.root.rglob("*") if p.is_file()) == [".json", ".safetensors"]


def test_another_key_is_another_entry(store: ArtifactStore) -> None:
    build = Builder()
    for key in (KEY, {**KEY, "seed": 4}, {**KEY, "recipe": Recipe(2, 0.1, 4)}, {**KEY, "more": None}):
        store.get_or_build(key, build)
    assert build.calls == 4
    assert store.path({"a": 1, "b": 2}) == store.path({"b": 2, "a": 1})


def flip(path: Path, where: int) -> None:
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(bytes(content))


def rewrite_key(path: Path) -> None:
    sidecar = path.with_suffix(".json")
    entry = msgspec.json.decode(sidecar.read_bytes())
    entry["key"]["seed"] = 99
    sidecar.write_bytes(msgspec.json.encode(entry))


class Explosive:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return pytest.fail, ("the artifact was unpickled",)


def plant_pickle(path: Path) -> None:
    """A pickle with a checksum to match: whoever can write here must still not run code."""
    content = pickle.dumps(Explosive())
    path.write_bytes(content)
    sidecar = path.with_suffix(".json")
    entry = msgspec.json.decode(sidecar.read_bytes())
    sidecar.write_bytes(msgspec.json.encode({**entry, "sha256": hashlib.sha256(content).hexdigest()}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda p: flip(p, -1), "its checksum does not match"),
        (lambda p: flip(p, 0), "its checksum does not match"),
        (lambda p: p.write_bytes(p.read_bytes()[:-5]), "its checksum does not match"),
        (lambda p: p.write_bytes(b""), "its checksum does not match"),
        (rewrite_key, "its key does not match"),
        (lambda p: p.with_suffix(".json").write_text("garbage"), "cannot be read"),
        (lambda p: p.with_suffix(".json").write_bytes(b"\xff\xfe{"), "cannot be read"),
        (lambda p: p.with_suffix(".json").write_text("[1]"), "cannot be read"),
        (lambda p: p.with_suffix(".json").write_bytes(b'{"key": {"kind": "\xff"}, "sha256": ""}'), "cannot be read"),
        (lambda p: p.with_suffix(".json").write_text('{"key": {}}'), "cannot be read"),
        (plant_pickle, "cannot be read"),
    ],
)
def test_damage_is_reported_set_aside_and_repaired(
    store: ArtifactStore, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None], reason: str
) -> None:
    store.get_or_build(KEY, Builder())
    path = store.path(KEY)
    damage(path)
    found = path.read_bytes()
    build = Builder()
    assert equal(store.get_or_build(KEY, build), TENSORS)
    assert build.calls == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert path.name in message
    assert reason in message
    assert path.with_suffix(".damaged").read_bytes() == found
    assert equal(store.get_or_build(KEY, build), TENSORS)
    assert build.calls == 1  # whole again


@pytest.mark.parametrize("missing", [".json", ".safetensors"])
def test_a_half_written_entry_is_built_again(store: ArtifactStore, missing: str) -> None:
    store.get_or_build(KEY, Builder())
    store.path(KEY).with_suffix(missing).unlink()
    build = Builder()
    assert equal(store.get_or_build(KEY, build), TENSORS)
    assert equal(store.get_or_build(KEY, build), TENSORS)
    assert build.calls == 1


def test_a_build_that_fails_leaves_nothing(store: ArtifactStore) -> None:
    def fails() -> dict[str, Tensor]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.get_or_build(KEY, fails)
    assert not [p for p in store.root.rglob("*") if p.is_file()]


def test_an_entry_that_another_process_sets_aside_first_is_built(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers meet the same damaged entry: neither may fall."""
    store.get_or_build(KEY, Builder())
    path = store.path(KEY)
    flip(path, -1)
    replace = Path.replace

    def raced(self: Path, target: Path) -> Path:
        if self == path:
            monkeypatch.setattr(Path, "replace", replace)
            replace(self, target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", raced)
    assert equal(store.get_or_build(KEY, Builder()), TENSORS)


def test_what_an_artifact_depends_on_is_in_its_key(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads, the source of the module that builds it, and torch's version; the key itself, too."""
    build = Builder()

    def ask(context: Context, key: dict[str, Any]) -> None:
        context.artifact("benchmark.tasks.base_models", key, build)

    one, two = (Context(torch.device("cpu"), threads, store) for threads in (1, 2))
    for context in (one, two, one):
        ask(context, KEY)
    assert build.calls == 2
    monkeypatch.setattr("benchmark.artifacts.context.digest", lambda module: f"new source of {module}")
    ask(one, KEY)
    assert build.calls == 3
    monkeypatch.setattr(torch, "__version__", "99.0")
    ask(one, KEY)
    assert build.calls == 4
    ask(one, {**KEY, "seed": 4})
    assert build.calls == 5
