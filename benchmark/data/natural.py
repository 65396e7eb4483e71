"""Photographs that bring their attribute: Waterbirds, CelebA's blond hair, and bFFHQ's ages.

They are read from where their publishers' archives unpack to, below AMENDBENCH_DATA; none of them is downloaded.
Pictures are prepared as in the benchmark that later papers follow (SubpopBench, arXiv:2302.12254), and nothing is
drawn: their bias is the data set's own.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from benchmark.data import DATA
from benchmark.data.biased import IMAGENET, Biased
from benchmark.data.decoded import Decoded, Decoding, decoded
from benchmark.data.views import Samples
from benchmark.environment import cores, data_root
from benchmark.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "selection", "test")
#: What pictures come as. Pillow knows more, of which some start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
#: Pictures decoded at a time.
CHUNK = 256


@dataclass(frozen=True)
class Published:
    """A data set as it is published: the catalogue has what its ``folder`` below the data root holds and its page.

    ``classes`` and ``attributes`` name the values of label and attribute; ``origin`` is what a reader must know.
    """

    name: str
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    origin: str = ""

    @property
    def folder(self) -> str:
        return DATA.get(self.name).facts.folders[0]

    @property
    def layout(self) -> str:
        """What the folder has to hold."""
        return DATA.get(self.name).facts.layout

    def found(self) -> Path:
        """Its folder; InputError where there is none."""
        root = data_root()
        path = root / self.folder
        if not path.is_dir():
            raise InputError(
                f"data set {self.name} is not in {path}, which has to hold {self.layout}. It is published at "
                f"{DATA.get(self.name).facts.page}; put it there or set AMENDBENCH_DATA, now {root}; "
                f"amendbench data get {self.name} says how"
            )
        return path


class Entry(NamedTuple):
    """One sample: its split as a position in SPLITS, its label and attribute, and its file or its text."""

    split: int
    label: int
    attribute: int
    content: str


WATERBIRDS = Published(
    "waterbirds",
    ("landbird", "waterbird"),
    ("land", "water"),
    "semi-synthetic: photographed birds were cut out and put before photographs of other places. In the selection and "
    "test sets, unlike the training set, half of each class is before either background",
)
CELEBA = Published(
    "celeba-blond",
    ("not blond", "blond"),
    ("female", "male"),
    "photographs of celebrities with the official partition; label and attribute are annotators' (Blond_Hair and Male)",
)
BFFHQ = Published(
    "bffhq",
    ("young", "old"),
    ("woman", "man"),
    "photographs of faces of which 0.5% conflict with the bias in training. The test set is as distributed and holds "
    "aligned samples too; the papers report the conflicting ones alone (here accuracy.bias-conflicting)",
)


def waterbirds() -> Biased:
    """Waterbirds (arXiv:1911.08731): resized to 256x256, the middle 224x224 of it."""
    root = WATERBIRDS.found()
    return _photographs(WATERBIRDS, root, in_order(WATERBIRDS, _waterbird_entries(root / "metadata.csv")), _waterbird)


def celeba_blond() -> Biased:
    """CelebA (arXiv:1411.7766), blond hair against sex: the middle 178x178, resized to 224x224."""
    root = CELEBA.found()
    return _photographs(CELEBA, root, in_order(CELEBA, _celeba_entries(root)), _celebrity)


def bffhq() -> Biased:
    """bFFHQ at 0.5% (arXiv:2108.10008, in the layout of arXiv:2107.01372), age against gender, 224x224."""
    root = BFFHQ.found()
    return _photographs(BFFHQ, root, in_order(BFFHQ, _bffhq_entries(root)), squeezed)


def in_order(told: Published, entries: Iterable[Entry], splits: Sequence[str] = SPLITS) -> list[Entry]:
    """The samples of each split, each in the order of the files; InputError where one of the ``splits`` has none."""
    ordered = sorted(entries, key=lambda entry: entry.split)
    missing = {*range(len(splits))} - {entry.split for entry in ordered}
    if missing:
        path, lacking = data_root() / told.folder, splits[min(missing)]
        raise InputError(f"data set {told.name}: {path} has no {lacking} samples; it has to hold {told.layout}")
    return ordered


def assembled(told: Published, entries: Sequence[Entry], kept: Decoded, *statistics: tuple[float, ...]) -> Biased:
    """The data set from its entries in order and their rows; ``statistics``: mean and std of images."""
    (train, selection, test), checksum = parted(entries, kept, *statistics)
    return Biased(told.name, train, selection, test, None, told.classes, told.attributes, checksum, told.origin)


def parted(entries: Sequence[Entry], kept: Decoded, *statistics: tuple[float, ...]) -> tuple[tuple[Samples, ...], str]:
    """The samples of each split from entries in order and their rows, which are not copied; 16 hex digits over all."""
    labels = torch.tensor([entry.label for entry in entries])
    attributes = torch.tensor([entry.attribute for entry in entries])
    counts = torch.tensor([entry.split for entry in entries]).bincount()
    total = hashlib.sha256(kept.sha256.encode())
    for tensor in (labels, attributes, counts):
        total.update(tensor.numpy().data)
    parts = [part.split(counts.tolist()) for part in (kept.rows, labels, attributes)]
    mean, std = statistics or ((), ())
    samples = (Samples(rows, label, mean, std, attribute) for rows, label, attribute in zip(*parts, strict=True))
    return tuple(samples), total.hexdigest()[:16]


# What belongs to which sample.


def table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The ``columns`` of a CSV file row by row; InputError where it cannot be read or lacks one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            missing = [name for name in columns if name not in header]
            if missing:
                raise InputError(f"{path} has no column {missing[0]!r}; it has {', '.join(header) or 'none'}")
            positions = [header.index(name) for name in columns]
            for row in filter(None, rows):
                if len(row) != len(header):
                    raise InputError(f"{path}: line {rows.line_num} has {len(row)} columns, not {len(header)}")
                yield tuple(row[position] for position in positions)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _one_of(known: Iterable[str], told: str, path: Path, what: str) -> int:
    """The position of ``told`` among what is known; InputError where it is none of it."""
    values = list(known)
    if told not in values:
        raise InputError(f"{path}: {what} is {told!r}, not one of {', '.join(values)}")
    return values.index(told)


def _waterbird_entries(path: Path) -> Iterator[Entry]:
    for file, *numbers in table(path, ("img_filename", "split", "y", "place")):
        split, label, place = (
            _one_of(known, told, path, f"{column} of {file}")
            for known, told, column in zip(("012", "01", "01"), numbers, ("split", "y", "place"), strict=True)
        )
        yield Entry(split, label, place, file)


def _celeba_entries(root: Path) -> Iterator[Entry]:
    partition = root / "list_eval_partition.txt"
    splits = {row[0]: row[-1] for row in _words(partition) if row}
    for entry in celebrities(root, "Blond_Hair", "Male"):
        file = entry.content.rpartition("/")[-1]
        split = _one_of("012", splits.get(file, "missing"), partition, f"the split of {file}")
        yield entry._replace(split=split)


def celebrities(root: Path, label: str, attribute: str) -> Iterator[Entry]:
    """CelebA's pictures in their order with two of their annotations; all of them in the first split."""
    annotations, known = root / "list_attr_celeba.txt", ("-1", "1")
    rows = _words(annotations)
    next(rows, None)  # how many there are
    names = next(rows, [])
    position, other = (_one_of(names, name, annotations, "a column's name") for name in (label, attribute))
    for file, *told in (row for row in rows if row):
        if len(told) != len(names):
            raise InputError(f"{annotations}: {file} has {len(told)} annotations, not {len(names)}")
        what = f"an annotation of {file}"
        values = _one_of(known, told[position], annotations, what), _one_of(known, told[other], annotations, what)
        yield Entry(0, *values, f"img_align_celeba/{file}")


def _words(path: Path) -> Iterator[list[str]]:
    """The words of each line; InputError where the file cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from (line.split() for line in file)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _bffhq_entries(root: Path) -> Iterator[Entry]:
    patterns = ("0.5pct/align/*/*.png", "0.5pct/conflict/*/*.png"), ("valid/*.png",), ("test/*.png",)
    for split, wanted in enumerate(patterns):
        paths = [path for pattern in wanted for path in root.glob(pattern) if path.name[0] != "."]
        # By a digest of the name: aligned ones first, and class by class, would tell a method what it must not know.
        for path in sorted(paths, key=lambda path: hashlib.sha256(path.name.encode()).digest()):
            told = re.search(r"_([01])_([01])\.png$", path.name)
            if told is None:
                raise InputError(f"{path}: its name does not end in _<age>_<gender>.png, each 0 or 1")
            yield Entry(split, int(told[1]), int(told[2]), str(path.relative_to(root)))


# Pictures.


class _Unfit(Exception):  # noqa: N818 - it names what the picture is
    """A picture is not as the data set's are; the message completes a sentence."""


def _waterbird(picture: Image) -> Image:
    return _resized(picture, 256).crop((16, 16, 240, 240))


def _celebrity(picture: Image) -> Image:
    return _resized(aligned(picture).crop((0, 20, 178, 198)), 224)


def aligned(picture: Image) -> Image:
    """The picture, if it has the size of CelebA's aligned ones."""
    if picture.size != (178, 218):
        raise _Unfit(f"it is {picture.width}x{picture.height}, not 178x218")
    return picture


def squeezed(picture: Image) -> Image:
    """All of the picture as 224x224."""
    return _resized(picture, 224)


def _resized(picture: Image, side: int) -> Image:
    from PIL.Image import Resampling

    return picture.resize((side, side), Resampling.BILINEAR)


def _photographs(told: Published, root: Path, entries: Sequence[Entry], prepare: Callable[[Image], Image]) -> Biased:
    return assembled(told, entries, photographs(told, root, entries, prepare), *IMAGENET)


def photographs(told: Published, root: Path, entries: Sequence[Entry], prepare: Callable[[Image], Image]) -> Decoded:
    """The pictures of ``entries`` in order, (N, 3, 224, 224) uint8; ``prepare`` is given them as RGB."""
    paths = tuple(root / entry.content for entry in entries)
    shape = (len(paths), 3, 224, 224)
    return decoded(Decoding(told.name, root, paths, (), shape, "uint8", partial(_pictures, paths, prepare)))


def _pictures(paths: Sequence[Path], prepare: Callable[[Image], Image]) -> Iterator[np.ndarray]:
    """Pictures in order, (n, 3, H, W) uint8 at a time, decoded on all cores."""
    with ThreadPoolExecutor(len(cores())) as pool:
        for start in range(0, len(paths), CHUNK):
            yield np.stack(list(pool.map(partial(_pixels, prepare=prepare), paths[start : start + CHUNK])))


def _pixels(path: Path, prepare: Callable[[Image], Image]) -> np.ndarray:
    """(3, H, W) uint8; InputError where the picture cannot be decoded."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(f"pictures need more packages ({error}); run: pip install 'amendbench[data]'") from error
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.mode[0] in "IF":
                raise _Unfit(f"it has mode {picture.mode}, not 8 bits a channel")  # they would be cut off at 255
            return np.asarray(prepare(picture.convert("RGB"))).transpose(2, 0, 1)
    except Exception as error:  # Pillow's decoders raise many kinds
        raise InputError(f"picture {path} cannot be used: {error}") from error
