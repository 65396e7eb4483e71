"""SVHN: what is read from MATLAB files as torchvision has them, and from the Hub's; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from benchmark import compat
from benchmark.data import DATA, svhn
from benchmark.data.packaged import _load, load
from benchmark.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = {split: RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for split, n in (("train", 5), ("test", 3))}
LABELS = {"train": [1, 0, 9, 0, 4], "test": [2, 0, 1]}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def put(folder: Path, split: str, **changes: Any) -> Path:
    """A file as it is published: (32, 32, 3, N) and (N, 1), where 10 stands for the digit 0."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.array([[label or 10] for label in LABELS[split]], np.uint8)
    content = {"X": IMAGES[split].transpose(1, 2, 3, 0), "y": labels, **changes}
    savemat(folder / f"{split}_32x32.mat", content, do_compression=True)
    return folder / f"{split}_32x32.mat"


def put_both(folder: Path) -> Path:
    """The path of the training file."""
    put(folder, "test")
    return put(folder, "train")


def put_parquet(folder: Path) -> None:
    """The same digits as the Hub has them."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pillow = pytest.importorskip("PIL.Image")
    folder.mkdir(parents=True)
    for split, images in IMAGES.items():
        encoded = []
        for image in images:
            buffer = BytesIO()
            pillow.fromarray(image).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        structs = pa.array(encoded, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        table = pa.table({"image": structs, "label": LABELS[split]})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")


def test_digits_are_read_in_order_and_ten_is_zero(root: Path) -> None:
    put_both(root / "svhn")
    for data in (svhn.svhn(), svhn.svhn()):  # decoded, and kept
        assert (data.name, data.shape, data.num_classes) == ("svhn", DATA.get("svhn").shape, 10)
        assert len(data.selection) == 0
        for split, samples in (("train", data.train), ("test", data.test)):
            assert samples.images.dtype == torch.uint8
            assert np.array_equal(samples.images.permute(0, 2, 3, 1).numpy(), IMAGES[split])
            assert samples.labels.dtype == torch.int64
            assert samples.labels.tolist() == LABELS[split]


def test_the_files_of_the_hub_hold_the_same(root: Path) -> None:
    put_parquet(svhn.HUB.folder)
    first = svhn.svhn()
    put_both(root / "svhn")
    assert svhn.svhn().checksum == first.checksum
    put(root / "svhn", "test", y=np.ones((3, 1), np.uint8))  # these are read now
    assert svhn.svhn().test.labels.tolist() == [1, 1, 1]


def test_load_finds_it_by_name(root: Path) -> None:
    put_both(root / "svhn")
    _load.cache_clear()
    try:
        assert load("svhn").checksum == svhn.svhn().checksum
    finally:
        _load.cache_clear()


# What is refused, and left alone.


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "train_32x32.mat cannot be read as a MATLAB file"),
        (lambda content: b"", "train_32x32.mat cannot be read as a MATLAB file"),
        (lambda content: b"<html>not found</html>" * 20, "train_32x32.mat cannot be read as a MATLAB file"),
    ],
    ids=["cut", "empty", "page"],
)
def test_a_damaged_file(root: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = put_both(root / "svhn")
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        svhn.svhn()
    assert "amendbench data get svhn" in str(caught.value)
    assert path.read_bytes() == before
    assert not list(root.parent.glob("cache/data/**/*.safetensors"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((32, 32, 5), np.uint8)}, r"X must be images of shape \(32, 32, 3, N\).*not \(32, 32, 5\)"),
        ({"X": np.zeros((32, 32, 3, 5))}, "X must be images .* float64"),
        ({"y": np.ones((4, 1), np.uint8)}, "y must be 5 labels from 1 to 10"),
        ({"y": np.array([[0], [1], [2], [3], [4]])}, "y must be 5 labels from 1 to 10, not .* from 0 to 4"),
        ({"y": np.array([[1.5], [1], [2], [3], [4]])}, "y must be 5 labels from 1 to 10"),
    ],
)
def test_wrong_arrays(root: Path, changes: dict[str, np.ndarray], message: str) -> None:
    put_both(root / "svhn")
    put(root / "svhn", "train", **changes)
    with pytest.raises(InputError, match=f"train_32x32.mat: {message}"):
        svhn.svhn()


def test_a_file_without_its_arrays(root: Path) -> None:
    path = put_both(root / "svhn")
    savemat(path, {"other": np.zeros(3)})
    with pytest.raises(InputError, match=r"train_32x32.mat: X must be images"):
        svhn.svhn()


def test_a_missing_file_is_named(root: Path) -> None:
    put(root / "svhn", "train")
    with pytest.raises(InputError, match=r"svhn has no test_32x32.mat; put it there, or remove the folder"):
        svhn.svhn()


# Downloading.


def torchvision(monkeypatch: pytest.MonkeyPatch, fetch: Callable[[Path, str], object]) -> None:
    """Have ``fetch`` put the file of a split into a folder in torchvision's stead."""

    def dataset(folder: str, *, split: str, download: bool) -> None:
        assert download
        fetch(Path(folder), split)

    module = SimpleNamespace(datasets=SimpleNamespace(SVHN=dataset))
    monkeypatch.setattr(compat, "torchvision", lambda: module)


def test_torchvision_downloads_both_files_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torchvision(monkeypatch, put)
    assert svhn.svhn().train.labels.tolist() == LABELS["train"]
    assert sorted(path.name for path in (root / "svhn").iterdir()) == ["test_32x32.mat", "train_32x32.mat"]
    assert not list(root.glob(".download-*"))
    torchvision(monkeypatch, lambda folder, split: pytest.fail("it is there"))
    assert svhn.svhn().test.labels.tolist() == LABELS["test"]


def test_half_a_download_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, split: str) -> None:
        if split == "test":
            raise ConnectionError("the line went dead")
        put(folder, split)

    torchvision(monkeypatch, broken)
    with pytest.raises(InputError) as caught:
        svhn.svhn()
    for part in (str(root / "svhn"), "(the line went dead)", "amendbench data get svhn", "AMENDBENCH_DATA"):
        assert part in str(caught.value)
    assert {path.name for path in root.iterdir()} <= {".download.lock"}
