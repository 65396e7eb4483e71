"""Axes on which the better value is always further right or further up, and crowds near the best one have room."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal, NamedTuple

from benchmark.metrics.catalogue import metric

if TYPE_CHECKING:
    from matplotlib.axis import Axis

#: Tick marks are these numbers times a power of ten; the finer ones where that gives fewer than three.
STEPS: tuple[tuple[float, ...], ...] = ((1, 2, 5), (1.5, 3, 4, 7), tuple(n / 10 for n in range(10, 100)))


class Bar(NamedTuple):
    """A value with its 95 % interval; the bounds are None where there is no spread to tell."""

    mean: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Scale:
    """Where a value lies on an axis: the greater the position, the better, or if not ``rising`` the less.

    ``kind``: ``linear``; ``log``, decades; or ``near``, the logarithm of one plus the distance from ``best`` in
    ``units``, which pulls apart what is close to the best and still shows what is far from it. ``bounds``: what values
    can be; intervals end there.
    """

    kind: Literal["linear", "log", "near"] = "linear"
    rising: bool = True
    best: float = 0.0
    unit: float = 1.0
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def at(self, value: float) -> float:
        """A value's position; -inf or inf where a logarithm has none."""
        value = min(max(value, self.bounds[0]), self.bounds[1])
        if self.kind == "near":
            return -math.log10(1 + abs(self.best - value) / self.unit)
        if self.kind == "log":
            value = math.log10(value) if value > 0 else -math.inf
        return value if self.rising else -value

    def ends(self, bar: Bar) -> tuple[float, float]:
        """Positions of an interval's ends, the lower first; both are the mean's where there is none."""
        ends = [self.at(bar.mean if end is None else end) for end in (bar.low, bar.high)]
        return min(ends), max(ends)

    def ticks(self, low: float, high: float, most: int) -> list[tuple[float, str]]:
        """Round values between two positions, far enough apart for ``most`` of them: position and text."""
        kept: list[tuple[float, str]] = []
        for steps in STEPS:
            apart = (high - low) * (0.75 / most if steps is not STEPS[-1] else 0.22)
            for value in self._round(low, high, most, steps):
                position = self.at(value)
                inside = low - 1e-9 <= position <= high + 1e-9
                if inside and all(abs(position - other) >= apart for other, _ in kept):
                    kept.append((position, _text(value)))
            if len(kept) > 2:
                break
        return sorted(kept)

    def _round(self, low: float, high: float, most: int, steps: Sequence[float]) -> list[float]:
        ends = (low, high) if self.rising else (-high, -low)
        if self.kind == "near":
            return self._distances(low, steps)
        return _linear(*ends, most) if self.kind == "linear" else _decades(*ends, most, steps)

    def _distances(self, low: float, steps: Sequence[float]) -> list[float]:
        """Values at round distances from the best one, that first."""
        sign = 1.0 if self.best < self.bounds[1] else -1.0
        distances = [self.unit * step * 10.0**power for power in (*range(6), -1) for step in steps]
        return [round(self.best + sign * step, 9) for step in (0.0, *distances) if step <= self.unit * 10**-low]


def _linear(low: float, high: float, most: int) -> list[float]:
    if high <= low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * s for s in (*STEPS[0], 10) if power * s >= raw * 0.8)
    first = math.ceil(low / step - 1e-9)
    return [round(step * n, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float, most: int, steps: Sequence[float]) -> list[float]:
    powers = range(math.floor(low), math.ceil(high) + 1)
    if high - low < 0.45 * most:
        return [step * 10.0**power for step in steps for power in powers]
    every = max(1, math.ceil((high - low) / most))
    return [10.0**power for power in powers if power % every == 0]


def short(value: float, digits: int = 3) -> str:
    """A value with so many digits that count."""
    return _text(float(f"{value:.{digits}g}"))


def _text(value: float) -> str:
    return f"{value:,.10g}".replace("-", "\u2212")


#: Scales of metrics by name: all of them where a figure has one as an axis.
_PERCENT = (0.0, 100.0)
TOP = Scale("near", best=100.0, bounds=_PERCENT)
BOTTOM = Scale("near", rising=False, bounds=_PERCENT)
SCALES = {
    "accuracy.test.forget": BOTTOM,
    "accuracy.test.retain": TOP,
    "accuracy.test.all": TOP,
    "accuracy.clean": TOP,
    "accuracy.train.forget.gap": BOTTOM,
    "gap.average": BOTTOM,
    "tow": Scale("near", best=1.0, unit=0.01, bounds=(-math.inf, 1.0)),
    "fid": Scale("log", rising=False),
}


def scale_of(name: str) -> Scale:
    """The scale of a metric: linear, within what percents can be, unless another one is set."""
    if name in SCALES:
        return SCALES[name]
    known = metric(name)
    bounds = (-math.inf, 100.0) if known.unit == "%" else (-math.inf, math.inf)
    return Scale(rising=known.better not in ("lower", "zero"), bounds=bounds)


def limits(scale: Scale, bars: Iterable[Bar], pad: float = 0.07) -> tuple[float, float]:
    """Positions that an axis spans: all means, and of their intervals as much as half of them need.

    The longest ones end at the rim, at least a quarter of what the means span beyond these.
    """
    shown = list(bars)
    means = [position for bar in shown if math.isfinite(position := scale.at(bar.mean))]
    if not means:
        return 0.0, 1.0
    low, high = min(means), max(means)
    ends = [scale.ends(bar) for bar in shown if math.isfinite(scale.at(bar.mean))]
    most = max(0.25 * (high - low), median((end - start) / 2 for start, end in ends))
    if not math.isfinite(most):
        most = 0.25 * (high - low)
    low = max(low - most, min(start for start, _ in ends))
    high = min(high + most, max(end for _, end in ends))
    space = pad * (high - low) or 0.5 * max(1.0, abs(low))
    return low - space, high + space


def set_axis(axis: Axis, scale: Scale, span: Sequence[float], most: int) -> None:
    """Limits and tick marks of a horizontal or vertical axis whose data are positions."""
    ticks = scale.ticks(span[0], span[1], most)
    axis.set_ticks([position for position, _ in ticks], [text for _, text in ticks])
    set_limits = axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim
    if span[0] < span[1]:
        set_limits(span[0], span[1])


#: What axes are called where the metric's own label does not say enough.
LABELS = {
    "accuracy.test.forget": "test accuracy, forgotten classes",
    "accuracy.test.retain": "test accuracy, retained classes",
    "accuracy.test.all": "test accuracy",
    "accuracy.train.forget.gap": "forget set, |accuracy \u2212 retraining's|",
    "accuracy.clean": "clean accuracy",
    "accuracy.attacked": "attacked accuracy",
    "accuracy.bias-aligned": "bias-aligned accuracy",
    "accuracy.bias-conflicting": "bias-conflicting accuracy",
    "accuracy.worst-group": "worst-group accuracy",
    "accuracy.group-balanced": "group-balanced accuracy",
    "accuracy.mean": "mean accuracy",
    "gap.average": "average gap",
    "pul": "undesired images removed, PUL",
}


def axis_label(name: str) -> str:
    """What an axis is called: the metric and its unit, and which values are better where it is not the greater ones."""
    known = metric(name)
    unit = f" ({known.unit})" if known.unit not in ("", "distance") else ""
    best = {"lower": ", lower is better", "zero": ", 0 is best", "half": ", 0.5 is best"}.get(known.better, "")
    return f"{axis_text(name)}{unit}{best}"


def axis_text(name: str) -> str:
    """A metric in words, for axes and captions."""
    return LABELS.get(name, metric(name).label)
