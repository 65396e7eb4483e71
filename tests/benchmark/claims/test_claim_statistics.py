"""What checks compute, on numbers with known answers."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.claims.checks import Bound
from benchmark.claims.statistics import decide, mean, median_of, paired, ratio, trend
from benchmark.stats import Interval


def limit(**limits: Any) -> Bound:
    return Bound(method="m", metric="tow", suite="smoke", scenarios=["digits"], **limits)


@pytest.mark.parametrize(
    ("low", "high", "limits", "says"),
    [
        (1.0, 2.0, {"above": 0.5}, "holds"),
        (1.0, 2.0, {"above": 1.0}, "undecided"),  # one end is at the threshold, and strictly above is asked
        (1.0, 2.0, {"least": 1.0}, "holds"),
        (1.0, 2.0, {"least": 1.5}, "undecided"),
        (1.0, 2.0, {"least": 2.5}, "fails"),
        (1.0, 2.0, {"above": 2.0}, "fails"),
        (1.0, 2.0, {"most": 2.0}, "holds"),
        (1.0, 2.0, {"below": 2.0}, "undecided"),
        (1.0, 2.0, {"below": 1.0}, "fails"),
        (1.0, 2.0, {"least": 2.5, "tolerance": 1.5}, "holds"),
        (1.0, 2.0, {"most": 0.5, "tolerance": 1.0}, "undecided"),
        (1.0, 2.0, {"least": 0.0, "most": 3.0}, "holds"),
        (1.0, 2.0, {"least": 0.0, "most": 1.5}, "undecided"),
        (1.0, 2.0, {"least": 3.0, "most": 4.0}, "fails"),
        (1.0, 4.0, {"least": 2.0, "most": 3.0}, "undecided"),  # beyond both, wholly beyond neither
        (0.0, 0.0, {"above": 0.0}, "fails"),  # no difference at all is not better
        (0.0, 0.0, {"most": 0.0}, "holds"),
    ],
)
def test_an_interval_and_limits(low: float, high: float, limits: dict[str, float], says: str) -> None:
    assert decide(Interval((low + high) / 2, low, high, 5), limit(**limits)) == says


def test_no_interval_says_nothing() -> None:
    assert decide(None, limit(above=0)) == "missing"
    assert decide(Interval(5.0, None, None, 1), limit(above=0)) == "missing"


def test_differences_are_of_seeds_that_both_have() -> None:
    found = paired({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.5, 0: 0.5, 7: 3.0})
    assert found == Interval(0.5, 0.5, 0.5, 2)
    assert paired({0: 1.0}, {1: 1.0}) is None
    assert mean({}) is None


def test_the_median_is_taken_within_a_seed() -> None:
    assert median_of([{0: 1.0, 1: 9.0}, {0: 2.0, 1: 8.0}, {0: 3.0, 1: 1.0, 2: 5.0}]) == {0: 2.0, 1: 8.0}
    assert median_of([{0: 1.0}, {0: 2.0}]) == {0: 1.5}
    assert median_of([]) == {}


def test_a_ratio_is_that_of_the_means() -> None:
    found = ratio({0: 1.0, 1: 3.0}, {0: 2.0, 1: 2.0})
    assert found is not None
    assert found.mean == 1.0
    same = ratio({0: 1.0, 1: 3.0}, {0: 2.0, 1: 6.0})
    assert same == Interval(0.5, 0.5, 0.5, 2)
    assert ratio({0: 1.0}, {0: 0.0}) is None
    assert ratio({0: 1.0}, {1: 1.0}) is None


def test_a_trend_is_a_rank_correlation_a_seed() -> None:
    up = [(1.0, 5.0), (2.0, 6.0), (10.0, 100.0)]
    assert trend({0: up, 1: up}) == Interval(1.0, 1.0, 1.0, 2)
    found = trend({0: up, 1: [(x, -y) for x, y in up]})
    assert found is not None
    assert found.mean == 0.0
    assert trend({0: [(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]}) == Interval(0.0, None, None, 1)
    assert trend({0: [(1.0, 5.0), (2.0, 6.0)]}) is None
    assert trend({0: [(1.0, 5.0), (1.0, 6.0), (2.0, 7.0)]}) is None  # two places, however many values


def test_a_trend_shares_ranks_among_equals() -> None:
    found = trend({0: [(1.0, 1.0), (2.0, 1.0), (3.0, 2.0)], 1: [(1.0, 1.0), (2.0, 1.0), (3.0, 2.0)]})
    assert found is not None
    assert found.mean == pytest.approx(0.866025, abs=1e-6)  # SciPy's spearmanr of the same
