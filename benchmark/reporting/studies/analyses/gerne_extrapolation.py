"""GERNE's claims over records: where training ends beyond beta_max, its special cases, s alone, and the baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmark.reporting.studies.section import Section
from benchmark.running.records import Record
from benchmark.stats import Interval, t_interval
from benchmark.studies.found import CellResult, Found, diverged, is_at

#: Reports print it for the sign of negative numbers.
MINUS = "\N{MINUS SIGN}"
BALANCED, WORST, LAST = "accuracy.group-balanced", "accuracy.worst-group", "accuracy.group-balanced@last"
BEYOND = ("beyond", "beyond-halves", "beyond-halves-half")
#: Sweeps over beta and c, and the sweeps with what their special cases are.
FACTORS = {"factor": "special", "factor-halves": "special-halves"}
#: The suite's scenarios in which GERNE is compared with baselines, all of them tuned.
SCENARIOS = (
    ("debias-known", "cmnist5k"),
    ("debias-known", "cmnist5k-halves"),
    ("debias-unknown", "cmnist5k-hidden"),
    ("debias-unknown", "cmnist5k-blind"),
)
BASELINES = ("erm", "reweighting", "resampling", "groupdro")


def sections(found: Found) -> list[Section]:
    """Four tables, of those that there are results for."""
    made = (endings(found), special_cases(found), same_sum(found), against_baselines(found))
    return [section for section in made if section.rows]


def shown(interval: Interval, *, signed: bool = True) -> str:
    """Mean and half-width of the interval with one decimal, the mean alone where there is no spread or one value."""
    mean = f"{interval.mean:+.1f}" if signed else f"{interval.mean:.1f}"
    mean = "0.0" if mean in ("+0.0", "-0.0") else mean.replace("-", MINUS)
    if interval.low is None or interval.high is None or interval.high == interval.low:
        return mean
    return f"{mean} ± {(interval.high - interval.low) / 2:.1f}"


def paired(own: Mapping[int, float], other: Mapping[int, float]) -> Interval | None:
    """The difference seed by seed; None where no seed is in both."""
    both = [own[seed] - other[seed] for seed in sorted(own.keys() & other.keys())]
    return t_interval(both) if both else None


def by_seed(cells: Iterable[CellResult], metric: str, **at: object) -> dict[int, float]:
    """A metric by seed, of the cells whose point has the fields ``at``."""
    own = (cell for cell in cells if is_at(cell.x, cell.point, at))
    return {cell.seed: value for cell in own if (value := cell.values.get(metric)) is not None}


def endings(found: Found) -> Section:
    """How runs ended at multiples of beta_max + 1."""
    rows = []
    for sweep in BEYOND:
        failed: dict[object, int] = {}
        for record in found.failed:
            place = found.suite.places[record.cell.scenario]
            if place.sweep == sweep and diverged(record):
                failed[place.point.x] = failed.get(place.point.x, 0) + 1
        cells = found.cells(sweep)
        for point in found.study.file.sweeps[sweep].points:
            own = [cell for cell in cells if cell.x == point.x]
            n = len(own) + failed.get(point.x, 0)
            if n:
                rows.append(_ending(found.study.file.sweeps[sweep].title, point.parameters, point.x, own, n))
    return Section(
        "How training ends at and beyond the bound",
        "At 1 the largest group of a class has no weight in expectation, beyond it a negative one. A run has no result "
        "where its loss left the finite numbers; of the others the last state shows where training went, the chosen "
        "state what selection on held-out samples saved of it.",
        ("sweep", "(β + 1) / (β_max + 1)", "β", "loss not finite", "last state", "chosen state"),
        tuple(rows),
    )


def _ending(
    title: str, parameters: Mapping[str, float], x: float | str, own: Sequence[CellResult], n: int
) -> tuple[str, ...]:
    states = []
    for metric in (LAST, BALANCED):
        values = list(by_seed(own, metric).values())
        states.append(shown(t_interval(values), signed=False) if values else "")
    return (title, f"{x:g}", f"{parameters['beta']:.2f}", f"{n - len(own)} of {n}", *states)


def special_cases(found: Found) -> Section:
    """beta = -1 beside ERM, c = 1 and beta = 0 beside resampling, at the same rate and weight decay."""
    rows = []
    for sweep, special in FACTORS.items():
        own, others = found.cells(sweep), found.cells(special)
        for beta, c, other in ((-1.0, 1.0, "erm"), (0.0, 1.0, "resampling"), (1.0, 0.5, "resampling")):
            row = [found.study.file.sweeps[sweep].title, f"β = {beta:g}, c = {c:g}".replace("-", MINUS), other]
            for metric in (BALANCED, WORST):
                difference = paired(
                    by_seed(own, metric, beta=beta, c=c), by_seed([x for x in others if x.method == other], metric)
                )
                row.append("" if difference is None else shown(difference))
            rows += [tuple(row)] if any(row[3:]) else []
    return Section(
        "Special cases",
        "GERNE less the other method, in points, with 95 % t intervals of the paired difference. β = 1 with c = 1/2 is "
        "resampling in expectation only.",
        ("sweep", "GERNE", "against", "group-balanced", "worst group"),
        tuple(rows),
    )


def same_sum(found: Found) -> Section:
    """Group-balanced accuracy by s = c (beta + 1), for c after c."""
    rows = []
    for sweep in FACTORS:
        table: dict[float, dict[float, list[float]]] = {}
        for cell in found.cells(sweep):
            c, beta = float(cell.point["c"]), float(cell.point["beta"])
            value = cell.values.get(BALANCED)
            if value is not None:
                table.setdefault(c * (beta + 1), {}).setdefault(c, []).append(value)
        for s, by_c in sorted(table.items()):
            if len(by_c) > 1:
                row = (shown(t_interval(by_c[c]), signed=False) if c in by_c else "" for c in (0.25, 0.5, 1.0))
                rows.append((found.study.file.sweeps[sweep].title, f"{s:g}", *row))
    return Section(
        "Does s alone matter?",
        "Group-balanced accuracy with the same s = c (β + 1), which is the same gradient in expectation.",
        ("sweep", "s", "c = 1/4", "c = 1/2", "c = 1"),
        tuple(rows),
    )


def against_baselines(found: Found) -> Section:
    """The suite's own records: every method with its tuned hyper-parameters, over all seeds that there are."""
    rows = []
    for task, scenario in SCENARIOS:
        records = found.records("embedded", task, scenario)
        own = _values(records, "gerne")
        for other in BASELINES:
            both = _values(records, other)
            found_here = [paired(own[metric], both[metric]) for metric in (BALANCED, WORST)]
            n = len(own[BALANCED].keys() & both[BALANCED].keys())
            if n:
                rows.append((scenario, other, str(n), *("" if one is None else shown(one) for one in found_here)))
    return Section(
        "GERNE against baselines",
        "GERNE less the baseline in the records of suite embedded, in points, with 95 % t intervals of the paired "
        "difference; every method has the hyper-parameters that 12 configurations each have found for it.",
        ("scenario", "baseline", "seeds", "group-balanced", "worst group"),
        tuple(rows),
    )


def _values(records: Sequence[Record], method: str) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {BALANCED: {}, WORST: {}}
    for record in records:
        if record.cell.method == method:
            values = record.values()
            for metric, own in found.items():
                value = values.get(metric)
                if value is not None:
                    own[record.cell.seed] = value
    return found
