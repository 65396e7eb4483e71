"""Statistics over clusters: pure functions of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean with its 95 % interval; the bounds are None for fewer than two clusters."""

    mean: float
    low: float | None
    high: float | None
    n: int


def t_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % Student t interval of independent values, one a cluster (ddof 1); ValueError for none.

    Where all values are equal (a floor or a ceiling) the interval has zero width: it then says that no spread was
    seen among n clusters, not that there is none.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    mean = math.fsum(values) / n
    if n < 2:
        return Interval(mean, None, None, n)
    if max(values) == min(values):
        return Interval(values[0], values[0], values[0], n)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = _t_quantile(n - 1) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def _t_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 0.975))
