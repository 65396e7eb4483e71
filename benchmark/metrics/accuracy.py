"""Accuracy of a group of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.contracts import Measured

HALF = torch.finfo(torch.float16)


def rounded(logits: Tensor) -> Tensor:
    """Logits as they are kept beside the record (float16, clipped), so that kept ones give the same metrics."""
    return logits.clamp(HALF.min, HALF.max).half().float()


def accuracy(logits: Tensor, labels: Tensor) -> Measured:
    """Percent of rows of ``logits`` (N, C) whose largest entry is the label (N,); None for no rows.

    A row with an entry that is not a number counts as wrong.
    """
    n = len(labels)
    if n == 0:
        return Measured(None, 0)
    right = (logits.argmax(1) == labels) & ~logits.isnan().any(1)
    return Measured(100.0 * float(right.sum()) / n, n)
