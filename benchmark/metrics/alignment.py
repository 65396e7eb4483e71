"""How well a concept vector points where an artefact moves activations (arXiv:2308.09437, eq. 8)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from benchmark.contracts import Measured


def individual(h: Tensor, shifts: Tensor) -> Measured:
    """Mean over samples of cos(h, Delta a(x)) in percent, for h (C,) and the known shifts (N, C).

    Samples that the artefact does not move have no direction and are left out.
    """
    moved = shifts[shifts.norm(dim=1) > 0].double()
    if not len(moved):
        return Measured(None, 0)
    return Measured(100 * float(F.cosine_similarity(moved, h[None, :].double()).mean()), len(moved))


def overall(h: Tensor, shifts: Tensor) -> Measured:
    """cos(h, mean over samples of Delta a(x)) in percent; blank where nothing moves on average."""
    mean = shifts.double().mean(0)
    if not float(mean.norm()):
        return Measured(None, 0)
    return Measured(100 * float(F.cosine_similarity(mean, h.double(), dim=0)), len(shifts))
