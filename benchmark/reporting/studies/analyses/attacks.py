"""How far attacks bring a forgotten class back, on the way from the retrained model to the one that forgot nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmark.reporting.studies.section import Section
from benchmark.stats import Interval, linearised_ratio, t_interval
from benchmark.studies.found import CellResult, Found
from benchmark.studies.placing import ROW, rows
from benchmark.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What a figure calls each attack, and its metric; the first is none at all.
ATTACKS = {
    "none": "accuracy.test.forget",
    "probe": "recovery.linear-probe@10",
    "nearest class": "recovery.nearest-class",
    "by outputs": "recovery.nearest-class.outputs",
    "lifted logit": "recovery.lifted-logit",
    "relearning": "relearn.steps",
    "perturbation": "recovery.perturbation",
    "inversion": "inversion.steps",
}
#: Points or steps that an attack must set original and retrained model apart by to say anything of a method.
APART = 10.0

#: Method -> attack -> percent of the way back; attacks that say nothing are left out.
Ways = dict[str, dict[str, Interval]]


def sections(found: Found) -> list[Section]:
    """A table and a heat map for each sweep."""
    return [one for sweep in found.study.file.sweeps for one in _of_sweep(found, sweep)]


def _of_sweep(found: Found, sweep: str) -> list[Section]:
    cells = [*found.references(sweep), *found.cells(sweep)]
    ways = ways_back(cells)
    if not ways:
        return []
    ordered = dict(sorted(ways.items(), key=lambda item: -strongest(item[1])[1]))
    silent = [name for name in ATTACKS if not any(name in own for own in ways.values())]
    of = f"it does not tell even these two apart by {APART:g} and for every seed"
    said = f" Left out, for {of}: {', '.join(silent)}." if silent else ""
    text = (
        "Percent of the way from the retrained model (0) back to the original (100) that each attack gets, with 95 % t "
        f"intervals over seeds. The strongest attack is the one that gets furthest in the mean.{said}"
    )
    shown = [name for name in ATTACKS if name not in silent]
    body = tuple(
        (method, *(_said(own.get(name)) for name in shown), strongest(own)[0]) for method, own in ordered.items()
    )
    title = found.study.file.sweeps[sweep].title or sweep
    means = tuple(tuple(own[name].mean for name in shown) for own in ordered.values())
    figure = partial(_heat_map, tuple(ordered), tuple(shown), means)
    size = (5.5, 0.85 + ROW * len(ordered))
    return [Section(f"How far attacks get: {title}", text, ("method", *shown, "strongest"), body, figure, size)]


def ways_back(cells: Sequence[CellResult]) -> Ways:
    """How far each attack gets with each method, over the seeds that have both references; see ``APART``."""
    known: dict[str, dict[int, Mapping[str, float | None]]] = {}
    for cell in cells:
        known.setdefault(cell.method, {})[cell.seed] = cell.values
    if not cells:
        return {}
    task = TASKS.get(cells[0].record.cell.task)
    original, retrained = known.pop(task.original, {}), known.pop(task.reference, {})
    ways: Ways = {}
    for method, values in known.items():
        own = {name: way_back(values, original, retrained, metric) for name, metric in ATTACKS.items()}
        there = {name: interval for name, interval in own.items() if interval is not None}
        if there:
            ways[method] = there
    return ways


def way_back(
    own: Mapping[int, Mapping[str, float | None]],
    original: Mapping[int, Mapping[str, float | None]],
    retrained: Mapping[int, Mapping[str, float | None]],
    metric: str,
) -> Interval | None:
    """100 (own - retrained) / (original - retrained), means over seeds: a ratio of means, by the delta method.

    None where original and retrained model are less than ``APART`` apart, or which of them is above the other depends
    on the seed, or no seed has all three.
    """
    gained, whole = [], []
    for seed in sorted(own.keys() & original.keys() & retrained.keys()):
        value, forgot_nothing, never_saw = (by_seed[seed].get(metric) for by_seed in (own, original, retrained))
        if value is not None and forgot_nothing is not None and never_saw is not None:
            gained.append(value - never_saw)
            whole.append(forgot_nothing - never_saw)
    if not whole or abs(sum(whole) / len(whole)) < APART or min(whole) * max(whole) <= 0:
        return None
    return t_interval([100 * ratio for ratio in linearised_ratio(gained, whole)])


def strongest(own: Mapping[str, Interval]) -> tuple[str, float]:
    """The attack that gets furthest in the mean, and how far; the look without an attack is none."""
    attacks = {name: way.mean for name, way in own.items() if name != "none"}
    if not attacks:
        return "-", 0.0
    name = max(attacks, key=lambda attack: attacks[attack])
    return name, attacks[name]


def _said(way: Interval | None) -> str:
    if way is None:
        return "-"
    width = "" if way.low is None or way.high is None else f" ± {(way.high - way.low) / 2:.0f}"
    return f"{round(way.mean)}{width}"


def _heat_map(methods: Sequence[str], attacks: Sequence[str], means: Sequence[Sequence[float]], axes: Axes) -> None:
    """A cell for each method and attack; the colour ends at 0 and 100, the number does not."""
    axes.imshow([list(row) for row in means], vmin=0, vmax=100, cmap="Blues", aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(attacks)), attacks, rotation=35, ha="right")
    rows(axes, methods, above=0.1, below=0.75)
    for y, row in enumerate(means):
        for x, mean in enumerate(row):
            axes.text(x, y, str(round(mean)), ha="center", va="center", color="white" if mean > 60 else "black")
