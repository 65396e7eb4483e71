"""SVHN, house numbers of Google Street View: the cropped digits, 73,257 for training and 26,032 for the test.

Read from where torchvision lays them out, ``<AMENDBENCH_DATA>/svhn/{train,test}_32x32.mat``, or else from the parquet
files of the Hub, which hold the same digits in the same order. Where there are neither, torchvision downloads the
former. The 531,131 additional digits are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark import compat
from benchmark.data.fetching import line, whole
from benchmark.data.hub import SPLITS, Repository, kept, read
from benchmark.data.packaged import Dataset
from benchmark.environment import data_root
from benchmark.errors import InputError

FOLDER = "svhn"
HUB = Repository(
    "svhn", "ufldl-stanford/svhn", "cropped_digits", "image", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
)
#: The files' label of the digit 0.
ZERO = 10


def svhn() -> Dataset:
    """The first that is there; InputError where nothing is and nothing can be downloaded, or a file is wrong."""
    folder = data_root() / FOLDER
    if not folder.is_dir() and HUB.folder.is_dir():
        return read(HUB)
    download()
    files = {split: [folder / f"{split}_32x32.mat"] for split in SPLITS}
    for (path,) in files.values():
        if not path.is_file():
            raise InputError(f"{folder} has no {path.name}; put it there, or remove the folder to download both files")
    return kept(HUB, files, _digits)


def download() -> None:
    """Have torchvision download both files, whole or not at all; nothing where the folder is there."""
    folder = data_root() / FOLDER
    if not folder.is_dir():
        whole(HUB.name, folder, _torchvision, "http://ufldl.stanford.edu/housenumbers by torchvision")


def _torchvision(scratch: Path) -> Path:
    """The folder of the files in ``scratch``; torchvision compares their checksums."""
    datasets = compat.torchvision().datasets
    for split in SPLITS:
        datasets.SVHN(str(scratch / FOLDER), split=split, download=True)
    return scratch / FOLDER


def _digits(repository: Repository, split: str, files: list[Path]) -> Iterator[tuple[str, Tensor]]:
    """``<split>.images``, (N, 3, 32, 32) uint8, and ``<split>.labels``, (N,) int64."""
    (path,) = files
    content = _content(path)
    images, labels = (content.get(name, np.empty(0)) for name in ("X", "y"))
    shape = (*repository.shape[1:], repository.shape[0])
    if images.dtype != np.uint8 or images.shape[:-1] != shape or not images.size:
        raise InputError(f"{path}: X must be images of shape (32, 32, 3, N) and uint8, not {_told(images)}")
    if labels.size != images.shape[-1] or not np.isin(labels, range(1, ZERO + 1)).all():
        raise InputError(f"{path}: y must be {images.shape[-1]} labels from 1 to {ZERO}, not {_told(labels)}")
    yield f"{split}.images", torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1)))
    yield f"{split}.labels", torch.from_numpy(labels.reshape(-1).astype(np.int64) % ZERO)


def _content(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path, variable_names=("X", "y"))
    except Exception as error:  # scipy's reader and zlib raise many kinds
        raise InputError(
            f"{path} cannot be read as a MATLAB file ({line(error)}); remove its folder and run: "
            "amendbench data get svhn"
        ) from error
    return content


def _told(array: np.ndarray) -> str:
    """What an array is, with the range of its values where it has any."""
    values = f" from {array.min()} to {array.max()}" if array.size and array.dtype.kind in "iuf" else ""
    return f"{array.shape} {array.dtype}{values}"
