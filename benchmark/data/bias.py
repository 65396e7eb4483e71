"""How a data set gets its bias: an attribute that goes together with the label. Imports no torch."""

from __future__ import annotations

from typing import Literal

import msgspec

from benchmark.data import Source


class Bias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a data set biased.

    ``natural``: it brings its attribute. ``colour``: grey images are coloured, one colour a class; ``corruption``:
    photographs are corrupted, one kind a class. There ``conflicting`` is the share of each class's training samples
    whose attribute is another class's, spread equally over those; in the test set all attributes are equally
    frequent. ``holdout`` of the training samples are held out for selection, with the same bias, where the data set
    has no selection split of its own. ``halves``: the label is only whether the class is of the upper half, and there
    are two colours. ``every_attribute``: each test sample is there once with every attribute.
    """

    kind: Literal["natural", "colour", "corruption"] = "natural"
    conflicting: float = 0.0
    severity: int = 4
    holdout: int = 0
    halves: bool = False
    every_attribute: bool = False

    def check(self, name: str, source: Source) -> None:
        """ValueError unless the data set ``name`` can be given this bias."""
        if self.kind == "natural":
            if not source.attributes:
                raise ValueError(
                    f"bias.kind must be colour or corruption for {name}, which has no attribute of its own"
                )
            if self != Bias():
                raise ValueError(f"bias of {name} cannot be chosen: it brings its own")
            return
        if source.attributes:
            raise ValueError(f"bias.kind must be natural for {name}, which brings its attribute, not {self.kind!r}")
        if self.kind == "colour" and not (len(source.shape) == 3 and source.shape[0] == 1):
            raise ValueError(f"bias.kind colour needs grey images, not those of {name} ({source.shape})")
        if self.kind == "corruption" and source.shape != (3, 32, 32):
            raise ValueError(f"bias.kind corruption needs 32x32 photographs, not those of {name} ({source.shape})")
        if self.kind == "corruption" and (self.halves or source.num_classes != 10):
            raise ValueError(f"bias.kind corruption needs the ten classes of {name}, one for each kind of corruption")
        if not 0 < self.conflicting < 1:
            raise ValueError(f"bias.conflicting must be between 0 and 1, not {self.conflicting}")
        if self.severity not in range(1, 6):
            raise ValueError(f"bias.severity must be 1 to 5, not {self.severity}")
        if (self.holdout > 0) == source.selection or self.holdout < 0:
            has = "has" if source.selection else "has no"
            raise ValueError(f"bias.holdout is {self.holdout}, but {name} {has} selection split of its own")
