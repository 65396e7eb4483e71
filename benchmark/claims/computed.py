"""How each kind of check is computed from runs: a number with its interval, or why there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmark.claims import statistics
from benchmark.claims.checks import At, Bound, Check, Difference, Divergence, Ratio, Reads, Transfer, Trend, point_text
from benchmark.claims.evidence import NOTHING, Evidence, Runs
from benchmark.metrics.catalogue import metric
from benchmark.running.records import Record
from benchmark.stats import Interval, t_interval
from benchmark.studies.transfer import by_place, losses

#: What flags of a record say where outputs left the finite numbers.
NOT_FINITE = "not finite"
#: The unit of a trend.
CORRELATION = "rank correlation"


class Computed(NamedTuple):
    """``what`` was compared, the ``unit``, what was ``found``, and a ``remark``: why nothing was, or what to know.

    ``against``: the competitor, where there is one.
    """

    what: str
    unit: str
    found: Interval | None
    remark: str
    against: str = ""


class Place(NamedTuple):
    """Where a check is made: a ``scenario`` of its suite, or a point of its study."""

    check: Check
    evidence: Evidence
    scenario: str
    at: At

    @property
    def name(self) -> str:
        """What it is called in tables."""
        if self.scenario:
            return f"{self.check.suite}/{self.scenario}"
        return point_text(f"{self.check.study}/{self.check.part}", self.at)

    def runs(self, method: str) -> Runs:
        """A method's runs here."""
        return self._there(method, self.check.sweep, self.at)

    def others(self, check: Difference) -> list[Runs]:
        """What is compared with: in a study perhaps in another sweep or at another point."""
        elsewhere = bool(check.versus_sweep) or check.versus_at is not None
        at, sweep = check.versus_at if elsewhere else self.at, check.versus_sweep or check.sweep
        return [self._there(method, sweep, at) for method in check.versus or [check.method]]

    def _there(self, method: str, sweep: str, at: At) -> Runs:
        if self.scenario:
            return self.evidence.in_suite(self.check.suite, self.scenario, method)
        if self.check.measurement:
            return self.evidence.measured(self.check.study, self.check.measurement, at)
        return self.evidence.in_study(self.check.study, sweep, method, at)


def compute(place: Place) -> Iterator[Computed]:
    """What the place's check gives there, one for each competitor."""
    computed = _KINDS[type(place.check)]
    yield from computed(place.check, place)


def _unsound(*several: Runs) -> str:
    return "; ".join(dict.fromkeys(own.unsound for own in several if own.unsound))


def _lacking(name: str, *several: Runs) -> str:
    """Why there is nothing of a metric; empty where there is."""
    blank = [own.method for own in several if not own.values.get(name)]
    return _unsound(*several) or (f"{name} of {' and '.join(blank)} is blank" if blank else "")


def _unit(check: Check, name: str) -> str:
    return check.unit if check.measurement else metric(name).unit


def _bound(check: Bound, place: Place) -> Iterator[Computed]:
    own = place.runs(check.method)
    remark = _lacking(check.metric, own)
    found = None if remark else statistics.mean(own.values[check.metric])
    yield Computed(check.subject, _unit(check, check.metric), found, remark)


def _difference(check: Difference, place: Place) -> Iterator[Computed]:
    own, unit = place.runs(check.method), _unit(check, check.metric)
    unit = "points" if unit == "%" else unit
    if check.less:
        remark = _lacking(check.metric, own) or _lacking(check.less, own)
        found = None if remark else statistics.paired(own.values[check.metric], own.values[check.less])
        yield Computed(f"{check.subject}: {check.metric} less {check.less}", unit, found, remark)
        return
    others = place.others(check)
    for group in [others] if check.against == "median" else [[other] for other in others]:
        remark, found = _lacking(check.metric, own, *group), None
        if not remark:
            against = statistics.median_of([other.values[check.metric] for other in group])
            found = statistics.paired(own.values[check.metric], against)
            remark = "" if found else "no seed has both"
        yield Computed(_against(check, group), unit, found, remark, group[0].method if len(group) == 1 else "")


def _against(check: Difference, group: Sequence[Runs]) -> str:
    names = ", ".join(other.method for other in group)
    if check.against == "median":
        return f"{check.method} less the median of {names}"
    there = point_text(check.versus_sweep, check.versus_at)
    return f"{check.subject} less {names}" + (f" at {there}" if there else "")


def _ratio(check: Ratio, place: Place) -> Iterator[Computed]:
    own = place.runs(check.method)
    for other in [place.runs(method) for method in check.versus]:
        remark, found = _unsound(own, other), None
        if not remark:
            found = statistics.ratio(*_on_one_machine(own, other, check.per))
            remark = _shared(own, other) if found else "no pair of runs on one machine"
        yield Computed(f"{check.method} / {other.method}", "", found, remark, other.method)


def _on_one_machine(own: Runs, other: Runs, per: str) -> tuple[dict[int, float], dict[int, float]]:
    """Device seconds by seed, of the seeds whose runs were on one machine; over a hyper-parameter, if one is named."""
    pairs = [(seed, own.done[seed], other.done[seed]) for seed in sorted(own.done.keys() & other.done.keys())]
    same = [(seed, a, b) for seed, a, b in pairs if len({r.environment.get("machine") for r in (*a, *b)}) == 1]
    return {seed: _seconds(a, per) for seed, a, _ in same}, {seed: _seconds(b, per) for seed, _, b in same}


def _seconds(records: Sequence[Record], per: str) -> float:
    found = [r.cost.device_seconds / (r.cell.parameters[per] if per else 1.0) for r in records]
    return sum(found) / len(found)


def _shared(*several: Runs) -> str:
    every = [record for runs in several for records in runs.done.values() for record in records]
    return "" if all(record.cost.exclusive for record in every) else "some of these runs shared their cores"


def _reads(check: Reads, place: Place) -> Iterator[Computed]:
    own = place.runs(check.method)
    counted = read(own, check.what, check.views)
    if check.per:
        found = statistics.ratio(counted, read(own, check.per, check.views))
        yield Computed(f"{check.method}: {check.what} / {check.per}", "", found, _unsound(own))
    elif not check.versus:
        what = f"{check.method}: {check.what} read{_of(check)}"
        yield Computed(what, check.what, None if own.unsound else statistics.mean(counted), own.unsound)
    for other in [place.runs(method) for method in check.versus]:
        remark = _unsound(own, other)
        found = None if remark else statistics.ratio(counted, read(other, check.what, check.views))
        what = f"{check.method} / {other.method}: {check.what} read{_of(check)}"
        yield Computed(what, "", found, remark or ("" if found else f"{other.method} reads none"), other.method)


def _of(check: Reads) -> str:
    return f" of {', '.join(check.views)}" if check.views else ""


def read(runs: Runs, what: str, views: Sequence[str]) -> dict[int, float]:
    """What was read of some views, or of all where none are named, by seed; summed over views and requests."""
    found = {}
    for seed, records in runs.done.items():
        ledgers = [ledger.items() for record in records for ledger in record.access]
        counts = [counts.get(what, 0) for ledger in ledgers for view, counts in ledger if not views or view in views]
        found[seed] = sum(counts) / len(records)
    return found


def _divergence(check: Divergence, place: Place) -> Iterator[Computed]:
    own = place.runs(check.method)
    every = {seed: [_diverged(record, check) for record in records] for seed, records in own.records.items()}
    found = statistics.mean({seed: 100.0 * any(several) for seed, several in every.items()})
    yield Computed(check.method, "% of runs", found, "" if found else own.unsound)


def _diverged(record: Record, check: Divergence) -> bool:
    if record.failure is not None:
        return record.failure.error == "DivergenceError"
    value = record.values().get(check.metric)
    return value is None or value <= check.useless or any(NOT_FINITE in flag for flag in record.flags)


def _trend(check: Trend, place: Place) -> Iterator[Computed]:
    pairs: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for cell in place.evidence.cells(check.study, check.sweep, check.method):
        point = {"x": cell.x, **cell.point}
        x, y = point.get(check.over), cell.values.get(check.metric)
        if isinstance(x, (int, float)) and y is not None and _is_meant(x, point, check):
            pairs[cell.seed].append((float(x), y))
    found = statistics.trend(pairs)
    remark = "" if found else place.evidence.not_run(check.study) or "too few points"
    yield Computed(f"{check.method}: {check.metric} over {check.over}", CORRELATION, found, remark)


def _transfer(check: Transfer, place: Place) -> Iterator[Computed]:
    surfaces = by_place(place.evidence.measurements(check.study, check.measurement))
    for to in check.to:
        both = check.of in surfaces and to in surfaces
        lost = losses(surfaces[check.of], surfaces[to], same=to == check.of) if both else []
        what = f"{check.of} to {to if to != check.of else 'its other classes'}"
        yield Computed(what, "points", t_interval(lost) if lost else None, "" if lost else NOTHING)


def _is_meant(x: float, point: dict[str, object], check: Trend) -> bool:
    inside = (check.low is None or x >= check.low) and (check.high is None or x <= check.high)
    return inside and all(point.get(name) == value for name, value in check.within.items())


_KINDS: dict[type[Check], Callable[..., Iterator[Computed]]] = {
    Bound: _bound,
    Difference: _difference,
    Ratio: _ratio,
    Reads: _reads,
    Divergence: _divergence,
    Transfer: _transfer,
    Trend: _trend,
}
