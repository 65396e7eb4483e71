"""Grid, random search and Bayesian optimisation of the scaling factors at equal numbers of evaluations."""

from __future__ import annotations

from collections import defaultdict

from benchmark.reporting.studies.section import Section
from benchmark.reporting.studies.texts import number, spread
from benchmark.stats import Interval, t_interval
from benchmark.studies.found import Found
from benchmark.studies.measured import Measurement

MEASUREMENT = "search"
#: A metric that is printed as the score is: in percent, with a decimal.
SCORE = "accuracy.test.retain"
#: What the others are compared with.
AGAINST = "grid"
#: Scenario and seed: what pairs two searches.
Problem = tuple[str, int]
#: Values by problem, of a search at a number of evaluations.
Table = dict[tuple[str, int], dict[Problem, Measurement]]

TEXT = """The score is ACC_r (1 - ACC_f) in percent: on the selection split, by which each search chooses, and on test
samples, which none of them sees. Differences to the grid are paired by problem (a scenario and a seed), with their
95 % t interval over problems. Algorithm 1 is the paper's pruned grid; its evaluations are the mean of what pruning
left of 25."""


def sections(found: Found) -> list[Section]:
    """One table, a row a search and number of evaluations."""
    table = by_search(found.measurements(MEASUREMENT))
    if not table:
        return []
    headers = ("search", "evaluations", "selection", "test", "test, less the grid's", "seconds")
    rows = tuple(_row(search, n, own, table.get((AGAINST, n), {})) for (search, n), own in table.items())
    return [Section("Searches at equal numbers of evaluations", TEXT, headers, rows)]


def by_search(measurements: list[Measurement]) -> Table:
    """Measurements by search, number of evaluations, and problem."""
    found: Table = defaultdict(dict)
    for one in measurements:
        problem = str(one.point.get("scenario", "")), one.seed
        found[str(one.point["search"]), int(one.point["evaluations"])][problem] = one
    return dict(found)


def difference(own: dict[Problem, Measurement], other: dict[Problem, Measurement], key: str) -> Interval | None:
    """The paired difference over the problems that both have; None where there is none."""
    both = [own[problem].values[key] - other[problem].values[key] for problem in own if problem in other]
    return t_interval(both) if both else None


def _row(search: str, n: int, own: dict[Problem, Measurement], grid: dict[Problem, Measurement]) -> tuple[str, ...]:
    made = [one.values["evaluations"] for one in own.values()]
    gain = None if search == AGAINST else difference(own, grid, "test")
    means = [t_interval([one.values[key] for one in own.values()]) for key in ("selection", "test", "seconds")]
    return (
        search,
        number(sum(made) / len(made)),
        spread(means[0], SCORE),
        spread(means[1], SCORE),
        "" if gain is None else spread(gain, SCORE, signed=True),
        number(means[2].mean),
    )
