"""Data sets of the Hub: what is read from parquet files, what is refused, and what is kept of it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.data import DATA, hub
from benchmark.data.packaged import Dataset, _load, load
from benchmark.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")

#: Loader, folder and column of images.
HUB: dict[str, tuple[Callable[[], Dataset], str, str]] = {
    "mnist": (hub.mnist, "ylecun/mnist/mnist", "image"),
    "fashion-mnist": (hub.fashion_mnist, "zalando-datasets/fashion_mnist/fashion_mnist", "image"),
    "cifar-10": (hub.cifar_10, "uoft-cs/cifar10/plain_text", "img"),
    "cifar-100": (hub.cifar_100, "uoft-cs/cifar100/cifar100", "img"),
}
REAL = hub.data_root()
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root and an empty cache; nothing reaches for the network."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise ConnectionError("there is no network\nand a second line")

    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr(pytest.importorskip("datasets"), "load_dataset", refuse)
    return tmp_path / "data"


def encode(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """Pixels (H, W) or (H, W, 3) as a lossless image."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def some(n: int, colour: bool = False) -> np.ndarray:
    return RNG.integers(0, 256, (n, 32, 32, 3) if colour else (n, 28, 28), dtype=np.uint8)


def put(path: Path, images: Sequence[bytes | None], labels: Any, column: str = "image", label: str = "label") -> None:
    """A parquet file as the Hub's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    structs = pa.array([{"bytes": image, "path": None} for image in images], hub_type())
    pq.write_table(pa.table({column: structs, label: labels}), path)


def hub_type() -> Any:
    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def put_mnist(root: Path, images: np.ndarray, labels: Any) -> Path:
    """The same images as training and test split; the path of the training file."""
    for split in ("train", "test"):
        put(root / HUB["mnist"][1] / f"{split}-00000-of-00001.parquet", [encode(image) for image in images], labels)
    return root / HUB["mnist"][1] / "train-00000-of-00001.parquet"


def test_every_data_set_of_the_hub_is_tested_here() -> None:
    assert set(HUB) == {name for name in DATA if DATA.get(name).loader.startswith("hub.")}


@pytest.mark.parametrize(("name", "kind"), [*((name, "PNG") for name in HUB), ("cifar-10", "WEBP")])
def test_images_and_labels_are_read_in_the_order_of_the_files(root: Path, name: str, kind: str) -> None:
    loader, folder, column = HUB[name]
    colour = DATA.get(name).shape[0] == 3
    images, test = some(5, colour), some(3, colour)
    labels = [9, 0, 3, 3, 1]
    columns = (column, hub.REPOSITORIES[name].label)
    put(root / folder / "train-00000-of-00002.parquet", [encode(i, kind) for i in images[:2]], labels[:2], *columns)
    put(root / folder / "train-00001-of-00002.parquet", [encode(i, kind) for i in images[2:]], labels[2:], *columns)
    put(root / folder / "test-00000-of-00001.parquet", [encode(i, kind) for i in test], [2, 1, 0], *columns)
    for dataset in (loader(), loader()):  # decoded, and kept
        source = DATA.get(name)
        assert (dataset.name, dataset.shape, dataset.num_classes) == (name, source.shape, source.num_classes)
        for split, expected in ((dataset.train, images), (dataset.test, test)):
            assert split.images.dtype == torch.uint8
            assert split.images.is_contiguous()
            pixels = split.images.permute(0, 2, 3, 1) if colour else split.images[:, 0]
            assert np.array_equal(pixels.numpy(), expected)
            assert len(split.mean) == len(split.std) == dataset.shape[0]
        assert dataset.train.labels.dtype == torch.int64
        assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == (labels, [2, 1, 0])


def test_selection_is_empty_and_has_the_right_shapes(root: Path) -> None:
    put_mnist(root, some(2), [0, 1])
    dataset = hub.mnist()
    assert len(dataset.selection) == 0
    assert dataset.selection.inputs().shape == (0, 1, 28, 28)
    assert dataset.selection.labels.dtype == torch.int64
    assert len(dataset.checksum) == 16


def test_load_finds_it_by_name(root: Path) -> None:
    put_mnist(root, some(2), [0, 1])
    _load.cache_clear()
    try:
        assert load("mnist").checksum == hub.mnist().checksum
        assert load("mnist") is load("mnist")
    finally:
        _load.cache_clear()


def test_labels_are_those_of_a_hundred_classes(root: Path) -> None:
    path = root / HUB["cifar-100"][1] / "train-00000-of-00001.parquet"
    images = [encode(image) for image in some(2, True)]
    put(path.with_name("test-00000-of-00001.parquet"), images, [0, 0], "img", "fine_label")
    put(path, images, [99, 0], "img", "fine_label")
    assert hub.cifar_100().train.labels.tolist() == [99, 0]
    put(path, images, [0, 100], "img", "fine_label")
    with pytest.raises(InputError, match="row 1 of column 'fine_label' is 100, not 0 to 99"):
        hub.cifar_100()
    put(path, images, [0, 1], "img", "coarse_label")
    with pytest.raises(InputError, match="has no column 'fine_label'; it has img, coarse_label"):
        hub.cifar_100()


# What is refused.


def test_a_folder_without_a_split(root: Path) -> None:
    put_mnist(root, some(1), [0]).with_name("test-00000-of-00001.parquet").unlink()
    with pytest.raises(InputError, match=r"ylecun/mnist/mnist has no split 'test': test-\*\.parquet is missing"):
        hub.mnist()


def test_a_split_that_lacks_files(root: Path) -> None:
    path = put_mnist(root, some(1), [0])
    path.rename(path.with_name("train-00001-of-00002.parquet"))
    with pytest.raises(InputError, match=r"split 'train' in .* is not complete: it has train-00001-of-00002.parquet"):
        hub.mnist()


def test_a_split_without_rows(root: Path) -> None:
    put_mnist(root, some(0), pa.array([], pa.int64()))
    with pytest.raises(InputError, match=r"split 'train' in .* has no rows"):
        hub.mnist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"img": ["x"], "label": [0]}, "has no column 'image'; it has img, label"),
        ({"image": [{"bytes": b"", "path": ""}], "y": [0]}, "has no column 'label'; it has image, y"),
        (
            {"image": ["x"], "label": [0]},
            r"column 'image' must hold encoded images \(a struct with bytes\), not string",
        ),
        ({"image": [{"path": "x"}], "label": [0]}, "column 'image' must hold encoded images .*, not struct<path"),
        ({"image": [{"bytes": b"", "path": ""}], "label": ["0"]}, "column 'label' must hold whole numbers, not string"),
    ],
)
def test_wrong_columns(root: Path, columns: dict[str, list[Any]], message: str) -> None:
    path = put_mnist(root, some(1), [0])
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match=f"train-00000-of-00001.parquet:? {message}"):
        hub.mnist()


def test_a_file_that_is_no_parquet(root: Path) -> None:
    put_mnist(root, some(1), [0]).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"train-00000-of-00001.parquet cannot be read as parquet: \S"):
        hub.mnist()


def test_a_file_that_is_cut_off(root: Path) -> None:
    path = put_mnist(root, some(20), [0] * 20)
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 3000) + content[-2900:])
    with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet"):
        hub.mnist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 10], "row 1 of column 'label' is 10, not 0 to 9"),
        ([-1, 3], "row 0 of column 'label' is -1, not 0 to 9"),
        (pa.array([0, 2**64 - 1], pa.uint64()), "row 1 of column 'label' is 18446744073709551615"),
        ([None, 0], "column 'label' has 1 rows without a value"),
    ],
)
def test_wrong_labels(root: Path, labels: Any, message: str) -> None:
    put_mnist(root, some(2), labels)
    with pytest.raises(InputError, match=f"train-00000-of-00001.parquet: {message}"):
        hub.mnist()


WHOLE = encode(some(1)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encode(np.zeros((32, 28), np.uint8)), "is 28x32, not 28x28"),
        (encode(np.zeros((28, 28, 3), np.uint8)), "has mode RGB, not L"),
        (None, "has no bytes"),
        (b"", "is no PNG or WebP image that can be decoded: "),
        (WHOLE[: len(WHOLE) // 2], "is no PNG or WebP image that can be decoded: "),
        (encode(some(1)[0], "BMP"), "is no PNG or WebP image that can be decoded: "),
    ],
    ids=["size", "mode", "none", "empty", "cut", "format"],
)
def test_wrong_images(root: Path, content: bytes | None, message: str) -> None:
    path = put_mnist(root, some(1), [0])
    put(path, [WHOLE, content], [0, 0])
    with pytest.raises(InputError, match=f"train-00000-of-00001.parquet: row 1 of column 'image' {message}"):
        hub.mnist()
    assert not list(root.parent.glob("cache/data/**/*.safetensors"))


@pytest.mark.parametrize("module", ["pyarrow", "PIL.Image"])
def test_a_missing_package_names_the_extra(root: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    put_mnist(root, some(1), [0])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'amendbench\[data\]'"):
        hub.mnist()


# What is kept.


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are decoded from now on."""
    files: list[Path] = []
    original = hub._decode_file

    def spy(repository: hub.Repository, path: Path) -> tuple[np.ndarray, np.ndarray]:
        files.append(path)
        return original(repository, path)

    monkeypatch.setattr(hub, "_decode_file", spy)
    return files


def kept(root: Path) -> Path:
    (path,) = (root.parent / "cache" / "data").rglob("*.safetensors")
    return path


def test_files_are_decoded_once(root: Path, decoded: list[Path]) -> None:
    put_mnist(root, some(3), [0, 1, 2])
    first = hub.mnist()
    assert len(decoded) == 2
    assert hub.mnist().checksum == first.checksum
    assert len(decoded) == 2
    assert [path.suffix for path in kept(root).parent.iterdir()] == [".safetensors"]


def test_changed_files_are_decoded_again(root: Path, decoded: list[Path]) -> None:
    images = some(2)
    path = put_mnist(root, images, [0, 1])
    before = hub.mnist()
    put(path, [encode(image) for image in images], [0, 2])
    assert hub.mnist().train.labels.tolist() == [0, 2]
    assert before.train.labels.tolist() == [0, 1]
    assert len(decoded) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "unsigned"])
def test_damaged_tensors_are_decoded_again(
    root: Path, decoded: list[Path], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import save

    put_mnist(root, some(3), [0, 1, 2])
    first = hub.mnist().checksum
    content = bytearray(kept(root).read_bytes())
    content[-5] ^= 1
    damaged = {"flip": bytes(content), "cut": content[:-9], "empty": b"", "unsigned": save({"a": torch.zeros(1)})}
    kept(root).write_bytes(damaged[damage])
    assert hub.mnist().checksum == first
    assert len(decoded) == 4
    assert "made again" in caplog.text
    assert hub.mnist().checksum == first
    assert len(decoded) == 4


def test_a_cache_that_cannot_be_written(root: Path) -> None:
    put_mnist(root, some(1), [0])
    (root.parent / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"data cannot be kept in .*; set AMENDBENCH_CACHE"):
        hub.mnist()


# What is not there.


def test_without_folder_and_network_it_says_what_to_do(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        hub.cifar_10()
    message = str(caught.value)
    for part in (
        str(root / HUB["cifar-10"][1]),
        "(there is no network)",
        "AMENDBENCH_DATA",
        "need no download",
        "amendbench data get cifar-10",
    ):
        assert part in message
    assert "\n" not in message
    assert {path.name for path in root.iterdir()} <= {".download.lock"}


def test_without_folder_and_package_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'amendbench\[data\]'"):
        hub.mnist()


def test_what_is_not_there_is_downloaded_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = some(3)
    elsewhere = put_mnist(tmp_path / "hub", images, [4, 5, 6]).parent
    datasets = fresh_datasets(monkeypatch, elsewhere)
    dataset = hub.mnist()
    assert np.array_equal(dataset.train.images[:, 0].numpy(), images)
    assert dataset.test.labels.tolist() == [4, 5, 6]
    assert sorted(path.name for path in (root / HUB["mnist"][1]).iterdir()) == [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ]
    assert not list(root.glob(".download-*"))
    monkeypatch.setattr(datasets, "load_dataset", None)
    assert hub.mnist().checksum == dataset.checksum


def fresh_datasets(monkeypatch: pytest.MonkeyPatch, folder: Path) -> ModuleType:
    """``datasets``, whose Hub has nothing but MNIST, in ``folder``."""
    datasets = importlib.import_module("datasets")
    files = {split: str(folder / f"{split}-00000-of-00001.parquet") for split in ("train", "test")}
    original = importlib.import_module("datasets.load").load_dataset

    def from_folder(path: str, config: str, *, revision: str | None, cache_dir: str) -> Any:
        assert (path, config) == ("ylecun/mnist", "mnist")
        image = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        return original("parquet", data_files=files, features=image, cache_dir=cache_dir)

    monkeypatch.setattr(datasets, "load_dataset", from_folder)
    return datasets


# The real files, where they are.


@pytest.mark.skipif(not (REAL / HUB["mnist"][1]).is_dir(), reason="the data root has no MNIST")
def test_all_of_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENDBENCH_DATA", str(REAL))
    dataset = hub.mnist()
    assert (len(dataset.train), len(dataset.selection), len(dataset.test)) == (60_000, 0, 10_000)
    counts = dataset.train.labels.bincount()
    assert int(counts[0]) == 5_923
    assert int((counts[5:] * 2 // 5).sum()) == 11_760  # 40 % of classes 5 to 9, rounded down class by class
    pixels = dataset.train.images.float() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3081, abs=1e-4)
    torch.testing.assert_close(dataset.train.inputs(slice(2)), pixels[:2])  # as the paper reads them: in [0, 1]
