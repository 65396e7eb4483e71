"""Rows of one scenario compared with each other, in pairs on the same base models."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from benchmark.boards.board import UNRANKED, Row
from benchmark.metrics.catalogue import metric
from benchmark.stats import ALPHA, Interval, can_reject, holm, paired_t_p, sign_flip_p, smallest_p, t_interval
from benchmark.tasks import TASKS, Task

#: Metrics that are distances to the reference: it has the best value there is, by definition.
DISTANCES = ("tow", "gap.average")
#: Clusters from which on ties with the best are told.
FEWEST_FOR_TIES = 5
#: What makes a loss of a metric that is the better the higher or the lower it is.
SIGNS = {"higher": -1.0, "lower": 1.0}
#: What names a row in its scenario: method and device.
Key = tuple[str, str]
K = TypeVar("K", bound=Hashable)


class Comparison(NamedTuple):
    """A row's difference to another one, paired by seed.

    ``p``: exact, by sign flips; ``corrected``: by Holm's procedure for all rows of the scenario that are compared.
    Both are None where n is too small for any of them to come out under 0.05: that is not testable.
    """

    difference: Interval
    p: float | None
    corrected: float | None
    comparisons: int

    @property
    def least(self) -> float:
        """The smallest corrected p value that there can be: a row that differs to one side in every cluster."""
        return min(1.0, self.comparisons * smallest_p(self.difference.n))

    @property
    def text(self) -> str:
        """The corrected p value as tables print it."""
        if self.corrected is None:
            return "not testable"
        return "<0.001" if self.corrected < 0.001 else f"{self.corrected:.3f}"


def key(row: Row) -> Key:
    """What names a row in its scenario."""
    return row.method, row.device


def competes(row: Row) -> bool:
    """Whether a row is one that is compared: no reference, no cheat, and all of its cells have a result."""
    return row.kind not in ("reference", "cheat") and row.status not in UNRANKED


def compared_with(task: Task, name: str) -> str:
    """The method that rows are compared with in a metric: the task's reference.

    Where the metric is itself a distance to that, no row can be better than it, and a test of whether rows differ from
    it says nothing: they are compared with the original, where nothing is done.
    """
    return task.original if name in DISTANCES else task.reference


def to_reference(task: Task, rows: Sequence[Row], name: str) -> dict[Key, Comparison]:
    """Every row's difference in a metric to what it is compared with, on the same device and seeds.

    p values are those of the rows that compete; the others, references and cheats, have a difference only.
    """
    found: dict[Key, Comparison] = {}
    for device in dict.fromkeys(row.device for row in rows):
        own = [row for row in rows if row.device == device]
        reference = next((row for row in own if row.method == compared_with(task, name)), None)
        if reference is not None:
            found |= _against(reference, [row for row in own if row is not reference], name)
    return found


def _against(reference: Row, rows: Iterable[Row], name: str) -> dict[Key, Comparison]:
    differences = {key(row): (row, differences_of(row, reference, name)) for row in rows}
    differences = {k: (row, own) for k, (row, own) in differences.items() if own}
    tested = {k: own for k, (row, own) in differences.items() if competes(row)}
    # With the fewest clusters of any row: all rows are judged by one family, or none is.
    able = bool(tested) and can_reject(min(len(own) for own in tested.values()), len(tested))
    p_values = {k: sign_flip_p(own) for k, own in tested.items()} if able else {}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        k: Comparison(t_interval(own), p_values.get(k), corrected.get(k), len(tested))
        for k, (_, own) in differences.items()
    }


def differences_of(row: Row, other: Row, name: str) -> list[float]:
    """A metric of ``row`` less that of ``other``, one a seed that both have."""
    own, others = values(row, name), values(other, name)
    return [own[seed] - others[seed] for seed in sorted(own.keys() & others.keys())]


def values(row: Row, name: str) -> Mapping[int, float]:
    """A metric by seed; empty where the row has none."""
    cell = row.metrics.get(name)
    return {} if cell is None else cell.by_seed


def losses(row: Row, name: str) -> dict[int, float]:
    """How far a row is from what is best in a metric, by seed, the lower the better; empty where nothing is best.

    Where retraining is the aim, that is the absolute gap to it, and where 0 or 0.5 is best the distance from that.
    """
    better = metric(name).better
    if better == "reference" or (better in SIGNS and aims_at_reference(row, name)):
        return {seed: abs(value) for seed, value in values(row, f"{name}.gap").items()}
    if better == "none":
        return {}
    if better in SIGNS:
        return {seed: SIGNS[better] * value for seed, value in values(row, name).items()}
    return {seed: abs(value - (0.5 if better == "half" else 0.0)) for seed, value in values(row, name).items()}


def aims_at_reference(row: Row, name: str) -> bool:
    """Whether what retraining has is the aim, whatever the metric: so it is in tasks that show gaps."""
    return TASKS.get(row.task).with_gaps and name != row.rank_by


def tied_with_best(rows: Sequence[Row], name: str) -> set[Key]:
    """The best of the rows that compete, and those that a paired comparison with it does not tell from it.

    Among the rows of each track and device, where there are two or more. The comparison is by sign flips with Holm's
    correction where these can reject anything, else by Student's t test of the differences with the same correction.
    Nothing is told under five clusters, nor for rows that lack a seed which others have.
    """
    tied: set[Key] = set()
    for field in dict.fromkeys((row.track, row.device) for row in rows):
        own = [row for row in rows if (row.track, row.device) == field and competes(row)]
        tied |= ties({key(row): losses(row, name) for row in own})
    return tied


def ties(losses: Mapping[K, Mapping[int, float]]) -> set[K]:
    """Of losses by seed the lowest on average, and those that are not told from it; see ``tied_with_best``."""
    seeds = max((set(own) for own in losses.values()), key=len, default=set())
    whole = {k: own for k, own in losses.items() if set(own) == seeds}
    if len(seeds) < FEWEST_FOR_TIES or len(whole) < 2:
        return set()
    best = min(whole, key=lambda k: sum(whole[k].values()))
    others = [k for k in whole if k != best]
    test = sign_flip_p if can_reject(len(seeds), len(others)) else paired_t_p
    p_values = [test([whole[k][seed] - whole[best][seed] for seed in sorted(seeds)]) for k in others]
    return {best} | {k for k, p in zip(others, holm(p_values), strict=True) if p >= ALPHA}
