"""Plain data sets that get an artefact inserted, as in RR-ClArC (arXiv:2308.09437): ISIC 2019, bone ages and tenches.

They are read from where their publishers' archives unpack to, below AMENDBENCH_DATA; none of them is downloaded. All
of a picture is resized to 224x224 by Pillow's bilinear filter, which smooths where it shrinks; artefacts are inserted
after that. The paper's code has the same shares of the splits; which pictures they get is drawn anew here.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch

from benchmark.data import DATA
from benchmark.data.biased import IMAGENET
from benchmark.data.natural import SPLITS, Entry, Published, in_order, parted, photographs, squeezed, table
from benchmark.data.packaged import Dataset
from benchmark.errors import InputError
from benchmark.seeding import generator

TRAIN, SELECTION, TEST = range(len(SPLITS))
DIAGNOSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
#: Bins of the age in months, equally wide; the range reaches down by a part of itself, that the youngest be in it.
BINS, REACH = 5, 0.001
#: Of the classes that are not TENCH every THINNED-th training picture is used; of all, every TESTED-th validation one.
TENCH, WNIDS, THINNED, TESTED = "n01440764", 1000, 100, 10

ISIC_2019 = Published("isic-2019", DIAGNOSES)
BONE_AGE = Published("bone-age", tuple(f"bin {k}" for k in range(BINS)))
IMAGENET_TENCH = Published("imagenet-tench")


def isic_2019() -> Dataset:
    """ISIC 2019's 25,331 training pictures and their nine diagnoses; nothing in it is labelled UNK (unknown)."""
    root = ISIC_2019.found()
    entries = dealt(ISIC_2019.name, _diagnoses(root / "ISIC_2019_Training_GroundTruth.csv"), TEST, SELECTION)
    return _plain(ISIC_2019, root, entries, (0.5,) * 3, (0.5,) * 3)


def bone_age() -> Dataset:
    """The RSNA's 12,611 X-rays of children's hands by age, in five bins; grey, as three equal channels."""
    root = BONE_AGE.found()
    entries = dealt(BONE_AGE.name, _bone_ages(root / "boneage-training-dataset.csv"), TEST, SELECTION)
    return _plain(BONE_AGE, root, entries, (46.9 / 255,) * 3, (22.65 / 255,) * 3)


def imagenet_tench() -> Dataset:
    """ImageNet thinned: all tenches and every 100th of the other training pictures; every 10th validation picture.

    A tenth of that training pool is for selection; the validation pictures are the test set. Counted in the order of
    wnid and file name. Labels are the positions of the sorted wnids, as usual.
    """
    root = IMAGENET_TENCH.found()
    wnids = _wnids(root)
    entries = dealt(IMAGENET_TENCH.name, _thinned(_pictures(root, "train", wnids), wnids.index(TENCH)), SELECTION)
    test = mixed("imagenet-tench test", list(islice(_pictures(root, "val", wnids), 0, None, TESTED)))
    return _plain(IMAGENET_TENCH, root, [*entries, *(entry._replace(split=TEST) for entry in test)], *IMAGENET)


def mixed(name: str, entries: Sequence[Entry]) -> list[Entry]:
    """The entries in an order of which nothing can be told; ``name`` says what they are."""
    order = torch.randperm(len(entries), generator=generator(0, "data", name, "split"))
    return [entries[position] for position in order.tolist()]


def dealt(name: str, entries: Iterable[Entry], *splits: int) -> list[Entry]:
    """The entries, mixed: the first tenth goes to the first of ``splits``, and so on; what is left is for training."""
    order = mixed(name, list(entries))
    tenth = round(len(order) / 10)
    to = [split for split in splits for _ in range(tenth)]
    return [entry._replace(split=to[k] if k < len(to) else TRAIN) for k, entry in enumerate(order)]


def unique(path: Path, what: str, names: Sequence[str]) -> None:
    """InputError where a picture is told of twice: it could be in two splits."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{path}: {what} {name!r} is there twice; remove one of the lines")
        seen.add(name)


def _plain(
    told: Published, root: Path, entries: Iterable[Entry], mean: Sequence[float], std: Sequence[float]
) -> Dataset:
    """The data set from its entries; images are mapped from the cache and need not fit in memory."""
    ordered = in_order(told, entries)
    parts, _ = parted(ordered, photographs(told, root, ordered, squeezed), tuple(mean), tuple(std))
    train, selection, test = (replace(part, attributes=None) for part in parts)
    return Dataset(told.name, train, selection, test, DATA.get(told.name).num_classes)


# What belongs to which picture.


def _diagnoses(path: Path) -> list[Entry]:
    rows = list(table(path, ("image", *DIAGNOSES)))
    unique(path, "image", [row[0] for row in rows])
    return [Entry(TRAIN, _marked(path, name, marks), 0, f"Train/{name}.jpg") for name, *marks in rows]


def _marked(path: Path, name: str, marks: Sequence[str]) -> int:
    """The position of the one diagnosis that is 1 while the others are 0."""
    values = [_number(path, f"{diagnosis} of {name}", mark) for diagnosis, mark in zip(DIAGNOSES, marks, strict=True)]
    if sorted(values) != [0.0] * (len(DIAGNOSES) - 1) + [1.0]:
        raise InputError(f"{path}: the diagnoses of {name} are {', '.join(marks)}, not one 1 and otherwise 0")
    return values.index(1.0)


def _bone_ages(path: Path) -> list[Entry]:
    rows = list(table(path, ("id", "boneage")))
    unique(path, "id", [name for name, _ in rows])
    ages = np.array([_number(path, f"boneage of {name}", age) for name, age in rows])
    if len(set(ages.tolist())) < 2:
        raise InputError(f"{path}: boneage has to differ for there to be bins; {len(rows)} rows have the same or none")
    labels = binned(ages).tolist()
    return [
        Entry(TRAIN, label, 0, f"boneage-training-dataset/{name}.png")
        for (name, _), label in zip(rows, labels, strict=True)
    ]


def binned(values: np.ndarray) -> np.ndarray:
    """(N,) int64: in which of BINS equally wide bins each of the values is, closed on the right, as by pandas.cut."""
    low, high = values.min(), values.max()
    edges = np.linspace(low, high, BINS + 1)
    edges[0] -= REACH * (high - low)
    return np.searchsorted(edges, values, side="left") - 1


def _number(path: Path, what: str, told: str) -> float:
    try:
        value = float(told)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{path}: {what} is {told!r}, not a number of 0 or more")
    return value


def _wnids(root: Path) -> list[str]:
    """The names of the classes' folders, sorted; InputError unless there are 1,000, the same ones in both parts."""
    found = {part: _folders(root / part) for part in ("train", "val")}
    differ = sorted(set(found["train"]) ^ set(found["val"]))
    if differ:
        raise InputError(f"{root}: class {differ[0]} is in only one of the folders train and val; complete the other")
    if TENCH not in found["train"]:
        raise InputError(f"{root / 'train'} has no folder {TENCH}: the tenches are missing; put them there")
    return found["train"]


def _folders(folder: Path) -> list[str]:
    try:
        names = sorted(p.name for p in folder.iterdir() if re.fullmatch(r"n\d{8}", p.name) and p.is_dir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}; put ImageNet's class folders there") from error
    if len(names) != WNIDS:
        raise InputError(f"{folder} has {len(names):,} class folders n<8 digits>, not {WNIDS:,}; put all of them there")
    return names


def _thinned(entries: Iterable[Entry], tench: int) -> Iterator[Entry]:
    """All tenches and every THINNED-th of the others."""
    others = count()
    return (entry for entry in entries if entry.label == tench or next(others) % THINNED == 0)


def _pictures(root: Path, part: str, wnids: Sequence[str]) -> Iterator[Entry]:
    """The pictures of train or val by class and name; InputError for a class that has none."""
    for label, wnid in enumerate(wnids):
        folder = root / part / wnid
        names = sorted(name for name in os.listdir(folder) if name.endswith(".JPEG") and name[0] != ".")
        if not names:
            raise InputError(f"{folder} has no pictures *.JPEG; put the pictures of class {wnid} there")
        yield from (Entry(TRAIN, label, 0, f"{part}/{wnid}/{name}") for name in names)
