"""ImageNet for class forgetting: a sample of the training photographs, the same number of every class.

Departures from the class-forgetting paper (arXiv:2312.00761), which draws from all 1,281,167: the training set is 50
photographs of each class, 50,000 together, which is as many as the paper's attack reads at most; of the class to be
forgotten its method reads up to 999 and has these 50. Ten others of each class are for selection. The test set is all
of the validation set. As in the paper a photograph is resized to 224x224 without a crop.

Read from ``<AMENDBENCH_DATA>/imagenet``, as for ``imagenet-tench``. Decoded photographs take 16.6 GB of the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from benchmark.data import correction
from benchmark.data.biased import IMAGENET
from benchmark.data.correction import SELECTION, TEST, TRAIN, mixed
from benchmark.data.natural import Entry, Published
from benchmark.data.packaged import Dataset
from benchmark.errors import InputError

#: Photographs of each class for training and for selection.
TRAINING, SELECTED = 50, 10

PHOTOGRAPHS = Published("imagenet")


def imagenet() -> Dataset:
    """The photographs, in an order of which nothing can be told; labels are the positions of the sorted wnids.

    InputError where ImageNet is missing, lacks classes, or a class has too few photographs.
    """
    root = PHOTOGRAPHS.found()
    wnids = correction._wnids(root)
    entries = _sampled(correction._pictures(root, "train", wnids), wnids)
    test = (entry._replace(split=TEST) for entry in correction._pictures(root, "val", wnids))
    return correction._plain(PHOTOGRAPHS, root, mixed(PHOTOGRAPHS.name, [*entries, *test]), *IMAGENET)


def _sampled(entries: Iterable[Entry], wnids: Sequence[str]) -> Iterator[Entry]:
    """TRAINING and SELECTED photographs of each class, drawn from those of the class; they come class by class."""
    for label, alike in groupby(entries, attrgetter("label")):
        wnid = wnids[label]
        drawn = mixed(f"imagenet {wnid}", list(alike))[: TRAINING + SELECTED]
        if len(drawn) < TRAINING + SELECTED:
            raise InputError(
                f"class {wnid} has {len(drawn)} training photographs *.JPEG; {TRAINING + SELECTED} are needed: "
                "put all of the class's there"
            )
        for k, entry in enumerate(drawn):
            yield entry._replace(split=TRAIN if k < TRAINING else SELECTION)
