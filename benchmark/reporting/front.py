"""The front page: all tasks at a glance, and where the rest is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from benchmark.boards.comparisons import FEWEST_FOR_TIES
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.findings import note
from benchmark.reporting.material import TOYS, Material
from benchmark.reporting.overview import Scored, aim
from benchmark.reporting.published import accounted
from benchmark.reporting.ranking import Ranking, ranking_of
from benchmark.reporting.sheet import Line, Sheet
from benchmark.reporting.tables import bare_method, figure, method, table
from benchmark.reporting.text import command_text, escape
from benchmark.stats import Interval
from benchmark.tasks import TASKS


def front_page(materials: Sequence[Material], more: Mapping[str, bool] = MappingProxyType({})) -> str:
    """The whole of leaderboard.md. ``more``: whether there are pages of ``claims`` and of ``studies`` beside it."""
    shown = [material for material in materials if material.name not in TOYS] or list(materials)
    lines = ["# Leaderboard", "", _preamble(), ""]
    lines += _pages(materials)
    lines += _more(more)
    for material in shown:
        lines += [line for drawing in material.drawings if drawing.kind == "overview" for line in figure(drawing)]
    for material in shown:
        found = note(f"{material.name}.overview", material.sheets)
        lines += [found, ""] if found else []
    lines += _winners(shown)
    for material in shown:
        lines += _overview(material)
    lines += accounted({material.name: material.rows for material in materials})
    return "\n".join(lines).rstrip() + "\n"


def _preamble() -> str:
    return (
        "Rendered from the records under `results/` by `make report`. Every number that no table calls published was "
        "measured by this code, by the command that stands above its table. The same tables are there for LaTeX, as "
        "CSV and as JSON under [tables](tables), and as a [site](site/index.html) to sort, filter and search: open "
        "`reports/site/index.html` in a browser."
    )


def _pages(materials: Sequence[Material]) -> list[str]:
    body = []
    for task in sorted({task for material in materials for task in material.tasks}, key=list(TASKS).index):
        where = [
            f"{escape(material.name)} ({len(material.sheets_of(task))})"
            for material in materials
            if material.sheets_of(task)
        ]
        link = f"[{escape(task)}]({command_text(task)}.md)"
        body.append(
            [link, escape(TASKS.get(task).summary), ", ".join(where), f"[page](site/{command_text(task)}.html)"]
        )
    return ["## Tasks", "", *table(["task", "what is asked", "suites (scenarios)", "site"], body, left=range(4))]


def _more(more: Mapping[str, bool]) -> list[str]:
    """Where the papers' claims are judged, and where questions about their methods are answered."""
    told = []
    if more.get("claims"):
        told.append("[Which headline claims of the five papers hold here](claims.md).")
    if more.get("studies"):
        told.append("[Studies of the five methods](studies/index.md): what each part is for, what it is sensitive to.")
    return ["## Are the papers right?", "", " ".join(told), ""] if told else []


def _winners(materials: Sequence[Material]) -> list[str]:
    body = [
        [escape(sheet.name), str(max(row.n for row in sheet.rows)), track or "-", metric(sheet.ranked_by).label, best]
        for material in materials
        for sheet in material.sheets
        for (track, _), best in best_of(sheet).items()
    ]
    if not body:
        return []
    return [
        "## Who is best",
        "",
        "The best row of each scenario (and track: attributes of the training set / of the held-out split), and all "
        "rows that a paired comparison with it does not tell from it at the 5 % level, corrected for their number. A "
        "row that is a little worse with every base model is told from it; one that is much worse with one of them "
        f"need not be. Under {FEWEST_FOR_TIES} base models nothing is told. References and cheats do not compete.",
        "",
        *table(["scenario", "n", "track", "ranked by", "best, and tied with it"], body, left=(0, 2, 3, 4)),
    ]


def best_of(sheet: Sheet) -> dict[tuple[str, str], str]:
    """Who is best in each track and on each device, and who is tied with it; in words where that cannot be told."""
    fields: dict[tuple[str, str], list[Line]] = {}
    for line in sheet.lines:
        if line.section == "ranked":
            fields.setdefault((line.row.track, line.row.device), []).append(line)
    return {field: _best(sheet, lines) for field, lines in fields.items() if len(lines) > 1}


def _best(sheet: Sheet, lines: Sequence[Line]) -> str:
    tied = [line for line in lines if any(entry.tied for entry in line.entries if entry.name == sheet.ranked_by)]
    return ", ".join(method(line.row) for line in tied) or f"not told (n {max(line.row.n for line in lines)})"


def _overview(material: Material) -> list[str]:
    lines = []
    for task, block in groupby(material.scored, key=lambda one: one.task):
        for (track, device), inner in groupby(block, key=lambda one: (one.track, one.device)):
            lines += _task(material, task, track, device, list(inner))
    heading = [f"## Overview of suite `{command_text(material.name)}`", "", _explained(), ""]
    return [*heading, *lines] if lines else []


def _explained() -> str:
    return (
        "Scores say how far a method comes in what its scenario is ranked by: 0 is the original, where nothing is "
        "done, 1 the reference that had what nobody else has (a retrained model; for debiasing, training on unbiased "
        "data). Behind ± stands the half-width of the 95 % interval over base models. There is no score where "
        "original or reference were not run or are not sound, and no scale where they do not differ by five points or "
        "more; means over fewer scenarios stand behind the others and do not compare with them. Cheats stand last: "
        "they show what the metric cannot see. Mean ranks are over the scenarios that are named, with the seed as the "
        "unit; a failed cell is behind all others, and bold are the best and those that are not told from it. The cost "
        "is the mean ratio to the task's reference."
    )


def _task(material: Material, task: str, track: str, device: str, scored: list[Scored]) -> list[str]:
    scenarios = list(dict.fromkeys(name for one in scored for name in (*one.by_scenario, *one.left_out)))
    ranking = ranking_of(material.rankings, task, track, device)
    where = f", attributes {escape(track)} (training / held out)" if track else ""
    where += "" if device == "cpu" else f", {escape(device)}"
    means, best = ({}, set()) if ranking is None else (ranking.means, ranking.leaders)
    body = [
        [
            bare_method(one.method, one.kind),
            cells.score(one.score)
            + ("" if len(one.by_scenario) in (0, one.of) else f" ({len(one.by_scenario)} of {one.of})"),
            *(_in(one, scenario) for scenario in scenarios),
            _rank(means.get(one.method), one.method in best),
            escape(one.reads),
            "-" if one.cost is None else f"{one.cost:.2f}",
        ]
        for one in scored
    ]
    heads = [
        "method",
        "score",
        *map(escape, scenarios),
        "mean rank",
        "information",
        f"cost / {TASKS.get(task).reference}",
    ]
    end = f"1 is `{aim(TASKS.get(task))}`, 0 is `{TASKS.get(task).original}`."
    return [
        f"### {escape(task)}{where}",
        "",
        f"{end} {_ranked(ranking)}",
        "",
        *table(heads, body, left=(0, len(heads) - 2)),
    ]


def _ranked(ranking: Ranking | None) -> str:
    if ranking is None:
        return ""
    left = "; ".join(f"{escape(name)} ({reason})" for name, reason in ranking.left_out.items())
    over = ", ".join(map(escape, ranking.scenarios))
    return f"Mean ranks of {len(ranking.means)} methods over {over}, n {len(ranking.blocks)}." + (
        f" Left out: {left}." if left else ""
    )


def _rank(interval: Interval | None, tied: bool) -> str:
    return f"**{cells.score(interval)}**" if tied else cells.score(interval)


def _in(one: Scored, scenario: str) -> str:
    if scenario in one.by_scenario:
        return cells.score(one.by_scenario[scenario])
    return escape(_short(one.left_out[scenario])) if scenario in one.left_out else "-"


def _short(reason: str) -> str:
    """Why there is no score, in a few words."""
    if reason.startswith("no row "):
        return f"no {reason.removeprefix('no row ')}"
    return "no scale" if " differ in " in reason or " is worse than " in reason else reason
