"""Photographs that bring their attribute: tiny folders in the publishers' layout, what is kept, what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import compat
from benchmark.data import DATA, decoded, natural
from benchmark.data.bias import Bias
from benchmark.data.biased import IMAGENET, Biased, group_counts, load_biased
from benchmark.errors import InputError

Image = pytest.importorskip("PIL.Image")

LOADERS: dict[str, Callable[[], Biased]] = {
    "waterbirds": natural.waterbirds,
    "celeba-blond": natural.celeba_blond,
    "bffhq": natural.bffhq,
}
GROUPS = [(label, attribute) for label in (0, 1) for attribute in (0, 1)]
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root and an empty cache."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def picture(path: Path, width: int, height: int, mode: str = "RGB") -> Path:
    """A picture of few colours, in the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (4, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).convert(mode).save(path)
    return path


def put_waterbirds(root: Path, repeats: int = 1) -> list[Path]:
    """Every group in every split, ``repeats`` times, the splits mixed; the pictures in the order of metadata.csv."""
    folder = root / "waterbirds" / "waterbird_complete95_forest2water2"
    rows, paths = ["img_id,img_filename,y,split,place,place_filename"], []
    for n, (label, place) in enumerate(GROUPS * repeats):
        for split in (2, 0, 1):
            file = f"{n:03}.Some_Bird/{split}_{n}.jpg"
            paths.append(picture(folder / file, 90 + n, 70))
            rows.append(f'{len(rows)},{file},{label},{split},{place},"/a/lake, a natural one/{n}.jpg"')
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return paths


def put_celeba(root: Path) -> list[Path]:
    folder, paths = root / "celeba", []
    names = ["Bald", "Blond_Hair", "Male", "Young"]
    rows, splits = [], []
    for n, (label, male) in enumerate(GROUPS * 3):
        paths.append(picture(folder / "img_align_celeba" / f"{n + 1:06}.jpg", 178, 218))
        rows.append(f"{paths[-1].name} -1 {2 * label - 1:2} {2 * male - 1:2}  1")
        splits.append(f"{paths[-1].name} {n // 4}")
    (folder / "list_attr_celeba.txt").write_text(f"{len(rows)}\n{' '.join(names)} \n" + "\n".join(rows) + "\n")
    (folder / "list_eval_partition.txt").write_text("\n".join(splits) + "\n")
    return paths


def put_bffhq(root: Path) -> list[Path]:
    folder, paths = root / "bffhq", []
    for n, (age, gender) in enumerate(GROUPS):
        kind = "align" if age == gender else "conflict"
        name = f"{n}_{age}_{gender}.png"
        for place in (f"0.5pct/{kind}/{age}", "valid", "test"):
            paths.append(picture(folder / place / name, 128, 128))
    (folder / "test" / "._0_0_0.png").write_bytes(b"what archivers leave behind")
    return paths


PUT: dict[str, Callable[[Path], list[Path]]] = {
    "waterbirds": put_waterbirds,
    "celeba-blond": put_celeba,
    "bffhq": put_bffhq,
}


def splits(data: Biased) -> dict[str, Any]:
    return {"train": data.train, "selection": data.selection, "test": data.test}


def test_every_natural_data_set_of_pictures_is_tested_here() -> None:
    assert set(LOADERS) == set(PUT) == {name for name in DATA if DATA.get(name).loader.startswith("natural.")}


@pytest.mark.parametrize("name", LOADERS)
def test_every_split_has_its_groups(root: Path, name: str) -> None:
    PUT[name](root)
    for data in (LOADERS[name](), LOADERS[name]()):  # decoded, and kept
        assert (data.name, data.unbiased) == (name, None)
        assert (len(data.classes), len(data.attributes)) == (DATA.get(name).num_classes, DATA.get(name).attributes)
        assert len(data.checksum) == 16
        for samples in splits(data).values():
            assert samples.images.shape == (4, *DATA.get(name).shape)
            assert samples.images.dtype == torch.uint8
            assert samples.images.is_contiguous()
            assert (samples.mean, samples.std) == IMAGENET
            assert samples.labels.dtype == samples.attributes.dtype == torch.int64
            assert group_counts(samples, 2, 2).tolist() == [[1, 1], [1, 1]]
            assert samples.inputs(torch.tensor([3, 0])).isfinite().all()
        assert LOADERS[name]().checksum == data.checksum


def test_load_biased_finds_them_by_name(root: Path) -> None:
    put_bffhq(root)
    load_biased.cache_clear()
    try:
        assert load_biased("bffhq", Bias()).checksum == natural.bffhq().checksum
    finally:
        load_biased.cache_clear()


def transforms(name: str) -> Any:
    """What the papers' code does to a picture."""
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    T = compat.torchvision().transforms
    return {
        "waterbirds": T.Compose([T.Resize((256, 256)), T.CenterCrop(224), T.PILToTensor()]),
        "celeba-blond": T.Compose([T.CenterCrop(178), T.Resize(224), T.PILToTensor()]),
        "bffhq": T.Compose([T.Resize((224, 224)), T.PILToTensor()]),
    }[name]


@pytest.mark.parametrize("name", LOADERS)
def test_pictures_are_prepared_as_torchvision_prepares_them_and_stay_with_their_labels(root: Path, name: str) -> None:
    found = {}
    for path in PUT[name](root):
        with Image.open(path) as opened:
            found[transforms(name)(opened.convert("RGB")).numpy().tobytes()] = path
    data = LOADERS[name]()
    order = {}
    for split, samples in splits(data).items():
        order[split] = [found.pop(image.numpy().tobytes()) for image in samples.images]
        for path, label, attribute in zip(order[split], samples.labels, samples.attributes, strict=True):
            assert (int(label), int(attribute)) == told(name, path)
            assert split == split_of(name, path)
    assert not found
    for paths in order.values():
        numbers = [path.name for path in paths]
        assert name == "bffhq" or numbers == sorted(numbers)


def told(name: str, path: Path) -> tuple[int, int]:
    """Label and attribute of the picture that a test has made."""
    if name == "bffhq":
        return int(path.stem[-3]), int(path.stem[-1])
    return GROUPS[int(path.stem[-1]) if name == "waterbirds" else (int(path.stem) - 1) % 4]


def split_of(name: str, path: Path) -> str:
    if name == "bffhq":
        return {"valid": "selection", "test": "test"}.get(path.parent.name, "train")
    return natural.SPLITS[int(path.name[0]) if name == "waterbirds" else (int(path.stem) - 1) // 4]


def test_pictures_that_are_not_rgb_are_made_so(root: Path) -> None:
    picture(put_bffhq(root)[0], 128, 128, "L")
    grey = [image for image in natural.bffhq().train.images if torch.equal(image[0], image[1])]
    assert len(grey) == 1


def test_the_test_set_of_bffhq_holds_aligned_samples_and_says_so(root: Path) -> None:
    put_bffhq(root)
    data = natural.bffhq()
    assert group_counts(data.test, 2, 2).tolist() == [[1, 1], [1, 1]]
    assert "accuracy.bias-conflicting" in data.origin


# What is kept.


def kept(suffix: str = ".u8") -> list[Path]:
    folder = decoded.cache_root() / "data" / "decoded"
    return sorted(path for path in folder.iterdir() if path.suffix == suffix) if folder.exists() else []


def test_pictures_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_bffhq(root)
    first = natural.bffhq()
    monkeypatch.setattr(natural, "_pixels", None)
    again = natural.bffhq()
    assert again.checksum == first.checksum
    assert torch.equal(again.train.images, first.train.images)
    assert again.train.images.untyped_storage().data_ptr() == again.test.images.untyped_storage().data_ptr()
    (rows,), (header,) = kept(), kept(".json")
    assert rows.stat().st_size == 12 * 3 * 224 * 224
    assert rows.stem == header.stem
    assert not kept(".tmp")


def test_a_changed_picture_is_decoded_and_an_untouched_checksum_is_not(root: Path) -> None:
    path = put_bffhq(root)[0]
    before = natural.bffhq()
    picture(path, 100, 100)
    os.utime(path, (1, 1))
    after = natural.bffhq()
    assert after.checksum != before.checksum
    assert len(kept()) == 2


def test_another_label_changes_the_checksum_and_decodes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_waterbirds(root)
    before = natural.waterbirds()
    path = root / natural.WATERBIRDS.folder / "metadata.csv"
    path.write_text(path.read_text().replace(".jpg,0,", ".jpg,1,", 1))
    monkeypatch.setattr(natural, "_pixels", None)
    assert natural.waterbirds().checksum != before.checksum


# What is refused.


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_folder_says_what_it_has_to_hold(root: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        LOADERS[name]()
    message = str(caught.value)
    folder = {"waterbirds": "waterbirds/waterbird_complete95_forest2water2", "celeba-blond": "celeba", "bffhq": "bffhq"}
    assert str(root / folder[name]) in message
    for part in ("has to hold", "published at https://", "AMENDBENCH_DATA"):
        assert part in message


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_picture_is_named(root: Path, name: str) -> None:
    path = PUT[name](root)[4]
    if name == "bffhq":
        path.unlink()
        path.symlink_to("nowhere")
    else:
        path.unlink()
    with pytest.raises(InputError, match=f"{name}: .*{path.name} cannot be read: No such file"):
        LOADERS[name]()
    assert not kept()


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_picture_that_cannot_be_decoded_is_named_and_nothing_is_kept(root: Path, content: bytes | None) -> None:
    path = put_celeba(root)[7]
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(InputError, match=f"picture .*{path.name} cannot be used"):
        natural.celeba_blond()
    assert not [*kept(), *kept(".json"), *kept(".tmp")]


def test_faces_that_are_not_the_aligned_ones(root: Path) -> None:
    picture(put_celeba(root)[0], 200, 300)
    with pytest.raises(InputError, match=r"000001\.jpg cannot be used: it is 200x300, not 178x218"):
        natural.celeba_blond()


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("place,", "background,", "has no column 'place'; it has img_id, img_filename, y, split, background"),
        (".jpg,0,2,0,", ".jpg,0,3,0,", "split of .* is '3', not one of 0, 1, 2"),
        (".jpg,0,2,0,", ".jpg,,2,0,", "y of .* is '', not one of 0, 1"),
        (".jpg,0,2,0,", ".jpg,0,2,2,", "place of .* is '2', not one of 0, 1"),
        (".jpg,0,2,0,", ".jpg,0,2,", "line 2 has 5 columns, not 6"),
    ],
)
def test_metadata_that_are_not_waterbirds(root: Path, old: str, new: str, message: str) -> None:
    put_waterbirds(root)
    edited(root / natural.WATERBIRDS.folder / "metadata.csv", old, new)
    with pytest.raises(InputError, match=f"metadata.csv.*{message}"):
        natural.waterbirds()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("list_attr_celeba.txt", "Male", "Sex", "a column's name is 'Male', not one of Bald, Blond_Hair, Sex, Young"),
        ("list_attr_celeba.txt", "000001.jpg -1 -1", "000001.jpg -1", "000001.jpg has 3 annotations, not 4"),
        (
            "list_attr_celeba.txt",
            "000001.jpg -1 -1",
            "000001.jpg -1 0",
            "annotation of 000001.jpg is '0', not one of -1",
        ),
        ("list_eval_partition.txt", "000001.jpg 0\n", "", "the split of 000001.jpg is 'missing', not one of 0, 1, 2"),
    ],
)
def test_annotations_that_are_not_celebas(root: Path, file: str, old: str, new: str, message: str) -> None:
    put_celeba(root)
    edited(root / "celeba" / file, old, new)
    with pytest.raises(InputError, match=f"{file}: .*{message}"):
        natural.celeba_blond()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("waterbirds", "waterbirds/waterbird_complete95_forest2water2/metadata.csv"),
        ("celeba-blond", "celeba/list_attr_celeba.txt"),
        ("celeba-blond", "celeba/list_eval_partition.txt"),
    ],
)
def test_tables_that_are_missing_or_no_text(root: Path, name: str, file: str) -> None:
    PUT[name](root)
    (root / file).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=f"{file} cannot be read"):
        LOADERS[name]()
    (root / file).unlink()
    with pytest.raises(InputError, match=f"{file} cannot be read"):
        LOADERS[name]()


def test_a_split_without_samples(root: Path) -> None:
    for path in [path for path in put_bffhq(root) if path.parent.name == "valid"]:
        path.unlink()
    with pytest.raises(InputError, match=r"bffhq has no selection samples; it has to hold 0\.5pct/align"):
        natural.bffhq()


def test_a_name_without_label(root: Path) -> None:
    path = put_bffhq(root)[0]
    path.rename(path.with_name("0_2_0.png"))
    with pytest.raises(InputError, match=r"0_2_0\.png: its name does not end in"):
        natural.bffhq()
