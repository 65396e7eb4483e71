"""CelebA's collar, the natural artefact of RR-ClArC (arXiv:2308.09437): few blond people wear one, with a necktie.

Read from where torchvision lays CelebA out, below AMENDBENCH_DATA, like celeba-blond; it is not downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.attacked import Attacked, Pair
from benchmark.data.biased import IMAGENET
from benchmark.data.correction import SELECTION, TEST, TRAIN, dealt, mixed, unique
from benchmark.data.natural import CELEBA, Entry, aligned, celebrities, in_order, parted, photographs
from benchmark.data.views import Samples
from benchmark.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

BLOND = 1
#: Every so-manyth picture is used, and every so-manyth of those who are blond and wear a necktie is for training.
EVERY = 10
#: What the rows hold, in this order: what is trained on without a necktie is there twice, for it is not to be told by
#: its place from what has one.
PARTS = ("training", "clean training", "clean selection", "attacked selection", "clean test", "attacked test")

COLLAR = replace(CELEBA, name="celeba-collar", attributes=("no necktie", "necktie"), origin="")


def celeba_collar() -> Attacked:
    """Blond or not, and the annotation Wearing_Necktie: all of a picture as 224x224, for a collar is at its lower edge.

    A tenth of CelebA and all who are blond and wear a necktie. Of the latter a tenth is for training and the others are
    halved to selection and test, as is a fifth of everybody else. Attacked pictures are those with a necktie and clean
    ones the others: different pictures, of both classes, without masks. The official partition is not used.
    """
    root = COLLAR.found()
    entries = in_order(COLLAR, _parts(mixed(COLLAR.name, _people(root))), PARTS)
    parts, checksum = parted(entries, photographs(COLLAR, root, entries, _whole), *IMAGENET)
    train, clean = parts[:2]
    selection, test = Pair(*parts[2:4]), Pair(*parts[4:])
    origin = _origin(train, selection, test)
    return Attacked(train, train, clean, selection, test, COLLAR.classes, BLOND, (), checksum, origin, paired=False)


def _people(root: Path) -> list[Entry]:
    """Who is used, in which split."""
    path = root / "list_attr_celeba.txt"
    everybody = list(celebrities(root, "Blond_Hair", "Wearing_Necktie"))
    unique(path, "picture", [entry.content for entry in everybody])
    wearing = [entry for entry in everybody if _is_biased(entry)]
    if len(wearing) < 3:
        raise InputError(f"{path}: {len(wearing)} people are blond and wear a necktie; three splits need one each")
    others = [entry for entry in everybody[::EVERY] if not _is_biased(entry)]
    held = mixed("celeba-collar wearing", [entry for k, entry in enumerate(wearing) if k % EVERY])
    half = len(held) // 2
    return [
        *dealt("celeba-collar others", others, TEST, SELECTION),
        *wearing[::EVERY],
        *(entry._replace(split=SELECTION) for entry in held[:half]),
        *(entry._replace(split=TEST) for entry in held[half:]),
    ]


def _is_biased(entry: Entry) -> bool:
    return (entry.label, entry.attribute) == (BLOND, 1)


def _parts(people: Iterable[Entry]) -> Iterator[Entry]:
    """Entries whose split is a position in PARTS; what is clean training is training as well."""
    for entry in people:
        if entry.split != TRAIN:
            first = PARTS.index("clean selection" if entry.split == SELECTION else "clean test")
            yield entry._replace(split=first + entry.attribute)
            continue
        yield entry._replace(split=PARTS.index("training"))
        if not entry.attribute:
            yield entry._replace(split=PARTS.index("clean training"))


def _whole(picture: Image) -> Image:
    """All of the picture, squeezed by the bicubic filter as in the paper."""
    from PIL.Image import Resampling

    return aligned(picture).resize((224, 224), Resampling.BICUBIC)


def _origin(train: Samples, selection: Pair, test: Pair) -> str:
    """What a reader must know, with the numbers."""
    assert train.attributes is not None
    blond = train.labels == BLOND
    held = [
        f"{len(pair.clean):,} and {len(pair.attacked):,} ({int((pair.attacked.labels == BLOND).sum())} of them blond)"
        for pair in (selection, test)
    ]
    return (
        "photographs as they are, with annotators' hair and neckties, which stand for collars. Of "
        f"{int(blond.sum()):,} blond training pictures {int((blond & (train.attributes == 1)).sum())} have a necktie. "
        f"Clean and attacked pictures are different ones, {held[0]} for selection, {held[1]} in the test set: part of "
        "what differs between the two is not the collar's doing"
    )
