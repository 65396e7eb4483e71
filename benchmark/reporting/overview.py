"""All tasks at a glance: how far each method comes from doing nothing to the best that can be hoped for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.boards.board import UNRANKED, Row
from benchmark.boards.comparisons import SIGNS, Key, key, values
from benchmark.discovery.methods import METHODS
from benchmark.metrics.catalogue import metric
from benchmark.reporting.selection import ranked_by
from benchmark.stats import Interval, linearised_ratio, t_interval
from benchmark.tasks import TASKS, Task

#: Percent or points that are at least between the original and the aim; for what has no unit a hundredth of it.
LEAST = 5.0
#: What a score of 1 is, where that is not the task's reference.
AIMS = {"debias-known": "unbiased", "debias-unknown": "unbiased"}


@dataclass(frozen=True)
class Scored:
    """A method in a task: how far it comes, from 0 (the original) to 1 (the aim).

    ``score`` is the mean over the scenarios in ``by_scenario`` with its interval over seeds, None where there are none;
    ``of`` counts the scenarios that any method of the task has a score in: means over fewer do not compare.
    ``left_out`` has the scenarios in which there is no scale or no whole result, with the reason. ``reads`` says which
    information the method declares to read; ``cost`` is the mean ratio to the reference's device seconds over these
    scenarios, None where it is not known or something else of the run shared the cores.
    """

    task: str
    method: str
    kind: str
    device: str
    track: str
    score: Interval | None
    by_scenario: Mapping[str, Interval]
    of: int
    left_out: Mapping[str, str]
    reads: str
    cost: float | None


def aim(task: Task) -> str:
    """The row that has a score of 1."""
    return AIMS.get(task.name, task.reference)


def overview(rows: Sequence[Row]) -> list[Scored]:
    """Every method of one suite's rows by task, track, device and score, the best first, cheats last; no references."""
    found = []
    for name in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == name]
        scores = {
            scenario: normalised(TASKS.get(name), [row for row in own if row.scenario == scenario])
            for scenario in dict.fromkeys(row.scenario for row in own)
        }
        left_out = {scenario: score for scenario, score in scores.items() if isinstance(score, str)}
        scaled = {scenario: score for scenario, score in scores.items() if not isinstance(score, str)}
        found += _task(TASKS.get(name), own, scaled, left_out)
    return found


def normalised(task: Task, rows: Sequence[Row]) -> dict[Key, dict[int, float]] | str:
    """(m - original) / (aim - original) of each row of a scenario in the metric that it is ranked by, by seed.

    The mean over seeds is the ratio of the means, and the spread its linearised error (``stats.linearised_ratio``), so
    that one seed with a small denominator does not decide. Where the denominator is under five points or its interval
    reaches 0, or the rows of the original or the aim are not sound, the reason why there is no scale.
    """
    by_key = {key(row): row for row in rows if row.rank_by == ranked_by(rows)} if rows else {}
    found: dict[Key, dict[int, float]] = {}
    reason = "no row to compete"
    for own, row in by_key.items():
        ends = by_key.get((task.original, row.device)), by_key.get((aim(task), row.device))
        scale = _scale(task, ends[0], ends[1], row.rank_by)
        if isinstance(scale, str):
            reason = scale
        elif ends[0] is not None:
            below, start, mine = scale, values(ends[0], row.rank_by), values(row, row.rank_by)
            seeds = [seed for seed in sorted(below) if seed in mine]
            if seeds:
                above = [mine[seed] - start[seed] for seed in seeds]
                found[own] = dict(zip(seeds, linearised_ratio(above, [below[s] for s in seeds]), strict=True))
    return found or reason


def _scale(task: Task, original: Row | None, reached: Row | None, name: str) -> dict[int, float] | str:
    """What lies between the original and the aim, by seed; or why that is no scale."""
    if original is None or reached is None:
        return f"no row {task.original if original is None else aim(task)}"
    for row in (original, reached):
        if row.status != "ok":
            return f"{row.method} is {row.status}"
    start, end = values(original, name), values(reached, name)
    between = {seed: end[seed] - start[seed] for seed in sorted(start.keys() & end.keys())}
    if not between:
        return f"{name} is blank"
    interval = t_interval(list(between.values()))
    low, high = (interval.mean if bound is None else bound for bound in (interval.low, interval.high))
    if interval.mean * SIGNS.get(metric(name).better, 0.0) > 0:
        return f"{reached.method} is worse than {original.method} in {name}"
    if low <= 0 <= high:
        return f"{original.method} and {reached.method} do not differ in {name}"
    if abs(interval.mean) < (LEAST if metric(name).unit else LEAST / 100):
        return f"{original.method} and {reached.method} hardly differ in {name}"
    return between


def _task(
    task: Task, rows: Sequence[Row], scaled: Mapping[str, dict[Key, dict[int, float]]], left_out: Mapping[str, str]
) -> list[Scored]:
    fields = dict.fromkeys((row.method, row.device, row.track) for row in rows if row.kind != "reference")
    found = []
    for method, device, track in fields:
        mine = [row for row in rows if (row.method, row.device, row.track) == (method, device, track)]
        failed = {row.scenario: str(row.status) for row in mine if row.status in UNRANKED}
        parts = {r.scenario: scaled[r.scenario].get((method, device), {}) for r in mine if r.scenario in scaled}
        parts = {scenario: part for scenario, part in parts.items() if part and scenario not in failed}
        found.append(_scored(task, mine, parts, {**left_out, **failed}))
    return sorted(_counted(found), key=_order)


def _counted(found: Sequence[Scored]) -> list[Scored]:
    """The same, with the number of scenarios that there are in each track and device."""
    seen: dict[tuple[str, str], set[str]] = {}
    for one in found:
        seen.setdefault((one.track, one.device), set()).update(one.by_scenario)
    return [replace(one, of=len(seen[one.track, one.device])) for one in found]


def _order(one: Scored) -> tuple[str, str, bool, int, float, str]:
    """The best first among those with a score in every scenario; then the others, those with none, and cheats."""
    cheat, missing = one.kind == "cheat", one.of - len(one.by_scenario)
    return one.track, one.device, cheat, missing, -one.score.mean if one.score else 0.0, one.method


def _scored(
    task: Task, rows: Sequence[Row], parts: Mapping[str, Mapping[int, float]], left_out: Mapping[str, str]
) -> Scored:
    first = rows[0]
    own = [row for row in rows if row.scenario in parts or not parts]
    costs = [row.cost.ratio_to_retrain for row in own if row.cost.exclusive and row.cost.ratio_to_retrain is not None]
    return Scored(
        task=task.name,
        method=first.method,
        kind=first.kind,
        device=first.device,
        track=first.track,
        score=_mean(list(parts.values())),
        of=len(parts),
        by_scenario={scenario: t_interval(list(part.values())) for scenario, part in parts.items()},
        left_out={row.scenario: left_out[row.scenario] for row in rows if row.scenario in left_out},
        reads=reads(task, first.method),
        cost=sum(costs) / len(costs) if own and len(costs) == len(own) else None,
    )


def _mean(parts: Sequence[Mapping[int, float]]) -> Interval | None:
    """The mean over scenarios, its interval over the seeds that all of them have; no interval where that is none."""
    if not parts:
        return None
    seeds = sorted(set.intersection(*(set(part) for part in parts)))
    if seeds and all(len(part) == len(seeds) for part in parts):
        return t_interval([sum(part[seed] for part in parts) / len(parts) for seed in seeds])
    means = [sum(part.values()) / len(part) for part in parts]
    return Interval(sum(means) / len(means), None, None, len(seeds))


def reads(task: Task, method: str) -> str:
    """Which information a method declares to read, in words; empty for one that is no longer there."""
    if not METHODS.has(method, task.name):
        return ""
    return str(METHODS.get(method, task.name).access.granted(task.views))
