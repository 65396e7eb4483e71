"""The papers' headline claims with verdicts: a table on a terminal, rows for scripts, and the page ``claims.md``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from benchmark.boards.aggregates import MetricCell
from benchmark.claims.checks import Check
from benchmark.claims.computed import CORRELATION
from benchmark.claims.declared import SURE, Claim, paper_names
from benchmark.claims.judging import Judged, JudgedPaper, Outcome, Verdict, counted, judge_papers
from benchmark.files import write_atomically
from benchmark.reporting import cells
from benchmark.reporting.tables import table
from benchmark.reporting.text import escape

PAGE = "claims.md"
HEADING = "# Are the papers right?"
_ABOUT = """\
Each headline claim of the five papers as checks over the records of this repository, and what came of it. A claim is
our own sentence; below it stands where the paper makes it, and how sure it is that it does. A check is a mean, a
difference paired by seed, a ratio of device seconds or of what was read, a share of runs that diverged, or a rank
correlation, each with its 95 % t interval over base models, and a threshold. The check *holds* where the whole interval
lies within the threshold, *fails* where all of it lies beyond, and is *undecided* where it lies across. A claim is
*reproduced* where every check holds that could be made, *partly* where some do, *not reproduced* where none does and
one fails at least, and *not testable here* where none could be made, or none was decided.

Thresholds are the papers' own numbers, and 0 where a paper says better and has no number; tolerances stand beside them.
They were written down on {written}, from the papers alone: our results were there by then, and no threshold was read
off them or changed for them. Data sets and networks are smaller than the papers' but in the suites `standard` and
`paper`: that something is not reproduced here does not mean that it was wrong there. Rows that boards mark as failed,
unreliable or outdated are no evidence, and neither is a mean of one base model. Where all base models give the same, as
runs do that all diverge, the interval has no width: it says that no spread was seen among so many, not that there is
none. Intervals are not corrected for the number of checks: of a hundred true values that lie right at their thresholds
some five would hold or fail by chance. `make claims` makes this page."""
_HEADS = ("where", "what", "found", "n", "")
#: Verdicts in the order in which they are counted.
_VERDICTS: tuple[Verdict, ...] = ("reproduced", "partly", "not reproduced", "not testable here")
_COLOURS = {"reproduced": "green", "partly": "yellow", "not reproduced": "red", "not testable here": "dim"}


def page_of(papers: Sequence[JudgedPaper]) -> str:
    """The page as Markdown: what it is, an overview, and a section a paper and claim."""
    written = ", ".join(dict.fromkeys(str(paper.file.written) for paper in papers))
    lines = [HEADING, "", *_ABOUT.format(written=written).split("\n"), "", *_overview(papers)]
    for paper in papers:
        lines += [f"## {escape(paper.file.paper)}", "", f"{escape(paper.file.title)} ({escape(paper.file.cite)}).", ""]
        for own in paper.claims:
            lines += _section(own)
    return "\n".join(lines).rstrip() + "\n"


def write_claims(results: Path, reports: Path) -> Path | None:
    """Judge all claims and write their page; None, with no page of ours left behind, where there are no records."""
    judged = judge_papers(paper_names(), results)
    path = reports / PAGE
    if judged is not None:
        return write_page(judged, reports)
    if path.is_file() and path.read_text("utf-8", "replace").startswith(f"{HEADING}\n"):
        path.unlink()
    return None


def write_page(papers: Sequence[JudgedPaper], reports: Path) -> Path:
    """Write the page of claims that were judged."""
    write_atomically(reports / PAGE, page_of(papers).encode())
    return reports / PAGE


def _overview(papers: Sequence[JudgedPaper]) -> list[str]:
    body = [
        [escape(paper.file.paper), f"[{escape(own.claim.title)}](#{_anchor(own)})", f"**{own.verdict}**", *_brief(own)]
        for paper in papers
        for own in paper.claims
    ]
    return [f"{_counted(papers)}.", "", *table(["paper", "claim", "verdict", "checks", "where"], body, left=range(5))]


def _brief(own: Judged) -> list[str]:
    return [escape(own.why), escape(", ".join(places(own.outcomes)) or "-")]


def _counted(papers: Sequence[JudgedPaper]) -> str:
    counts = Counter(own.verdict for paper in papers for own in paper.claims)
    return f"{counts.total()} claims: " + ", ".join(f"{counts[v]} {v}" for v in _VERDICTS if counts[v])


def places(made: Iterable[Outcome]) -> list[str]:
    """Suites and studies in which anything was found."""
    return list(dict.fromkeys(one.where.partition("/")[0] for one in made if one.says != "missing"))


def _anchor(own: Judged) -> str:
    return f"{own.paper}-{own.name}"


def _section(own: Judged) -> list[str]:
    claim = own.claim
    said = f"*{escape(claim.sure)}*: {SURE[claim.sure]}"
    lines = [
        f'<a id="{_anchor(own)}"></a>',
        "",
        f"### {escape(claim.title)}",
        "",
        f"**{own.verdict.capitalize()}**: {escape(own.why)}. {escape(claim.text)}{_by_competitor(own)}",
        "",
        f"Source: {escape(claim.source)} ({said}).{_note(claim)}",
        "",
    ]
    for number, group in groupby(own.outcomes, key=lambda one: one.check):
        lines += _check(number, claim.checks[number - 1], list(group))
    return lines


def _note(claim: Claim) -> str:
    return f" {escape(claim.note)}" if claim.note else ""


def _by_competitor(own: Judged) -> str:
    """Of how many outcomes against each competitor say what, where there are several."""
    made = [one for one in own.outcomes if one.against and one.says != "missing"]
    names = dict.fromkeys(one.against for one in made)
    parts = [f"{name}: {counted(one for one in made if one.against == name)}" for name in names]
    return f" Against {escape('; '.join(parts))}." if len(parts) > 1 else ""


def _check(number: int, check: Check, made: Sequence[Outcome]) -> list[str]:
    """What is asked, a table of what was found, and a line for what was not."""
    there = [one for one in made if one.found is not None]
    body = [[*map(escape, (one.where, one.what, found_text(one))), _n(one), escape(_says(one))] for one in there]
    asked = f"Check {number}, {check.statistic}: {check.limits}."
    found = table(_HEADS, body, left=(0, 1, 4)) if body else []
    return [escape(asked), "", *found, *_missing(made)]


def _missing(made: Sequence[Outcome]) -> list[str]:
    """Places where nothing was found, those of one reason together."""
    where: dict[str, list[str]] = {}
    for one in made:
        if one.found is None:
            where.setdefault(one.remark, []).append(one.where)
    lines = [f"Not made in {'; '.join(dict.fromkeys(own))}: {why}." for why, own in where.items()]
    return [part for line in lines for part in (escape(line), "")]


def _says(one: Outcome) -> str:
    return ", ".join(part for part in ("" if one.says == "missing" else one.says, one.remark) if part)


def _n(one: Outcome) -> str:
    return "-" if one.found is None else str(one.found.n)


def found_text(one: Outcome) -> str:
    """Mean and half-width of the interval with the unit; a difference with its sign; a dash where nothing was found."""
    if one.found is None:
        return "-"
    unit = "" if one.unit == CORRELATION else one.unit
    cell = MetricCell(one.found.mean, one.found.low, one.found.high, one.found.n, unit, "none")
    text = cells.interval(cell)
    sign = "+" if one.unit == "points" and one.found.mean > 0 and float(text.split()[0]) else ""
    return f"{sign}{text}" + (f" {unit}" if unit not in ("", cells.DISTANCE) else "")


def print_claims(papers: Sequence[JudgedPaper], console: Console) -> None:
    """One table a paper: its claims with verdicts, and the outcomes of their checks below, as far as there are any."""
    for paper in papers:
        shown = Table(title=escape_markup(paper.file.paper), box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for heading in ("claim", "verdict", "checks", "where"):
            shown.add_column(heading, no_wrap=heading == "verdict")
        for own in paper.claims:
            verdict = f"[{_COLOURS[own.verdict]}]{own.verdict}[/]"
            where = ", ".join(places(own.outcomes))
            shown.add_row(escape_markup(own.claim.title), verdict, escape_markup(own.why), escape_markup(where))
        console.print(shown)
    console.print(f"{_counted(papers)}")


def rows(papers: Sequence[JudgedPaper]) -> Iterator[dict[str, Any]]:
    """Each claim for scripts: what it says, from where, its verdict, and its checks with every outcome."""
    for paper in papers:
        for own in paper.claims:
            checks = [_check_row(own, number) for number in range(1, len(own.claim.checks) + 1)]
            yield {
                "paper": paper.name,
                "cite": paper.file.cite,
                "claim": own.name,
                "title": own.claim.title,
                "text": own.claim.text,
                "source": own.claim.source,
                "sure": own.claim.sure,
                "written": paper.file.written.isoformat(),
                "verdict": own.verdict,
                "why": own.why,
                "checks": checks,
            }


def _check_row(own: Judged, number: int) -> dict[str, Any]:
    made = [one for one in own.outcomes if one.check == number]
    outcomes = [{**msgspec.to_builtins(one), "found": one.found._asdict() if one.found else None} for one in made]
    check = own.claim.checks[number - 1]
    return {"kind": check.kind, "statistic": check.statistic, "threshold": check.limits, "outcomes": outcomes}
