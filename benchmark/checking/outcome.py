"""What was found about one submission, for a terminal: reported beside verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmark.checking.submitted import Outcome
from benchmark.checking.text import plain
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.rescoring import rescore as rescoring
from benchmark.submissions.accepted import Judged, Verdict
from benchmark.submissions.expected import CLAIMED
from benchmark.submissions.submission import Part, left_out

#: What is printed of single cells that differ.
MOST_DIFFERENT = 100
COLOURS: dict[Verdict, str] = {"agrees": "green", "differs": "red"}
#: The worst of several verdicts comes first.
ORDER: tuple[Verdict, ...] = ("differs", "not verifiable", "not reported", "agrees")


def print_outcome(found: Outcome, path: Path, console: Console) -> None:
    """A table a scenario with means over seeds, each value that differs, and the verdict on all of it."""
    submission = found.verified.submission
    console.print(
        f"{plain(path.name)}: {plain(submission.method)} by {plain(', '.join(submission.authors))}, for "
        f"{plain(submission.suite)} / {plain(submission.task)}, {plain(submission.date)}"
    )
    for scenario in submission.settings:
        _print_scenario(scenario, found, console)
    if submission.task in CLAIMED:
        console.print(f"  {CLAIMED[submission.task]}")
    for line in left_out(submission.missing):
        console.print(f"  {plain(line)}")
    _print_verdict(found, console)


def _print_scenario(scenario: str, found: Outcome, console: Console) -> None:
    if scenario in found.changed:
        console.print(f"  [red]{plain(scenario)} has changed[/]: {plain(found.changed[scenario])}", soft_wrap=True)
    elif scenario in found.unseen:
        console.print(f"  [yellow]{plain(scenario)} was not scored[/]: {plain(found.unseen[scenario])}", soft_wrap=True)
    else:
        console.print(_table(scenario, found))
        lines = list(_different(found, found.verified.submission.of(scenario)))
        for line in lines[:MOST_DIFFERENT]:
            console.print(f"  [red]{plain(line)}[/]", soft_wrap=True)
        if len(lines) > MOST_DIFFERENT:
            console.print(f"  ... and {len(lines) - MOST_DIFFERENT:,} more")


def _table(scenario: str, found: Outcome) -> Table:
    submission = found.verified.submission
    parts = submission.of(scenario)
    seeds = f"{len(parts)} seed{'' if len(parts) == 1 else 's'}"
    table = Table(title=f"{plain(scenario)}, {seeds}", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for heading in ("reported", "verified", "difference"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for name in dict.fromkeys(name for part in parts for name in found.verified.metrics[part.name]):
        table.add_row(*_row(name, found, parts))
    return table


def _row(name: str, found: Outcome, parts: list[Part]) -> list[str]:
    """Means over seeds, the largest difference of one seed, and the worst verdict."""
    pairs = [(part.reported.get(name), judged) for part in parts for judged in _of(found, part, name)]
    unit = metric(name).unit
    apart = [one - judged.value for one, judged in pairs if one is not None and judged.value is not None]
    worst = min((judged.verdict for _, judged in pairs), key=ORDER.index)
    need = rescoring.needs(found.verified.submission.task, name) if worst == "not verifiable" else ""
    return [
        name,
        _mean([value for value, _ in pairs if value is not None], unit),
        _mean([judged.value for _, judged in pairs if judged.value is not None], unit),
        cells.signed(max(apart, key=abs), unit) if apart else "-",
        f"[{COLOURS.get(worst, 'yellow')}]{worst}[/]{f', needs {plain(need)}' if need else ''}",
    ]


def _of(found: Outcome, part: Part, name: str) -> list[Judged]:
    own = found.verified.metrics[part.name]
    return [own[name]] if name in own else []


def _mean(values: list[float], unit: str) -> str:
    return cells.number(sum(values) / len(values), unit) if values else "-"


def _different(found: Outcome, parts: list[Part]) -> Iterator[str]:
    for part in parts:
        for name, judged in found.verified.metrics[part.name].items():
            if judged.verdict == "differs":
                own, again = _shown(part.reported[name]), _shown(judged.value)
                yield f"{part.name}: {name} is {own}; its predictions give {again}"


def _shown(value: float | None) -> str:
    return "blank" if value is None else f"{value:.10g}"


def _print_verdict(found: Outcome, console: Console) -> None:
    agree, differ, blind = (found.count(verdict) for verdict in ("agrees", "differs", "not verifiable"))
    console.print(
        f"{agree:,} reported values agree within rounding to float16, {differ:,} differ, {blind:,} are not verified"
    )
    if found.exit_code == 3:
        console.print("[yellow]nothing was scored[/]")
