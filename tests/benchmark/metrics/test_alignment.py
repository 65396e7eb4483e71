"""Cosines between a concept vector and the shifts that an artefact causes, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.metrics.alignment import individual, overall

H = torch.tensor([1.0, 0.0])
DIAGONAL = torch.tensor([1.0, 1.0]) / math.sqrt(2)


def shifts(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows)


def test_by_hand() -> None:
    """cos: 1, 0.6 and 0; the mean shift is (4, 5) / 3."""
    moved = shifts((1.0, 0.0), (3.0, 4.0), (0.0, 1.0))
    assert individual(H, moved) == (pytest.approx(160 / 3), 3)
    assert overall(H, moved) == (pytest.approx(400 / math.sqrt(41)), 3)


def test_noise_that_differs_from_sample_to_sample_costs_each_of_them_and_not_the_mean() -> None:
    moved = shifts((1.0, 2.0), (1.0, -2.0))
    assert individual(H, moved) == (pytest.approx(100 / math.sqrt(5)), 2)
    assert overall(H, moved) == (pytest.approx(100.0), 2)
    rng = torch.Generator().manual_seed(0)
    noisy = H + torch.randn(500, 2, generator=rng)
    assert (individual(H, noisy).value or 0) < (overall(H, noisy).value or 0) - 20


def test_a_sample_that_moves_far_weighs_more_in_the_mean() -> None:
    moved = shifts((100.0, 0.0), (0.0, 1.0), (0.0, 1.0))
    assert individual(H, moved) == (pytest.approx(100 / 3), 3)
    assert (overall(H, moved).value or 0) > 99.9


def test_how_long_and_which_way() -> None:
    moved = shifts((2.0, 2.0), (5.0, 5.0))
    for measure in (individual, overall):
        assert measure(DIAGONAL, moved).value == pytest.approx(100.0)
        assert measure(7 * DIAGONAL, 3 * moved).value == pytest.approx(100.0)
        assert measure(-DIAGONAL, moved).value == pytest.approx(-100.0)
        assert measure(shifts((1.0, -1.0))[0], moved).value == pytest.approx(0.0, abs=1e-6)


def test_samples_that_do_not_move_are_left_out_of_the_samples_mean() -> None:
    moved = shifts((1.0, 0.0), (0.0, 0.0), (0.0, 2.0), (0.0, 0.0))
    assert individual(H, moved) == (pytest.approx(50.0), 2)
    assert overall(H, moved) == (pytest.approx(100 / math.sqrt(5)), 4)


def test_where_nothing_moves_there_is_no_direction() -> None:
    still = torch.zeros(3, 2)
    assert individual(H, still) == (None, 0)
    assert overall(H, still) == (None, 0)
    opposed = shifts((1.0, 0.0), (-1.0, 0.0))
    assert individual(H, opposed) == (pytest.approx(0.0, abs=1e-6), 2)
    assert overall(H, opposed) == (None, 0)


def test_tiny_shifts_have_a_direction_too() -> None:
    moved = 1e-6 * shifts((3.0, 4.0), (3.0, 4.0))
    assert individual(H, moved).value == pytest.approx(60.0)
    assert overall(H, moved).value == pytest.approx(60.0)
