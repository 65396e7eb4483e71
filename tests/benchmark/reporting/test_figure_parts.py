"""What figures of the board are made of: fronts, axes, and places for labels."""

from __future__ import annotations

import math
import random
from itertools import combinations, pairwise

import pytest

from benchmark.reporting.figures.marks import Who
from benchmark.reporting.figures.placement import Box, Spot, place
from benchmark.reporting.figures.scales import BOTTOM, TOP, Bar, Scale, limits, scale_of, short
from benchmark.reporting.figures.style import plain, text_width
from benchmark.reporting.figures.trade_offs import front, pareto, staircase

LINEAR, FALLING, LOG = Scale(), Scale(rising=False), Scale("log", rising=False)


def brute_force(points: list[tuple[float, float]]) -> list[int]:
    """Indices of points that no other one dominates, by looking at all pairs."""

    def better(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] >= b[0] and a[1] >= b[1] and a != b

    return [i for i, own in enumerate(points) if not any(better(other, own) for other in points)]


@pytest.mark.parametrize("seed", range(20))
def test_the_pareto_front_is_that_of_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    points = [(float(rng.randrange(6)), float(rng.randrange(6))) for _ in range(rng.randrange(1, 15))]
    assert pareto(points) == brute_force(points)


def test_references_and_cheats_are_on_no_front_and_tracks_have_their_own() -> None:
    points = [
        (Who("cheat", "cheat", "a"), (9.0, 9.0)),
        (Who("start", "start", "a"), (8.0, 8.0)),
        (Who("one", "paper", "a"), (2.0, 2.0)),
        (Who("worse", "baseline", "a"), (1.0, 2.0)),
        (Who("failed", "baseline", "a", "failed"), (7.0, 7.0)),
        (Who("other track", "baseline", "b"), (0.0, 0.0)),
    ]
    assert front(points) == [2, 5]


def test_the_edge_of_a_front_goes_down_step_by_step() -> None:
    assert staircase([(2.0, 1.0), (1.0, 3.0)], (0.0, 0.0)) == ([0.0, 1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("scale", "worse", "better"),
    [(LINEAR, 1, 2), (FALLING, 2, 1), (TOP, 50, 99), (BOTTOM, 50, 1), (LOG, 100, 1), (scale_of("tow"), 0.2, 0.9)],
)
def test_better_values_lie_further_on(scale: Scale, worse: float, better: float) -> None:
    assert scale.at(worse) < scale.at(better)
    low, high = scale.ends(Bar((worse + better) / 2, min(worse, better), max(worse, better)))
    assert (low, high) == (scale.at(worse), scale.at(better))


def test_intervals_end_where_values_do() -> None:
    assert BOTTOM.ends(Bar(3.0, -4.0, 10.0))[1] == BOTTOM.at(0.0) == 0.0
    assert Scale("log").ends(Bar(3.0, -4.0, 10.0)) == (-math.inf, 1.0)


@pytest.mark.parametrize(
    ("scale", "values"),
    [(LINEAR, (3, 97)), (FALLING, (-0.3, 0.9)), (TOP, (20, 99)), (TOP, (98.2, 98.9)), (BOTTOM, (0, 98)),
     (LOG, (2, 300)), (LOG, (1.4, 4.2)), (Scale("log"), (0.0001, 9000)), (scale_of("tow"), (0, 1))],
)  # fmt: skip
def test_tick_marks_are_where_their_values_are_and_apart(scale: Scale, values: tuple[float, float]) -> None:
    low, high = sorted(map(scale.at, values))
    ticks = scale.ticks(low, high, 6)
    assert 2 <= len(ticks) <= 10
    for position, text in ticks:
        assert position == pytest.approx(scale.at(float(text.replace("\u2212", "-").replace(",", ""))))
        assert low - 1e-6 <= position <= high + 1e-6
    assert all(b[0] - a[0] >= 0.1 * (high - low) for a, b in pairwise(ticks))


def test_limits_hold_all_means_and_not_the_longest_interval() -> None:
    bars = [Bar(10.0, 9.0, 11.0), Bar(20.0, 19.0, 21.0), Bar(15.0, -500.0, 500.0)]
    low, high = limits(LINEAR, bars)
    assert -20 < low < 9
    assert 21 < high < 50


def test_limits_without_anything_to_show_are_an_interval_still() -> None:
    assert limits(LINEAR, []) == (0.0, 1.0)
    low, high = limits(LINEAR, [Bar(5.0)])
    assert low < 5 < high


@pytest.mark.parametrize("spread", [0.0, 2.0, 60.0])
def test_labels_cover_neither_each_other_nor_points(spread: float) -> None:
    rng = random.Random(0)
    spots = [Spot(100 + spread * rng.random(), 80 + spread * rng.random(), 4.0, 9.0, 5.5) for _ in range(18)]
    area = Box(0, 0, 200, 160)
    boxes = place(spots, area)
    assert not any(a.overlap(b) for a, b in combinations(boxes, 2))
    assert not any(box.overlap(Box(s.x - 2, s.y - 2, s.x + 2, s.y + 2)) for box in boxes for s in spots)
    assert all(box.inside(area) for box in boxes)
    assert boxes == place(spots, area)


def test_labels_in_a_corner_stay_inside() -> None:
    area = Box(0, 0, 200, 160)
    boxes = place([Spot(199.0, 159.0, 4.0, 30.0, 6.0)] * 3, area, [Box(150, 140, 190, 160)])
    assert all(box.inside(area) and not box.overlap(Box(150, 140, 190, 160)) for box in boxes)


def test_names_become_one_short_line_that_the_font_has() -> None:
    assert plain("a\nb\U0001f9a0") == "a?b?"
    assert len(plain("x" * 99)) == 26
    assert text_width("mm") == pytest.approx(2 * text_width("m"), rel=0.05)
    assert text_width("m", bold=True) > text_width("m") > 0


def test_short_numbers_have_a_few_digits() -> None:
    assert [short(12.0, 1), short(88.36), short(-0.01234)] == ["10", "88.4", "\u22120.0123"]
