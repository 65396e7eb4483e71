"""Which hyper-parameter matters: by how much a metric moves over the values of each that were tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmark.metrics.catalogue import metric as known
from benchmark.reporting.figures.style import BLUE
from benchmark.reporting.studies.section import Section
from benchmark.stats import Interval, t_interval
from benchmark.studies.found import CellResult, Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Range:
    """How a metric moved over one hyper-parameter: where its mean was best and worst, and the two apart.

    ``apart`` is the mean of worst less best, seed by seed, with its 95 % t interval; best and worst are chosen by
    looking, so that it is above 0 even where nothing matters but chance.
    """

    parameter: str
    method: str
    tried: tuple[float, ...]
    best: tuple[float, float]
    worst: tuple[float, float]
    apart: Interval


def ranges(found: Found, metric: str) -> list[Range]:
    """What moved the metric most comes first; of sweeps over a single hyper-parameter with at least two values."""
    ranged = []
    for name, sweep in found.study.file.sweeps.items():
        if len(sweep.parameters) != 1 or sweep.settings:
            continue
        (parameter,) = sweep.parameters
        for method in sweep.methods:
            cells = [cell for cell in found.cells(name) if cell.method == method]
            one = _range(cells, parameter, method, metric)
            ranged += [] if one is None else [one]
    return sorted(ranged, key=lambda one: -abs(one.apart.mean))


def _range(cells: Sequence[CellResult], parameter: str, method: str, metric: str) -> Range | None:
    """None where fewer than two values have a result, or best and worst no seed in common."""
    by_value: dict[float, dict[int, float]] = {}
    for cell in cells:
        value = cell.values.get(metric)
        if value is not None:
            by_value.setdefault(float(cell.parameters[parameter]), {})[cell.seed] = value
    means = {x: sum(own.values()) / len(own) for x, own in by_value.items()}
    if len(means) < 2:
        return None
    order = sorted(means, key=lambda x: means[x], reverse=known(metric).better == "higher")
    best, worst = order[0], order[-1]
    both = by_value[best].keys() & by_value[worst].keys()
    if not both:
        return None
    apart = t_interval([by_value[worst][seed] - by_value[best][seed] for seed in sorted(both)])
    return Range(parameter, method, tuple(sorted(means)), (best, means[best]), (worst, means[worst]), apart)


def sections(found: Found) -> list[Section]:
    """A table and bars of how far the study's first metric moved; nothing where no hyper-parameter was varied alone."""
    metric = found.study.file.metrics[0]
    ranged = ranges(found, metric)
    if not ranged:
        return []
    title = known(metric).label
    text = (
        f"By how much the mean of {title} over seeds moves between the best and the worst value of each "
        "hyper-parameter, all others as the suite has them; 95 % t intervals of the paired difference. Best and worst "
        "are chosen by looking, so that chance alone gives a difference above 0."
    )
    headers = ("hyper-parameter", "method", "tried", "best at", "best", "worst at", "worst", "apart")
    bars = tuple((_name(one, ranged), one.apart) for one in ranged)
    return [
        Section(
            title="Which hyper-parameter matters",
            text=text,
            headers=headers,
            rows=tuple(_row(one) for one in ranged),
            figure=partial(draw, bars, title),
            size=(6.5, 0.9 + 0.25 * len(bars)),
        )
    ]


def _name(one: Range, ranged: Sequence[Range]) -> str:
    several = len({other.method for other in ranged}) > 1
    return f"{one.method}: {one.parameter}" if several else one.parameter


def _row(one: Range) -> tuple[str, ...]:
    apart = f"{abs(one.apart.mean):.2f}"
    if one.apart.low is not None and one.apart.high is not None:
        apart += f" ± {(one.apart.high - one.apart.low) / 2:.2f}"
    (best_at, best), (worst_at, worst) = one.best, one.worst
    tried = ", ".join(f"{x:g}" for x in one.tried)
    return (one.parameter, one.method, tried, f"{best_at:g}", f"{best:.2f}", f"{worst_at:g}", f"{worst:.2f}", apart)


def draw(bars: Sequence[tuple[str, Interval]], label: str, axes: Axes) -> None:
    """A bar a hyper-parameter, the longest on top; whiskers are the intervals of the difference."""
    for place, (_, apart) in enumerate(reversed(bars)):
        axes.barh(place, abs(apart.mean), color=BLUE, height=0.6)
        if apart.low is not None and apart.high is not None:
            half = (apart.high - apart.low) / 2
            axes.errorbar(abs(apart.mean), place, xerr=half, color="black", linewidth=0.8, capsize=2)
    axes.set_yticks(range(len(bars)), [name for name, _ in reversed(bars)])
    axes.set_xlabel(f"{label}: worst less best")
    axes.set_xlim(left=0)
