"""Papers' published numbers beside those of a run, as Markdown, and an account of all of them.

What was published and beside what it stands is in ``benchmark.published``. Every number is shown with where it was
taken from, and marked where that is not the paper's authors; where a scenario is not the paper's, everything that
differs is said and no difference is taken.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby

from benchmark.boards.board import Row
from benchmark.metrics.catalogue import metric
from benchmark.published import MARKS, QUOTED
from benchmark.published.joining import INEXACT, NEAREST, joined
from benchmark.reporting import cells
from benchmark.reporting.beside import Account, Beside, accounts, beside
from benchmark.reporting.measured import Setting
from benchmark.reporting.tables import method, table
from benchmark.reporting.text import escape

__all__ = ["BESIDE", "DAGGER", "Account", "Beside", "accounted", "accounts", "beside", "beside_the_paper", "marks"]

#: The heading above the tables.
BESIDE = "#### Beside the paper"
#: What stands behind a number that is not first-hand.
DAGGER = "†"
#: The data set of a number of which none is told.
UNNAMED = "not specified"


def beside_the_paper(suite: str, scenario: str, rows: Sequence[Row], setting: Setting | None = None) -> list[str]:
    """Where numbers are from and what differs, and a table a metric; nothing where none are published.

    ``rows``: one scenario's. ``setting``: this run's generator and features, where images were generated.
    """
    tasks = {row.task for row in rows} or {
        one.task for one in joined() if (one.suite, one.scenario) == (suite, scenario)
    }
    found = [line for task in sorted(tasks) for line in beside(suite, task, scenario, rows, setting)]
    if not found:
        return []
    known = {(row.method, row.device): row for row in rows}
    lines = [*_sources(found), "", _legend(found), ""]
    for name in dict.fromkeys(line.metric for line in found):
        lines += _section(name, [line for line in found if line.metric == name], known, setting)
    return [BESIDE, "", *lines, *_remarks(found)]


def _sources(lines: Sequence[Beside]) -> list[str]:
    """A point a table of the paper: whether its setting is this scenario's, and what differs."""
    settings: dict[tuple[str, bool, tuple[str, ...]], list[str]] = {}
    for line in lines:
        dataset = "data set not named" if line.dataset == UNNAMED else line.dataset
        key = (f"{line.source}, {dataset}", line.nearest, tuple(line.differs))
        settings.setdefault(key, []).append(line.setting)
    points = []
    for (what, nearest, differs), own in settings.items():
        sort = "**This is the nearest scenario, not the paper's: no difference is taken.** " if nearest else ""
        where = f"{escape(what)} ({escape(', '.join(dict.fromkeys(own)))})"
        points.append(f"- {where}. {sort}What differs, as far as it is known: {escape('; '.join(differs))}.")
    return points


def _legend(lines: Sequence[Beside]) -> str:
    """What stands behind ± and the marks."""
    text = (
        "Behind ± stands for this run the half-width of the 95 % interval over n seeds, for the paper "
        "what it prints there, a standard deviation as far as it says so."
    )
    told = marks({line.mark for line in lines})
    return f"{text} {DAGGER}: no first-hand number; {'; '.join(told)}." if told else text


def marks(used: Collection[str]) -> list[str]:
    """What the marks mean that are ``used``, in a fixed order."""
    return [f"*{mark}*: {meaning}" for mark, meaning in MARKS.items() if mark in used]


def _section(name: str, lines: list[Beside], rows: Mapping[tuple[str, str], Row], setting: Setting | None) -> list[str]:
    first = lines[0]
    own = "" if setting is None else _with(first.generator and setting.generator, first.features and setting.features)
    theirs = _with(first.generator, first.features)
    heads = ["method", f"this run{own}", f"published{theirs}", "difference", "source", "confidence"]
    body = [_cells(group, rows[group[0].method, group[0].device]) for group in _groups(lines) if group[0].has_row]
    alone = [group for group in _groups(lines) if not group[0].has_row]
    return [
        f"{cells.heading(name)}.{_generators(first, setting)}{_no_difference(lines)}",
        "",
        *(table(heads, body, left=(0, 4, 5)) if body else []),
        *([f"Published only: {_listed(alone)}.", ""] if alone else []),
    ]


def _groups(lines: Iterable[Beside]) -> list[list[Beside]]:
    """Lines of the same row and table of a paper, which differ by the paper's setting."""
    found: dict[tuple[str, ...], list[Beside]] = {}
    for line in lines:
        key = (line.method, line.device, line.status, line.called, line.source, line.mark, line.confidence)
        found.setdefault(key, []).append(line)
    return list(found.values())


def _with(generator: str, features: str) -> str:
    """What stands behind a column's heading."""
    named = [text for text in (escape(generator), features and f"{escape(features)} features") if text]
    return f" ({', '.join(named)})" if named else ""


def _generators(line: Beside, setting: Setting | None) -> str:
    """Whose generators the values are of; nothing where none is at work."""
    if not line.generator:
        return ""
    here = "" if setting is None else f", this run's a {escape(setting.generator)}"
    judge = "" if line.features else " Each has a judge of its own."
    return f" The paper's generator is a {escape(line.generator)}{here}.{judge}"


def _no_difference(lines: Sequence[Beside]) -> str:
    """Why values of this metric do not compare, apart from the scenario."""
    whys = dict.fromkeys(line.incomparable for line in lines if line.incomparable not in ("", NEAREST))
    inexact = [why for why in whys if why in INEXACT.values()]
    unlike = [why for why in whys if why not in inexact]
    return (f" **The values do not compare**: {escape('; '.join(unlike))}." if unlike else "") + (
        f" **No difference is taken**: {escape('; '.join(inexact))}." if inexact else ""
    )


def _cells(group: list[Beside], row: Row) -> list[str]:
    first = group[0]
    status = "" if row.status == "ok" else f", {row.status}"
    run = f"{first.ours} (n {first.n}{status})" if first.ours else row.status if row.status != "ok" else "-"
    differences = [line.difference for line in group]
    apart = "-" if set(differences) == {"-"} else _by_setting(group, differences)
    published = _by_setting(group, [_marked(line) for line in group])
    return [method(row), run, published, apart, f"{escape(first.source)}: {escape(first.called)}", _confidence(first)]


def _by_setting(group: Sequence[Beside], texts: Sequence[str]) -> str:
    """Texts of lines, with the setting before each where there are several."""
    if len(group) == 1:
        return texts[0]
    return "; ".join(f"{escape(line.setting)}: {text}" for line, text in zip(group, texts, strict=True))


def _marked(line: Beside) -> str:
    """The published number, and whatever is second-hand about it."""
    return line.published if line.first_hand else f"{line.published} {DAGGER} {line.mark}"


def _confidence(line: Beside) -> str:
    quoted = "; quoted there from another paper" if line.mark == QUOTED else ""
    return escape(line.confidence) + quoted


def _alone(group: Sequence[Beside]) -> str:
    text = _by_setting(group, [_marked(line) for line in group])
    return f"{escape(group[0].called)} {text if len(group) == 1 else f'({text})'}"


def _listed(groups: Sequence[list[Beside]]) -> str:
    """Numbers without a row of this run, by the paper's name of the method."""
    parts = []
    for where, some in groupby(groups, key=lambda group: f"{escape(group[0].source)}; {_confidence(group[0])}"):
        texts = [_alone(own) for own in some]
        parts.append(f"{', '.join(texts)} ({where})")
    return "; ".join(parts)


def _remarks(lines: Sequence[Beside]) -> list[str]:
    """What must be known of single numbers."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for remark in line.remarks:
            found.setdefault(remark, []).append(f"{line.called}, {metric(line.metric).label}")
    points = [f"- {escape('; '.join(dict.fromkeys(who)))}: {escape(what)}." for what, who in found.items()]
    return [*points, ""] if points else []


def accounted(boards: Mapping[str, Sequence[Row]]) -> list[str]:
    """A section on what became of every published number, where ``boards`` are the rows of suites that were run."""
    found = accounts(boards)
    heads = ["paper", "numbers", "beside a row", "beside a run without the method", "no run yet", "no counterpart"]
    body = [
        [escape(f"{one.paper}, {one.cite}"), *map(str, (one.total, one.beside, one.alone, one.waiting, one.unjoined))]
        for one in found
    ]
    whys = [f"- {escape(one.paper)}: {escape(why)} ({number})." for one in found for why, number in one.apart.items()]
    return ["## Published numbers", "", *table(heads, body), "Without a counterpart here:", "", *whys, ""]
