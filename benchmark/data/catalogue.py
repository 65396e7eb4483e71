"""What is known of each data set beside what results depend on: the facts of catalogue.toml. Imports no torch."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmark.config import convert, read_toml
from benchmark.data import DATA, OWN, Source
from benchmark.environment import data_root

FILE = Path(__file__).with_name("catalogue.toml")
#: What stands where others have a publisher's licence.
OWN_LICENCE = "yours"


class Citation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A publication: authors with ``and`` between them; ``where``: journal, venue or arXiv number."""

    key: str
    authors: str
    title: str
    year: int
    where: str


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a data set; what is not known for certain is left empty.

    kind: how it comes here. splits: samples of each split as published; ``all`` where it has none. here: how many this
    benchmark has for training, selection and test. totals: where that is left out, how many there are altogether, one
    number for each version that is published. classes, attributes: names of their values. masks: what they show.
    folders: where it lies below the data root, the first that is there. layout: what that has to hold. download: MB,
    approximate. md5: of published files, by their names in the first of the folders. get: how to get it where no
    command here downloads it; ``{root}`` is the data root. note: anything else.
    """

    kind: Literal["packaged", "generated", "hub", "torchvision", "local", "own"]
    licence: str
    splits: dict[str, int] = {}
    here: dict[str, int] = {}
    totals: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    masks: str = ""
    folders: tuple[str, ...] = ()
    layout: str = ""
    download: int = 0
    md5: dict[str, str] = {}
    page: str = ""
    get: str = ""
    note: str = ""
    citations: tuple[Citation, ...] = ()

    @property
    def paths(self) -> list[Path]:
        """The folders where it may lie."""
        return [data_root() / folder for folder in self.folders]

    @property
    def found(self) -> Path | None:
        """The folder that is there; None where none is."""
        return next((path for path in self.paths if path.is_dir()), None)

    @property
    def there(self) -> bool:
        """Whether there is anything of it here; what comes with packages or is generated always is."""
        return not self.folders or self.found is not None

    @property
    def downloads(self) -> bool:
        """Whether a command here downloads it."""
        return self.kind in ("hub", "torchvision")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole catalogue: publications by key, and data sets by name."""

    citations: dict[str, dict[str, Any]]
    data: dict[str, dict[str, Any]]


def facts_of(source: Source) -> Facts:
    """The facts of a registered data set; InputError for a user's own one that cannot be read."""
    return _of_own(source) if source.name.startswith(OWN) else _known()[source.name]


def every_name() -> list[str]:
    """Names of all data sets, the user's own ones last."""
    return [*DATA, *_own().names()]


@cache
def _known() -> dict[str, Facts]:
    file = convert(read_toml(FILE), _File, FILE.name)
    return {name: _facts(name, file) for name in file.data}


def _facts(name: str, file: _File) -> Facts:
    """A set's facts; what ``like`` names another one for has that one's where it has none itself."""
    told = dict(file.data[name])
    while "like" in told:
        told = {**file.data[told.pop("like")], **told}
    told["citations"] = [{"key": key, **file.citations[key]} for key in told.get("citations", ())]
    return convert(told, Facts, f"{FILE.name}: {name}")


def _own() -> Any:
    """The module that knows users' data sets; by name, because it has this package's sources as its own."""
    return import_module("benchmark.data.manifest")


def _of_own(source: Source) -> Facts:
    own = _own()
    manifest, attribute = own.read(source.name)
    counts = {split: manifest.count(split) for split in own.SPLITS}
    return Facts(
        "own",
        OWN_LICENCE,
        splits=counts,
        here=counts,
        classes=manifest.classes,
        attributes=manifest.attributes[attribute].values if attribute else (),
        folders=(str(manifest.folder),),
        layout=f"{len(manifest.files):,} pictures",
        get="give it again to amendbench bench --data",
    )
