"""ISIC 2017 split anew: what is read, which picture ends up where, and what is pasted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark.data import isic, kept
from benchmark.data.bias import Bias
from benchmark.data.biased import Biased, group_counts, load_biased
from benchmark.errors import InputError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
Image = pytest.importorskip("PIL.Image")

SIZE = 32
#: How many pictures of each group (label, patch) there are.
GROUPS = {(0, False): 25, (0, True): 20, (1, False): 60, (1, True): 2}
BLUE = (20, 130, 210)
ROOT = Path("isic2017-artefacts/default")


def picture(number: int, patched: bool) -> np.ndarray:
    """Skin with a lesion in the middle whose red channel is the picture's number, and a blue disc at the right."""
    y, x = np.indices((SIZE, SIZE))
    image = np.full((SIZE, SIZE, 3), (200, 160, 135), np.uint8)
    image[11:21, 11:21] = number, 60, 40
    if patched:
        image[((y - 15) / 9) ** 2 + ((x - 32) / 8) ** 2 <= 1] = BLUE
    return image


def numbers(images: torch.Tensor) -> list[int]:
    """Which pictures (N, 3, 224, 224) are, pasted on or not: a patch does not reach the middle."""
    return images[:, 0, isic.SIZE // 2, isic.SIZE // 2].tolist()


def pictures(groups: dict[tuple[int, bool], int] = GROUPS) -> list[dict[str, Any]]:
    """Rows of all groups, mixed; the picture with number i has the identifier ISIC_i."""
    kinds = [kind for kind, count in groups.items() for _ in range(count)]
    order = np.random.default_rng(0).permutation(len(kinds))
    rows = []
    for number, position in enumerate(order):
        label, patched = kinds[position]
        content = encode(picture(number, patched))
        rows.append({"image": content, "label": label, "patches": patched, "image_id": f"ISIC_{number}"})
    return rows


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))
    return buffer.getvalue()


def put(root: Path, rows: Sequence[dict[str, Any]], **columns: Any) -> dict[str, Path]:
    """The rows as three files; ``columns`` replace those of the second file, or with None leave them out."""
    paths = {}
    for part, split in enumerate(isic.FILES):
        paths[split] = root / ROOT / f"{split}-00000-of-00001.parquet"
        write(paths[split], rows[part::3], **(columns if part == 1 else {}))
    return paths


def write(path: Path, rows: Sequence[dict[str, Any]], **columns: Any) -> None:
    """The rows as one file, some of its ``columns`` replaced or with None left out."""
    images = [{"bytes": row["image"], "path": None} for row in rows]
    held = {name: [row[name] for row in rows] for name in ("label", "patches", "image_id")}
    table = {"image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), **held}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: values for name, values in (table | columns).items() if values is not None}), path)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data root and an empty cache."""
    monkeypatch.setenv("AMENDBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    load_biased.cache_clear()
    yield tmp_path / "data"
    load_biased.cache_clear()


@pytest.fixture
def biased(root: Path) -> Biased:
    put(root, pictures())
    return isic.isic_2017()


def parts(biased: Biased) -> dict[str, Any]:
    return {"train": biased.train, "selection": biased.selection, "test": biased.test}


def test_every_split_has_every_group_and_training_is_biased(biased: Biased) -> None:
    counts = {name: group_counts(samples, 2, 2) for name, samples in parts(biased).items()}
    assert all((count > 0).all() for count in counts.values())
    benign, melanoma = counts["train"][:, 1].tolist()
    assert benign > 2 * melanoma
    # of 60 melanomas 17 are for the test set, and 8 of them have a patch pasted
    assert counts["test"][isic.MELANOMA].tolist() == [9, 8]
    assert biased.unbiased is None
    assert (biased.classes, biased.attributes) == (("benign", "melanoma"), ("no patch", "patch"))


def test_no_picture_is_twice_and_donors_are_used_nowhere(biased: Biased) -> None:
    rows = pictures()
    used = [number for samples in parts(biased).values() for number in numbers(samples.images)]
    assert len(used) == len(set(used))
    donors = set(range(len(rows))) - set(used)
    assert len(donors) == 3 + 1 + 1  # of 8 test pictures, one for selection, one for training
    assert all((rows[number]["label"], rows[number]["patches"]) == (0, True) for number in donors)


def test_labels_and_patches_are_those_of_the_files_but_for_what_is_pasted(biased: Biased) -> None:
    rows, pasted = pictures(), 0
    for name, samples in parts(biased).items():
        assert samples.images.dtype == torch.uint8
        assert samples.images.shape[1:] == (3, 224, 224)
        assert samples.masks is None
        for number, image, label, attribute in zip(
            numbers(samples.images), samples.images, samples.labels, samples.attributes, strict=True
        ):
            row = rows[number]
            with Image.open(BytesIO(row["image"])) as original:
                resized = np.asarray(original.resize((224, 224), Image.Resampling.BILINEAR))
            same = np.array_equal(image.permute(1, 2, 0).numpy(), resized)
            assert label == row["label"]
            assert same == (attribute == row["patches"])
            pasted += not same
            if not same:
                assert (row["label"], row["patches"], attribute) == (1, False, 1)
                assert (image == torch.tensor(BLUE).view(3, 1, 1)).all(0).float().mean() > 0.02
            if (row["label"], row["patches"]) == (1, True):
                assert name == "train"
    assert pasted == 10


def test_origin_has_the_numbers(biased: Biased) -> None:
    assert "all 107 pictures" in biased.origin
    assert "1 of 3 train, 1 of 1 selection and 8 of 8 test pictures" in biased.origin
    assert "cut from 5 benign pictures" in biased.origin


def test_the_split_is_always_the_same(biased: Biased, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "other"))
    torch.manual_seed(5)
    again = isic.isic_2017()
    assert (again.checksum, again.origin) == (biased.checksum, biased.origin)
    assert torch.equal(again.test.images, biased.test.images)


def test_what_was_decoded_is_kept(biased: Biased, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isic, "_read", lambda files: pytest.fail("decoded again"))
    again = isic.isic_2017()
    assert (again.checksum, again.origin) == (biased.checksum, biased.origin)


def test_changed_files_are_decoded_again(root: Path, biased: Biased) -> None:
    put(root, pictures(GROUPS | {(0, False): 26}))
    assert "all 108 pictures" in isic.isic_2017().origin


def test_it_is_found_by_name(biased: Biased) -> None:
    loaded = load_biased("isic-2017", Bias())
    assert (loaded.name, loaded.checksum) == ("isic-2017", biased.checksum)


def test_jpeg_pictures_are_read(root: Path, biased: Biased) -> None:
    rows = pictures()
    put(root, [row | {"image": encode(picture(i, row["patches"]), "JPEG")} for i, row in enumerate(rows)])
    assert group_counts(isic.isic_2017().test, 2, 2).tolist() == group_counts(biased.test, 2, 2).tolist()


def test_a_missing_folder_is_named_with_the_layout(root: Path) -> None:
    with pytest.raises(InputError) as raised:
        isic.isic_2017()
    for part in (str(root / ROOT), "AMENDBENCH_DATA", "train, validation, test", "patches (bool)", "image_id (string)"):
        assert part in str(raised.value)


def test_a_missing_file_is_named(root: Path) -> None:
    put(root, pictures())["validation"].unlink()
    with pytest.raises(InputError, match=r"validation-\*\.parquet"):
        isic.isic_2017()


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("label", lambda values: [2, *values[1:]], "row 0 of column 'label' is 2, not 0 to 1"),
        ("label", lambda values: [None, *values[1:]], "column 'label' has 1 rows without a value"),
        ("label", lambda values: None, "no column 'label'"),
        ("image", lambda values: None, "no column 'image'"),
        ("patches", lambda values: None, "no column 'patches'"),
        ("patches", lambda values: [int(value) for value in values], "column 'patches' must be of type bool"),
        ("patches", lambda values: [None, *values[1:]], "column 'patches' has 1 rows without a value"),
        ("image_id", lambda values: None, "no column 'image_id'"),
        ("image_id", lambda values: [*range(len(values))], "column 'image_id' must be of type string"),
        ("image_id", lambda values: ["ISIC_0", *values[1:]], "'ISIC_0' of column 'image_id' is already in"),
    ],
)
def test_a_wrong_column_is_named(root: Path, column: str, change: Any, message: str) -> None:
    rows = pictures()
    path = put(root, rows, **{column: change([row[column] for row in rows[1::3]])})["validation"]
    with pytest.raises(InputError, match=message) as raised:
        isic.isic_2017()
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", [b"no picture", None])
def test_a_picture_that_cannot_be_decoded_is_named(root: Path, content: bytes | None) -> None:
    rows = pictures()
    rows[4]["image"] = content
    put(root, rows)
    with pytest.raises(InputError, match=r"validation-00000-of-00001\.parquet: row 1 of column 'image'"):
        isic.isic_2017()


def test_an_empty_group_is_an_error(root: Path) -> None:
    put(root, pictures(GROUPS | {(1, False): 20}))
    with pytest.raises(InputError, match=r"split 'selection' gets none of \(melanoma, patch\)"):
        isic.isic_2017()


def test_too_few_donors_are_an_error(root: Path) -> None:
    put(root, pictures(GROUPS | {(0, True): 4}))
    with pytest.raises(InputError, match=r"only 4 have one that can be cut cleanly, 5 are needed"):
        isic.isic_2017()


def test_damaged_data_are_decoded_again(biased: Biased, tmp_path: Path) -> None:
    (file,) = (tmp_path / "cache" / "data" / "decoded").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    assert kept.restore(file) is None
    assert isic.isic_2017().checksum == biased.checksum
