"""Which published number stands beside which scenario, what differs there, and which number stands beside none."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

import msgspec

from benchmark.published import Join, Measure, Number, Paper, numbers, papers

#: What stands before a number that is none but a bound.
BOUNDS = {"": "", "lower": "≥ ", "upper": "≤ ", "approximate": "≈ "}
NEAREST = "the scenario is the nearest one to the paper's, not the same"
INEXACT = {
    "lower": "a bound is published",
    "upper": "a bound is published",
    "approximate": "what is published is approximate",
}


class Joined(msgspec.Struct, frozen=True):
    """A published number beside a scenario.

    ``source``: where it stands. ``methods``: what we call its method; none where we have none. ``mark``: one of
    ``benchmark.published.MARKS``, empty for a number of the paper's authors. ``differs``: what is not as in the paper;
    ``remarks``: what must be known of this number anywhere. ``nearest``: the scenario is not the paper's.
    ``incomparable``: why no difference of values means anything, empty where one does.
    """

    number: Number
    source: str
    generator: str
    suite: str
    task: str
    scenario: str
    methods: tuple[str, ...]
    metric: str
    features: str
    text: str
    mark: str
    differs: tuple[str, ...]
    remarks: tuple[str, ...]
    nearest: bool
    incomparable: str


class Unjoined(msgspec.Struct, frozen=True):
    """A published number that stands beside no scenario, and why."""

    number: Number
    source: str
    text: str
    mark: str
    why: str


def text_of(number: Number, bound: str = "", unit: str = "") -> str:
    """A number as it is printed, with its standard deviation, as a bound where it is one."""
    spread = f" ± {number.std}" if number.std else ""
    return f"{BOUNDS[bound]}{number.value}{spread}{f' {unit}' if unit else ''}"


@cache
def joined() -> tuple[Joined, ...]:
    """Every published number beside every scenario that it has, in the order of the tables."""
    said = papers()
    return tuple(found for number in numbers() for found in _joins(said[number.paper], number))


@cache
def _by_scenario() -> dict[tuple[str, str, str], tuple[Joined, ...]]:
    found: dict[tuple[str, str, str], list[Joined]] = defaultdict(list)
    for one in joined():
        found[one.suite, one.task, one.scenario].append(one)
    return {key: tuple(some) for key, some in found.items()}


def joined_to(suite: str, task: str, scenario: str) -> tuple[Joined, ...]:
    """What was published beside a scenario; nothing where nothing was."""
    return _by_scenario().get((suite, task, scenario), ())


@cache
def unjoined() -> tuple[Unjoined, ...]:
    """Every published number that a rule keeps apart, with the rule's reason."""
    said = papers()
    return tuple(
        Unjoined(number, said[number.paper].source(number), text_of(number), said[number.paper].mark(number), rule.why)
        for number in numbers()
        for rule in said[number.paper].apart
        if rule.rows.has(number)
    )


def _joins(paper: Paper, number: Number) -> list[Joined]:
    measure = paper.metrics.get(number.metric)
    if measure is None:
        return []
    return [
        _joined(paper, number, measure, join, scenario)
        for join in paper.joins
        if (join.table, join.dataset) == (number.table, number.dataset)
        and (not join.metrics or number.metric in join.metrics)
        for scenario in join.settings.get(number.setting, ())
    ]


def _joined(paper: Paper, number: Number, measure: Measure, join: Join, scenario: str) -> Joined:
    ours = join.methods.get(number.method, paper.methods.get(number.method, []))
    incomparable = measure.incomparable or (INEXACT.get(measure.bound, "") if join.compares else NEAREST)
    return Joined(
        number=number,
        source=paper.source(number),
        generator=paper.generator,
        suite=join.suite,
        task=join.task,
        scenario=scenario,
        methods=(ours,) if isinstance(ours, str) else tuple(ours),
        metric=measure.name,
        features=measure.features,
        text=text_of(number, measure.bound, measure.unit),
        mark=paper.mark(number),
        differs=(*join.differs, *join.differs_at.get(scenario, ())),
        remarks=tuple(remark.says for remark in paper.remarks if remark.rows.has(number)),
        nearest=not join.compares,
        incomparable=incomparable,
    )
