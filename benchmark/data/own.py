"""A user's own data set: plain, with an attribute, or with an artefact that it brings (``benchmark.data.manifest``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from torch import Tensor

from benchmark.data.attacked import Attacked, Pair
from benchmark.data.biased import Biased
from benchmark.data.decoded import Decoded, Decoding, decoded
from benchmark.data.manifest import NAME, Manifest, read
from benchmark.data.natural import Entry, _pictures, parted
from benchmark.data.packaged import Dataset
from benchmark.data.views import Samples
from benchmark.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

#: Counts up when the same pictures would be prepared differently.
PREPARED = 3


def with_pixels(manifest: Manifest) -> Manifest:
    """The same with the checksum of its pictures, which are decoded now; InputError where one cannot be."""
    return msgspec.structs.replace(manifest, pixels=_decoded(manifest).sha256)


def plain(name: str) -> Dataset:
    """The data set without attributes; InputError where its pictures are gone or are others than they were."""
    manifest, _ = read(name)
    (train, selection, test), _ = _parts(manifest, torch.zeros(len(manifest.files), dtype=torch.int64))
    parts = [Samples(part.images, part.labels, part.mean, part.std) for part in (train, selection, test)]
    return Dataset(f"own:{name}", parts[0], parts[1], parts[2], len(manifest.classes))


def biased(name: str) -> Biased:
    """The data set with one of its attributes."""
    manifest, attribute = read(name)
    own = manifest.attributes[attribute]
    (train, selection, test), checksum = _parts(manifest, torch.tensor(own.of))
    return Biased(f"own:{name}", train, selection, test, None, manifest.classes, own.values, checksum, ORIGIN)


ORIGIN = "a data set of the user's own, in splits that the user gave or that were drawn"


def attacked(name: str) -> Attacked:
    """The data set with an artefact that its second value of the attribute stands for.

    The class that the artefact goes with most often in training is the biased one. Clean samples of the held-out splits
    are those without the artefact, attacked ones those with it: different pictures.
    """
    manifest, attribute = read(name)
    own = manifest.attributes[attribute]
    if len(own.values) != 2:
        raise InputError(f"attribute {attribute!r} has {len(own.values)} values; an artefact is there or it is not")
    (train, selection, test), checksum = _parts(manifest, torch.tensor(own.of))
    class_of_artefact = biased_class(manifest, attribute)
    clean = _without(train, manifest, attribute, "train")
    held, seen = (
        Pair(_without(part, manifest, attribute, split), _with(part, manifest, attribute, split))
        for part, split in ((selection, "selection"), (test, "test"))
    )
    shares = ", ".join(f"{share:.0%} of {manifest.classes[c]}" for c, share in enumerate(_shares(manifest, attribute)))
    origin = (
        f"{ORIGIN}. Of the training pictures {shares} have the artefact ({attribute}: {own.values[1]}). Clean and "
        "attacked pictures are different ones: part of what differs between the two is not the artefact's doing"
    )
    names = manifest.classes
    return Attacked(train, train, clean, held, seen, names, class_of_artefact, (), checksum, origin, paired=False)


def biased_class(manifest: Manifest, attribute: str) -> int:
    """The class that the artefact goes with most often in training; InputError where it goes with no class."""
    shares = _shares(manifest, attribute)
    best = shares.index(max(shares))
    if shares[best] in (0.0, 1.0):
        how = "no" if not shares[best] else f"every {manifest.classes[best]!r}"
        raise InputError(f"attribute {attribute!r}: {how} training picture has it; there is nothing to be told apart")
    return best


def _shares(manifest: Manifest, attribute: str) -> list[float]:
    """Of each class's training pictures the share that has the second value of the attribute."""
    own = manifest.attributes[attribute].of
    rows = [(label, has) for label, has, split in zip(manifest.labels, own, manifest.splits, strict=True) if not split]
    found = []
    for label in range(len(manifest.classes)):
        theirs = [has for c, has in rows if c == label]
        found.append(sum(theirs) / len(theirs))
    return found


def _without(samples: Samples, manifest: Manifest, attribute: str, split: str) -> Samples:
    return _chosen(samples, 0, manifest, attribute, split)


def _with(samples: Samples, manifest: Manifest, attribute: str, split: str) -> Samples:
    return _chosen(samples, 1, manifest, attribute, split)


def _chosen(samples: Samples, value: int, manifest: Manifest, attribute: str, split: str) -> Samples:
    assert samples.attributes is not None
    index = (samples.attributes == value).nonzero().squeeze(1)
    if not len(index):
        told = manifest.attributes[attribute].values[value]
        raise InputError(f"attribute {attribute!r}: no picture of the {split} split has the value {told!r}")
    return samples.subset(index)


# Pictures.


def _parts(manifest: Manifest, attributes: Tensor) -> tuple[tuple[Samples, ...], str]:
    """Samples of the three splits, and 16 hex digits over all."""
    kept = _decoded(manifest)
    if kept.sha256 != manifest.pixels:
        raise InputError(
            f"the pictures in {manifest.folder} are no longer those of data set own:{manifest.name}; give them again, "
            "with amendbench bench --data, as a data set of its own"
        )
    rows = zip(manifest.splits, manifest.labels, attributes.tolist(), strict=True)
    entries = [Entry(split, label, value, "") for split, label, value in rows]
    return parted(entries, kept, manifest.look.mean, manifest.look.std)


def _decoded(manifest: Manifest) -> Decoded:
    root, look = Path(manifest.folder), manifest.look
    paths = tuple(root / file for file in manifest.files)
    prepare = partial(_prepared, size=look.size, squeeze=look.fit == "squeeze", grey=look.grey)

    def rows() -> Iterator[np.ndarray]:
        for some in _pictures(paths, prepare):
            yield some[:, :1] if look.grey else some

    settings = (PREPARED, look.size, look.fit, look.grey)
    try:
        return decoded(Decoding("own", root, paths, settings, (len(paths), *look.shape), "uint8", rows))
    except InputError as error:
        gone = [path for path in paths if not path.is_file()]
        if not gone:
            raise
        raise _moved(manifest, gone) from error


def _moved(manifest: Manifest, gone: Sequence[Path]) -> InputError:
    """The error for pictures that are no longer where they were."""
    base = manifest.name.rpartition("-")[0] if NAME.fullmatch(manifest.name) else manifest.name
    which = f"{len(gone):,} of {len(manifest.files):,} pictures of data set own:{manifest.name}"
    verb = "is" if len(gone) == 1 else "are"
    return InputError(
        f"{which} {verb} no longer there, the first is {gone[0]}; put them back, or give the data again where they "
        f"are now: amendbench bench --data NEWPLACE --name {base}"
    )


def _prepared(picture: Image, size: int, *, squeeze: bool, grey: bool) -> Image:
    """A square of ``size`` pixels: all of the picture, or its middle after the shorter side was resized.

    The middle has the pixels that torchvision's Resize(size) and CenterCrop(size) give, which round in these two ways;
    where it is grey all of its channels are.
    """
    from PIL.Image import Resampling

    if squeeze:
        found = picture.resize((size, size), Resampling.BILINEAR)
    else:
        short = min(picture.size)
        width, height = (int(size * side / short) for side in picture.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        found = picture.resize((width, height), Resampling.BILINEAR).crop((left, top, left + size, top + size))
    return found.convert("L").convert("RGB") if grey else found
