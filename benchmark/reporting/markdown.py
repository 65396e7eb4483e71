"""The leaderboard as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.board import Row
from benchmark.reporting.ensembles import ensemble_tables
from benchmark.reporting.text import command_text, escape
from benchmark.running.ensembles import EnsembleRecord
from benchmark.suite import Suite
from benchmark.tasks import TASKS

NOTES = Path(__file__).parent / "notes"


def leaderboard(
    boards: Mapping[str, list[Row]],
    suites: Mapping[str, Suite],
    figures: list[tuple[str, str]],
    compared: Sequence[EnsembleRecord] = (),
) -> str:
    """The whole page: one section a suite and scenario, what columns mean, and notes on what was found."""
    lines = ["# Leaderboard", ""]
    lines += [
        "Rendered from the records under `results/` by `make report`. Every number was measured by this code; the "
        "command beside each section makes it again. Cells show the mean and the half-width of the 95 % t interval "
        "over *n* base models (seeds); a mean without one had no spread among them. References stand first and "
        "cheats last. The rows between are ranked, `class-forget` by tug-of-war (ToW), `label-free-forget` by the "
        "average gap to retraining; in brackets behind the rank stands that among the methods that read no label. "
        "In brackets behind a value stands its gap to the retrained model of the same seed. Papers' methods are in "
        "bold.",
        "",
    ]
    for name, rows in boards.items():
        lines += _suite(name, suites.get(name), rows, [record for record in compared if record.suite == name])
    if figures:
        lines += ["## Figures", ""]
        lines += [line for path, caption in figures for line in (f"![{caption}]({path})", "", f"*{caption}*", "")]
    lines += _glossary({row.task for rows in boards.values() for row in rows})
    return "\n".join(lines).rstrip() + "\n"


def _suite(name: str, suite: Suite | None, rows: list[Row], compared: list[EnsembleRecord]) -> list[str]:
    lines = [f"## Suite `{name}`", ""]
    if suite is not None:
        lines += [suite.summary, ""]
    for task, group in groupby(rows, key=lambda row: row.task):
        block = list(group)
        for scenario, inner in groupby(block, key=lambda row: row.scenario):
            lines += _scenario(name, task, scenario, list(inner))
            lines += ensemble_tables([r for r in compared if (r.task, r.scenario) == (task, scenario)], suite)
        notes = NOTES / f"{name}.{task}.md"
        if notes.exists():
            lines += [notes.read_text("utf-8").rstrip(), ""]
    return lines


def _scenario(suite: str, task: str, scenario: str, rows: list[Row]) -> list[str]:
    known = TASKS.get(task)
    columns = cells.columns(known, rows)
    seeds = max(row.cells for row in rows)
    device = "".join(sorted({f" DEVICE={row.device}" for row in rows if row.device != "cpu"}))
    devices = ", ".join(sorted({device for row in rows for device in row.devices}))
    command = f"make bench TASK={task} SUITE={suite} SCENARIOS={scenario} SEEDS={seeds}{device}"
    lines = [
        f"### {task} / {escape(scenario)}",
        "",
        f"Made by `{command_text(command)}` on {escape(devices)}.",
        "",
    ]
    heads = ["#", "method", "n", *(cells.heading(name, known) for name in columns)]
    heads += ["seconds", "/ retrain", "samples read", "note"]
    lines += ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 4) + " --- | --- |"]
    for row in rows:
        name = f"**{escape(row.method)}**" if row.kind == "paper" else escape(row.method)
        values = [cells.value(known, row, column) for column in columns]
        cost = [cells.seconds(row.cost.seconds), cells.ratio(row), escape(cells.reads(row)), cells.note(row)]
        kind = f" *({row.kind})*" if row.kind in ("reference", "cheat") else ""
        kind += f" ({row.device})" if device and row.device != "cpu" else ""
        lines.append("| " + " | ".join([cells.ranks(row), name + kind, str(row.n), *values, *cost]) + " |")
    reasons = [f"- {escape(row.method)}: {escape(reason)}" for row in rows for reason in row.reasons]
    return [*lines, "", *(["Marked rows:", "", *reasons, ""] if reasons else [])]


def _glossary(tasks: set[str]) -> list[str]:
    lines = ["## What the columns mean", ""]
    for name in dict.fromkeys(name for task in sorted(tasks) for name in TASKS.get(task).headline):
        known = metric(name)
        lines.append(f"- **{known.label}** (`{name}`): {known.summary}.")
    lines += [
        "- **seconds**: wall time of the method's calls alone; **/ retrain**: its CPU (or GPU) seconds as a ratio to "
        "retraining's on the same seed, in brackets where something else of the run shared the cores. Where classes "
        "are forgotten in sequence, every request is answered anew, by retraining, too.",
        "- **samples read**: distinct samples of each view, summed over requests; *+y*: with labels.",
        "- **note**: `code moved` says that source has changed since the run while the declared versions have not.",
    ]
    return lines
