"""Caches and data from strangers: an entry is right, or is reported, set aside and made again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile_values import NAMES, campaign, damaged, json_values, mutated
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from benchmark import environment
from benchmark.artifacts.store import ArtifactStore
from benchmark.data.decoded import Decoding, decoded
from benchmark.data.kept import keep, restore
from benchmark.data.natural import WATERBIRDS, _pixels, _waterbird_entries, in_order, table
from benchmark.errors import InputError
from benchmark.running import plan

KEY = {"kind": "test", "seed": 3}
TENSORS = {"a": torch.arange(12.0).reshape(3, 4), "b.bias": torch.ones(2, dtype=torch.int64)}
WHOLE = save(TENSORS)


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


class Entry:
    """An artifact's two files, in a folder for one example."""

    def __init__(self, root: Path) -> None:
        self.store = ArtifactStore(root)
        self.tensors = self.store.path(KEY)
        self.sidecar = self.tensors.with_suffix(".json")

    def filled(self, tensors: bytes, sidecar: bytes) -> None:
        shutil.rmtree(self.store.root, ignore_errors=True)
        self.tensors.parent.mkdir(parents=True)
        self.tensors.write_bytes(tensors)
        self.sidecar.write_bytes(sidecar)

    def told(self, tensors: bytes = WHOLE) -> dict[str, Any]:
        return {"key": KEY, "sha256": hashlib.sha256(tensors).hexdigest()}


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    return Entry(tmp_path_factory.mktemp("cache") / "artifacts")


def rebuilt(entry: Entry) -> None:
    """What is got is right, and is there the next time."""
    assert same(entry.store.get_or_build(KEY, lambda: dict(TENSORS)))

    def never() -> dict[str, torch.Tensor]:
        raise AssertionError("it was built again")

    assert same(entry.store.get_or_build(KEY, never))
    assert {path.suffix for path in entry.tensors.parent.iterdir()} <= {".safetensors", ".json", ".damaged"}


@given(damaged(st.just(WHOLE), st.binary(max_size=12)))
@campaign()
def test_damaged_tensors(entry: Entry, content: bytes) -> None:
    entry.filled(content, json.dumps(entry.told()).encode())
    rebuilt(entry)


@given(st.data())
@campaign()
def test_odd_sidecars(entry: Entry, data: Any) -> None:
    whole = json.dumps(entry.told())
    content = data.draw(
        st.one_of(
            mutated(st.just(entry.told()), json_values()).map(lambda told: json.dumps(told).encode()),
            damaged(st.just(whole.encode()), st.binary(max_size=6)),
        )
    )
    entry.filled(WHOLE, content)
    rebuilt(entry)


HEADER = {"a": {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 48]}}


@given(mutated(st.just(HEADER), json_values()))
@campaign()
def test_odd_tensors_under_their_own_checksum(entry: Entry, header: Any) -> None:
    """A checksum does not make them right: they are tensors, or are built again."""
    text = json.dumps(header).encode()
    content = struct.pack("<Q", len(text)) + text + bytes(48)
    entry.filled(content, json.dumps(entry.told(content)).encode())
    found = entry.store.get_or_build(KEY, lambda: dict(TENSORS))
    assert all(isinstance(tensor, torch.Tensor) and tensor.numel() < 1000 for tensor in found.values())


def test_links_to_another_entry(entry: Entry, tmp_path: Path) -> None:
    other = save({"a": torch.zeros(3, 4)})
    entry.filled(other, json.dumps({**entry.told(other), "key": {"kind": "other"}}).encode())
    outside = tmp_path / "outside"
    entry.tensors.replace(outside)
    entry.tensors.symlink_to(outside)
    rebuilt(entry)
    assert outside.read_bytes() == other


# Decoded data.


@given(damaged(st.just(save(TENSORS, {"sha256": "0" * 64})), st.binary(max_size=12)))
@campaign()
def test_kept_tensors(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "kept.safetensors"
    path.write_bytes(content)
    assert restore(path) is None
    keep(path, TENSORS)
    assert same(restore(path) or {})


ROWS = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)


@pytest.fixture
def decoding(cache_folder: Path, tmp_path: Path) -> Decoding:
    source = tmp_path / "source"
    source.write_text("")
    return Decoding("data", tmp_path, (source,), (), ROWS.shape, "uint8", lambda: iter([ROWS]))


@given(st.data())
@campaign(0.5)
def test_decoded_rows(decoding: Decoding, cache_folder: Path, data: Any) -> None:
    """The rows themselves are not summed again: what is read is their description, and how many bytes they have."""
    folder = cache_folder / "data" / "decoded"
    header, rows = folder / f"{decoding.key}.json", folder / f"{decoding.key}.u8"
    header.unlink(missing_ok=True)
    decoded(decoding)
    told = json.loads(header.read_bytes())
    header.write_text(json.dumps(data.draw(mutated(st.just(told), json_values()))))
    if data.draw(st.booleans()):
        rows.write_bytes(
            data.draw(damaged(st.just(ROWS.tobytes()), st.binary(max_size=6)).filter(lambda b: len(b) != 24))
        )
    assert decoded(decoding).rows.tolist() == ROWS.tolist()


# The machine's name.


@pytest.fixture
def machine_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path))
    environment.machine.cache_clear()
    yield tmp_path / "machine-id"
    environment.machine.cache_clear()


@given(st.one_of(st.binary(max_size=30), st.text().map(str.encode), st.just(b"a" * 10_000)))
@campaign(0.5)
def test_the_name_of_a_machine(machine_file: Path, content: bytes) -> None:
    machine_file.write_bytes(content)
    environment.machine.cache_clear()
    try:
        found = plan.machine()
    except InputError:
        return
    assert found == content.decode().strip()
    assert found.isprintable()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)])
def test_no_file_is_no_name(machine_file: Path, make: Callable[[Path], None]) -> None:
    make(machine_file)
    with pytest.raises(InputError, match="remove it"):
        plan.machine()


# What data sets say of their pictures.

CSV = "img_id,img_filename,y,split,place\n1,001.Bird/a.jpg,0,0,1\n2,002.Bird/b.jpg,1,2,0\n3,c.jpg,0,1,0\n"
BITS = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"\0", b"\r", b'"', b"\xff", b",,", b"\n" * 9, b"x" * 200_000, b"9" * 99, b"../../", b"nan"]),
    st.sampled_from(NAMES).map(lambda name: name.encode()),
)


@given(damaged(st.just(CSV.encode()), BITS))
@campaign()
def test_tables_of_pictures(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "metadata.csv"
    path.write_bytes(content)
    try:
        found = in_order(WATERBIRDS, _waterbird_entries(path))
    except InputError:
        return
    assert all(entry.split in (0, 1, 2) and entry.label in (0, 1) and entry.attribute in (0, 1) for entry in found)
    assert list(table(path, ("img_filename",)))


@given(
    st.binary(max_size=60),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"]),
)
@campaign()
def test_pictures(tmp_path_factory: pytest.TempPathFactory, content: bytes, magic: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "picture.jpg"
    path.write_bytes(magic + content)
    with pytest.raises(InputError, match="picture"):
        _pixels(path, prepare=lambda picture: picture)
