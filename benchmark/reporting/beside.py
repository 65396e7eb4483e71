"""Rows of a board beside what papers published, and what became of every published number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from benchmark.boards.board import Row
from benchmark.metrics.catalogue import metric
from benchmark.published import numbers, papers
from benchmark.published.joining import Joined, joined, joined_to, unjoined
from benchmark.reporting import cells
from benchmark.reporting.measured import Setting


class Beside(msgspec.Struct, frozen=True):
    """A row of ours beside a published number, or a published number that has none (``ours`` and ``status`` empty).

    ``method`` and ``device``: the row's; without a row, what we or else the paper call the method, which calls it
    ``called``. ``ours`` is a mean with the half-width of its interval over ``n`` seeds, empty where there is no value
    that counts; ``published`` the number as printed, as a bound where it is one; ``difference`` ours less theirs, or
    ``-``, and then ``incomparable`` says why if it is not for want of a value. ``source``: where the number stands,
    ``confidence``: where it was taken from; ``mark``: why it is no first-hand one (``benchmark.published.MARKS``),
    empty if it is. ``nearest``: the scenario is not the paper's; ``differs``: in what, ``what: how``; ``remarks``: of
    this number. Nothing is escaped.
    """

    method: str
    called: str
    device: str
    metric: str
    ours: str
    n: int
    status: str
    published: str
    difference: str
    paper: str
    source: str
    table: str
    dataset: str
    setting: str
    confidence: str
    first_hand: bool
    mark: str
    nearest: bool
    incomparable: str
    generator: str
    features: str
    differs: list[str]
    remarks: list[str]

    @property
    def has_row(self) -> bool:
        return bool(self.status)


class Account(msgspec.Struct, frozen=True):
    """What became of a paper's ``total`` numbers.

    ``beside``: how many stand beside a row of a run; ``alone``: beside a run that has no row of their method;
    ``waiting``: how many belong to scenarios of which there is no run; ``apart``: how many belong to none, by reason.
    """

    paper: str
    cite: str
    tasks: list[str]
    total: int
    beside: int
    alone: int
    waiting: int
    apart: dict[str, int]

    @property
    def unjoined(self) -> int:
        return sum(self.apart.values())


def beside(suite: str, task: str, scenario: str, rows: Sequence[Row], setting: Setting | None = None) -> list[Beside]:
    """What was published beside ``rows``, which are one scenario's: by metric and row, then what has no row.

    ``setting``: this run's generator and features, where images were generated. Nothing where nothing was published.
    """
    found = joined_to(suite, task, scenario)
    lines: list[Beside] = []
    for name in dict.fromkeys(one.metric for one in found):
        own = [one for one in found if one.metric == name]
        lines += [_line(one, row, setting) for row in rows for one in own if row.method in one.methods]
        here = {row.method for row in rows}
        lines += [_line(one, None, setting) for one in own if not here & set(one.methods)]
    return lines


def accounts(boards: Mapping[str, Sequence[Row]]) -> list[Account]:
    """What became of every published number, a paper each, where ``boards`` are the rows of suites that were run."""
    rows = {(suite, row.task, row.scenario, row.method) for suite, own in boards.items() for row in own}
    run = {key[:3] for key in rows}
    state: dict[int, str] = {}
    for one in joined():
        at = (one.suite, one.task, one.scenario)
        shown = any((*at, name) in rows for name in one.methods)
        own = "beside" if shown else "alone" if at in run else "waiting"
        state[id(one.number)] = min(own, state.get(id(one.number), "waiting"), key=_STATES.index)
    return [_account(name, state) for name in papers()]


#: What can become of a joined number, best first.
_STATES = ("beside", "alone", "waiting")


def _account(name: str, state: Mapping[int, str]) -> Account:
    own = [number for number in numbers() if number.paper == name]
    counted = Counter(state[id(number)] for number in own if id(number) in state)
    apart = Counter(one.why for one in unjoined() if one.number.paper == name)
    said = papers()[name]
    beside, alone, waiting = (counted[each] for each in _STATES)
    return Account(name, said.cite, said.tasks, len(own), beside, alone, waiting, dict(apart))


def _line(one: Joined, row: Row | None, setting: Setting | None) -> Beside:
    """A row beside a number; one with other settings than the suite's is no reproduction of it, and counts for none."""
    cell = row.metrics.get(one.metric) if row is not None and row.status != "outdated" else None
    mean = cell.mean if cell is not None else None
    why = _incomparable(one, setting)
    apart = "-" if mean is None or why else cells.signed(mean - float(one.number.value), metric(one.metric).unit)
    number = one.number
    return Beside(
        method=row.method if row is not None else (*one.methods, number.method)[0],
        called=number.method,
        device=row.device if row is not None else "",
        metric=one.metric,
        ours="" if mean is None else cells.interval(cell),
        n=cell.n if cell is not None else 0,
        status=row.status if row is not None else "",
        published=one.text,
        difference=apart,
        paper=number.paper,
        source=one.source,
        table=number.table,
        dataset=number.dataset,
        setting=number.setting,
        confidence=number.source_confidence,
        first_hand=not one.mark,
        mark=one.mark,
        nearest=one.nearest,
        incomparable=why,
        generator=one.generator,
        features=one.features,
        differs=list(one.differs),
        remarks=list(one.remarks),
    )


def _incomparable(one: Joined, setting: Setting | None) -> str:
    """Why no difference is taken; distances in other features than this run's are in other units."""
    if one.features and (setting is None or setting.features != one.features):
        own = "others" if setting is None else f"those of {setting.features}"
        return f"the paper's distances are in features of {one.features}, this run's in {own}"
    return one.incomparable
