"""ISIC 2017 in its official split: to have an artefact inserted, and with the coloured patches that it brings.

The files are those of ``isic-2017`` (``benchmark.data.isic``): 1,800 pictures for training, 121 for validation, 529 for
the test. Bissoto et al. (arXiv:2004.11457) annotated which of them show coloured patches: 128 training pictures, all
but two of them benign, 22 benign validation pictures, and no test picture.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmark.data.attacked import Attacked, Pair
from benchmark.data.biased import IMAGENET, checksum_of, shuffled
from benchmark.data.isic import BENIGN, CLASSES, FILES, SIZE, _read, kept_in, stored
from benchmark.data.kept import keep, restore
from benchmark.data.packaged import Dataset
from benchmark.data.patches import cut, paste, patch_mask
from benchmark.data.views import Samples
from benchmark.discovery.source import digest
from benchmark.environment import data_root
from benchmark.errors import InputError
from benchmark.seeding import generator

PLAIN, PATCHES = "isic-2017-official", "isic-2017-patches"
#: Positions in FILES: the official validation pictures are for selection.
TRAIN, SELECTION, TEST = range(len(FILES))
#: From how many pictures the patches are cut that held-out pictures get.
DONORS = {SELECTION: 4, TEST: 15}
#: Counts up when the same files would be decoded or pasted on differently.
FORMAT = 1

#: Tensors by name, as they are kept. Of all pictures in the order of the files: images, (N, 3, 224, 224) uint8; labels,
#: (N,) int64; patched, (N,) bool; official, (N,) int64, positions in FILES.
Tensors = dict[str, Tensor]


def isic_2017_official() -> Dataset:
    """Benign lesions and melanomas in the official split, for an artefact to be inserted.

    Real patches stay where they are. InputError where the files are not there, or not as they should be.
    """
    pictures = _pictures(PLAIN)
    train, selection, test = (shuffled(_samples(pictures, _positions(pictures, split))) for split in range(len(FILES)))
    return Dataset(PLAIN, train, selection, test, len(CLASSES))


def isic_2017_patches() -> Attacked:
    """Real coloured patches, which in the official training set stand for benign lesions; pasted where it is tested.

    The held-out pictures are the official ones without a patch, once as they are and once with one pasted. Patches come
    from pictures that are used for nothing else: benign validation pictures that show one, and only if those are too
    few, training pictures. A training picture's mask is where a patch is found by its colour, and empty where it is
    not. InputError as for the official split, or where too few patches can be cut.
    """
    pictures = _pictures(PATCHES)
    made = _made(pictures)
    positions = _for_training(pictures, made)
    patched = pictures["patched"][positions].long()
    train = shuffled(replace(_samples(pictures, positions), attributes=patched, masks=made["train.masks"]))
    assert train.attributes is not None
    clean = replace(train, masks=None).subset((train.attributes == 0).nonzero().squeeze(1))
    selection, test = (_pair(pictures, made, split) for split in (SELECTION, TEST))
    checksum = checksum_of(train, selection.clean, selection.attacked, test.clean, test.attacked)
    origin = _origin(pictures, made, train)
    return Attacked(train, train, clean, selection, test, CLASSES, BENIGN, (), checksum, origin)


def _samples(pictures: Tensors, positions: Tensor) -> Samples:
    return Samples(pictures["images"][positions], pictures["labels"][positions], *IMAGENET)


def _pair(pictures: Tensors, made: Tensors, split: int) -> Pair:
    """Both halves in the same order."""
    clean = _samples(pictures, _hosts(pictures, split))
    name = FILES[split]
    attacked = replace(clean, images=made[f"{name}.images"], masks=made[f"{name}.masks"])
    return Pair(shuffled(clean), shuffled(attacked))


def _positions(pictures: Tensors, split: int) -> Tensor:
    """All pictures of an official split."""
    return (pictures["official"] == split).nonzero().squeeze(1)


def _hosts(pictures: Tensors, split: int) -> Tensor:
    """The pictures of an official split that show no patch."""
    return ((pictures["official"] == split) & ~pictures["patched"]).nonzero().squeeze(1)


def _for_training(pictures: Tensors, made: Tensors) -> Tensor:
    """The official training pictures of which no patch is cut."""
    positions = _positions(pictures, TRAIN)
    return positions[~torch.isin(positions, _donors_of(made))]


def _donors_of(made: Tensors) -> Tensor:
    return torch.cat([made[f"{FILES[split]}.donors"] for split in DONORS])


def _origin(pictures: Tensors, made: Tensors, train: Samples) -> str:
    """How the splits came about, with the numbers of what is semi-synthetic."""
    assert train.attributes is not None
    assert train.masks is not None
    real, found = train.labels[train.attributes == 1], int(train.masks.flatten(1).any(1).sum())
    donors, held = _donors_of(made), pictures["official"] != TRAIN
    spent = int((~held[donors]).sum())
    left = int((pictures["patched"] & held).sum()) - (len(donors) - spent)
    return (
        f"the official split; {len(real)} of {len(train):,} training pictures show a real patch, "
        f"{int((real == BENIGN).sum())} of them benign; on {found} of them its mask was found by colour. Attacked "
        f"pictures are semi-synthetic: on every held-out picture without a patch one of another picture was pasted, on "
        f"{' and on '.join(_pasting(pictures, split) for split in DONORS)}. The {len(donors)} donors, {spent} of them "
        f"from the training set, are benign and used for nothing else; {left} other held-out pictures with a real "
        "patch are left out"
    )


def _pasting(pictures: Tensors, split: int) -> str:
    """How often patches are pasted in a split; donors take turns."""
    hosts, donors = len(_hosts(pictures, split)), DONORS[split]
    least, most = hosts // donors, -(-hosts // donors)
    times = f"{least}" if least == most else f"{least} or {most}"
    return f"{hosts} {FILES[split]} pictures those of {donors} donors, {times} times each"


# What is decoded and pasted once.


def _pictures(name: str) -> Tensors:
    """All pictures, for both data sets; InputError where a class is missing in a split of the data set ``name``."""
    files = stored(name)
    path = kept_in(files, FORMAT, "isic-2017 pictures", SIZE)
    tensors = restore(path)
    if tensors is None:
        read = _read(files)
        images = torch.from_numpy(read.images).movedim(-1, 1).contiguous()
        others = {what: torch.from_numpy(getattr(read, what)) for what in ("labels", "patched", "official")}
        tensors = {"images": images, **others}
        keep(path, tensors)
    for split, held in enumerate(FILES):
        for label, lesion in enumerate(CLASSES):
            if not (tensors["labels"][_hosts(tensors, split)] == label).any():
                where = f"{data_root()} have no picture of class {lesion} without a patch in {held}-*.parquet"
                raise InputError(f"data set {name}: the files in {where}; complete them")
    return tensors


def _made(pictures: Tensors) -> Tensors:
    """What is found and pasted: donors, masks of training pictures, and images and masks of attacked ones; kept."""
    path = kept_in(stored(PATCHES), FORMAT, PATCHES, SIZE, DONORS, digest("benchmark.data.patches"))
    made = restore(path)
    if made is None:
        made = _donors(pictures)
        for split in DONORS:
            images, masks = _pasted(pictures, split, made[f"{FILES[split]}.donors"])
            made |= {f"{FILES[split]}.images": images, f"{FILES[split]}.masks": masks}
        made["train.masks"] = _masks(pictures, _for_training(pictures, made))
        keep(path, made)
    return made


def _picture(pictures: Tensors, position: int) -> np.ndarray:
    """(224, 224, 3) uint8."""
    return pictures["images"][position].movedim(0, -1).contiguous().numpy()


def _donors(pictures: Tensors) -> Tensors:
    """Positions of benign pictures whose patches can be cut cleanly, for each held-out split; training ones last."""
    candidates = (pictures["patched"] & (pictures["labels"] == BENIGN)).nonzero().squeeze(1)
    candidates = candidates[torch.randperm(len(candidates), generator=generator(0, "data", PATCHES, "donors"))]
    candidates = candidates[(pictures["official"][candidates] == TRAIN).long().argsort(stable=True)]
    areas: dict[int, int] = {}
    for position in candidates.tolist():
        if len(areas) < sum(DONORS.values()) and (area := int(patch_mask(_picture(pictures, position)).sum())):
            areas[position] = area
    if len(areas) < sum(DONORS.values()):
        raise InputError(
            f"data set {PATCHES}: of {len(candidates)} benign pictures with a patch only {len(areas)} have one that "
            f"can be cut cleanly, {sum(DONORS.values())} are needed; complete the files in {data_root()}"
        )
    return _shared(torch.tensor(sorted(areas, key=areas.__getitem__)))


def _shared(donors: Tensor) -> Tensors:
    """The donors, which come by the size of their patches, divided so that either split has small and large ones."""
    few = DONORS[SELECTION]
    chosen = torch.zeros(len(donors), dtype=torch.bool)
    chosen[((torch.arange(few) + 0.5) * len(donors) / few).long()] = True
    return {f"{FILES[SELECTION]}.donors": donors[chosen], f"{FILES[TEST]}.donors": donors[~chosen]}


def _pasted(pictures: Tensors, split: int, donors: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 224, 224) and masks (n, 224, 224) of the split's pictures without a patch, one pasted on each."""
    rng = generator(0, "data", PATCHES, "paste", FILES[split])
    sources = [_picture(pictures, position) for position in donors.tolist()]
    patches = [cut(source, patch_mask(source)) for source in sources]
    hosts = _hosts(pictures, split).tolist()
    both = [paste(_picture(pictures, host), patches[k % len(patches)], rng) for k, host in enumerate(hosts)]
    images, masks = (torch.from_numpy(np.stack(part)) for part in zip(*both, strict=True))
    return images.movedim(-1, 1).contiguous(), masks


def _masks(pictures: Tensors, positions: Tensor) -> Tensor:
    """(n, 224, 224) bool: where a patch is found on pictures that are annotated with one, False elsewhere."""
    masks = torch.zeros(len(positions), SIZE, SIZE, dtype=torch.bool)
    for row, position in enumerate(positions.tolist()):
        if pictures["patched"][position]:
            masks[row] = torch.from_numpy(patch_mask(_picture(pictures, position)))
    return masks
