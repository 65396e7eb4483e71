"""The comparison with an ensemble of retrained models, as a table."""

from __future__ import annotations

import math
from itertools import groupby

from benchmark.boards.board import changed, outdated
from benchmark.discovery.methods import METHODS
from benchmark.discovery.source import digest
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.text import command_text, escape
from benchmark.running.ensembles import EnsembleRecord, fixed
from benchmark.running.plan import digests
from benchmark.suites.definition import Suite
from benchmark.tasks import TASKS

METRICS = ("u-lira.auc", "klom", "epsilon", "forgetting.quality")


def ensemble_tables(records: list[EnsembleRecord], suite: Suite | None) -> list[str]:
    """One table a device, rows from the least detectable method on, references first; nothing without records."""
    lines = []
    by_device = sorted(records, key=lambda r: r.device)
    for device, group in groupby(by_device, key=lambda r: r.device):
        lines += _table(sorted(group, key=_order), device, suite)
    return lines


def _table(records: list[EnsembleRecord], device: str, suite: Suite | None) -> list[str]:
    task = TASKS.get(records[0].task)
    first = next((record for record in records if record.method == task.reference), records[0])
    named = (f"FILE.py:{r.method}" if r.external else r.method for r in records if r.kind != "reference")
    others = ",".join(sorted(named)) or task.reference
    where = "" if device == "cpu" else f" DEVICE={device}"
    command = f"make bench TASK={first.task} SUITE={first.suite} SCENARIOS={first.scenario} METHODS={others}"
    lines = [
        f"**{escape(first.scenario)} against an ensemble** on {escape(first.environment.get('device', ''))}: {first.n} "
        f"unlearned and {first.n} retrained models, {first.examples} forget-set examples ({escape(first.unit)}). "
        f"The row *{escape(task.reference)}* is made of {first.n} other retrained models: what no difference looks "
        f"like. The largest ε that {first.n} models can resolve is {first.largest_epsilon:.2f}.{_brackets(records)}",
        "",
        f"Made by `{command_text(f'{command} ENSEMBLE={first.n}{where}')}`.",
        "",
    ]
    heads = ["method", cells.heading(METRICS[0]), "by chance (95 %)", "p", *(cells.heading(m) for m in METRICS[1:])]
    heads += ["seconds", "note"]
    lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 2) + " --- |"]
    return [*lines, *(_row(record, first, suite) for record in records), ""]


def _brackets(records: list[EnsembleRecord]) -> str:
    """What the brackets of a table mean, if it has any."""
    if not any(record.intervals for record in records):
        return ""
    return " In brackets: the 95 % interval over examples, with these models."


def _row(record: EnsembleRecord, first: EnsembleRecord, suite: Suite | None) -> str:
    name = f"**{escape(record.method)}**" if record.kind == "paper" else escape(record.method)
    name += f" *({record.kind})*" if record.kind in ("reference", "cheat") else ""
    values = [_value(record, metric) for metric in METRICS]
    chance = "-" if record.chance is None else f"{record.chance[0]:.1f} to {record.chance[1]:.1f}"
    p = "-" if record.p is None else f"{record.p:.3f}"
    seconds = cells.seconds(record.seconds)
    cost = seconds if record.exclusive else f"({seconds})"
    return "| " + " | ".join([name, values[0], chance, p, *values[1:], cost, _note(record, first, suite)]) + " |"


def _value(record: EnsembleRecord, name: str) -> str:
    """The value with its interval over examples, where it has one."""
    value, bounds = record.metrics.get(name), record.intervals.get(name)
    if value is None:
        return "-"
    low, high = (None, None) if bounds is None else bounds
    unit = metric(name).unit
    own = cells.number(value, unit)
    return own if low is None or high is None else f"{own} [{cells.number(low, unit)}, {cells.number(high, unit)}]"


def summary(record: EnsembleRecord) -> str:
    """One line for a terminal: every metric, and the p value."""
    values = [f"{metric(name).label} {_value(record, name)}" for name in METRICS]
    return ", ".join([*values, "p " + ("-" if record.p is None else f"{record.p:.3f}")])


def _order(record: EnsembleRecord) -> tuple[int, float]:
    kind = {"reference": 0, "cheat": 2}.get(record.kind, 1)
    auc = record.metrics.get("u-lira.auc")
    return kind, math.inf if auc is None else abs(auc - 50)


def _note(record: EnsembleRecord, first: EnsembleRecord, suite: Suite | None) -> str:
    """What a reader must know of the row: flags, what has changed since, and other models than the table's."""
    marks = [escape(flag) for flag in record.flags]
    task, known = TASKS.get(record.task), METHODS.has(record.method, record.task)
    gone = not known and not record.external
    if gone or outdated(record) or (suite is not None and changed(record, fixed(suite))):
        marks.append("outdated")
    if record.external:
        marks.append("from outside" if known else "from outside, not installed here")
    current = digests(task.implementation, METHODS.get(record.method, record.task).module) if known else {}
    if known and record.digests != {**current, "comparison": digest("benchmark.metrics.ensembles")}:
        marks.append("code moved")
    if (record.n, record.examples) != (first.n, first.examples):
        marks.append(f"{record.n} models, {record.examples} examples")
    if record.reference != first.reference:
        marks.append("other retrained models")
    return ", ".join(marks)
