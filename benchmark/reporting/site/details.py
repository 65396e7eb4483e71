"""What opens below a row of the site: plain blocks of text, which the page's script shows.

A block has a type ``t`` and a heading ``h``: ``alert`` and ``text`` (lines ``v``), ``command`` (``v``), ``pairs`` (rows
``[name, value]``), ``table`` (``head``, ``rows``), ``metrics`` (``seeds``, and ``rows`` as :func:`_metric` makes them),
``groups`` (``of``: the number of the list of groups, ``v``: values in its order), ``records`` (``base``, and rows
``[file, hash]``). ``wide`` ones take the whole width; ``closed`` ones are opened by the reader. What many rows have in
common is written once and named by its number (``Shared``); values by seed are one string, because there are many.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.boards.aggregates import MetricCell
from benchmark.boards.board import ABSENT, Row
from benchmark.discovery.methods import METHODS
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.overview import reads
from benchmark.reporting.sheet import Line, Sheet
from benchmark.reporting.site.table import Block, Shared
from benchmark.reporting.text import command_text
from benchmark.stats import Interval
from benchmark.tasks import TASKS

#: Which way a metric is best, in words.
BETTER = {
    "higher": "higher",
    "lower": "lower",
    "zero": "0",
    "half": "0.5",
    "reference": "as the reference",
    "none": "-",
}
MIB = 2**20


def details(sheet: Sheet, line: Line, shared: Shared) -> list[Block | int]:
    """All that is known of a row, what is asked for most first."""
    row = line.row
    blocks: list[Block | int | None] = [
        {"t": "alert", "h": f"Status: {row.status}", "v": list(row.reasons)} if row.reasons else None,
        {"t": "command", "h": "Make this row again", "v": command_text(sheet.command_of(row))},
        _metrics(sheet, row, shared),
        _difference(sheet, line),
        shared.number(_about(row)),
        shared.number(_parameters(row)),
        _cost(sheet, row),
        shared.number(_access(row)),
        shared.number(_settings(row)),
        _groups(row, shared),
        shared.number(_versions(row)),
        shared.number(_environments(row)),
        _records(row),
    ]
    return [block for block in blocks if block is not None]


def pairs(heading: str, rows: Mapping[str, str], **more: Any) -> Block:
    """Names and values; those without a value are left out."""
    return {"t": "pairs", "h": heading, "rows": [[name, value] for name, value in rows.items() if value], **more}


def about(task: str, method: str) -> dict[str, str]:
    """What a method declares of itself; nothing for one that is no longer there."""
    if not METHODS.has(method, task):
        return {}
    info = METHODS.get(method, task)
    return {"what it does": info.summary, "paper": info.paper, "may read": reads_of(task, method)}


def reads_of(task: str, method: str) -> str:
    """Which information a method declares to read, in words."""
    return reads(TASKS.get(task), method)


def _about(row: Row) -> Block:
    own = {"kind": row.kind, "device": row.device, "state chosen by": _choice(row)}
    return pairs(row.method, {**about(row.task, row.method), **own})


def _choice(row: Row) -> str:
    if row.choice is None:
        return ""
    ends = dict.fromkeys((f"{row.choice.fewest:,}", f"{row.choice.most:,}"))
    on = f" on {' to '.join(ends)} held-out samples" if row.choice.most else ""
    conflicting = f", at most {row.choice.conflicting} of them bias-conflicting" if row.choice.conflicting else ""
    return f"{row.choice.rule}{on}{conflicting}"


def bounds(interval: Interval | MetricCell, unit: str) -> str:
    """The 95 % interval from its lower to its upper end; empty where there is none."""
    if interval.low is None or interval.high is None:
        return ""
    return f"{cells.number(interval.low, unit)} to {cells.number(interval.high, unit)}"


def _difference(sheet: Sheet, line: Line) -> Block | None:
    """The paired difference to the reference in what the scenario is ranked by."""
    if line.difference is None:
        return None
    known, found = metric(sheet.ranked_by), line.difference
    own = {
        "difference": f"{cells.signed(found.difference.mean, known.unit)}{_unit(known.unit)}",
        "95 % interval": bounds(found.difference, known.unit),
        "n": str(found.difference.n),
    }
    if line.section not in ("references", "cheats"):
        own["p, by sign flips"] = "not testable: too few base models" if found.p is None else p_value(found.p)
        if found.corrected is not None:
            own[f"p, Holm-corrected for {found.comparisons}"] = found.text
    return pairs(f"Difference to {sheet.compared_with} in {known.label}", own)


def p_value(p: float) -> str:
    """As tables print it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _unit(unit: str, before: str = " ", after: str = "") -> str:
    return f"{before}{unit}{after}" if unit not in ("", cells.DISTANCE) else ""


def _metrics(sheet: Sheet, row: Row, shared: Shared) -> Block | None:
    """Every metric that has a value, the board's columns first."""
    order = [*sheet.columns, *(name for name in row.metrics if name not in sheet.columns)]
    shown = [(name, row.metrics[name]) for name in order if name in row.metrics and cells.has(row, name)]
    if not shown:
        return None
    rows = [_metric(name, cell, row.origin.seeds, shared) for name, cell in shown]
    return {"t": "metrics", "h": "Every metric", "seeds": row.origin.seeds, "rows": rows, "wide": True}


def _metric(name: str, cell: MetricCell, seeds: Sequence[int], shared: Shared) -> list[Any]:
    """The number of what the metric is, its mean, interval and n, and the value of each seed, ``-`` for none."""
    known = metric(name)
    values = [cells.number(cell.by_seed[seed], known.unit) if seed in cell.by_seed else "-" for seed in seeds]
    mean = "" if cell.mean is None else cells.number(cell.mean, known.unit)
    number = shared.number(
        {"label": f"{known.label}{_unit(known.unit, ' (', ')')}", "name": name, "best": BETTER[known.better]}
    )
    return [number, mean, bounds(cell, known.unit), cell.n, " ".join(values)]


def plain(value: Any) -> str:
    """A setting as it is written in a suite's file."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parameters(row: Row) -> Block:
    own = {name: plain(value) for name, value in row.origin.parameters.items()}
    block = pairs("Hyper-parameters", own or {"(none)": "this method has none"})
    return {**block, "note": f"Where they are from: {row.origin.provenance}"} if row.origin.provenance else block


def _settings(row: Row) -> Block:
    return pairs("Settings of the scenario", _flat(row.origin.settings), closed=True)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Nested settings with dotted names; None is left out, because it means that there is no such setting."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{before}{name}.")
        elif value is not None:
            found[before + name] = plain(value)
    return found


def _cost(sheet: Sheet, row: Row) -> Block:
    cost = row.cost
    own = {
        "wall time, mean": "" if cost.seconds is None else f"{cells.seconds(cost.seconds)} s",
        "CPU or GPU time, mean": "" if cost.device_seconds is None else f"{cells.seconds(cost.device_seconds)} s",
        f"ratio to {sheet.task.reference}": "" if cost.ratio_to_retrain is None else cells.ratio(row),
        "peak memory, median": "" if cost.peak_bytes is None else f"{cost.peak_bytes / MIB:.1f} MiB",
        "threads": str(row.origin.threads),
    }
    block = pairs("Cost", own)
    shared = "Something else of the run shared the cores: times are upper bounds, ratios are in brackets."
    return block if cost.exclusive else {**block, "note": shared}


def _access(row: Row) -> Block:
    """What was read, mean over the row's cells, by view."""
    what = list(dict.fromkeys(name for counts in row.access.values() for name in counts))
    rows = [[view, *(f"{counts[n]:,.0f}" if n in counts else "" for n in what)] for view, counts in row.access.items()]
    if not rows:
        return {"t": "text", "h": "What was read", "v": ["Nothing but the model."]}
    return {"t": "table", "h": "What was read", "head": ["view", *what], "rows": rows}


def _groups(row: Row, shared: Shared) -> Block | None:
    """Accuracy by group."""
    if not row.groups:
        return None
    number = shared.number({"names": list(row.groups), "n": [cell.n for cell in row.groups.values()]})
    values = " ".join(cells.number(cell.accuracy, "%") for cell in row.groups.values())
    heading = f"Accuracy by group, the worst of {len(row.groups)} first"
    return {"t": "groups", "h": heading, "of": number, "v": values, "closed": True}


def _versions(row: Row) -> Block:
    origin = row.origin
    said = {"moved": "source has changed since the run, while the declared versions have not", "absent": ABSENT}
    own = {
        **{f"version of the {name}": str(version) for name, version in origin.versions.items()},
        "code": said.get(row.code, "as it was when the row was made"),
        "git commit": ", ".join(dict.fromkeys(e["commit"] for e in origin.environments if e.get("commit"))),
        "data (checksum)": ", ".join(origin.data),
        "made": " to ".join(dict.fromkeys(moment[:10] for moment in origin.created)),
        "seeds": ", ".join(map(str, origin.seeds)),
        "seeds without a result": ", ".join(map(str, origin.failed)),
        "amended": _units(row),
    }
    return pairs("Versions", own)


def _units(row: Row) -> str:
    """What the cells amended, by name; a name of many seeds once."""
    return ", ".join(dict.fromkeys(unit for units in row.origin.units.values() for unit in units))


def _environments(row: Row) -> Block:
    """What the row was made with, a column an environment; what all have alike in one."""
    found = [{k: v for k, v in e.items() if v and k not in ("commit", "created")} for e in row.origin.environments]
    distinct = list({repr(sorted(e.items())): e for e in found}.values())
    names = sorted({name for e in distinct for name in e})
    own = {name: ", ".join(dict.fromkeys(e.get(name, "-") for e in distinct)) for name in names}
    return pairs("Environment" if len(distinct) < 2 else f"Environments ({len(distinct)})", own, closed=True)


def _records(row: Row) -> Block:
    """Files below the results folder; what they have in common stands once before them."""
    files = sorted(row.origin.records)
    folders = {file.rpartition("/")[0] for file in files}
    base = f"{folders.pop()}/" if len(folders) == 1 else ""
    rows = [[file.removeprefix(base), row.origin.records[file]] for file in files]
    return {"t": "records", "h": f"Records ({len(rows)})", "base": base, "rows": rows, "closed": True, "wide": True}
