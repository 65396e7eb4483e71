"""A user's folder of pictures, with a CSV file of what is known of them, read into a manifest. Needs no torch."""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmark.data.annotations import CALLED, Row, Table, attributes_of, ordered, read_table
from benchmark.data.manifest import SPLITS, Look, Manifest
from benchmark.errors import InputError, unknown
from benchmark.seeding import derive

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
#: Shares of each class that are held out, where no split is given: for selection and for the test.
HELD_OUT = {"selection": 0.15, "test": 0.25}
#: Of which a share is held out: the number of a class and the value of an attribute.
Group = tuple[int, str]


def read_folder(folder: Path, table: Path | None, name: str, look: Look, attribute: str = "") -> Manifest:
    """The manifest of the pictures below ``folder``, without a digest of its own yet.

    Labels are those of the table, ``table``, or else the folders' names, which may lie in folders called as splits.
    Splits are the table's or the folders'; what is not given is drawn, of each class the same share, of each value
    of ``attribute`` in it likewise. All other columns are attributes that have 2 to 20 values and no empty cell.
    Within a split pictures are in an order that tells nothing of them.

    InputError where a picture has no label or no line, a line no picture, or ``attribute`` is none of the attributes.
    """
    files = pictures(folder)
    told = read_table(table, files, attribute) if table else Table({}, labelled=False)
    if attribute and not table:
        raise InputError(f"{unknown('attribute', attribute, ())}; --attributes names the CSV file that has it")
    if not told.labelled:
        _check_classes(folder, files)
    rows = told.rows
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
        attributes=attributes_of(known),
        look=look,
    )


def pictures(folder: Path) -> list[str]:
    """Paths of all pictures below ``folder``, with slashes, sorted; hidden files and folders are left out.

    InputError where ``folder`` is none or has none, or where a folder in it is reached twice, through links.
    """
    if not folder.is_dir():
        raise InputError(f"data {str(folder)!r} is no folder; give one that has pictures in a folder for each class")
    found = sorted(file for file in _walk(folder) if _is_picture(file))
    if not found:
        raise InputError(f"folder {folder} has no pictures ({', '.join(SUFFIXES)})")
    return found


def ignored(folder: Path) -> list[str]:
    """Paths of the files below ``folder`` that are not hidden and no pictures that are read, sorted."""
    return sorted(file for file in _walk(folder) if not _is_picture(file))


def _is_picture(file: str) -> bool:
    return Path(file).suffix.lower() in SUFFIXES


def _walk(folder: Path) -> Iterator[str]:
    """All files that are not hidden, also in folders that links lead to; InputError for a folder met a second time."""
    seen: dict[str, str] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        other = seen.setdefault(os.path.realpath(place), place)
        if other != place:
            raise InputError(f"{place} is the same folder as {other}, through a link; give each picture once")
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in names:
            if name[0] != ".":
                yield (Path(place) / name).relative_to(folder).as_posix()


def _check_classes(folder: Path, files: Sequence[str]) -> None:
    """InputError where a folder that is a class has no pictures, as with torchvision's ImageFolder."""
    filled = {"/".join(file.split("/")[:depth]) for file in files for depth in (1, 2)}
    for top in _folders(folder):
        inner = _folders(folder / top) if top.lower() in CALLED else []
        for name in [f"{top}/{name}" for name in inner] or [top]:
            if name not in filled:
                raise InputError(f"folder {folder / name} has no pictures; as a class it needs some, else remove it")


def _folders(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _row(file: str, told: Row | None) -> Row:
    """What the table says, and what it leaves open by the folders that the picture lies in."""
    *folders, _ = file.split("/")
    split = CALLED.get(folders[0].lower(), "") if len(folders) > 1 else ""
    label = folders[1 if split else 0] if folders else ""
    if told is None:
        return Row(file, label, split, {})
    return Row(file, told.label or label, told.split or split, told.others)


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
            has = "1 picture" if count == 1 else f"{count} pictures"
            raise InputError(
                f"class {name!r} has {has}, of which none is in the {min(empty)} split: give at least 3 pictures of "
                "each class, or splits (a column split, or folders train, val and test) with some of it in each"
            )
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
