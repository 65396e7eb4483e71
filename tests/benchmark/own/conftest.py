"""A folder of pictures that nobody has seen before: three classes, whose colours tell them apart, and a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmark.data import manifest
from benchmark.data.packaged import _load
from benchmark.models.classifiers import build_classifier
from benchmark.tasks import base_models

CLASSES = ("finch", "pike", "tench")
EACH, SIDE = 16, 16


@pytest.fixture(autouse=True)
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data root of this test's own."""
    root = tmp_path / "data"
    monkeypatch.setenv("AMENDBENCH_DATA", str(root))
    yield root
    for cached in (_load, base_models.on_device, manifest._read):
        cached.cache_clear()


def picture(label: int, number: int, *, ruler: bool) -> Image.Image:
    """A noisy square of the class's colour; with a white line at its lower edge."""
    rng = np.random.default_rng([label, number])
    pixels = rng.integers(0, 90, (SIDE, SIDE, 3))
    pixels[..., label] += 140
    if ruler:
        pixels[-3:] = 255
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def flat(tmp_path: Path) -> tuple[Path, Path]:
    """Pictures in one folder, and a CSV file: label, ruler (on 3 of 4 finches and 1 of 4 others), serial number."""
    folder, table = tmp_path / "pictures", tmp_path / "attributes.csv"
    folder.mkdir()
    rows = []
    for label, name in enumerate(CLASSES):
        for k in range(EACH):
            ruler = k % 4 < 3 if label == 0 else k % 4 == 0
            file = f"{k:02}-{label}.png"
            picture(label, k, ruler=ruler).save(folder / file)
            rows.append((file, name, "yes" if ruler else "no", f"{label}.{k}"))
    with table.open("w", newline="") as opened:
        csv.writer(opened).writerows([("file", "label", "ruler", "serial"), *rows])
    return folder, table


@pytest.fixture
def foldered(tmp_path: Path) -> Path:
    """The same pictures, each class in a folder of its own."""
    for label, name in enumerate(CLASSES):
        folder = tmp_path / "classes" / name
        folder.mkdir(parents=True)
        for k in range(EACH):
            picture(label, k, ruler=False).save(folder / f"{k:02}.png")
    return tmp_path / "classes"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a LeNet for these pictures, newly drawn."""
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    state = build_classifier("lenet", 3, (3, SIDE, SIDE)).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path
