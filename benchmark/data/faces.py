"""Pictures on which the paper's generators are trained (arXiv:2309.14054): animal faces and CelebA-HQ, 256x256.

They are read from where their publishers' archives unpack to, below AMENDBENCH_DATA; none of them is downloaded. All
of a picture is resized by Pillow's Lanczos filter, which smooths where it shrinks. Which pictures are held out is drawn
here, once and for all: AFHQ has no selection split and CelebAMask-HQ's archive has none at all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data import DATA
from benchmark.data.correction import SELECTION, TEST, TRAIN, dealt, mixed, unique
from benchmark.data.decoded import Decoding, decoded
from benchmark.data.natural import Entry, Published, _pictures, in_order, parted
from benchmark.data.packaged import Dataset
from benchmark.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 256
SUFFIXES = (".jpg", ".png")
ANNOTATIONS, PICTURES = "CelebAMask-HQ-attribute-anno.txt", "CelebA-HQ-img"
#: The features of CelebA-HQ that are to be removed, as data sets call them, and the annotations that they are.
FEATURES = {"bangs": "Bangs", "hat": "Wearing_Hat", "bald": "Bald", "eyeglasses": "Eyeglasses"}

AFHQ = Published("afhq-256", ("cat", "dog", "wild"))


def _published(feature: str) -> Published:
    return Published(f"celeba-hq-{feature}", (f"without {feature}", feature))


def afhq() -> Dataset:
    """AFHQ of either version: cats, dogs and wild animals; a tenth of each class's training pictures is for selection.

    The test set is the publisher's. InputError where the data are missing, not in that layout, or of both versions.
    """
    root = AFHQ.found()
    held = _held_out(root)
    entries: list[Entry] = []
    for label, animal in enumerate(AFHQ.classes):
        entries += dealt(f"{AFHQ.name} {animal}", _animals(root, "train", label), SELECTION)
        entries += (entry._replace(split=TEST) for entry in _animals(root, held, label))
    if len({Path(entry.content).suffix for entry in entries}) > 1:
        raise InputError(f"{root} has both *.jpg and *.png: pictures of two versions of the data set; keep one of them")
    return _dataset(AFHQ, AFHQ.name, root, entries)


def celeba_hq_bangs() -> Dataset:
    """CelebA-HQ, label 1 for a fringe over the forehead (Bangs)."""
    return _celebrities("bangs")


def celeba_hq_hat() -> Dataset:
    """CelebA-HQ, label 1 for who wears a hat (Wearing_Hat)."""
    return _celebrities("hat")


def celeba_hq_bald() -> Dataset:
    """CelebA-HQ, label 1 for who is bald (Bald)."""
    return _celebrities("bald")


def celeba_hq_eyeglasses() -> Dataset:
    """CelebA-HQ, label 1 for who wears glasses (Eyeglasses)."""
    return _celebrities("eyeglasses")


def _celebrities(feature: str) -> Dataset:
    """One split of the pictures for all features, and one decoding: 30,000 of them take 6 GB."""
    told = _published(feature)
    root = told.found()
    return _dataset(told, "celeba-hq", root, _dealt_faces(root / ANNOTATIONS, list(FEATURES).index(feature)))


def _dealt_faces(path: Path, position: int) -> list[Entry]:
    """A tenth for the test set and one for selection of those who have the same features, all four of them.

    Fewer than five of a kind are all for training. The label is the feature at ``position``, which makes no difference
    to the split.
    """
    strata: dict[tuple[int, ...], list[Entry]] = {}
    for file, features in _people(path):
        entry = Entry(TRAIN, features[position], 0, f"{PICTURES}/{file}")
        strata.setdefault(features, []).append(entry)
    return [
        entry for features, alike in strata.items() for entry in dealt(f"celeba-hq {features}", alike, TEST, SELECTION)
    ]


def _dataset(told: Published, kept: str, root: Path, entries: Sequence[Entry]) -> Dataset:
    """The data set from its entries, mixed; pictures are decoded under the name ``kept``, and mapped from the cache."""
    ordered = in_order(told, mixed(kept, entries))
    paths = tuple(root / entry.content for entry in ordered)
    shape = (len(paths), 3, SIDE, SIDE)
    rows = decoded(Decoding(kept, root, paths, (), shape, "uint8", partial(_pictures, paths, _resized)))
    parts, _ = parted(ordered, rows, (0.5,) * 3, (0.5,) * 3)
    train, selection, test = (replace(part, attributes=None) for part in parts)
    return Dataset(told.name, train, selection, test, DATA.get(told.name).num_classes)


def _resized(picture: Image) -> Image:
    """All of the picture as 256x256; it has to be square and no smaller."""
    from PIL.Image import Resampling

    if picture.width != picture.height or picture.width < SIDE:
        raise ValueError(f"it is {picture.width}x{picture.height}, not square and at least {SIDE} wide")
    return picture.resize((SIDE, SIDE), Resampling.LANCZOS)


# What belongs to which picture.


def _held_out(root: Path) -> str:
    """What the version at hand calls the folder of its test set."""
    found = [name for name in ("val", "test") if (root / name).is_dir()]
    if len(found) != 1:
        has = "both val and test, of two versions of the data set" if found else "neither val nor test"
        raise InputError(f"data set {AFHQ.name}: {root} has {has}; it has to hold {AFHQ.layout}")
    return found[0]


def _animals(root: Path, part: str, label: int) -> list[Entry]:
    """The pictures of a class in a folder, by name; InputError where there are none."""
    animal = AFHQ.classes[label]
    folder = root / part / animal
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES) and name[0] != ".")
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read: {error.strerror}; put AFHQ's pictures of class {animal} there"
        ) from error
    if not names:
        raise InputError(f"{folder} has no pictures *.jpg or *.png; put AFHQ's pictures of class {animal} there")
    return [Entry(TRAIN, label, 0, f"{part}/{animal}/{name}") for name in names]


def _people(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Each picture's file and which of FEATURES it shows; InputError unless the annotations are all there."""
    number, names, rows = _annotations(path)
    if number != str(len(rows)):
        raise InputError(f"{path}: its first line is {number!r}, but annotations of {len(rows)} pictures follow")
    missing = [column for column in FEATURES.values() if column not in names]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}; it has {', '.join(names) or 'none'}")
    unique(path, "picture", [row[0] for row in rows])
    positions = [names.index(column) for column in FEATURES.values()]
    return [(row[0], _features(path, row, names, positions)) for row in rows]


def _annotations(path: Path) -> tuple[str, list[str], list[list[str]]]:
    """The first line, the words of the second, and those of each of the others."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    number, names = [*lines[:2], [], []][:2]
    return " ".join(number), names, lines[2:]


def _features(path: Path, row: Sequence[str], names: Sequence[str], positions: Sequence[int]) -> tuple[int, ...]:
    """0 or 1 for each of the columns at ``positions``, of which the annotations say -1 or 1."""
    file, *told = row
    if len(told) != len(names):
        raise InputError(f"{path}: {file} has {len(told)} annotations, not {len(names)}")
    for position in positions:
        if told[position] not in ("-1", "1"):
            raise InputError(f"{path}: {names[position]} of {file} is {told[position]!r}, not -1 or 1")
    return tuple(int(told[position] == "1") for position in positions)
