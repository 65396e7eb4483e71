"""The leaderboard as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.board import Row
from benchmark.reporting.concepts import concept_table
from benchmark.reporting.ensembles import ensemble_tables
from benchmark.reporting.groups import group_tables
from benchmark.reporting.measured import TASK as GENERATED
from benchmark.reporting.measured import how_measured, setting_of
from benchmark.reporting.published import BESIDE, beside_the_paper
from benchmark.reporting.selection import how_ranked, selection_table
from benchmark.reporting.sweeps import TASK as TUNED
from benchmark.reporting.tables import method, table
from benchmark.reporting.text import command_text, escape
from benchmark.running.ensembles import EnsembleRecord
from benchmark.suite import Suite
from benchmark.tasks import TASKS, Task
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval

NOTES = Path(__file__).parent / "notes"


def leaderboard(
    boards: Mapping[str, list[Row]],
    suites: Mapping[str, Suite],
    figures: list[tuple[str, str]],
    compared: Sequence[EnsembleRecord] = (),
    tuned: Mapping[str, Mapping[str, list[str]]] | None = None,
    generated: Mapping[str, Mapping[str, GanFeatureRemoval]] | None = None,
) -> str:
    """The whole page: one section a suite and scenario, what columns mean, and notes on what was found.

    ``tuned``: tables made of what tuning tried, by suite and scenario. ``generated``: the settings of those scenarios
    in which images are generated, likewise.
    """
    everything = [row for rows in boards.values() for row in rows]
    lines: list[str] = []
    for name, rows in boards.items():
        own = [record for record in compared if record.suite == name]
        lines += _suite(name, suites.get(name), rows, own, (tuned or {}).get(name, {}), (generated or {}).get(name, {}))
    if figures:
        lines += ["## Figures", ""]
        lines += [line for path, caption in figures for line in (f"![{caption}]({path})", "", f"*{caption}*", "")]
    lines += _glossary({row.task for row in everything})
    lines = ["# Leaderboard", "", _preamble(everything, BESIDE in lines), "", *lines]
    return "\n".join(lines).rstrip() + "\n"


def _preamble(rows: list[Row], quoted: bool) -> str:
    """What the page is and how it is read; ranks and brackets as the tasks on it have them.

    ``quoted``: whether papers' numbers are on it, too.
    """
    tasks = [TASKS.get(name) for name in sorted({row.task for row in rows})]
    gaps = {task.reference for task in tasks if task.with_gaps}
    but = " that no table calls published" if quoted else ""
    parts = [
        f"Rendered from the records under `results/` by `make report`. Every number{but} was measured by this code; "
        "the command beside each section makes it again. Cells show the mean and the half-width of the 95 % t interval "
        "over *n* base models (seeds); a mean without one had no spread among them. References stand first and cheats "
        f"last. The rows between are ranked, {', '.join(_ranking(task, rows) for task in tasks)}; in brackets behind "
        "the rank stands that among the methods that read no label."
    ]
    if any(task.track for task in tasks):
        parts.append("Where methods used attributes to different degrees, each degree has ranks of its own.")
    if gaps:
        model = "retrained model" if gaps == {"retrain"} else "reference"
        parts.append(f"In brackets behind a value stands its gap to the {model} of the same seed.")
    parts.append("Papers' methods are in bold.")
    return " ".join(parts)


def _ranking(task: Task, rows: list[Row]) -> str:
    labels = dict.fromkeys(metric(row.rank_by).label for row in rows if row.task == task.name)
    return f"`{task.name}` by {' or '.join(labels)}"


def _suite(
    name: str,
    suite: Suite | None,
    rows: list[Row],
    compared: list[EnsembleRecord],
    tuned: Mapping[str, list[str]],
    generated: Mapping[str, GanFeatureRemoval],
) -> list[str]:
    lines = [f"## Suite `{name}`", ""]
    if suite is not None:
        lines += [suite.summary, ""]
    for task, group in groupby(rows, key=lambda row: row.task):
        block = list(group)
        for scenario, inner in groupby(block, key=lambda row: row.scenario):
            rows_of_it = list(inner)
            settings = generated.get(scenario) if task == GENERATED else None
            lines += _scenario(name, task, scenario, rows_of_it, settings)
            lines += [*selection_table(rows_of_it), *group_tables(rows_of_it), *concept_table(rows_of_it)]
            lines += tuned.get(scenario, []) if task == TUNED else []
            lines += beside_the_paper(name, scenario, rows_of_it, None if settings is None else setting_of(settings))
            lines += ensemble_tables([r for r in compared if (r.task, r.scenario) == (task, scenario)], suite)
        notes = NOTES / f"{name}.{task}.md"
        if notes.exists():
            lines += [notes.read_text("utf-8").rstrip(), ""]
    return lines


def _scenario(suite: str, task: str, scenario: str, rows: list[Row], settings: GanFeatureRemoval | None) -> list[str]:
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
    lines += [*how_ranked(known, rows), *how_measured(settings, rows)]
    tracks = [cells.TRACK] if known.track else []
    heads = ["#", "method", "n", *tracks, *(cells.heading(name, known) for name in columns)]
    heads += ["seconds", cells.ratio_heading(known), "samples read", "note"]
    body = []
    for row in rows:
        values = [cells.value(known, row, column) for column in columns]
        cost = [cells.seconds(row.cost.seconds), cells.ratio(row), escape(cells.reads(row)), cells.note(row)]
        track = [cells.track(row)] if known.track else []
        body.append([cells.ranks(row), method(row), str(row.n), *track, *values, *cost])
    lines += table(heads, body, left=(0, 1, len(heads) - 2, len(heads) - 1))
    reasons = [f"- {escape(row.method)}: {escape(reason)}" for row in rows for reason in row.reasons]
    return [*lines, *(["Marked rows:", "", *reasons, ""] if reasons else [])]


def _glossary(tasks: set[str]) -> list[str]:
    lines = ["## What the columns mean", ""]
    for name in dict.fromkeys(name for task in sorted(tasks) for name in TASKS.get(task).headline):
        known = metric(name)
        lines.append(f"- **{known.label}** (`{name}`): {known.summary}.")
    return [*lines, *_columns_of_all([TASKS.get(name) for name in sorted(tasks)])]


def _columns_of_all(tasks: list[Task]) -> list[str]:
    """What the columns mean that are no metric."""
    references = sorted({task.reference for task in tasks})
    whose = "retraining's on" if references == ["retrain"] else "that of this reference on"
    again = " Where classes are forgotten in sequence, every request is answered anew, by retraining, too."
    attributes = any(task.track for task in tasks)
    masks = any("m" in fields for task in tasks for fields in task.views.values())
    asked = ""
    if any("w" in fields for task in tasks for fields in task.views.values()):
        asked = (
            "; *feedback*: generated images that were judged; *+w*: the network that gives feedback was taken, and "
            "what it is asked later is not counted"
        )
    lines = [
        f"- **seconds**: wall time of the method's calls alone; {', '.join(f'**/ {name}**' for name in references)}: "
        f"its CPU (or GPU) seconds as a ratio to {whose} the same seed, in brackets where something else of the run "
        f"shared the cores.{again if 'retrain' in references else ''}",
        "- **samples read**: distinct samples of each view, summed over requests; *+y*: with labels"
        f"{'; *+a*: with attributes' if attributes or masks else ''}{'; *+m*: with masks' if masks else ''}"
        f"{asked}.",
        "- **note**: `code moved` says that source has changed since the run while the declared versions have not.",
    ]
    if attributes:
        lines.insert(
            0,
            f"- **{cells.TRACK}**: whether attributes of the training set and of the held-out split were used, by the "
            "method or by the rule that chose its state. Only rows that used the same are ranked together.",
        )
    return lines
