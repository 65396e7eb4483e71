"""What a study's sweeps and measurements show: lines of intervals over what varies, a block a figure and table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.errors import InputError
from benchmark.metrics.catalogue import metric as known
from benchmark.stats import Interval, t_interval
from benchmark.studies.found import CellResult, Found, by_point


@dataclass(frozen=True)
class Block:
    """What is shown together: lines of (name, x) with an interval of each metric, in the order of the points."""

    name: str
    title: str
    x: str
    log: bool
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, float | str, dict[str, Interval]], ...]
    grey: tuple[str, ...] = ()
    map_of: tuple[str, str] | None = None
    told: dict[float | str, str] | None = None


def blocks_of(found: Found) -> Iterator[Block]:
    study = found.study
    groups: dict[str, list[str]] = {}
    for name, sweep in study.file.sweeps.items():
        groups.setdefault(sweep.figure or name, []).append(name)
    for name, members in groups.items():
        if any(found.cells(member) for member in members):
            yield _of_sweeps(found, name, members)
    for name, own in study.file.measurements.items():
        taken = found.measurements(name)
        if taken:
            yield _of_measurement(found, name, own.title or name)


def _of_sweeps(found: Found, name: str, members: Sequence[str]) -> Block:
    first = found.study.file.sweeps[members[0]]
    metrics = list(dict.fromkeys(m for member in members for m in found.study.metrics_of(member)))
    rows: list[tuple[str, float | str, dict[str, Interval]]] = []
    for member in members:
        rows += _rows(found, member, metrics)
    grey = _references(found, members, metrics)
    varying = [*first.settings, *first.parameters]
    pair = None
    if len(members) == 1 and len(first.methods) == 1 and len(varying) == 2 and not first.lines:
        pair = (varying[0], varying[1])
        rows = _map_rows(found, members[0], metrics, pair)
        grey = []
    return Block(
        name,
        first.title or name,
        first.x,
        first.log,
        tuple(metrics),
        (*rows, *grey),
        tuple(dict.fromkeys(line for line, _, _ in grey)),
        pair,
    )


def _rows(found: Found, sweep: str, metrics: Sequence[str]) -> list[tuple[str, float | str, dict[str, Interval]]]:
    own = found.study.file.sweeps[sweep]
    rows = []
    for cells in by_point(found.cells(sweep)).values():
        for method in own.methods:
            mine = [cell for cell in cells if cell.method == method]
            if mine:
                rows.append((_line(own.lines, mine[0], len(own.methods)), mine[0].x, _intervals(mine, metrics)))
    return rows


def _line(field: str, cell: CellResult, methods: int) -> str:
    if not field:
        return cell.method
    own = f"{field} {shown(cell.point.get(field, ''))}"
    return own if methods == 1 else f"{cell.method}, {own}"


def _map_rows(
    found: Found, sweep: str, metrics: Sequence[str], pair: tuple[str, str]
) -> list[tuple[str, float | str, dict[str, Interval]]]:
    """Rows of a heat map: the second field is the line."""
    cells = by_point(found.cells(sweep)).values()
    return [(shown(own[0].point[pair[1]]), own[0].point[pair[0]], _intervals(own, metrics)) for own in cells]


def _references(
    found: Found, sweeps: Sequence[str], metrics: Sequence[str]
) -> list[tuple[str, float | str, dict[str, Interval]]]:
    """The task's original and reference at every place of the axis, where one setting belongs to it."""
    rows: dict[tuple[str, float | str], dict[str, Interval]] = {}
    named = {method for sweep in sweeps for method in found.study.file.sweeps[sweep].methods}
    cells = found.cells("references")
    for place in found.suite.places.values():
        if place.sweep in sweeps:
            own = [cell for cell in cells if cell.record.cell.scenario == place.references]
            for method in dict.fromkeys(cell.method for cell in own if cell.method not in named):
                at = (method, place.point.x)
                intervals = _intervals([cell for cell in own if cell.method == method], metrics)
                if intervals and at not in rows:
                    rows[at] = intervals
    return [(method, x, intervals) for (method, x), intervals in rows.items()]


def _intervals(cells: Sequence[CellResult], metrics: Sequence[str]) -> dict[str, Interval]:
    found = {}
    for name in metrics:
        values = [value for cell in cells if (value := cell.values.get(name)) is not None]
        if values:
            found[name] = t_interval(values)
    return found


def _of_measurement(found: Found, name: str, title: str) -> Block:
    own = found.study.file.measurements[name]
    groups: dict[str, list[Any]] = {}
    for one in found.measurements(name):
        groups.setdefault(repr(sorted(one.point.items(), key=lambda item: item[0])), []).append(one)
    rows = []
    for taken in groups.values():
        point = taken[0].point
        intervals = {
            metric: t_interval([one.values[metric] for one in taken if metric in one.values])
            for metric in own.metrics
            if any(metric in one.values for one in taken)
        }
        line = f"{own.lines} {shown(point.get(own.lines, ''))}" if own.lines else name
        rows.append((line, _place(point.get(own.x, "")), intervals))
    return Block(name, title, own.x, own.log, tuple(own.metrics), tuple(rows))


def _place(value: Any) -> float | str:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else shown(value)


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else str(value)


def label_of(name: str) -> str:
    """What a metric is called, with its unit; a measurement's own key where it is no metric."""
    try:
        own = known(name)
    except InputError:
        return name
    return f"{own.label} ({own.unit})" if own.unit else own.label
