"""The front of the site: all methods of all tasks with their scores and mean ranks, and what each task comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.overview import Scored, aim
from benchmark.reporting.ranking import Ranking, ranking_of
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.site.details import about, pairs
from benchmark.reporting.site.rows import information_of, kind_badge
from benchmark.reporting.site.table import BLANK, Block, BoardTable, Cell, Column, Group, Section, TableRow, number
from benchmark.stats import Interval
from benchmark.tasks import TASKS

FACETS = {
    "task": "Task",
    "suite": "Suite",
    "track": "Track",
    "information": "Information",
    "kind": "Kind",
    "device": "Device",
}
COLUMNS = (
    Column("method", "method", "method"),
    Column("task", "task", "text"),
    Column("suite", "suite", "text"),
    Column("score", "score ↑", "number", "0: nothing done, 1: the reference; mean over scenarios", "desc"),
    Column("interval", "0 to 1", "interval", "the score with its 95 % interval on a scale from 0 to 1", "desc"),
    Column("rank", "mean rank ↓", "number", "mean rank over scenarios, with the seed as the unit"),
    Column("information", "information", "text", "what the method declares to read"),
    Column("cost", "cost ↓", "number", "mean ratio to the task's reference in CPU or GPU seconds"),
    Column(
        "scenarios",
        "scenarios",
        "number",
        "scenarios that the score is over, of those that have a scale; means over fewer do not compare",
        "desc",
    ),
)


def overview_table(scored: Mapping[str, Sequence[Scored]], rankings: Mapping[str, Sequence[Ranking]]) -> BoardTable:
    """Every method of every task, grouped by suite, task, track and device."""
    order = {task: i for i, task in enumerate(TASKS)}
    groups = [
        _group(suite, list(block), rankings.get(suite, ()))
        for suite, own in scored.items()
        for _, block in groupby(
            sorted(own, key=lambda one: order[one.task]), key=lambda one: (one.task, one.track, one.device)
        )
    ]
    return BoardTable("Scores and mean ranks of all tasks", COLUMNS, groups, ("task", "suite"), FACETS)


def _group(suite: str, block: Sequence[Scored], found: Sequence[Ranking]) -> Group:
    first = block[0]
    task, ranking = TASKS.get(first.task), ranking_of(found, first.task, first.track, first.device)
    facts = [f"0: {task.original}, 1: {aim(task)}", f"{len(block)} methods"]
    if first.track:
        facts.insert(0, f"track {first.track}: attributes (training set / held-out split)")
    if ranking is not None:
        facts.append(f"mean ranks over {len(ranking.scenarios)} scenarios, n {len(ranking.blocks)}")
    best = ranking.leaders if ranking is not None else set()
    rows = [_row(suite, one, ranking, best) for one in block]
    return Group(suite, first.task, facts, [Section("", rows)], link=f"{first.task}.html")


def _row(suite: str, one: Scored, ranking: Ranking | None, best: set[str]) -> TableRow:
    mean = ranking.means.get(one.method) if ranking is not None else None
    read = information_of(one.method, one.task)
    strip = None if one.score is None else (one.score.mean, *_ends(one.score))
    facets = {"task": one.task, "suite": suite, "information": read, "kind": one.kind, "device": one.device}
    return TableRow(
        kind=one.kind,
        cells=[
            Cell(one.method, badges=kind_badge(one.kind)),
            Cell(one.task),
            Cell(suite),
            _interval(one.score),
            Cell("", "" if one.score is None else f"{one.score.mean:.7g}", strip=strip),
            _interval(mean, best=one.method in best),
            Cell(read),
            number("" if one.cost is None else f"{one.cost:.2f}", one.cost),
            Cell(f"{len(one.by_scenario)} of {one.of}", str(len(one.by_scenario))),
        ],
        facets=facets | ({"track": one.track} if one.track else {}),
        details=_details(one, ranking),
    )


def _interval(found: Interval | None, best: bool = False) -> Cell:
    if found is None:
        return Cell(BLANK)
    text, _, half = cells.score(found).partition(" ± ")
    return number(text, found.mean, half=f"± {half}" if half else "", best=best)


def two(value: float) -> str:
    """Two decimals, and no negative zero."""
    return f"{value:.2f}".replace("-0.00", "0.00")


def _ends(found: Interval) -> tuple[float, float]:
    return (found.mean if found.low is None else found.low), (found.mean if found.high is None else found.high)


def _details(one: Scored, ranking: Ranking | None) -> list[Block | int]:
    """Scores by scenario, why some have none, and what the method is."""
    rows = [[name, two(i.mean), _bounds(i), str(i.n), ""] for name, i in one.by_scenario.items()]
    rows += [[name, "", "", "", reason] for name, reason in one.left_out.items()]
    head = ["scenario", "score", "95 % interval", "n", "left out because"]
    found: list[Block | int] = [{"t": "table", "h": "Score by scenario", "head": head, "rows": rows, "wide": True}]
    ranked = {} if ranking is None else {"mean ranks over": ", ".join(ranking.scenarios)}
    if ranking is not None and one.method in ranking.left_out:
        ranked["not ranked"] = ranking.left_out[one.method]
    found.append(pairs(one.method, {**about(one.task, one.method), "kind": one.kind, **ranked}, wide=True))
    return found


def _bounds(found: Interval) -> str:
    return "" if found.low is None or found.high is None else f"{two(found.low)} to {two(found.high)}"


@dataclass(frozen=True)
class Leading:
    """Who has the best mean rank in a track, and who is not told from it; ``names`` empty where nothing is told."""

    track: str
    names: Sequence[str]
    of: int
    n: int


@dataclass(frozen=True)
class Card:
    """What the front says of a task: how much there is of it, and who leads in the suite shown."""

    task: str
    summary: str
    methods: int
    scenarios: int
    rows: int
    ranked_by: str
    suite: str
    leading: Sequence[Leading]


def card(task: str, sheets: Sequence[Sheet], rankings: Mapping[str, Sequence[Ranking]]) -> Card:
    """A task's card; it names who leads in the first suite that has mean ranks."""
    rows = [row for sheet in sheets for row in sheet.rows]
    found = {suite: [r for r in own if r.task == task] for suite, own in rankings.items()}
    suite = next((name for name, own in found.items() if own), "")
    return Card(
        task,
        TASKS.get(task).summary,
        methods=len({row.method for row in rows}),
        scenarios=len(sheets),
        rows=len(rows),
        ranked_by=", ".join(dict.fromkeys(metric(sheet.ranked_by).label for sheet in sheets)),
        suite=suite,
        leading=[_leading(ranking) for ranking in found.get(suite, [])],
    )


def _leading(ranking: Ranking) -> Leading:
    best = ranking.leaders
    names = [name for name in ranking.means if name in best]
    return Leading(ranking.track, names, len(ranking.means), len(ranking.blocks))
