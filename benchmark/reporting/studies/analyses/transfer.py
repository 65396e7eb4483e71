"""Whether scaling factors that are good for one class, network or data set are good for another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmark.reporting.studies.section import Section
from benchmark.reporting.studies.texts import number, spread
from benchmark.stats import t_interval
from benchmark.studies.found import Found
from benchmark.studies.transfer import MODULE, Surface, by_place, fixed_losses, losses

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A metric that is printed as the score is: in percent, with a decimal.
SCORE = "accuracy.test.retain"

TEXT = """Each surface is of one base model, whose seed says which class is forgotten. *From* gives the pairs that are
best on its selection split (of several the mean), *to* uses them: the table has the points of ACC_r (1 - ACC_f) on test
samples that *to* loses against the pairs that are best on its own selection split. No pair is chosen by test samples,
so that a loss may be negative by chance. Where *from* and *to* are the same place, the class is another one. The
interval is over the classes of *to*, each the mean over all of *from*. The last row uses the factors that the paper has
for CIFAR-10."""


def sections(found: Found) -> list[Section]:
    """The table of losses, the same as a picture, and the mean surface of each place."""
    names = [name for name, own in found.study.file.measurements.items() if own.of == MODULE]
    surfaces = by_place([one for name in names for one in found.measurements(name)])
    if not surfaces:
        return []
    table = {(a, b): losses(surfaces[a], surfaces[b], same=a == b) for a in surfaces for b in surfaces}
    places = list(surfaces)
    rows = [(f"from {a}", *(_shown(table[a, b]) for b in places)) for a in places]
    rows.append(("the paper's 100 / 3", *(_shown(fixed_losses(("100", "3"), surfaces[b])) for b in places)))
    means = [[_mean(table[a, b]) for b in places] for a in places]
    first = Section(
        "Transfer of the scaling factors",
        TEXT,
        ("", *(f"to {b}" for b in places)),
        tuple(rows),
        partial(_matrix, places, means),
        (1.6 + 1.1 * len(places), 0.9 + 0.5 * len(places)),
    )
    return [first, *(_surface_section(place, own) for place, own in surfaces.items())]


def _shown(values: list[float]) -> str:
    return spread(t_interval(values), SCORE) if values else ""


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _surface_section(place: str, surfaces: dict[int, Surface]) -> Section:
    first = next(iter(surfaces.values()))
    retain, forget = (sorted({pair[i] for pair in first}, key=float) for i in (0, 1))
    mean = [[_mean([own[r, f][1] for own in surfaces.values()]) for f in forget] for r in retain]
    best = max((value, r, f) for r, row in zip(retain, mean, strict=True) for value, f in zip(row, forget, strict=True))
    text = (
        f"ACC_r (1 - ACC_f) on test samples in percent, mean over {len(surfaces)} classes. The best mean is "
        f"{best[0]:.1f}, at alpha_r {best[1]} and alpha_f {best[2]}."
    )
    return Section(f"Surface: {place}", text, (), (), partial(_heat, forget, retain, mean), (5.2, 3.6))


def _heat(columns: list[str], rows: list[str], values: list[list[float]], axes: Axes) -> None:
    _cells(axes, columns, rows, values, "cividis", 0.0, 100.0)
    axes.invert_yaxis()
    axes.set(xlabel="alpha_f", ylabel="alpha_r")


def _matrix(places: list[str], values: list[list[float]], axes: Axes) -> None:
    _cells(axes, places, places, values, "cividis_r", 0.0, None)
    axes.set(xlabel="to", ylabel="from")


def _cells(
    axes: Axes,
    columns: list[str],
    rows: list[str],
    values: list[list[float]],
    colours: str,
    low: float,
    high: float | None,
) -> None:
    """A heat map with its numbers; those of dark cells in white."""
    high = max((value for row in values for value in row if value == value), default=1.0) if high is None else high
    middle = (low + high) / 2
    axes.imshow(values, cmap=colours, vmin=low, vmax=high, aspect="auto")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value == value:
                dark = (value < middle) != colours.endswith("_r")
                axes.text(j, i, number(value, SCORE), ha="center", va="center", fontsize=7, color="w" if dark else "k")
