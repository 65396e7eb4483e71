"""Data sets that a user brought: what is known of each is kept as a manifest below the data root. Needs no torch.

``own:<name>`` is a plain set of labelled pictures; ``own:<name>@<attribute>`` the same one with one of its attributes.
The pictures stay where they are. Of where that is nothing is published: records have the name alone, which ends in a
digest of everything that the samples depend on.
"""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from benchmark.data import OWN, Source
from benchmark.environment import data_root
from benchmark.errors import InputError, unknown
from benchmark.files import write_atomically

log = logging.getLogger("amendbench")

SPLITS = ("train", "selection", "test")
#: What a name consists of: letters, digits and single hyphens, and 8 hex digits of a digest.
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{8}")
FILE = "manifest.json"

Count = Annotated[int, msgspec.Meta(ge=0)]


class Attribute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attribute: the names of its values, and of each picture the position of its value among them."""

    values: tuple[str, ...]
    of: tuple[Count, ...]


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How pictures become inputs: ``size`` pixels square, grey or in colour, mean and std of values / 255.

    ``fit``: ``crop`` resizes the shorter side and takes the middle, ``squeeze`` resizes both sides.
    """

    size: Annotated[int, msgspec.Meta(ge=1, le=4096)]
    fit: Literal["crop", "squeeze"]
    grey: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """InputError for numbers that no input can be normalised by, or that a file cannot hold."""
        if not all(map(math.isfinite, (*self.mean, *self.std))) or not all(std > 0 for std in self.std):
            raise InputError(f"means must be finite and deviations finite and above 0, not {self.mean} and {self.std}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (1 if self.grey else 3, self.size, self.size)


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user's data set: N pictures below ``folder``, and of each its label and its split, a position in SPLITS.

    The pictures of a split stand together.

    ``pixels``: SHA-256 of the decoded pictures, by which it is seen whether they are still the same.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    labels: tuple[Count, ...]
    splits: tuple[Count, ...]
    classes: tuple[str, ...]
    attributes: dict[str, Attribute]
    look: Look
    pixels: str = ""

    def count(self, split: str) -> int:
        """How many samples a split has."""
        return self.splits.count(SPLITS.index(split))

    @property
    def counts(self) -> str:
        """How many samples there are of each split, in words."""
        of = {"train": "training", "selection": "selection", "test": "the test"}
        return ", ".join(f"{self.count(split):,} for {what}" for split, what in of.items())


def named(manifest: Manifest) -> Manifest:
    """The same with a name that ends in a digest of all that the samples depend on, but for where they lie."""
    plain = msgspec.structs.replace(manifest, folder="", name="")
    total = hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()
    return msgspec.structs.replace(manifest, name=f"{manifest.name}-{total[:8]}")


def split_table(manifest: Manifest) -> str:
    """CSV text with the columns file, label and split: a line for each picture, by which a network can be trained.

    Given back as the table of the same folder it makes the same splits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label", "split"))
    rows = zip(manifest.files, manifest.labels, manifest.splits, strict=True)
    writer.writerows((file, manifest.classes[label], SPLITS[split]) for file, label, split in rows)
    return text.getvalue()


def folder() -> Path:
    """Where manifests are."""
    return data_root() / "own" / "data"


def names() -> list[str]:
    """The user's data sets that are known here, as the registry calls them; one that cannot be read is logged."""
    paths = sorted(folder().glob(f"*/{FILE}"))
    return [OWN + path.parent.name for path in paths if NAME.fullmatch(path.parent.name) and _readable(path)]


def _readable(path: Path) -> bool:
    try:
        _read(path)
    except InputError as error:
        log.warning("a data set of your own is left out: %s", error)
        return False
    return True


def keep(manifest: Manifest) -> None:
    """Write a manifest; the same one may be there already."""
    write_atomically(folder() / manifest.name / FILE, msgspec.json.encode(manifest))
    _read.cache_clear()


def read(name: str) -> tuple[Manifest, str]:
    """The manifest and the attribute that ``name`` (own:<name> or own:<name>@<attribute>) asks for, empty if none.

    InputError that names the near misses where there is no such set here, or it has no such attribute.
    """
    own, _, attribute = name.removeprefix(OWN).partition("@")
    if not NAME.fullmatch(own) or not (folder() / own / FILE).is_file():
        error = unknown("data set", OWN + own, names())
        raise InputError(f"{error}; a data set of one's own is known where it was given to amendbench bench --data")
    manifest = _read(folder() / own / FILE)
    if attribute and attribute not in manifest.attributes:
        raise InputError(f"{OWN}{own}: {unknown('attribute', attribute, manifest.attributes)}")
    return manifest, attribute


@lru_cache(maxsize=8)
def _read(path: Path) -> Manifest:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, ValueError, RecursionError, InputError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it and give the data again") from error
    counts = {len(found.files), len(found.labels), len(found.splits), *(len(a.of) for a in found.attributes.values())}
    if found.name != path.parent.name or len(counts) != 1 or sorted(found.splits) != list(found.splits):
        raise InputError(f"{path} is not as it was written; remove it and give the data again")
    return found


def source_of(name: str) -> Source:
    """A user's data set as the registry has it."""
    manifest, attribute = read(name)
    told = name.removeprefix(OWN)
    values = manifest.attributes[attribute].values if attribute else ()
    by = f", by {attribute} ({' or '.join(values)})" if attribute else ""
    return Source(
        summary=f"{len(manifest.files):,} pictures of {len(manifest.classes)} classes{by} (own)",
        loader=f"own.{'biased' if attribute else 'plain'}:{told}",
        num_classes=len(manifest.classes),
        shape=manifest.look.shape,
        attributes=len(values),
        artefact=f"own.attacked:{told}" if len(values) == 2 else "",
    )
