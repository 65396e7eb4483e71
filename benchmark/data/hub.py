"""Complete data sets of the Hugging Face Hub, read from a local copy of their repositories' parquet files.

The copy lies below AMENDBENCH_DATA as on the Hub: ``<root>/<owner>/<repository>/<config>/<split>-*.parquet``; what is
not there is downloaded once. The official training split is ``train`` and the official test split is ``test``, both
whole and in the order of the files, because the papers' set sizes depend on it. ``selection`` is empty: on these data
sets the papers' hyper-parameters are used and nothing is tuned.

Pixels are decoded once and kept in the cache, for many processes read them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data import DATA
from benchmark.data.fetching import line, needed, whole
from benchmark.data.kept import keep, restore
from benchmark.data.packaged import Dataset
from benchmark.data.views import Samples
from benchmark.environment import cache_root, data_root
from benchmark.errors import InputError

SPLITS = ("train", "test")
#: Counts up when the same files would be decoded differently.
FORMAT = 1


@dataclass(frozen=True)
class Repository:
    """A repository of the Hub; ``name`` is the data set's here, ``image`` and ``label`` are columns.

    mean and std: what the channels of images / 255 are normalised by; grey ones stay in [0, 1], as the papers have it.
    """

    name: str
    path: str
    config: str
    image: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    revision: str | None = None
    label: str = "label"

    @property
    def folder(self) -> Path:
        return data_root() / self.path / self.config

    @property
    def num_classes(self) -> int:
        return DATA.get(self.name).num_classes

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return DATA.get(self.name).shape


#: Of a split's files: ``<split>.images``, (N, C, H, W) uint8, and ``<split>.labels``, (N,) int64.
Decode = Callable[[Repository, str, list[Path]], Iterator[tuple[str, Tensor]]]


#: Mean and std of CIFAR-10's channels, by which the class-forgetting paper (arXiv:2312.00761) has CIFAR-100, too.
CIFAR = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


REPOSITORIES = {
    repository.name: repository
    for repository in (
        Repository("mnist", "ylecun/mnist", "mnist", "image", (0.0,), (1.0,)),
        Repository("fashion-mnist", "zalando-datasets/fashion_mnist", "fashion_mnist", "image", (0.0,), (1.0,)),
        Repository("cifar-10", "uoft-cs/cifar10", "plain_text", "img", *CIFAR),
        Repository("cifar-100", "uoft-cs/cifar100", "cifar100", "img", *CIFAR, label="fine_label"),
    )
}


def mnist() -> Dataset:
    """All of MNIST: 60,000 and 10,000 digits."""
    return read(REPOSITORIES["mnist"])


def fashion_mnist() -> Dataset:
    """All of Fashion-MNIST: 60,000 and 10,000 garments."""
    return read(REPOSITORIES["fashion-mnist"])


def cifar_10() -> Dataset:
    """All of CIFAR-10: 50,000 and 10,000 photographs."""
    return read(REPOSITORIES["cifar-10"])


def cifar_100() -> Dataset:
    """All of CIFAR-100 with its 100 fine labels: 50,000 and 10,000 photographs."""
    return read(REPOSITORIES["cifar-100"])


def read(repository: Repository) -> Dataset:
    """The data set in ``repository``; InputError where it is neither there nor on the Hub, or is not as expected."""
    if not repository.folder.is_dir():
        download(repository)
    files = {split: _files(repository.folder, split) for split in SPLITS}
    return kept(repository, files, _decode_split)


def kept(repository: Repository, files: dict[str, list[Path]], decode: Decode) -> Dataset:
    """The data set that ``decode`` makes of the files of each split, or made of them before."""
    path = cache_root() / "data" / "decoded" / f"{_key(repository, files)}.safetensors"
    tensors = restore(path)
    if tensors is None:
        tensors = {name: t for split in SPLITS for name, t in decode(repository, split, files[split])}
        keep(path, tensors)
    train, test = (
        Samples(tensors[f"{split}.images"], tensors[f"{split}.labels"], repository.mean, repository.std)
        for split in SPLITS
    )
    nothing = train.subset(torch.empty(0, dtype=torch.int64))
    return Dataset(repository.name, train, nothing, test, repository.num_classes)


def _files(folder: Path, split: str) -> list[Path]:
    """The parquet files of a split in order; InputError unless all of them are there."""
    found = sorted(folder.glob(f"{split}-*.parquet"))
    if not found:
        raise InputError(f"{folder} has no split {split!r}: {split}-*.parquet is missing; remove it or complete it")
    whole = [f"{split}-{i:05}-of-{len(found):05}.parquet" for i in range(len(found))]
    if [path.name for path in found] != whole:
        raise InputError(f"split {split!r} in {folder} is not complete: it has {', '.join(p.name for p in found)}")
    return found


def _key(repository: Repository, files: dict[str, list[Path]]) -> str:
    """32 hex digits over what the decoded tensors depend on."""
    total = hashlib.sha256(repr((FORMAT, repository.name, repository.image, repository.shape)).encode())
    for path in (path for split in SPLITS for path in files[split]):
        try:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                total.update(f"{path.name} {os.fstat(content.fileno()).st_size} {digest}\n".encode())
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return total.hexdigest()[:32]


# Decoding.


def _decode_split(repository: Repository, split: str, files: list[Path]) -> Iterator[tuple[str, Tensor]]:
    """``<split>.images``, (N, C, H, W) uint8, and ``<split>.labels``, (N,) int64."""
    parts = [_decode_file(repository, path) for path in files]
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts])
    if not len(labels):
        raise InputError(f"split {split!r} in {repository.folder} has no rows")
    yield f"{split}.images", torch.from_numpy(images).movedim(-1, 1).contiguous()
    yield f"{split}.labels", torch.from_numpy(labels)


def _decode_file(repository: Repository, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, C) uint8 and labels (N,) int64 of one file."""
    channels, height, width = repository.shape
    pillow = needed("PIL.Image")
    encoded, labels = _columns(path, repository.image, repository.label)
    _check_labels(path, labels, repository.num_classes, repository.label)
    images = np.empty((len(encoded), height, width, channels), np.uint8)
    for row, content in enumerate(encoded):
        try:
            images[row] = _decode(pillow, content, (channels, height, width))
        except Exception as error:  # Pillow's decoders raise many kinds
            raise InputError(f"{path}: row {row} of column {repository.image!r} {_reason(error)}") from error
    return images, labels.astype(np.int64)


def _columns(path: Path, image: str, label: str) -> tuple[Sequence[bytes | None], np.ndarray]:
    """Encoded images and labels as they are in the file."""
    pa, pq = needed("pyarrow"), needed("pyarrow.parquet")
    try:
        schema = pq.read_schema(path)
        _check_columns(path, {field.name: field.type for field in schema}, image, label)
        table = pq.read_table(path, columns=[image, label])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as parquet: {line(error)}") from error
    if table[label].null_count:
        raise InputError(f"{path}: column {label!r} has {table[label].null_count} rows without a value")
    encoded = needed("pyarrow.compute").struct_field(table[image], "bytes")
    return encoded.to_pylist(), table[label].to_numpy()


def _check_columns(path: Path, types: dict[str, Any], image: str, label: str = "label") -> None:
    """InputError unless there are encoded images and whole numbers as labels."""
    pa = needed("pyarrow")
    for name in (image, label):
        if name not in types:
            raise InputError(f"{path} has no column {name!r}; it has {', '.join(types) or 'none'}")
    kind = types[image]
    inner = {field.name: field.type for field in kind} if pa.types.is_struct(kind) else {}
    if inner.get("bytes") not in (pa.binary(), pa.large_binary()):
        raise InputError(f"{path}: column {image!r} must hold encoded images (a struct with bytes), not {kind}")
    if not pa.types.is_integer(types[label]):
        raise InputError(f"{path}: column {label!r} must hold whole numbers, not {types[label]}")


def _check_labels(path: Path, labels: np.ndarray, num_classes: int, label: str = "label") -> None:
    """InputError for a label that names no class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(f"{path}: row {row} of column {label!r} is {labels[row]}, not 0 to {num_classes - 1}")


class _Unfit(Exception):  # noqa: N818 - it names what the image is
    """An image is not as the data set's images are; the message completes a sentence."""


def _decode(pillow: ModuleType, content: bytes | None, shape: tuple[int, ...]) -> np.ndarray:
    """The pixels of a PNG or WebP image, (H, W, C); only its header is read where it has another size or mode."""
    channels, height, width = shape
    if content is None:
        raise _Unfit("has no bytes")
    with pillow.open(BytesIO(content), formats=("PNG", "WEBP")) as image:
        mode = "L" if channels == 1 else "RGB"
        if image.mode != mode:
            raise _Unfit(f"has mode {image.mode}, not {mode}")
        if image.size != (width, height):
            raise _Unfit(f"is {image.width}x{image.height}, not {width}x{height}")
        return np.asarray(image).reshape(height, width, channels)


def _reason(error: Exception) -> str:
    """What is wrong with an image, as the end of a sentence."""
    return str(error) if isinstance(error, _Unfit) else f"is no PNG or WebP image that can be decoded: {line(error)}"


# Downloading.


def fetch(name: str) -> None:
    """Download the data set called ``name``, if it is not there; InputError where it cannot be had."""
    download(REPOSITORIES[name])


def download(repository: Repository) -> None:
    """Copy ``repository`` from the Hub into its folder, whole or not at all; nothing where the folder is there.

    What the Hub's own client keeps in its cache is left there. InputError where it cannot be had.
    """
    datasets = needed("datasets")
    datasets.disable_progress_bars()
    whole(
        repository.name,
        repository.folder,
        lambda scratch: _copy(datasets, repository, scratch),
        f"the Hub ({repository.path}, configuration {repository.config})",
    )


def _copy(datasets: ModuleType, repository: Repository, scratch: Path) -> Path:
    """A folder in ``scratch`` with all that was downloaded, as parquet files."""
    found = datasets.load_dataset(
        repository.path, repository.config, revision=repository.revision, cache_dir=str(scratch / "cache")
    )
    complete = scratch / "whole"
    complete.mkdir()
    for split in SPLITS:
        found[split].to_parquet(str(complete / f"{split}-00000-of-00001.parquet"))
    return complete
