"""GERNE's variance: is what was measured what the formulae give, and does accuracy follow it?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from benchmark.reporting.figures.style import BLUE, GREEN, ORANGE
from benchmark.reporting.studies.analyses.gerne_extrapolation import BALANCED, shown
from benchmark.reporting.studies.section import Section
from benchmark.stats import t_interval
from benchmark.studies.found import Found
from benchmark.studies.measured import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: How a method draws its batches.
KINDS = {"gerne": "independent", "gerne+overlapping": "overlapping", "gerne+weighted": "weighted"}
LOOKS = {"gerne": (BLUE, "o"), "gerne+overlapping": (ORANGE, "s"), "gerne+weighted": (GREEN, "^")}
#: (method, coefficient of the variance, mean accuracy).
Place = tuple[str, float, float]


def coefficient(kind: str, c: float, beta: float, alpha: float, attributes: int) -> float:
    """What a class's largest group, of the share ``alpha``, adds to the variance, in units of that of a batch of it.

    With alpha = 1 and two attributes these are the closed forms of appendix B.
    """
    lb, ext = (alpha + share * (1 / attributes - alpha) for share in (c, c * (1 + beta)))
    if kind == "independent":
        return (1 + beta) ** 2 * lb + beta**2 * alpha
    if kind == "overlapping":
        return (1 + beta) ** 2 * lb + beta**2 * alpha - 2 * beta * (1 + beta) * min(lb, alpha)
    return ext**2 / lb


def sections(found: Found) -> list[Section]:
    """The measured variance beside the formulae, and accuracy over the variance; of what there is."""
    made = (measured_and_formula(found), accuracy_by_variance(found))
    return [section for section in made if section.rows]


def measured_and_formula(found: Found) -> Section:
    """By state and kind of batches: the range of measured / formula over points and seeds."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for name in ("variance", "batches", "unfitted"):
        for one in found.measurements(name):
            state = "not fitted" if one.point.get("trained") == "erm" else "fitted"
            groups.setdefault((state, one.point.get("batches", "independent")), []).append(one)
    rows = []
    for (state, kind), own in sorted(groups.items()):
        exact = [one.values["gradient"] / one.values["gradient.exact"] for one in own]
        closed = [one.values["gradient"] / one.values["formula"] for one in own]
        two = [one for one in own if one.point["beta"] > 0 and kind != "weighted"]
        above = [one.values["gradient"] / one.values["bound"] for one in two]
        rows.append((state, kind, str(len(own)), _range(exact), _range(closed), _range(above)))
    return Section(
        "Measured variance over what formulae give",
        "The variance of the stochastic gradient by 1,000 draws, divided by the sum over groups (exact for any state), "
        "by appendix B's closed form (the minority fitted, nearly all majority), and by its lower bound, which speaks "
        "of two batches and β > 0: geometric mean, least and largest over points and seeds.",
        ("minority", "batches", "measurements", "over the sum over groups", "over the closed form", "over the bound"),
        tuple(rows),
    )


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    product = 1.0
    for value in values:
        product *= value ** (1 / len(values))
    return f"{product:.2f} ({min(values):.2f} to {max(values):.2f})"


def accuracy_by_variance(found: Found) -> Section:
    """The sweep over c at s = 1: every point has the same expected gradient."""
    rows, places = [], []
    for method, kind in KINDS.items():
        own = [cell for cell in found.cells("noise") if cell.method == method]
        for c in dict.fromkeys(float(cell.point["c"]) for cell in own):
            here = [cell for cell in own if cell.point["c"] == c]
            values = [value for cell in here if (value := cell.values.get(BALANCED)) is not None]
            alpha = 1 - float(here[0].settings["bias"]["conflicting"])
            beta = float(here[0].parameters["s"]) / c - 1
            noise = coefficient(kind, c, beta, alpha, 10)
            if values:
                accuracy = t_interval(values)
                rows.append(
                    (method, f"{c:g}", f"{beta:g}", f"{noise:.2f}", str(len(values)), shown(accuracy, signed=False))
                )
                places.append((method, noise, accuracy.mean))
    return Section(
        "Accuracy over the variance of the gradient",
        "All points have s = 1, the same gradient in expectation. The variance is what each class's largest group adds "
        "to it, in units of that of a batch of its samples; it is computed, not measured. Runs that diverged are not "
        "among the seeds.",
        ("method", "c", "β", "variance", "seeds", "group-balanced accuracy"),
        tuple(rows),
        figure=partial(draw, tuple(places)) if places else None,
        size=(4.5, 2.6),
    )


def draw(places: Sequence[Place], axes: Axes) -> None:
    """Accuracy over variance, a mark for each way of drawing batches."""
    for method, (colour, marker) in LOOKS.items():
        own = sorted((noise, accuracy) for name, noise, accuracy in places if name == method)
        if own:
            axes.plot(
                [x for x, _ in own], [y for _, y in own], color=colour, marker=marker, label=method, linewidth=0.8
            )
    axes.set_xscale("log")
    axes.set_xlabel("variance of the gradient")
    axes.set_ylabel("group-balanced accuracy (%)")
    axes.legend()
