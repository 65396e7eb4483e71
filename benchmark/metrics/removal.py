"""What is gone from a generator, as a judge of its images sees it, and how often that judge is wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.contracts import Measured


def pul(before: Tensor, after: Tensor) -> Measured:
    """Percentage of undesired images removed (Adapt then Unlearn, arXiv:2309.14054): 100 (B - A) / B.

    before, after: (N,) bool, whether the original and the amended generator make something undesired of each of the
    same N latents; B and A count them, latents that became undesired included, so that it is negative where more are
    undesired than before. Blank where none was. ValueError for other shapes.
    """
    _check(before, after)
    had, has = int(before.sum()), int(after.sum())
    return Measured(100.0 * (had - has) / had if had else None, len(before))


def at_quality(removed: Measured, fid: Measured, filtered: Measured) -> Measured:
    """PUL times min(1, FID of the filtered original / FID): what is removed, discounted by what it costs.

    The filtered original are the original's images that are not judged undesired: the quality that removal alone would
    leave. Against the unfiltered one, whose undesired images are part of its distance, damage would go unseen. A
    negative PUL stays as it is; blank where one of the three is.
    """
    if removed.value is None or fid.value is None or filtered.value is None:
        return Measured(None, removed.n)
    share_kept = 1.0 if fid.value <= filtered.value or removed.value < 0 else filtered.value / fid.value
    return Measured(removed.value * share_kept, removed.n)


def share(undesired: Tensor) -> Measured:
    """Percent of (N,) bool that are true; blank for none."""
    _check(undesired, undesired)
    n = len(undesired)
    return Measured(100.0 * int(undesired.sum()) / n if n else None, n)


def error_rate(said: Tensor, true: Tensor) -> Measured:
    """Percent of real images of which a judge says, (N,) bool, what is not true of them, (N,) bool; blank for none."""
    _check(said, true)
    return share(said != true.to(said.device))


def false_rates(said: Tensor, true: Tensor) -> tuple[Measured, Measured]:
    """Percent of desired images that are judged undesired, and of undesired ones that are judged desired.

    said, true: (N,) bool, whether an image is undesired. The n are numbers of desired and of undesired images; blank
    where there is none of them.
    """
    _check(said, true)
    true = true.to(said.device)
    return share(said[~true]), share(~said[true])


def _check(one: Tensor, other: Tensor) -> None:
    for tensor in (one, other):
        if tensor.dim() != 1 or tensor.dtype != torch.bool or len(tensor) != len(one):
            kinds = " and ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in (one, other))
            raise ValueError(f"judgements must be bool, one of each image, not {kinds}")


def ratio(after: Measured, before: Measured) -> Measured:
    """One distance over another; blank where that is none to speak of: a kernel distance may be 0 or less."""
    if after.value is None or before.value is None or before.value <= 0:
        return Measured(None, after.n)
    return Measured(after.value / before.value, after.n)
