"""What is read of a user's folder and CSV file, and every way in which they can be wrong."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from benchmark.data.annotations import ordered
from benchmark.data.folder import ignored, pictures, read_folder
from benchmark.data.manifest import SPLITS, Look, Manifest, split_table
from benchmark.errors import InputError

LOOK = Look(16, "crop", False, (0.0,) * 3, (1.0,) * 3)


def read(folder: Path, table: Path | None = None, attribute: str = "") -> Manifest:
    return read_folder(folder, table, "fish", LOOK, attribute)


def rewrite(table: Path, change: object) -> Path:
    """The table with each line changed by ``change(number, line)``."""
    with table.open(newline="") as file:
        lines = [change(k, line) for k, line in enumerate(csv.reader(file))]  # type: ignore[operator]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(line for line in lines if line is not None)
    return table


def test_a_folder_a_class_names_the_labels(foldered: Path) -> None:
    found = read(foldered)
    assert found.classes == ("finch", "pike", "tench")
    for file, label in zip(found.files, found.labels, strict=True):
        assert file.split("/")[0] == found.classes[label]


def test_of_each_class_the_same_shares_are_held_out_whatever_the_files_are_called(foldered: Path) -> None:
    found = read(foldered)
    counts = Counter(zip(found.labels, found.splits, strict=True))
    assert {counts[label, SPLITS.index("test")] for label in range(3)} == {4}  # a quarter of 16
    assert {counts[label, SPLITS.index("selection")] for label in range(3)} == {2}  # 15 % of 16, of what is left
    held = {file for file, split in zip(found.files, found.splits, strict=True) if split}
    assert held != set(sorted(found.files)[: len(held)])


def test_pictures_of_a_split_stand_together_in_an_order_that_tells_no_class(foldered: Path) -> None:
    found = read(foldered)
    assert list(found.splits) == sorted(found.splits)
    train = found.labels[: found.count("train")]
    assert list(train) != sorted(train)


def test_folders_called_as_splits_are_the_splits(foldered: Path) -> None:
    for name in ("finch", "pike", "tench"):
        for split, numbers in {"train": range(10), "val": range(10, 12), "Test": range(12, 16)}.items():
            folder = foldered / split / name
            folder.mkdir(parents=True)
            for k in numbers:
                (foldered / name / f"{k:02}.png").rename(folder / f"{k:02}.png")
        (foldered / name).rmdir()
    found = read(foldered)
    assert [found.count(split) for split in SPLITS] == [30, 6, 12]
    assert all(file.startswith("Test/") for file in found.files[-12:])


def test_without_a_selection_split_one_is_drawn_from_the_training_pictures(flat: tuple[Path, Path]) -> None:
    folder, table = flat
    rewrite(table, lambda k, line: [*line, "split" if not k else ("test" if line[0] < "04" else "train")])
    found = read(folder, table)
    assert [found.count(split) for split in SPLITS] == [36 - found.count("selection"), found.count("selection"), 12]
    assert found.count("selection") == 6
    assert all(file < "04" for file in found.files[-12:])


def test_a_table_gives_labels_and_attributes(flat: tuple[Path, Path]) -> None:
    found = read(*flat)
    assert found.classes == ("finch", "pike", "tench")
    assert list(found.attributes) == ["ruler"]  # a serial number is none: every picture has another
    ruler = found.attributes["ruler"]
    assert ruler.values == ("no", "yes")
    for file, label, has in zip(found.files, found.labels, ruler.of, strict=True):
        number, own = file.removesuffix(".png").split("-")
        assert label == int(own)
        assert has == (int(number) % 4 < 3 if label == 0 else int(number) % 4 == 0)


def test_classes_that_are_numbers_are_ordered_by_value() -> None:
    assert ordered(["10", "9", "1"]) == ["1", "9", "10"]
    assert ordered(["10", "9", "x"]) == ["10", "9", "x"]


WRONG = {
    "no file column": (
        lambda k, line: ["picture" if not k else line[0], *line[1:]],
        r"no column .* one of file, filename, image, path; it has pic",
    ),
    "two label columns": (lambda k, line: [*line[:3], "class" if not k else "x"], r"two columns for the label"),
    "an unknown picture": (lambda k, line: ["00-0.jpg" if k == 1 else line[0], *line[1:]], r"did you mean .*00-0\.png"),
    "a picture twice": (lambda k, line: ["01-0.png" if k == 1 else line[0], *line[1:]], r"'01-0\.png' is there twice"),
    "a picture without a line": (lambda k, line: None if k == 3 else line, r"1 pictures have no line.*'02-0\.png'"),
    "a short line": (lambda k, line: line[:2] if k == 2 else line, r"line 3 has 2 columns, not 4"),
    "an unknown split": (lambda k, line: [*line, "split" if not k else "trian"], r"unknown split 'trian'.*train"),
    "one class": (lambda k, line: [line[0], "label" if not k else "pike", *line[2:]], r"one class only, 'pike'"),
    "no label": (lambda k, line: [line[0], line[1] if k != 5 else "", *line[2:]], r"1 of 48 pictures .* no label"),
    "no test split": (lambda k, line: [*line, "split" if not k else "train"], r"none is in test"),
    "split in part": (lambda k, line: [*line, "split" if not k else "test" * (k % 2)], r"24 pictures .* in no split"),
    "a class that is not tested": (
        lambda k, line: [*line, "split" if not k else "test" if line[1] == "pike" and k % 2 else "train"],
        r"class 'finch' has 16 pictures, of which none is in the test split.*at least 3 pictures.*or splits",
    ),
    "another folder": (lambda k, line: [f"all/{line[0]}" if k == 1 else line[0], *line[1:]], r"did you mean 00-0\.png"),
    "nothing like it": (lambda k, line: ["x" if k == 1 else line[0], *line[1:]], r"there are 48, first 00-0\.png, "),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_table_is_told_by_line_and_value(flat: tuple[Path, Path], what: str) -> None:
    change, expected = WRONG[what]
    folder, table = flat
    with pytest.raises(InputError, match=expected):
        read(folder, rewrite(table, change))


def test_a_folder_that_is_none_or_empty_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        read(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no pictures \(\.jpg"):
        read(tmp_path / "empty")


def test_hidden_files_and_folders_are_left_out_and_others_are_told(foldered: Path) -> None:
    before = pictures(foldered)
    for name in (
        ".thumbnails/00.png",
        ".git/pike/01.jpg",
        "pike/._03.png",
        "pike/.DS_Store",
        "pike/x.GIF",
        "notes.txt",
    ):
        (foldered / name).parent.mkdir(parents=True, exist_ok=True)
        (foldered / name).write_bytes(b"")
    assert pictures(foldered) == before
    assert ignored(foldered) == ["notes.txt", "pike/x.GIF"]


def test_links_to_folders_are_followed_and_cycles_named(foldered: Path) -> None:
    before = pictures(foldered)
    (foldered / "pike").rename(foldered.parent / "elsewhere")
    (foldered / "pike").symlink_to(foldered.parent / "elsewhere")
    assert pictures(foldered) == before
    (foldered / "tench" / "again").symlink_to(foldered)
    with pytest.raises(InputError, match=r"tench/again is the same folder as .*classes, through a link"):
        pictures(foldered)


@pytest.mark.parametrize("empty", ["roach", "train/roach"])
def test_a_class_without_pictures_is_named_where_folders_are_the_classes(foldered: Path, empty: str) -> None:
    (foldered / empty).mkdir(parents=True)
    with pytest.raises(InputError, match=f"{empty} has no pictures"):
        read(foldered)


def test_an_empty_folder_is_none_of_the_classes_of_a_table(flat: tuple[Path, Path]) -> None:
    (flat[0] / "roach").mkdir()
    assert read(*flat).classes == ("finch", "pike", "tench")


ATTRIBUTES = {
    "serial": r"column 'serial' has 48 values; an attribute has 2 to 20",
    "rular": r"unknown attribute 'rular'; did you mean ruler",
    "label": r"unknown attribute 'label'; known: ruler, serial",
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_column_that_is_no_attribute_is_told_why(flat: tuple[Path, Path], name: str) -> None:
    with pytest.raises(InputError, match=ATTRIBUTES[name]):
        read(*flat, name)


def test_an_attribute_needs_a_table(foldered: Path) -> None:
    with pytest.raises(InputError, match=r"unknown attribute 'ruler'.*--attributes names the CSV file"):
        read(foldered, None, "ruler")


def test_a_column_with_an_empty_cell_is_no_attribute(flat: tuple[Path, Path]) -> None:
    folder, table = flat
    rewrite(table, lambda k, line: [*line[:2], "" if k == 7 else line[2], line[3]])
    assert not read(folder, table).attributes
    with pytest.raises(InputError, match=r"line 8: column 'ruler' is empty, as in 1 lines"):
        read(folder, table, "ruler")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_what_spreadsheets_write_is_read(flat: tuple[Path, Path], separator: str) -> None:
    folder, table = flat
    expected = read(folder, table)
    table.write_text(table.read_text().replace(",", separator), encoding="utf-8-sig")
    assert read(folder, table) == expected


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_told(flat: tuple[Path, Path], encoding: str) -> None:
    folder, table = flat
    table.write_bytes(table.read_text().replace("pike", "br\u00f6sme").encode(encoding))
    with pytest.raises(InputError, match="not in UTF-8; save it as CSV UTF-8"):
        read(folder, table)


def test_the_table_of_the_splits_makes_the_same_splits(foldered: Path, tmp_path: Path) -> None:
    found = read(foldered)
    table = tmp_path / "splits.csv"
    table.write_text(split_table(found), encoding="utf-8")
    assert table.read_text().splitlines()[1] == f"{found.files[0]},{found.classes[found.labels[0]]},train"
    assert read(foldered, table) == found
