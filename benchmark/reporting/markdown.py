"""A task's page as Markdown: every suite's boards of it, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmark.boards.board import Row
from benchmark.boards.comparisons import competes
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.concepts import concept_table
from benchmark.reporting.ensembles import ensemble_tables
from benchmark.reporting.exports import paths
from benchmark.reporting.findings import note
from benchmark.reporting.groups import group_tables
from benchmark.reporting.material import Material
from benchmark.reporting.measured import how_measured, setting_of
from benchmark.reporting.published import BESIDE, beside_the_paper
from benchmark.reporting.ranking import Ranking
from benchmark.reporting.runtime import runtime_table
from benchmark.reporting.selection import how_ranked, selection_table
from benchmark.reporting.sheet import Entry, Line, Sheet
from benchmark.reporting.submitted import submitted_tables
from benchmark.reporting.sweeps import TASK as TUNED
from benchmark.reporting.tables import figure, folded, method, table
from benchmark.reporting.text import command_text, escape
from benchmark.tasks import TASKS, Task

#: Kinds of figures that a reader of the page opens.
FOLDED = ("cost", "differences", "units", "group-dots", "groups")


def task_page(name: str, materials: Sequence[Material]) -> str:
    """The whole page: one section a suite and scenario, notes on what was found, and what columns mean."""
    task = TASKS.get(name)
    lines: list[str] = []
    where = paths([sheet for material in materials for sheet in material.sheets])
    for material in materials:
        if material.sheets_of(name):
            lines += _suite(task, material, where)
    lines += _glossary(task)
    preamble = _preamble(task, [row for m in materials for s in m.sheets_of(name) for row in s.rows], BESIDE in lines)
    title = [
        heading(name),
        "",
        f"{escape(task.summary.capitalize())}. [All tasks](leaderboard.md).",
        "",
        preamble,
    ]
    return "\n".join([*title, "", *lines]).rstrip() + "\n"


def heading(task: str) -> str:
    """The first line of a task's page."""
    return f"# {escape(task)}"


def _preamble(task: Task, rows: list[Row], quoted: bool) -> str:
    """How the page is read. ``quoted``: whether papers' numbers are on it, too."""
    but = " that no table calls published" if quoted else ""
    labels = dict.fromkeys(metric(row.rank_by).label for row in rows)
    parts = [
        f"Rendered from the records under `results/` by `make report`. Every number{but} was measured by this code; "
        "the command beside each section makes it again. Cells show the mean and the half-width of the 95 % t interval "
        "over *n* base models (seeds); a mean without one had no spread among them. References stand first and cheats "
        f"last. The rows between are ranked by {' or '.join(labels)}; in brackets behind the rank stands that among "
        "the methods that read no label. Values in bold are tied with the best of their column: from five base models "
        "on, a paired comparison with it does not tell them from it (where retraining is the aim, with the smallest "
        "mean absolute gap). A row that is a little worse with every base model is told from the best; one that is "
        "much worse with some need not be: bold is not the same as good."
    ]
    if task.track:
        parts.append("Where methods used attributes to different degrees, each degree has ranks and ties of its own.")
    if task.with_gaps:
        model = "retrained model" if task.reference == "retrain" else "reference"
        parts.append(f"In brackets behind a value stands its gap to the {model} of the same seed.")
    parts.append("Papers' methods have names in bold.")
    parts.append("What the notes mean, and what else to look at: `docs/protocol.md`, *Before you believe a row*.")
    return " ".join(parts)


def _suite(task: Task, material: Material, where: Mapping[str, str]) -> list[str]:
    lines = [f"## Suite `{command_text(material.name)}`", ""]
    if material.suite is not None:
        lines += [material.suite.summary, ""]
    for sheet in material.sheets_of(task.name):
        lines += _scenario(material, sheet, where[sheet.name])
    lines += _ranks([ranking for ranking in material.rankings if ranking.task == task.name])
    lines += [line for drawing in material.drawings_of(task.name, None) for line in figure(drawing)]
    lines += runtime_table(material.sheets_of(task.name))
    found = note(f"{material.name}.{task.name}", material.sheets_of(task.name))
    return [*lines, found, ""] if found else lines


def _scenario(material: Material, sheet: Sheet, path: str) -> list[str]:
    rows, scenario = sheet.rows, sheet.scenario
    settings = material.settings(sheet)
    lines = [
        f"### {escape(sheet.task.name)} / {escape(scenario)}",
        "",
        f"Made by `{command_text(sheet.command)}` on {escape(sheet.devices)}. {_files(path)}",
        "",
    ]
    lines += [*how_ranked(sheet.task, rows), *how_measured(settings, rows), *_board(sheet)]
    lines += [*folded(*_differences(sheet)), *submitted_tables(sheet.task, sheet.submitted)]
    drawn = material.drawings_of(sheet.task.name, scenario)
    lines += [line for drawing in drawn if drawing.kind not in FOLDED for line in figure(drawing)]
    more = [line for drawing in drawn if drawing.kind in FOLDED for line in figure(drawing)]
    lines += folded("More figures", more)
    lines += [*selection_table(rows), *group_tables(rows), *concept_table(rows)]
    lines += material.tuned.get(scenario, []) if sheet.task.name == TUNED else []
    lines += beside_the_paper(material.name, scenario, rows, None if settings is None else setting_of(settings))
    own = [record for record in material.ensembles if (record.task, record.scenario) == (sheet.task.name, scenario)]
    return [*lines, *ensemble_tables(own, material.suite)]


def _files(path: str) -> str:
    """Links to the tables of a scenario, which lie at ``path`` but for their endings."""
    return "The same as " + ", ".join(
        f"[{what}](tables/{path}{ending})"
        for what, ending in (("LaTeX", ".tex"), ("macros", ".macros.tex"), ("CSV", ".csv"), ("JSON", ".json"))
    )


def _board(sheet: Sheet) -> list[str]:
    task = sheet.task
    tracks = [cells.TRACK] if task.track else []
    heads = ["#", "method", "n", *tracks, *(cells.heading(name, task) for name in sheet.columns)]
    heads += ["seconds", cells.ratio_heading(task), "samples read", "note"]
    body = [_line(task, line) for line in sheet.lines]
    reasons = [f"- {escape(row.method)}: {escape(reason)}" for row in sheet.rows for reason in row.reasons]
    lines = table(heads, body, left=(0, 1, len(heads) - 2, len(heads) - 1))
    return [*lines, *(["Marked rows:", "", *reasons, ""] if reasons else [])]


def _line(task: Task, line: Line) -> list[str]:
    row = line.row
    cost = [cells.seconds(row.cost.seconds), cells.ratio(row), escape(cells.reads(row)), cells.note(row)]
    track = [cells.track(row)] if task.track else []
    return [cells.ranks(row), method(row), str(row.n), *track, *(_entry(entry) for entry in line.entries), *cost]


def _entry(entry: Entry) -> str:
    return f"**{entry.text}**" if entry.tied else entry.text


def _differences(sheet: Sheet) -> tuple[str, list[str]]:
    """Differences to the reference in what the scenario is ranked by, with p values where they can be had."""
    compared = [(line.row, line.difference) for line in sheet.lines if line.difference is not None]
    tested = next((difference for _, difference in compared if difference.comparisons), None)
    if tested is None:
        return "", []
    unit = metric(sheet.ranked_by).unit
    body = [
        [method(row), cells.difference(difference.difference, unit), difference.text if competes(row) else ""]
        for row, difference in compared
    ]
    head = f"{escape(metric(sheet.ranked_by).label)}, difference to {escape(sheet.compared_with)}"
    why = (
        "p values are exact, by sign flips of the paired differences, two-sided, and corrected by Holm's procedure "
        f"for the {tested.comparisons} rows that compete. "
    )
    if sheet.testable:
        why += f"None can be below {tested.least:.3f}: that is a row which differs to one side with every base model. "
    else:
        why += "With so few base models none of them could come out under 0.05: that is not testable. "
    if sheet.compared_with != sheet.task.reference:
        why += f"{escape(sheet.task.reference)} is no yardstick here: it has the best value there is by definition."
    return f"Paired differences to <code>{command_text(sheet.compared_with)}</code>", [
        why.strip(),
        "",
        *table(["method", head, "p (Holm)"], body),
    ]


def _ranks(found: Sequence[Ranking]) -> list[str]:
    lines: list[str] = []
    for ranking in found:
        track = f" (attributes {escape(ranking.track)})" if ranking.track else ""
        names = ", ".join(map(escape, ranking.scenarios))
        left = "; ".join(f"{escape(name)}: {reason}" for name, reason in ranking.left_out.items())
        lines += [
            f"Mean ranks{track} over {names}, 95 % interval over {len(ranking.blocks)} seeds:"
            f"{f' left out are {left}.' if left else ''}",
            "",
            *table(["method", "mean rank"], [_rank(ranking, name) for name in ranking.means]),
        ]
    return ["#### Mean ranks", "", *lines] if lines else []


def _rank(ranking: Ranking, name: str) -> list[str]:
    text = cells.score(ranking.means[name])
    return [escape(name), f"**{text}**" if name in ranking.leaders else text]


def _glossary(task: Task) -> list[str]:
    known = [metric(name) for name in task.headline]
    metrics = [f"- **{one.label}** (`{one.name}`): {one.summary}." for one in known]
    return ["## What the columns mean", "", *metrics, *_other_columns(task)]


def _other_columns(task: Task) -> list[str]:
    """What the columns mean that are no metric."""
    fields = {field for fields in task.views.values() for field in fields}
    whose = "retraining's on" if task.reference == "retrain" else "that of this reference on"
    again = " Where classes are forgotten in sequence, every request is answered anew, by retraining, too."
    asked = (
        "; *feedback*: generated images that were judged; *+w*: the network that gives feedback was taken, and what it "
        "is asked later is not counted"
    )
    lines = [
        f"- **seconds**: wall time of the method's calls alone; **/ {task.reference}**: its CPU (or GPU) seconds as a "
        f"ratio to {whose} the same seed, in brackets where something else of the run shared the cores."
        f"{again if task.name == 'class-forget' else ''}",
        "- **samples read**: distinct samples of each view, summed over requests; *+y*: with labels"
        f"{'; *+a*: with attributes' if 'a' in fields else ''}{'; *+m*: with masks' if 'm' in fields else ''}"
        f"{asked if 'w' in fields else ''}.",
        "- **note**: `code moved` says that source has changed since the run while the declared versions have not.",
    ]
    if task.track:
        lines.insert(
            0,
            f"- **{cells.TRACK}**: whether attributes of the training set and of the held-out split were used, by the "
            "method or by the rule that chose its state. Only rows that used the same are ranked together.",
        )
    return lines
