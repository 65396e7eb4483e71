"""ISIC 2017: skin lesions, benign or melanoma, on pictures some of which show coloured patches beside the lesion.

The 2,450 pictures whose artefacts Bissoto et al. annotated ("Debiasing Skin Lesion Datasets and Models? Not So Fast",
2020, arXiv:2004.11457), read from a local copy in the Hub's layout,
``<AMENDBENCH_DATA>/isic2017-artefacts/default/<train, validation or test>-*.parquet``; it cannot be downloaded.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.biased import IMAGENET, Biased, checksum_of, group_counts, shuffled
from benchmark.data.fetching import line, needed
from benchmark.data.hub import _check_columns, _check_labels, _files
from benchmark.data.kept import keep, restore
from benchmark.data.patches import Patch, cut, paste, patch_mask
from benchmark.data.views import Samples
from benchmark.environment import cache_root, data_root
from benchmark.errors import InputError
from benchmark.seeding import generator

NAME = "isic-2017"
FILES = ("train", "validation", "test")
#: What the columns that are read hold; other columns are left alone.
COLUMNS = {"image": "encoded images", "label": "0 benign, 1 melanoma", "patches": "bool", "image_id": "string"}
CLASSES, ATTRIBUTES = ("benign", "melanoma"), ("no patch", "patch")
BENIGN, MELANOMA = range(2)
SIZE = 224
#: Of each group's pictures, how many each split gets; and how many of its melanomas without a patch are given one.
SHARES = {"train": 0.6, "selection": 0.12, "test": 0.28}
PASTED = {"train": 0.014, "selection": 0.1, "test": 0.5}
#: On how many pictures a patch is pasted, all of one split.
REUSE = 3
#: Counts up when the same files would be decoded or split differently.
FORMAT = 1


@dataclass(frozen=True)
class Pictures:
    """images: (N, 224, 224, 3) uint8; labels: (N,) int64; patched: (N,) bool; in the order of the files.

    official: (N,) int64, the official split as a position in FILES.
    """

    images: np.ndarray
    labels: np.ndarray
    patched: np.ndarray
    official: np.ndarray


@dataclass(frozen=True)
class Split:
    """Positions of pictures: ``rows``, in order; those of them that a patch is pasted on; those it is cut from."""

    rows: Tensor
    hosts: Tensor
    donors: Tensor


def isic_2017() -> Biased:
    """Benign lesions and melanomas; in training nearly every picture with a coloured patch shows a benign lesion.

    Images: (N, 3, 224, 224) uint8, resized from the stored 256x256 by Pillow's bilinear filter. The official split has
    patches on 148 benign pictures and two melanomas, and on no test picture, so all pictures are split anew: of each
    group 60 % to training, 12 % to selection, 28 % to the test set, the same for every seed. (melanoma, patch) is made
    by pasting: half of the test set's melanomas get a patch, a tenth of those for selection (else worst-group accuracy
    could not be measured there) and four for training, beside the two real ones. The patches come from benign
    pictures that are used for nothing else, at most three times each.

    InputError where the files are not there, not as they should be, or too few to fill every group of every split.
    """
    files = stored(NAME)
    path = kept_in(files, FORMAT, NAME, SIZE, SHARES, PASTED, REUSE)
    tensors = restore(path)
    if tensors is None:
        pictures = _read(files)
        tensors = {name: t for name, split in _resplit(pictures).items() for name, t in _made(pictures, name, split)}
        keep(path, tensors)
    parts = {split: shuffled(_samples(tensors, split)) for split in SHARES}
    train, selection, test = parts.values()
    checksum, origin = checksum_of(train, selection, test), _origin(tensors, parts)
    return Biased(NAME, train, selection, test, None, CLASSES, ATTRIBUTES, checksum, origin)


def stored(name: str) -> list[Path]:
    """The files in the order of FILES; InputError where they are not there. ``name``: of the data set they are for."""
    folder = data_root() / "isic2017-artefacts" / "default"
    if not folder.is_dir():
        layout = ", ".join(f"{column} ({what})" for column, what in COLUMNS.items())
        raise InputError(
            f"data set {name} is not in {folder} and cannot be downloaded; put parquet files there, "
            f"<split>-*.parquet for {', '.join(FILES)} with columns {layout}, "
            f"or set AMENDBENCH_DATA, now {data_root()}; amendbench data get {name} says how"
        )
    return [path for split in FILES for path in _files(folder, split)]


def kept_in(files: list[Path], *settings: object) -> Path:
    """Where the cache keeps tensors that depend on the content of ``files`` and on ``settings``."""
    total = hashlib.sha256(repr(settings).encode())
    for path in files:
        try:
            with path.open("rb") as content:
                total.update(f"{path.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return cache_root() / "data" / "decoded" / f"{total.hexdigest()[:32]}.safetensors"


def _samples(tensors: dict[str, Tensor], split: str) -> Samples:
    """The samples of ``split``; InputError where a group is empty."""
    images, labels, attributes = (tensors[f"{split}.{what}"] for what in ("images", "labels", "attributes"))
    samples = Samples(images, labels, *IMAGENET, attributes)
    empty = (group_counts(samples, len(CLASSES), len(ATTRIBUTES)) == 0).nonzero().tolist()
    if empty:
        group = f"{CLASSES[empty[0][0]]}, {ATTRIBUTES[empty[0][1]]}"
        raise InputError(
            f"data set {NAME}: the files in {data_root()} have too few pictures, split {split!r} gets none of ({group})"
        )
    return samples


def _origin(tensors: dict[str, Tensor], parts: dict[str, Samples]) -> str:
    """How the splits came about, with the numbers of what is semi-synthetic."""
    of = []
    for split, samples in parts.items():
        assert samples.attributes is not None
        group = int(((samples.labels == MELANOMA) & (samples.attributes == 1)).sum())
        of.append(f"{int(tensors[f'{split}.pasted'].sum())} of {group} {split}")
    donors = sum(len(tensors[f"{split}.donors"]) for split in parts)
    total = donors + sum(len(samples) for samples in parts.values())
    return (
        f"all {total:,} pictures are split anew. ({CLASSES[MELANOMA]}, {ATTRIBUTES[1]}) is semi-synthetic: "
        f"{', '.join(of[:-1])} and {of[-1]} pictures of that group are melanomas without a patch on which one was "
        f"pasted. The patches were cut from {donors} benign pictures, which are used for nothing else; every other "
        "picture is as it was taken"
    )


# Splitting.


def _made(pictures: Pictures, name: str, split: Split) -> list[tuple[str, Tensor]]:
    """What is kept of a split: images, labels, attributes, which samples had a patch pasted, and the donors."""
    rows, pasted = split.rows.numpy(), torch.isin(split.rows, split.hosts)
    images = pictures.images[rows]  # a copy
    rng = generator(0, "data", NAME, "paste", name)
    patches = [_patch(pictures, int(donor)) for donor in split.donors]
    for k, row in enumerate(pasted.nonzero().squeeze(1).tolist()):
        images[row], _ = paste(images[row], patches[k % len(patches)], rng)
    attributes = torch.from_numpy(pictures.patched[rows]).long() | pasted
    tensors = {
        "images": torch.from_numpy(images).movedim(-1, 1).contiguous(),
        "labels": torch.from_numpy(pictures.labels[rows]),
        "attributes": attributes,
        "pasted": pasted,
        "donors": split.donors,
    }
    return [(f"{name}.{what}", tensor) for what, tensor in tensors.items()]


def _patch(pictures: Pictures, row: int) -> Patch:
    return cut(pictures.images[row], patch_mask(pictures.images[row]))


def _resplit(pictures: Pictures) -> dict[str, Split]:
    """Every picture is in one split or a donor; real melanomas with a patch are all for training, they are so few."""
    melanomas = _shared(_group(pictures, MELANOMA, False))
    hosts = {name: rows[: round(PASTED[name] * len(rows))] for name, rows in melanomas.items()}
    needed = [ceil(len(rows) / REUSE) for rows in hosts.values()]
    donors, others = _donors(pictures, sum(needed))
    patched, plain = _shared(others), _shared(_group(pictures, BENIGN, False))
    real = {"train": _group(pictures, MELANOMA, True)}
    return {
        name: Split(
            torch.cat([melanomas[name], patched[name], plain[name], real.get(name, plain[name][:0])]).sort().values,
            hosts[name],
            part,
        )
        for name, part in zip(SHARES, donors.split(needed), strict=True)
    }


def _group(pictures: Pictures, label: int, patched: bool) -> Tensor:
    """Positions of the pictures of a group, shuffled."""
    rows = torch.from_numpy(np.flatnonzero((pictures.labels == label) & (pictures.patched == patched)))
    return rows[torch.randperm(len(rows), generator=generator(0, "data", NAME, "split", label, patched))]


def _shared(rows: Tensor) -> dict[str, Tensor]:
    """``rows`` divided among the splits by SHARES, in order."""
    ends = np.cumsum([0.0, *SHARES.values()]) * len(rows)
    cuts = [round(end) for end in ends]
    return {name: rows[start:end] for name, start, end in zip(SHARES, cuts, cuts[1:], strict=False)}


def _donors(pictures: Pictures, needed: int) -> tuple[Tensor, Tensor]:
    """The first ``needed`` benign pictures whose patches can be cut cleanly, and the other ones with a patch."""
    rows = _group(pictures, BENIGN, True)
    chosen: list[int] = []
    for row in rows.tolist():
        if len(chosen) == needed:
            break
        if patch_mask(pictures.images[row]).any():
            chosen.append(row)
    if len(chosen) < needed:
        raise InputError(
            f"data set {NAME}: of {len(rows)} benign pictures with a patch only {len(chosen)} have one that can be cut "
            f"cleanly, {needed} are needed"
        )
    donors = torch.tensor(chosen, dtype=torch.int64)
    return donors, rows[~torch.isin(rows, donors)]


# Reading.


def _read(files: list[Path]) -> Pictures:
    """All pictures; InputError for a file that is not as it should be, or a picture that is there twice."""
    tables = [_table(path) for path in files]
    seen: dict[str, Path] = {}
    for path, table in zip(files, tables, strict=True):
        for name in table["image_id"].to_pylist():
            if name in seen:
                raise InputError(f"{path}: picture {name!r} of column 'image_id' is already in {seen[name]}")
            seen[name] = path
    images = [_images(path, table) for path, table in zip(files, tables, strict=True)]
    labels, patched = (np.concatenate([t[name].to_numpy() for t in tables]) for name in ("label", "patches"))
    official = np.repeat([FILES.index(path.name.partition("-")[0]) for path in files], [len(t) for t in tables])
    return Pictures(np.concatenate(images), labels.astype(np.int64), patched.astype(bool), official)


def _table(path: Path) -> Any:
    """The columns that are read, as a table of pyarrow."""
    pa, pq = needed("pyarrow"), needed("pyarrow.parquet")
    try:
        schema = pq.read_schema(path)
        types = {field.name: field.type for field in schema}
        _check_columns(path, types, "image")
        for name, expected in (("patches", pa.bool_()), ("image_id", pa.string())):
            if name not in types:
                raise InputError(f"{path} has no column {name!r}; it has {', '.join(types)}")
            if types[name] != expected:
                raise InputError(f"{path}: column {name!r} must be of type {expected}, not {types[name]}")
        table = pq.read_table(path, columns=[*COLUMNS])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as parquet: {line(error)}") from error
    for name in ("label", "patches", "image_id"):
        if table[name].null_count:
            raise InputError(f"{path}: column {name!r} has {table[name].null_count} rows without a value")
    _check_labels(path, table["label"].to_numpy(), len(CLASSES))
    return table


def _images(path: Path, table: Any) -> np.ndarray:
    """(N, 224, 224, 3) uint8."""
    pillow = needed("PIL.Image")
    encoded = needed("pyarrow.compute").struct_field(table["image"], "bytes").to_pylist()
    images = np.empty((len(encoded), SIZE, SIZE, 3), np.uint8)
    for row, content in enumerate(encoded):
        try:
            with pillow.open(BytesIO(content or b""), formats=("JPEG", "PNG")) as image:
                images[row] = image.convert("RGB").resize((SIZE, SIZE), pillow.Resampling.BILINEAR)
        except Exception as error:  # Pillow's decoders raise many kinds
            raise InputError(f"{path}: row {row} of column 'image' cannot be decoded: {line(error)}") from error
    return images
