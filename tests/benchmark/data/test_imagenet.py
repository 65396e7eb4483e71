"""ImageNet for class forgetting: tiny folders in its layout, which pictures are taken, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data import DATA, correction, imagenet, packaged
from benchmark.data.biased import IMAGENET
from benchmark.errors import InputError

Image = pytest.importorskip("PIL.Image")

WNIDS = ("n00000001", "n01440764", "n01443537", "n02000000")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data root and an empty cache; 3 and 2 pictures of each of four classes are enough."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(correction, "WNIDS", len(WNIDS))
    monkeypatch.setattr(imagenet, "TRAINING", 3)
    monkeypatch.setattr(imagenet, "SELECTED", 2)
    packaged._load.cache_clear()
    yield tmp_path / "data"
    packaged._load.cache_clear()


def drawn(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (4, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((60, 50), Image.Resampling.BICUBIC).save(path, "JPEG")
    return path


def put(root: Path, each: int = 7) -> dict[Path, int]:
    """So many pictures of each class for training, and three for validation, with their labels."""
    return {
        drawn(root / "imagenet" / part / wnid / f"{wnid}_{n}.JPEG"): label
        for label, wnid in enumerate(WNIDS)
        for part, number in (("train", each), ("val", 3))
        for n in range(number)
    }


def prepared(path: Path) -> bytes:
    """All of a picture as 224x224: without a crop."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)).tobytes()


def test_every_class_has_its_share_and_the_validation_set_is_the_test_set(root: Path) -> None:
    labels = put(root)
    of = {prepared(path): path for path in labels}
    data = packaged.load("imagenet")
    assert (data.shape, data.num_classes) == (DATA.get("imagenet").shape, 1000)
    found: dict[str, list[Path]] = {}
    for split, samples in (("train", data.train), ("selection", data.selection), ("test", data.test)):
        assert (samples.mean, samples.std, samples.attributes) == (*IMAGENET, None)
        found[split] = [of.pop(image.numpy().tobytes()) for image in samples.images]
        assert samples.labels.tolist() == [labels[path] for path in found[split]]
        assert found[split] != sorted(found[split])
    for split, number in (("train", 3), ("selection", 2), ("test", 3)):
        assert Counter(labels[path] for path in found[split]) == dict.fromkeys(range(4), number)
        assert {path.parts[-3] for path in found[split]} == {"val" if split == "test" else "train"}


def test_the_same_pictures_are_taken_each_time(root: Path) -> None:
    put(root)
    first = imagenet.imagenet()
    torch.manual_seed(7)
    assert imagenet.imagenet().checksum == first.checksum


def test_the_numbers_are_those_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    here = DATA.get("imagenet").facts.here
    assert here == {"train": 1000 * imagenet.TRAINING, "selection": 1000 * imagenet.SELECTED, "test": 50_000}


# What is refused.


def test_a_missing_folder_says_what_it_has_to_hold(root: Path) -> None:
    with pytest.raises(InputError) as caught:
        imagenet.imagenet()
    for part in (
        str(root / "imagenet"),
        "train/<wnid>/*.JPEG",
        "https://image-net.org",
        "amendbench data get imagenet",
    ):
        assert part in str(caught.value)


def test_a_class_with_too_few_pictures_is_named(root: Path) -> None:
    for path in [path for path in put(root) if path.parts[-3:-1] == ("train", WNIDS[2])][:3]:
        path.unlink()
    with pytest.raises(InputError, match=r"class n01443537 has 4 training photographs .*; 5 are needed"):
        imagenet.imagenet()


def test_a_cut_off_picture_is_named_and_left_alone(root: Path) -> None:
    path = next(path for path in put(root) if "val" in path.parts)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=f"picture .*{path.name} cannot be used"):
        imagenet.imagenet()
    assert path.stat().st_size == 300


def test_a_missing_class_is_named(root: Path) -> None:
    for path in [path for path in put(root) if WNIDS[0] in path.parts]:
        path.unlink()
    (root / "imagenet" / "train" / WNIDS[0]).rmdir()
    with pytest.raises(InputError, match="imagenet/train has 3 class folders"):
        imagenet.imagenet()
