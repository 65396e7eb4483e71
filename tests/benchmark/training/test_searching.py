"""Searches of two factors: which points they visit, and that they are what they say."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from benchmark.errors import InputError
from benchmark.training.searching import STARTUP, Search, at, bayesian, grid, random_points

BOX = {"width": (-1.0, 1.0), "height": (2.0, 5.0)}
Points = list[tuple[float, float]]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hill(one: float, other: float) -> float:
    """Highest at 0.1 ** 0.5 and 10 ** 3."""
    return -((math.log10(one) + 0.5) ** 2) - (math.log10(other) - 3) ** 2


def visited(search: Search) -> Points:
    points: Points = []

    def score(one: float, other: float) -> float:
        points.append((one, other))
        return hill(one, other)

    search(score)
    return points


def test_shares_of_the_way_are_of_the_logarithms() -> None:
    assert [at(share, (-1.0, 3.0)) for share in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.1, 1.0, 10.0, 1000.0])


def test_the_grid_has_the_middles_of_equal_parts_row_by_row() -> None:
    assert visited(grid(BOX, 1)) == [pytest.approx((1.0, 10**3.5))]
    expected = [(10**one, 10**other) for one in (-0.5, 0.5) for other in (2.75, 4.25)]
    assert visited(grid(BOX, 4)) == [pytest.approx(point) for point in expected]


@pytest.mark.parametrize("evaluations", [2, 8, 10, 24])
def test_a_grid_is_square(evaluations: int) -> None:
    with pytest.raises(InputError, match=f"must be a square number, not {evaluations}"):
        grid(BOX, evaluations)


def test_random_points_are_log_uniform() -> None:
    points = visited(random_points(BOX, 4_000, seeded()))
    assert len(set(points)) == 4_000
    for logarithms, (low, high) in zip(torch.tensor(points).log10().T, BOX.values(), strict=True):
        assert low <= logarithms.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < logarithms.max() <= high
        thirds = ((logarithms - low) / (high - low) * 3).long().clamp(max=2).bincount()
        assert (thirds - 4_000 / 3).abs().max() < 120  # four standard deviations
    assert visited(random_points(BOX, 5, seeded())) == visited(random_points(BOX, 5, seeded()))
    assert visited(random_points(BOX, 5, seeded())) != visited(random_points(BOX, 5, seeded(1)))


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_bayesian_optimisation_stays_in_the_box_and_climbs(sampler: str) -> None:
    pytest.importorskip("optuna")
    points = visited(bayesian(BOX, 16, sampler, 3))
    assert len(points) == 16
    for point in points:
        assert all(10**low <= factor <= 10**high for factor, (low, high) in zip(point, BOX.values(), strict=True))
    scores = [hill(*point) for point in points]
    assert max(scores[STARTUP:]) > max(scores[:STARTUP])
    assert visited(bayesian(BOX, 6, sampler, 3 + 2**32)) == points[:6]
    assert visited(bayesian(BOX, 6, sampler, 4)) != points[:6]


def test_searches_that_cannot_be_are_refused_before_anything_is_scored() -> None:
    for evaluations in (0, -1):
        for make in (
            lambda n: grid(BOX, n),
            lambda n: random_points(BOX, n, seeded()),
            lambda n: bayesian(BOX, n, "tpe", 0),
        ):
            with pytest.raises(InputError, match=f"evaluations must be at least 1, not {evaluations}"):
                make(evaluations)
    with pytest.raises(InputError, match="unknown sampler 'tp'; did you mean tpe"):
        bayesian(BOX, 1, "tp", 0)


def test_without_optuna_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match="install the extra tune"):
        bayesian(BOX, 1, "tpe", 0)
