"""What checks compute: pure functions of values by seed, and what an interval says of a limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal

from benchmark.claims.checks import Check
from benchmark.stats import Interval, linearised_ratio, ranks, t_interval

BySeed = Mapping[int, float]
Says = Literal["holds", "fails", "undecided", "missing"]
#: Points from which on a trend is computed.
FEWEST_POINTS = 3


def mean(values: BySeed) -> Interval | None:
    """Mean and 95 % t interval over seeds; None for none."""
    return t_interval([values[seed] for seed in sorted(values)]) if values else None


def paired(own: BySeed, others: BySeed) -> Interval | None:
    """Mean of the paired differences, with its interval; None where no seed has both."""
    seeds = sorted(own.keys() & others.keys())
    return t_interval([own[seed] - others[seed] for seed in seeds]) if seeds else None


def median_of(several: Sequence[BySeed]) -> dict[int, float]:
    """For each seed that all have the median over them."""
    seeds = set.intersection(*(set(own) for own in several)) if several else set()
    return {seed: median(own[seed] for own in several) for seed in sorted(seeds)}


def ratio(own: BySeed, others: BySeed) -> Interval | None:
    """The ratio of the means of paired values, with its linearised interval; None where that is none."""
    seeds = sorted(own.keys() & others.keys())
    if not seeds or not sum(others[seed] for seed in seeds):
        return None
    return t_interval(linearised_ratio([own[seed] for seed in seeds], [others[seed] for seed in seeds]))


def trend(points: Mapping[int, Sequence[tuple[float, float]]]) -> Interval | None:
    """Spearman's correlation of pairs (x, y), one a seed: mean and interval over the seeds that have three points.

    Where y is the same at all points there is no trend: 0. None where no seed has enough points.
    """
    found = [_spearman(points[seed]) for seed in sorted(points) if len({x for x, _ in points[seed]}) >= FEWEST_POINTS]
    return t_interval(found) if found else None


def _spearman(pairs: Sequence[tuple[float, float]]) -> float:
    x, y = ranks([a for a, _ in pairs]), ranks([b for _, b in pairs])
    middle = (len(pairs) + 1) / 2  # the mean of any ranks of so many, ties included
    over = sum((a - middle) * (b - middle) for a, b in zip(x, y, strict=True))
    spread = sum((a - middle) ** 2 for a in x) * sum((b - middle) ** 2 for b in y)
    return over / spread**0.5 if spread else 0.0


def decide(found: Interval | None, check: Check) -> Says:
    """What an interval says: wholly within the limits it holds, wholly beyond one of them it fails, else undecided.

    A mean without an interval, of one base model, says nothing: it is missing.
    """
    if found is None or found.low is None or found.high is None:
        return "missing"
    ends = [_within(end, check) for end in (found.low, found.high)]
    if all(all(end) for end in ends):
        return "holds"
    beyond = any(not low and not high for low, high in zip(*ends, strict=True))
    return "fails" if beyond else "undecided"


def _within(value: float, check: Check) -> list[bool]:
    """Whether a value is on the right side of each limit that there is."""
    slack = check.tolerance
    return [
        check.above is None or value > check.above - slack,
        check.least is None or value >= check.least - slack,
        check.most is None or value <= check.most + slack,
        check.below is None or value < check.below + slack,
    ]
