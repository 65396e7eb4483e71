"""ISIC 2019, bone ages and thinned ImageNet: tiny folders in the publishers' layout, what is read, what is refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import compat
from benchmark.data import DATA, correction, natural, packaged
from benchmark.data.biased import IMAGENET
from benchmark.data.packaged import Dataset
from benchmark.errors import InputError

Image = pytest.importorskip("PIL.Image")

LOADERS: dict[str, Callable[[], Dataset]] = {
    "isic-2019": correction.isic_2019,
    "bone-age": correction.bone_age,
    "imagenet-tench": correction.imagenet_tench,
}
TABLES = {"isic-2019": "ISIC_2019_Training_GroundTruth.csv", "bone-age": "boneage-training-dataset.csv"}
NUMBER = 30
#: Ages in months; the edges of the five bins are 19.8 (and not 20), 60, 100, 140, 180 and 220.
AGES = (20, 60, 61, 100, 101, 140, 141, 180, 181, 220)
BINS = (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)
WNIDS = ("n00000001", "n01440764", "n01443537", "n02000000")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data root and an empty cache; four classes of which every 3rd picture is used are enough."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    for name, value in (("WNIDS", len(WNIDS)), ("THINNED", 3), ("TESTED", 2)):
        monkeypatch.setattr(correction, name, value)
    packaged._load.cache_clear()
    yield tmp_path / "data"
    packaged._load.cache_clear()


def drawn(path: Path, width: int = 60, height: int = 50, mode: str = "RGB") -> Path:
    """A picture unlike any other, in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (4, 3, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    picture.save(path, "JPEG" if path.suffix == ".JPEG" else None)
    return path


def put_isic(root: Path) -> dict[Path, int]:
    """Pictures and their labels, larger and smaller than 224x224; nothing is unknown."""
    folder, lines, labels = root / "isic-2019", [], {}
    for n in range(NUMBER):
        name, label = f"ISIC_{n:07}{'_downsampled' * (n % 2)}", n % 8
        labels[drawn(folder / "Train" / f"{name}.jpg", *((300, 260) if n % 3 else (60, 90)))] = label
        lines.append(",".join([name, *(f"{float(k == label)}" for k in range(9))]))
    (folder / TABLES["isic-2019"]).write_text("\n".join([",".join(["image", *correction.DIAGNOSES]), *lines]) + "\n")
    return labels


def put_bones(root: Path) -> dict[Path, int]:
    folder, lines, labels = root / "bone-age", ["id,boneage,male"], {}
    for n in range(NUMBER):
        path = folder / "boneage-training-dataset" / f"{1377 + n}.png"
        labels[drawn(path, 250, 300, "L")] = BINS[n % len(BINS)]
        lines.append(f"{path.stem},{AGES[n % len(AGES)]},{'False' if n % 2 else 'True'}")
    (folder / TABLES["bone-age"]).write_text("\n".join(lines) + "\n")
    return labels


def put_imagenet(root: Path) -> dict[Path, int]:
    """17 tenches and 10 of each other class; for validation 6 of each class. Of those that are used, the labels."""
    labels, others, held = {}, 0, 0
    for label, wnid in enumerate(WNIDS):
        for n in range(17 if wnid == correction.TENCH else 10):
            path = drawn(root / "imagenet" / "train" / wnid / f"{wnid}_{n}.JPEG")
            if wnid == correction.TENCH or others % 3 == 0:
                labels[path] = label
            others += wnid != correction.TENCH
        for n in range(6):
            path = drawn(root / "imagenet" / "val" / wnid / f"ILSVRC2012_val_{n:08}.JPEG")
            if held % 2 == 0:
                labels[path] = label
            held += 1
    (root / "imagenet" / "train" / "n01440764.tar").write_bytes(b"no folder")
    (root / "imagenet" / "train" / WNIDS[0] / "._x.JPEG").write_bytes(b"what archivers leave behind")
    return labels


PUT: dict[str, Callable[[Path], dict[Path, int]]] = {
    "isic-2019": put_isic,
    "bone-age": put_bones,
    "imagenet-tench": put_imagenet,
}


def splits(data: Dataset) -> dict[str, Any]:
    return {"train": data.train, "selection": data.selection, "test": data.test}


def test_every_data_set_of_the_module_is_tested_here() -> None:
    assert set(LOADERS) == set(PUT) == {name for name in DATA if DATA.get(name).loader.startswith("correction.")}


def prepared(path: Path) -> bytes:
    """The pixels of a picture as 224x224 RGB."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)).tobytes()


@pytest.mark.parametrize("name", LOADERS)
def test_every_picture_is_in_one_split_with_its_label(root: Path, name: str) -> None:
    labels = PUT[name](root)
    of = {prepared(path): path for path in labels}
    data, places = packaged.load(name), {}
    assert (data.name, data.shape, data.num_classes) == (name, DATA.get(name).shape, DATA.get(name).num_classes)
    for split, samples in splits(data).items():
        assert samples.images.dtype == torch.uint8
        assert (samples.attributes, samples.masks) == (None, None)
        found = [of.pop(image.numpy().tobytes()) for image in samples.images]
        assert samples.labels.tolist() == [labels[path] for path in found]
        assert len(found) < 4 or found != sorted(found)
        places |= dict.fromkeys(found, split)
    assert not of
    counts = Counter(places.values())
    if name == "imagenet-tench":
        assert all((split == "test") == ("val" in path.parts) for path, split in places.items())
        assert counts == {"train": 24, "selection": 3, "test": 12}  # of 17 + 10 pictures for training
    else:
        assert counts == {"train": 24, "selection": 3, "test": 3}


@pytest.mark.parametrize(
    ("name", "statistics"),
    [
        ("isic-2019", ((0.5,) * 3, (0.5,) * 3)),
        ("bone-age", ((46.9 / 255,) * 3, (22.65 / 255,) * 3)),
        ("imagenet-tench", IMAGENET),
    ],
)
def test_channel_statistics(root: Path, name: str, statistics: tuple[tuple[float, ...], ...]) -> None:
    PUT[name](root)
    for samples in splits(LOADERS[name]()).values():
        assert (samples.mean, samples.std) == statistics


def test_pictures_are_resized_as_torchvision_does(root: Path) -> None:
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    T = compat.torchvision().transforms
    resize = T.Compose([T.Resize((224, 224)), T.PILToTensor()])
    for path in put_isic(root):
        with Image.open(path) as opened:
            assert resize(opened.convert("RGB")).numpy().tobytes() == prepared(path)


def test_x_rays_have_three_equal_channels(root: Path) -> None:
    put_bones(root)
    images = correction.bone_age().train.images
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_bins_are_those_of_pandas() -> None:
    ages = np.concatenate([AGES, 20 + RNG.random(300) * 200])
    assert correction.binned(np.array(AGES, float)).tolist() == list(BINS)
    months = np.arange(1.0, 229.0)  # the range of the data set: the third bin is 92 to 137 months
    assert months[correction.binned(months) == 2][[0, -1]].tolist() == [92, 137]
    pandas = pytest.importorskip("pandas")
    for values in (ages, months):
        assert correction.binned(values).tolist() == pandas.cut(values, 5, labels=False).tolist()


def test_a_thousand_classes_are_thinned_by_a_hundred(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("AMENDBENCH_DATA", str(root))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(root.parent / "cache"))
    source = drawn(root / "one.JPEG")
    wnids = sorted({f"n{1440000 + n:08}" for n in range(999)} | {correction.TENCH})
    wnids = wnids if len(wnids) == 1000 else [*wnids, "n99999999"]
    for wnid in wnids:
        for folder in ("train", "val"):
            (root / "imagenet" / folder / wnid).mkdir(parents=True)
            os.link(source, root / "imagenet" / folder / wnid / "1.JPEG")
    data = correction.imagenet_tench()
    tench = wnids.index(correction.TENCH)
    others = [label for label in range(1000) if label != tench][::100]
    assert sorted([*data.train.labels.tolist(), *data.selection.labels.tolist()]) == sorted([tench, *others])
    assert sorted(data.test.labels.tolist()) == list(range(0, 1000, 10))
    (root / "imagenet" / "val" / wnids[7] / "1.JPEG").unlink()
    (root / "imagenet" / "val" / wnids[7]).rmdir()
    with pytest.raises(InputError, match=r"imagenet/val has 999 class folders .*, not 1,000"):
        correction.imagenet_tench()


@pytest.mark.parametrize("name", LOADERS)
def test_pictures_are_decoded_once_and_mapped(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PUT[name](root)
    first = LOADERS[name]()
    torch.manual_seed(7)
    monkeypatch.setattr(natural, "_pixels", None)
    again = LOADERS[name]()
    assert again.checksum == first.checksum
    memory = {samples.images.untyped_storage().data_ptr() for samples in splits(again).values()}
    assert len(memory) == 1


# What is refused.


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_folder_says_what_it_has_to_hold(root: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        LOADERS[name]()
    message = str(caught.value)
    folder = {"imagenet-tench": "imagenet"}.get(name, name)
    assert str(root / folder) in message
    for part in (name, "has to hold", "published at https://", "AMENDBENCH_DATA"):
        assert part in message


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_missing_or_no_text_is_named(root: Path, name: str) -> None:
    PUT[name](root)
    path = root / name / TABLES[name]
    for change in (lambda: path.write_bytes(b"\xff\xfe\xff"), path.unlink):
        change()
        with pytest.raises(InputError, match=f"{TABLES[name]} cannot be read"):
            LOADERS[name]()


@pytest.mark.parametrize("name", LOADERS)
def test_pictures_that_are_missing_truncated_or_none_are_named(root: Path, name: str) -> None:
    path = next(path for path in PUT[name](root) if name != "imagenet-tench" or correction.TENCH in path.parts)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"picture .*{path.name} cannot be used"):
            LOADERS[name]()
    path.unlink()
    if name == "imagenet-tench":
        path.symlink_to("nowhere")
    with pytest.raises(InputError, match=f"{name}: .*{path.name} cannot be read: No such file"):
        LOADERS[name]()


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("UNK", "OTHER", "has no column 'UNK'; it has image, MEL"),
        ("image,", "name,", "has no column 'image'"),
        ("ISIC_0000000,1.0,", "ISIC_0000000,0.0,", "the diagnoses of ISIC_0000000 are 0.0, .*, not one 1"),
        ("ISIC_0000000,1.0,0.0", "ISIC_0000000,1.0,1.0", "the diagnoses of ISIC_0000000 are 1.0, 1.0, .*, not one 1"),
        ("ISIC_0000000,1.0,", "ISIC_0000000,0.5,", "the diagnoses of ISIC_0000000 are 0.5, .*, not one 1"),
        ("ISIC_0000000,1.0,", "ISIC_0000000,yes,", "MEL of ISIC_0000000 is 'yes', not a number"),
        ("ISIC_0000000,1.0,", "ISIC_0000000,nan,", "MEL of ISIC_0000000 is 'nan', not a number"),
        ("ISIC_0000000,1.0,", "ISIC_0000000,", "line 2 has 9 columns, not 10"),
        ("ISIC_0000002,", "ISIC_0000000,", "image 'ISIC_0000000' is there twice"),
    ],
)
def test_diagnoses_that_are_not_isics(root: Path, old: str, new: str, message: str) -> None:
    put_isic(root)
    edited(root / "isic-2019" / TABLES["isic-2019"], old, new)
    with pytest.raises(InputError, match=f"{TABLES['isic-2019']}.*{message}"):
        correction.isic_2019()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("boneage,", "months,", "has no column 'boneage'; it has id, months, male"),
        ("1377,20,", "1377,,", "boneage of 1377 is '', not a number"),
        ("1377,20,", "1377,inf,", "boneage of 1377 is 'inf', not a number"),
        ("1377,20,", "1377,-4,", "boneage of 1377 is '-4', not a number of 0 or more"),
        ("1378,", "1377,", "id '1377' is there twice"),
    ],
)
def test_ages_that_are_not_the_rsnas(root: Path, old: str, new: str, message: str) -> None:
    put_bones(root)
    edited(root / "bone-age" / TABLES["bone-age"], old, new)
    with pytest.raises(InputError, match=f"{TABLES['bone-age']}.*{message}"):
        correction.bone_age()


def test_ages_that_are_all_the_same_or_none(root: Path) -> None:
    put_bones(root)
    for lines in ("", "1377,20,True\n1378,20,True\n"):
        (root / "bone-age" / TABLES["bone-age"]).write_text(f"id,boneage,male\n{lines}")
        with pytest.raises(InputError, match="boneage has to differ"):
            correction.bone_age()


def test_x_rays_of_sixteen_bits_are_refused_for_they_would_be_cut_off(root: Path) -> None:
    path = next(iter(put_bones(root)))
    Image.fromarray(np.full((40, 40), 5000, np.uint16)).save(path)
    with pytest.raises(InputError, match=f"{path.name} cannot be used: it has mode I.*, not 8 bits a channel"):
        correction.bone_age()


def test_too_few_pictures_for_three_splits(root: Path) -> None:
    put_isic(root)
    path = root / "isic-2019" / TABLES["isic-2019"]
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(InputError, match=r"isic-2019: .* has no selection samples; it has to hold ISIC_2019"):
        correction.isic_2019()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "val").rename(path / "valid"), "imagenet/val cannot be read: No such file"),
        (lambda path: (path / "train" / WNIDS[0]).rename(path / "other"), "train has 3 class folders .*, not 4"),
        (lambda path: (path / "val" / WNIDS[0]).rename(path / "val" / "n5"), "val has 3 class folders .*, not 4"),
        (
            lambda path: (path / "val" / WNIDS[0]).rename(path / "val" / "n99999999"),
            f"class {WNIDS[0]} is in only one of the folders train and val",
        ),
        (
            lambda path: [(path / p / WNIDS[1]).rename(path / p / "n99999999") for p in ("train", "val")],
            "train has no folder n01440764",
        ),
        (
            lambda path: [file.unlink() for file in (path / "train" / WNIDS[2]).iterdir()],
            rf"{WNIDS[2]} has no pictures \*\.JPEG",
        ),
    ],
)
def test_folders_that_are_not_imagenets(root: Path, change: Any, message: str) -> None:
    put_imagenet(root)
    change(root / "imagenet")
    with pytest.raises(InputError, match=message):
        correction.imagenet_tench()
