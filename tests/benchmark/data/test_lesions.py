"""ISIC 2017 in its official split: what is in which split, whose patches are pasted where, and where the masks are."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_isic import ROOT, encode, picture, write

from benchmark.data import DATA, isic, kept, lesions, named, packaged
from benchmark.data.attacked import Attacked, Pair
from benchmark.data.biased import IMAGENET, checksum_of
from benchmark.data.packaged import Dataset
from benchmark.data.patches import patch_mask
from benchmark.errors import InputError

pytest.importorskip("pyarrow")
Image = pytest.importorskip("PIL.Image")

#: How many pictures of each group (label, patch) each file has.
GROUPS = (
    {(0, False): 9, (0, True): 6, (1, False): 4, (1, True): 1},
    {(0, False): 5, (0, True): 5, (1, False): 3},
    {(0, False): 6, (1, False): 3},
)
DONORS = {lesions.SELECTION: 1, lesions.TEST: 3}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root and an empty cache; four donors are enough for so few pictures."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lesions, "DONORS", DONORS)
    return tmp_path / "data"


def shown(number: int, patched: bool) -> np.ndarray:
    """A picture of test_isic; with a patch, its skin is darker, so that a patch's rim is seen on other skin, too."""
    image = picture(number, patched)
    image[(image == image[0, 0]).all(-1)] -= np.uint8(20 * patched)
    return image


def rows(groups: tuple[dict[tuple[int, bool], int], ...] = GROUPS) -> list[list[dict[str, Any]]]:
    """Rows of each file; the red channel of a lesion is the picture's number, and ISIC_<number> its identifier."""
    files: list[list[dict[str, Any]]] = []
    number = 0
    for counts in groups:
        files.append([])
        for (label, patched), count in counts.items():
            for _ in range(count):
                content = encode(shown(number, patched))
                row = {"image": content, "label": label, "patches": patched, "image_id": f"ISIC_{number}"}
                files[-1].append(row)
                number += 1
    return files


def put_files(root: Path, files: list[list[dict[str, Any]]]) -> None:
    for split, some in zip(isic.FILES, files, strict=True):
        write(root / ROOT / f"{split}-00000-of-00001.parquet", some)


def numbers(images: torch.Tensor) -> list[int]:
    return images[:, 0, isic.SIZE // 2, isic.SIZE // 2].tolist()


def resized(row: dict[str, Any]) -> np.ndarray:
    with Image.open(BytesIO(row["image"])) as original:
        return np.asarray(original.resize((224, 224), Image.Resampling.BILINEAR))


@pytest.fixture
def attacked(root: Path) -> Attacked:
    put_files(root, rows())
    return lesions.isic_2017_patches()


@pytest.fixture
def official(root: Path) -> Dataset:
    put_files(root, rows())
    return lesions.isic_2017_official()


def pairs(attacked: Attacked) -> dict[int, Pair]:
    return {1: attacked.selection, 2: attacked.test}


# The official split.


def test_the_official_split_is_that_of_the_files(official: Dataset) -> None:
    assert official.num_classes == DATA.get(lesions.PLAIN).num_classes
    assert official.shape == DATA.get(lesions.PLAIN).shape
    for samples, file in zip((official.train, official.selection, official.test), rows(), strict=True):
        known = {int(row["image_id"][5:]): row for row in file}
        assert sorted(numbers(samples.images)) == sorted(known)
        assert numbers(samples.images) != sorted(known)  # shuffled
        assert (samples.mean, samples.std) == IMAGENET
        assert (samples.attributes, samples.masks) == (None, None)
        for number, image, label in zip(numbers(samples.images), samples.images, samples.labels, strict=True):
            assert label == known[number]["label"]
            assert np.array_equal(image.permute(1, 2, 0).numpy(), resized(known[number]))


def test_the_official_split_is_loaded_by_name_and_the_patches_are_not(official: Dataset) -> None:
    packaged._load.cache_clear()
    try:
        assert packaged.load(lesions.PLAIN).checksum == official.checksum
        with pytest.raises(InputError, match="isic-2017-patches brings an artefact"):
            packaged.load(lesions.PATCHES)
    finally:
        packaged._load.cache_clear()


# The patches.


def test_training_pictures_are_all_official_ones_with_their_patches(attacked: Attacked) -> None:
    known = {int(row["image_id"][5:]): row for row in rows()[0]}
    train = attacked.train
    assert sorted(numbers(train.images)) == sorted(known)
    for k, number in enumerate(numbers(train.images)):
        pixels = resized(known[number])
        assert np.array_equal(train.images[k].permute(1, 2, 0).numpy(), pixels)
        assert (train.labels[k], train.attributes[k]) == (known[number]["label"], known[number]["patches"])
        expected = patch_mask(pixels) if known[number]["patches"] else np.zeros((224, 224), bool)
        assert np.array_equal(train.masks[k].numpy(), expected)
    assert train.masks[train.attributes == 1].flatten(1).any(1).all()
    assert (attacked.classes, attacked.biased, attacked.legitimate) == (("benign", "melanoma"), 0, ())


def test_clean_training_pictures_are_those_without_a_patch(attacked: Attacked) -> None:
    without = attacked.train.attributes == 0
    assert numbers(attacked.clean.images) == numbers(attacked.train.images[without])
    assert torch.equal(attacked.clean.labels, attacked.train.labels[without])
    assert attacked.clean.masks is None


def test_attacked_pictures_are_the_clean_ones_but_for_the_mask(attacked: Attacked) -> None:
    assert attacked.paired
    for split, pair in pairs(attacked).items():
        known = {int(row["image_id"][5:]): row for row in rows()[split] if not row["patches"]}
        assert sorted(numbers(pair.clean.images)) == sorted(known)
        assert numbers(pair.attacked.images) == numbers(pair.clean.images)
        assert [known[number]["label"] for number in numbers(pair.clean.images)] == pair.clean.labels.tolist()
        assert torch.equal(pair.clean.labels, pair.attacked.labels)
        assert torch.equal((pair.clean.images != pair.attacked.images).any(1), pair.attacked.masks)
        assert (pair.attacked.masks.flatten(1).float().mean(1) > 0.02).all()
        assert pair.clean.masks is None


def test_donors_are_used_for_nothing_else_and_come_from_held_out_pictures(attacked: Attacked) -> None:
    made = lesions._made(lesions._pictures(lesions.PATCHES))
    donors = lesions._donors_of(made).tolist()
    used = [number for pair in pairs(attacked).values() for number in numbers(pair.clean.images)]
    used += numbers(attacked.train.images)
    assert len(used) == len(set(used))
    assert len(donors) == len(set(donors)) == sum(DONORS.values())
    assert not set(donors) & set(used)
    everything = [row for file in rows() for row in file]
    assert all((everything[donor]["label"], everything[donor]["patches"]) == (0, True) for donor in donors)
    assert all(everything[donor] in rows()[1] for donor in donors)


def test_either_split_has_donors_with_small_and_with_large_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lesions, "DONORS", {lesions.SELECTION: 4, lesions.TEST: 15})
    parts = lesions._shared(torch.arange(19))
    assert parts["validation.donors"].tolist() == [2, 7, 11, 16]
    assert parts["test.donors"].tolist() == [0, 1, 3, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15, 17, 18]


def test_training_pictures_are_donors_where_held_out_ones_are_too_few(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lesions, "DONORS", {lesions.SELECTION: 2, lesions.TEST: 5})
    put_files(root, rows())
    attacked = lesions.isic_2017_patches()
    donors = lesions._donors_of(lesions._made(lesions._pictures(lesions.PATCHES))).tolist()
    files = Counter(int(donor >= len(rows()[0])) for donor in donors)
    assert files == {1: 5, 0: 2}
    assert not set(donors) & set(numbers(attacked.train.images))
    assert len(attacked.train) == len(rows()[0]) - 2
    assert "The 7 donors, 2 of them from the training set" in attacked.origin
    assert "0 other held-out pictures" in attacked.origin


def test_origin_has_the_numbers(attacked: Attacked) -> None:
    for part in (
        "7 of 20 training pictures show a real patch, 6 of them benign; on 7 of them its mask was found by colour",
        "semi-synthetic",
        "on 8 validation pictures those of 1 donors, 8 times each and on 9 test pictures those of 3 donors, 3 times",
        "The 4 donors, 0 of them from the training set, are benign and used for nothing else; 1 other held-out",
    ):
        assert part in attacked.origin


def test_a_patch_that_is_not_found_leaves_an_empty_mask(root: Path) -> None:
    files = rows()
    files[0][9]["image"] = encode(picture(9, False))  # annotated with a patch that cannot be seen
    put_files(root, files)
    attacked = lesions.isic_2017_patches()
    row = numbers(attacked.train.images).index(9)
    assert attacked.train.attributes[row] == 1
    assert not attacked.train.masks[row].any()
    assert "on 6 of them its mask was found" in attacked.origin


# What is kept.


def test_what_was_decoded_and_pasted_is_kept_and_shared(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("_read", "_pasted", "_masks"):
        monkeypatch.setattr(lesions, name, lambda *arguments: pytest.fail("made again"))
    again = lesions.isic_2017_patches()
    assert (again.checksum, again.origin) == (attacked.checksum, attacked.origin)
    assert torch.equal(again.train.masks, attacked.train.masks)
    assert torch.equal(again.test.attacked.images, attacked.test.attacked.images)
    assert torch.equal(again.test.attacked.masks, attacked.test.attacked.masks)
    lesions.isic_2017_official()
    assert len(list((tmp_path / "cache" / "data" / "decoded").glob("*.safetensors"))) == 2


def test_it_is_always_the_same(attacked: Attacked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "other"))
    torch.manual_seed(5)
    assert lesions.isic_2017_patches().checksum == attacked.checksum
    held = (attacked.selection.clean, attacked.selection.attacked, attacked.test.clean, attacked.test.attacked)
    assert checksum_of(attacked.train, *held) == attacked.checksum


def test_damaged_data_are_made_again(attacked: Attacked, tmp_path: Path) -> None:
    for file in (tmp_path / "cache" / "data" / "decoded").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])
        assert kept.restore(file) is None
    assert lesions.isic_2017_patches().checksum == attacked.checksum


def test_changed_files_are_read_again(root: Path, attacked: Attacked) -> None:
    files = rows()
    files[2][0]["label"] = 1
    put_files(root, files)
    assert lesions.isic_2017_patches().checksum != attacked.checksum


# What is refused.


@pytest.mark.parametrize("name", [lesions.PLAIN, lesions.PATCHES])
def test_a_missing_folder_is_named_with_the_layout(root: Path, name: str) -> None:
    with pytest.raises(InputError) as raised:
        named(DATA.get(name).loader)()
    for part in (name, str(root / ROOT), "AMENDBENCH_DATA", "train, validation, test", "patches (bool)"):
        assert part in str(raised.value)


@pytest.mark.parametrize("name", [lesions.PLAIN, lesions.PATCHES])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), r"validation-\*\.parquet is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "validation-.* cannot be read as parquet"),
        (lambda path: path.write_bytes(b""), "validation-.* cannot be read as parquet"),
    ],
    ids=["missing", "truncated", "empty"],
)
def test_a_file_that_is_missing_or_damaged_is_named(root: Path, name: str, change: Any, message: str) -> None:
    put_files(root, rows())
    change(root / ROOT / "validation-00000-of-00001.parquet")
    with pytest.raises(InputError, match=message):
        named(DATA.get(name).loader)()


def test_a_truncated_picture_is_named(root: Path) -> None:
    files = rows()
    files[2][4]["image"] = files[2][4]["image"][:-40]
    put_files(root, files)
    with pytest.raises(InputError, match=r"test-00000-of-00001\.parquet: row 4 of column 'image' cannot be decoded"):
        lesions.isic_2017_patches()


@pytest.mark.parametrize("name", [lesions.PLAIN, lesions.PATCHES])
def test_a_split_without_a_class_is_an_error(root: Path, name: str) -> None:
    put_files(root, rows((*GROUPS[:2], {(0, False): 9})))
    with pytest.raises(InputError, match=rf"{name}.* no picture of class melanoma without a patch in test-\*\.parquet"):
        named(DATA.get(name).loader)()


def test_too_few_donors_are_an_error(root: Path) -> None:
    put_files(
        root,
        rows(({(0, False): 9, (0, True): 1, (1, False): 4}, {(0, False): 5, (0, True): 2, (1, False): 3}, GROUPS[2])),
    )
    with pytest.raises(InputError, match=r"of 3 benign pictures with a patch only 3 have one .*, 4 are needed"):
        lesions.isic_2017_patches()
