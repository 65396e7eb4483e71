"""A user's folder of pictures, with a CSV file of what is known of them, read into a manifest. Needs no torch."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.manifest import SPLITS, Attribute, Look, Manifest
from benchmark.errors import InputError, unknown
from benchmark.seeding import derive

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
#: What the columns of a CSV file may be called that are no attributes.
COLUMNS = {"file": ("file", "filename", "image", "path"), "label": ("label", "class"), "split": ("split",)}
#: What a split may be called, in a column or as a folder.
CALLED = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("selection", "val", "valid", "validation", "dev"), "selection"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: Shares of each class that are held out, where no split is given: for selection and for the test.
HELD_OUT = {"selection": 0.15, "test": 0.25}
#: A column with more values than these is a description, not an attribute.
MOST_VALUES = 20


#: Of which a share is held out: the number of a class and the value of an attribute.
Group = tuple[int, str]


@dataclass(frozen=True)
class Row:
    """What is known of a picture; ``label`` and ``split`` are empty where nothing says."""

    file: str
    label: str
    split: str
    others: Mapping[str, str]


def read_folder(folder: Path, table: Path | None, name: str, look: Look, attribute: str = "") -> Manifest:
    """The manifest of the pictures below ``folder``, without a digest of its own yet.

    Labels are those of the table, ``table``, or else the folders' names, which may lie in folders called as splits.
    Splits are the table's or the folders'; what is not given is drawn, of each class the same share, of each value
    of ``attribute`` in it likewise. All other columns
    are attributes. Within a split pictures are in an order that tells nothing of them.

    InputError where a picture has no label or no line, or a line no picture.
    """
    files = _pictures(folder)
    rows = _rows(table, files) if table else {}
    known = [_row(file, rows.get(file)) for file in files]
    unlabelled = [row.file for row in known if not row.label]
    if unlabelled:
        raise InputError(
            f"{len(unlabelled)} of {len(files)} pictures in {folder} have no label, the first is {unlabelled[0]!r}: "
            "put each class into a folder of its own, or give a CSV file with the columns file and label (--attributes)"
        )
    classes = ordered({row.label for row in known})
    if len(classes) < 2:
        raise InputError(f"{folder} has pictures of one class only, {classes[0]!r}")
    splits = _splits(known, [(classes.index(row.label), row.others.get(attribute, "")) for row in known], folder)
    order = sorted(range(len(known)), key=lambda k: (splits[k], hashlib.sha256(files[k].encode()).digest()))
    known = [known[k] for k in order]
    return Manifest(
        name=name,
        folder=str(folder.resolve()),
        files=tuple(row.file for row in known),
        labels=tuple(classes.index(row.label) for row in known),
        splits=tuple(splits[k] for k in order),
        classes=tuple(classes),
        attributes=_attributes(known),
        look=look,
    )


def ordered(names: Iterable[str]) -> list[str]:
    """Sorted by name as usual, which gives classes their numbers; by value where all are whole numbers."""
    found = set(names)
    return sorted(found, key=int) if all(re.fullmatch(r"\d{1,9}", n) for n in found) else sorted(found)


def _pictures(folder: Path) -> list[str]:
    """Paths of all pictures below ``folder``, with slashes, sorted."""
    if not folder.is_dir():
        raise InputError(f"data {str(folder)!r} is no folder; give one that has pictures in a folder for each class")
    found = [
        (Path(place) / name).relative_to(folder).as_posix()
        for place, folders, names in os.walk(folder)
        for name in names
        if not folders.sort() and name[0] != "." and Path(name).suffix.lower() in SUFFIXES
    ]
    if not found:
        raise InputError(f"folder {folder} has no pictures ({', '.join(SUFFIXES)})")
    return sorted(found)


def _row(file: str, told: Row | None) -> Row:
    """What the table says, and what it leaves open by the folders that the picture lies in."""
    *folders, _ = file.split("/")
    split = CALLED.get(folders[0].lower(), "") if len(folders) > 1 else ""
    label = folders[1 if split else 0] if folders else ""
    if told is None:
        return Row(file, label, split, {})
    return Row(file, told.label or label, told.split or split, told.others)


# The table.


def _rows(path: Path, files: Sequence[str]) -> dict[str, Row]:
    """The lines of the table by picture; InputError unless they and the pictures are the same."""
    header, lines = _lines(path)
    columns = {what: _column(path, header, what) for what in COLUMNS}
    if columns["file"] is None:
        raise InputError(f"{path} has no column 'file' with the pictures' names; it has {', '.join(header) or 'none'}")
    special = {column for column in columns.values() if column is not None}
    here, rows = set(files), {}
    for number, line in lines:
        told = dict(zip(header, line, strict=True))
        file = told[columns["file"]].replace("\\", "/").removeprefix("./")
        if file not in here:
            raise InputError(f"{path}: line {number}: {unknown('picture', file, files)}")
        if file in rows:
            raise InputError(f"{path}: line {number}: picture {file!r} is there twice")
        split = _split(path, number, told.get(columns["split"] or "", ""))
        others = {name: value for name, value in told.items() if name not in special}
        rows[file] = Row(file, told.get(columns["label"] or "", ""), split, others)
    missing = [file for file in files if file not in rows]
    if missing:
        raise InputError(f"{path}: {len(missing)} pictures have no line, the first is {missing[0]!r}")
    return rows


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"attributes {path} cannot be read: {error}") from error
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{path} has two columns {twice[0]!r}")
    for number, line in lines:
        if len(line) != len(header):
            raise InputError(f"{path}: line {number} has {len(line)} columns, not {len(header)}")
    return header, lines


def _column(path: Path, header: Sequence[str], what: str) -> str | None:
    found = [name for name in header if name.lower() in COLUMNS[what]]
    if len(found) > 1:
        raise InputError(f"{path} has two columns for the {what}: {found[0]!r} and {found[1]!r}; rename one")
    return found[0] if found else None


def _split(path: Path, number: int, told: str) -> str:
    if told and told.lower() not in CALLED:
        raise InputError(f"{path}: line {number}: {unknown('split', told, CALLED)}")
    return CALLED[told.lower()] if told else ""


def _attributes(rows: Sequence[Row]) -> dict[str, Attribute]:
    """Every other column that has two values or more, and not more than attributes have."""
    found = {}
    for name in rows[0].others:
        told = [row.others[name] for row in rows]
        values = ordered(told)
        if 2 <= len(values) <= MOST_VALUES and re.fullmatch(r"\w[\w .-]*", name):
            found[name] = Attribute(tuple(values), tuple(values.index(value) for value in told))
    return found


# The splits.


def _splits(rows: Sequence[Row], groups: Sequence[Group], folder: Path) -> list[int]:
    """Positions in SPLITS. Where no test set is given both others are drawn, and else what is missing for selection."""
    told = [row.split for row in rows]
    given = set(told)
    if "" in given and len(given) > 1:
        first = rows[told.index("")].file
        raise InputError(
            f"{told.count('')} pictures in {folder} are in no split while others are, the first is {first!r}"
        )
    if given == {""}:
        told, given = ["train"] * len(rows), {"train"}
        _hold_out(told, groups, "test")
    elif not {"train", "test"} <= given:
        lacking = "train" if "train" not in given else "test"
        raise InputError(f"the pictures in {folder} are split ({', '.join(sorted(given))}), but none is in {lacking}")
    if "selection" not in given:
        _hold_out(told, groups, "selection")
    labels = [label for label, _ in groups]
    for label, count in sorted(Counter(labels).items()):
        empty = {*SPLITS} - {split for split, own in zip(told, labels, strict=True) if own == label}
        if empty:
            name = next(row.label for row, own in zip(rows, labels, strict=True) if own == label)
            raise InputError(f"class {name!r} has {count} pictures, of which none is in the {min(empty)} split")
    return [SPLITS.index(split) for split in told]


def _hold_out(told: list[str], groups: Sequence[Group], split: str) -> None:
    """Move a share of each group's training samples to ``split``, at least one where it has two, at random."""
    places = defaultdict(list)
    for place, group in enumerate(groups):
        if told[place] == "train":
            places[group].append(place)
    draw = random.Random(derive(0, "data", "own", split))
    for own in (places[group] for group in sorted(places)):
        total = HELD_OUT[split] if split == "test" else HELD_OUT[split] / (1 - HELD_OUT["test"])
        for place in draw.sample(own, min(max(1, round(total * len(own))), len(own) - 1)):
            told[place] = split
