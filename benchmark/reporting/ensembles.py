"""The comparison with an ensemble of retrained models, as a table."""

from __future__ import annotations

import math

from benchmark.discovery import METHODS
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.text import escape
from benchmark.running.ensembles import EnsembleRecord
from benchmark.running.plan import digests
from benchmark.tasks import TASKS

METRICS = ("u-lira.auc", "klom", "epsilon", "forgetting.quality")


def ensemble_table(records: list[EnsembleRecord]) -> list[str]:
    """Rows from the least detectable method on; references first. Nothing where there is no record."""
    if not records:
        return []
    first = records[0]
    others = ",".join(sorted(r.method for r in records if r.kind != "reference"))
    command = f"make bench TASK={first.task} SUITE={first.suite} SCENARIOS={first.scenario} METHODS={others}"
    lines = [
        f"**{escape(first.scenario)} against an ensemble**: {first.n} unlearned and {first.n} retrained models, "
        f"{first.examples} forget-set examples ({escape(first.unit)}). The row *retrain* is made of {first.n} other "
        f"retrained models: what no difference looks like. The largest ε that {first.n} models can resolve is "
        f"{first.largest_epsilon:.2f}.",
        "",
        f"Made by `{command} ENSEMBLE={first.n}`.",
        "",
    ]
    heads = ["method", *(cells.heading(name) for name in METRICS), "seconds", "note"]
    lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 2) + " --- |"]
    for record in sorted(records, key=_order):
        values = [_value(record, name) for name in METRICS]
        name = f"**{escape(record.method)}**" if record.kind == "paper" else escape(record.method)
        name += f" *({record.kind})*" if record.kind in ("reference", "cheat") else ""
        lines.append("| " + " | ".join([name, *values, cells.seconds(record.seconds), _note(record, first)]) + " |")
    return [*lines, ""]


def _value(record: EnsembleRecord, name: str) -> str:
    value = record.metrics.get(name)
    return "-" if value is None else cells.number(value, metric(name).unit)


def _order(record: EnsembleRecord) -> tuple[int, float]:
    kind = {"reference": 0, "cheat": 2}.get(record.kind, 1)
    auc = record.metrics.get("u-lira.auc")
    return kind, math.inf if auc is None else abs(auc - 50)


def _note(record: EnsembleRecord, first: EnsembleRecord) -> str:
    """Whether source has moved on since, and where a row's numbers of models are not those of the table."""
    marks = []
    task = TASKS.get(record.task)
    known = record.method in METHODS
    if not known or record.digests != digests(task.implementation, METHODS.get(record.method).module):
        marks.append("code moved")
    if (record.n, record.examples) != (first.n, first.examples):
        marks.append(f"{record.n} models, {record.examples} examples")
    return ", ".join(marks)
