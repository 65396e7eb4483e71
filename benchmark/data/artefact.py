"""What artefact a classifier has learnt to take for a class, and which images carry it. Imports no torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from benchmark.data import Source

#: Artefacts that touch a part of the image only, so that a mask says where.
LOCALISED = ("timestamp", "patch", "natural")


class Artefact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An artefact that is inserted into 8-bit images, and the shares of training samples that carry it.

    ``lsb-text``: text in the ``bits`` least significant bits of every pixel; ``brightness``: a blend with white,
    I' = (1 - strength) I + strength 255; ``timestamp``: date and time in a corner, ``scale`` times as wide as half of
    the image; ``patch``: a square of one colour in a corner, ``scale`` times a fifth of the image's side. ``natural``:
    the data set brings its artefact.

    ``rate`` of the biased class's training samples carry it, and ``elsewhere`` of every other class's. With the
    probability ``backdoor`` a training sample of any class gets the artefact and the biased class's label.
    ``legitimate``: two other classes, whose images are dealt at random, are told apart by the artefact alone; what is
    labelled the first of them always carries it, in the test set, too, and neither is attacked.
    """

    kind: Literal["lsb-text", "brightness", "timestamp", "patch", "natural"]
    rate: float = 0.0
    elsewhere: float = 0.0
    backdoor: float = 0.0
    bits: int = 3
    strength: float = 0.3
    scale: float = 1.0
    legitimate: bool = False

    @property
    def localised(self) -> bool:
        return self.kind in LOCALISED

    def check(self, name: str, source: Source) -> None:
        """ValueError unless the data set ``name`` can be given this artefact."""
        if (self.kind == "natural") != bool(source.artefact):
            has = "brings its own" if source.artefact else "brings none"
            raise ValueError(f"artefact.kind is {self.kind!r}, but data set {name} {has}")
        if self.kind == "natural":
            if self != Artefact("natural"):
                raise ValueError(f"artefact of {name} cannot be chosen: it brings its own")
            return
        if len(source.shape) != 3 or source.attributes:
            raise ValueError(f"artefact: {name} is not a plain set of images")
        for field in ("rate", "elsewhere", "backdoor", "strength"):
            value = getattr(self, field)
            if not 0 <= value <= 1:
                raise ValueError(f"artefact.{field} must be between 0 and 1, not {value}")
        if not self.elsewhere < self.rate < 1:
            raise ValueError(f"artefact.rate must be above elsewhere ({self.elsewhere}) and below 1, not {self.rate}")
        if not 1 <= self.bits <= 8:
            raise ValueError(f"artefact.bits must be 1 to 8, not {self.bits}")
        if not 0 < self.scale <= 2:
            raise ValueError(f"artefact.scale must be above 0 and at most 2, not {self.scale}")
        if self.legitimate and source.num_classes < 4:
            raise ValueError(f"artefact.legitimate needs four classes or more, not the {source.num_classes} of {name}")
