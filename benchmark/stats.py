"""Statistics over clusters: pure functions of a few numbers, one a cluster.

A cluster is what is independent: a base model, that is a seed. Comparisons are of paired differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

#: The level of every test, and one minus that of every interval.
ALPHA = 0.05
#: Up to so many clusters all sign flips are counted; beyond, this many bits' worth of random ones.
EXACT = 16
#: Sums closer than that, in units of the largest difference, are equal: floating-point addition has an order.
ROUNDING = 1e-9


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
    half = _t_quantile(n - 1) * _standard_error(values)
    return Interval(mean, mean - half, mean + half, n)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p value of paired differences, one a cluster: the share of sign flips with a sum as far from 0.

    Exact under the hypothesis that every difference is as likely to be positive as negative (symmetric about 0), with
    no assumption on its distribution. All 2^n flips are counted up to n = 16; beyond, 65,536 random ones with
    a fixed seed, the observed one included (Phipson and Smyth, 2010). ValueError for no differences.
    """
    import numpy as np

    if not differences:
        raise ValueError("no differences")
    own = np.asarray(differences, dtype=np.float64)
    largest = float(np.abs(own).max())
    if largest == 0:
        return 1.0
    sums = np.abs(_flips(len(own)) @ (own / largest))
    return float((sums >= abs(float((own / largest).sum())) - ROUNDING).mean())


def _flips(n: int):  # type: ignore[no-untyped-def]
    """Signs, (flips, n): the first row has none flipped."""
    import numpy as np

    if n <= EXACT:
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(n).integers(0, 2, size=(2**EXACT, n))
        bits[0] = 0
    return 1.0 - 2.0 * bits


def smallest_p(n: int) -> float:
    """The smallest two-sided p value that sign flips of n clusters can give: all differences of one sign."""
    return 2.0 ** (1 - min(n, EXACT))


def can_reject(n: int, comparisons: int) -> bool:
    """Whether any of so many comparisons of n clusters could come out under 0.05, corrected for their number."""
    return n > 0 and comparisons * smallest_p(n) < ALPHA


def paired_t_p(differences: Sequence[float]) -> float:
    """Two-sided p value of Student's t test that paired differences have mean 0; ValueError for fewer than two.

    Where all are equal it is 0, or 1 where they are all 0.
    """
    n = len(differences)
    if n < 2:
        raise ValueError(f"{n} differences have no spread")
    mean = math.fsum(differences) / n
    if max(differences) == min(differences):
        return float(differences[0] == 0)
    error = _standard_error(differences)
    if error == 0:  # squares of differences that small are 0, and a p value has no scale
        largest = max(map(abs, differences))
        return paired_t_p([difference / largest for difference in differences])
    from scipy.special import stdtr

    return float(2 * stdtr(n - 1, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction (1979), in the order given: the probability of any false rejection stays below the level."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def linearised_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """The ratio of two means as a mean: one value a cluster, whose mean is the ratio and whose spread is its error.

    With R the ratio of the means, value i is R + (a_i - R b_i) / mean(b): the delta method's linearisation of paired
    a and b (the ratio estimator of survey sampling; Cochran, 1977, section 6.3). ``t_interval`` of the values is the
    ratio's interval. ValueError where the denominators' mean is 0 or there are none.
    """
    if not denominators or len(numerators) != len(denominators):
        raise ValueError(f"{len(numerators)} numerators for {len(denominators)} denominators")
    below = math.fsum(denominators) / len(denominators)
    if below == 0:
        raise ValueError("the denominators' mean is 0")
    ratio = math.fsum(numerators) / len(numerators) / below
    return [ratio + (a - ratio * b) / below for a, b in zip(numerators, denominators, strict=True)]


def ranks(losses: Sequence[float]) -> list[float]:
    """Ranks from 1, the lowest first; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    return [float(rank) for rank in rankdata(losses)]


def _standard_error(values: Sequence[float]) -> float:
    n, mean = len(values), math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)


def _t_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - ALPHA / 2))
