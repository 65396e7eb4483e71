"""Intervals against SciPy, and what they cover in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmark.stats import t_interval


@pytest.mark.parametrize("values", [[1.0, 2.0], [90.5, 91.0, 97.25], [0.1] * 4 + [0.9], list(range(10))])
def test_t_interval_is_scipys(values: list[float]) -> None:
    found = t_interval(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.n == len(values)


def test_one_value_has_no_bounds_and_none_is_an_error() -> None:
    assert t_interval([3.5]) == (3.5, None, None, 1)
    with pytest.raises(ValueError, match="no values"):
        t_interval([])


def test_equal_values_have_an_interval_of_zero_width() -> None:
    assert t_interval([100.0] * 3) == (100.0, 100.0, 100.0, 3)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_coverage_of_normal_data(n: int) -> None:
    """The nominal 95 % are reached: 8,000 simulated boards, standard error 0.24 points."""
    draws = np.random.default_rng(n).normal(70.0, 3.0, size=(8_000, n))
    covered = 0
    for row in draws.tolist():
        interval = t_interval(row)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 70.0 <= interval.high
    assert abs(100 * covered / len(draws) - 95) < 1.5
