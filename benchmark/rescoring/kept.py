"""Arrays beside a record as what they stand for: outputs, labels, masks, each checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchmark.running.arrays import ArraysError

#: Samples of which outputs are scored: attacks on more would take minutes.
MOST_SAMPLES = 500_000


class Kept:
    """Typed access to the arrays of one record; ArraysError for one that is missing or is not what it should be."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def logits(self, name: str, num_classes: int) -> Tensor:
        """(N, C) float32, as they were scored: N of at least 1; what is no number is NaN."""
        found = self._typed(name, "f", 2)
        if found.shape[1] != num_classes or not 0 < len(found) <= MOST_SAMPLES:
            raise ArraysError(
                f"{name} has shape {found.shape}, not 1 to {MOST_SAMPLES:,} rows of {num_classes} classes"
            )
        return torch.from_numpy(found).float()

    def values(self, name: str, *, integer: bool = False) -> Tensor:
        """(N,) float64, or int64."""
        found = torch.from_numpy(self._typed(name, "i" if integer else "f", 1))
        return found.long() if integer else found.double()

    def labels(self, name: str, n: int, num_classes: int) -> Tensor:
        """(n,) int64 from 0 to below ``num_classes``."""
        found = self.values(name, integer=True)
        if len(found) != n:
            raise ArraysError(f"{name} has {len(found)} entries, not {n}")
        if n and not 0 <= int(found.min()) <= int(found.max()) < num_classes:
            raise ArraysError(f"{name} has a label that is not 0 to {num_classes - 1}")
        return found

    def mask(self, name: str, n: int | None = None) -> Tensor:
        """(n,) bool."""
        found = torch.from_numpy(self._typed(name, "b", 1))
        if n is not None and len(found) != n:
            raise ArraysError(f"{name} has {len(found)} entries, not {n}")
        return found

    def number(self, name: str) -> int:
        """A single integer."""
        return int(self._typed(name, "i", 0))

    def _typed(self, name: str, kind: str, dimensions: int) -> np.ndarray:
        if name not in self.arrays:
            raise ArraysError(f"array {name} is missing")
        found = self.arrays[name]
        if found.dtype.kind != kind or found.ndim != dimensions:
            raise ArraysError(f"array {name} is {found.dtype} of shape {found.shape}, which it cannot be")
        return found
