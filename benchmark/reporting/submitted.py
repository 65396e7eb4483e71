"""Accepted submissions beside a scenario's board: what they report, and what their predictions give.

Nothing of it is ranked. Differences to a reference are to this harness's own of the same seed, for both columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from benchmark.boards.aggregates import MetricCell, metric_cell
from benchmark.contracts import Access
from benchmark.reporting import cells
from benchmark.reporting.tables import table
from benchmark.reporting.text import escape
from benchmark.submissions.accepted import Verdict, Verified
from benchmark.submissions.current import changed_since
from benchmark.submissions.submission import left_out
from benchmark.suites.definition import Suite
from benchmark.tasks import Task, Values

if TYPE_CHECKING:
    from benchmark.reporting.sheet import Sheet
    from benchmark.running.records import Record

HEADING = "#### Submitted predictions"
#: What stands above the tables, in every format.
EXPLAINED = (
    "Made elsewhere, and scored again here from their predictions alone: reported is what came with them, verified "
    "what they give, each the mean over n seeds. Differences to the reference are to this board's of the same seeds. "
    "Seconds are as reported. None of these rows is ranked, and what cannot be verified is a claim."
)
#: What must be known of a task's predictions.
CLAIMED = {"gan-feature-removal": "The judge's scores are the submitter's own."}
#: The worst of several verdicts comes first.
WORST: tuple[Verdict, ...] = ("differs", "not verifiable", "not reported", "agrees")
#: A unit and a seed.
Key = tuple[str, int]


@dataclass(frozen=True)
class Beside:
    """A metric of a submission: None where nothing was reported, or nothing can be verified."""

    name: str
    reported: MetricCell | None
    verified: MetricCell | None
    verdict: Verdict


@dataclass(frozen=True)
class Submitted:
    """A submission's part in one scenario. ``seconds``: mean over the ``n`` seeds; ``notes``: what must be known."""

    method: str
    authors: str
    link: str
    licence: str
    date: str
    n: int
    seconds: float | None
    hardware: str
    reads: str
    track: str
    notes: tuple[str, ...]
    entries: tuple[Beside, ...]


def with_submissions(
    sheets: Sequence[Sheet], found: Iterable[Verified], records: Iterable[Record], suite: Suite | None
) -> list[Sheet]:
    """The sheets of one suite with its accepted submissions; without any, the same sheets."""
    accepted = list(found)
    if not accepted:
        return list(sheets)
    kept = list(records)
    made = []
    for sheet in sheets:
        own = [one for one in accepted if _is_of(one, sheet)]
        references = _references(sheet, kept) if own else {}
        made.append(replace(sheet, submitted=tuple(_submitted(one, sheet, references, suite) for one in own)))
    return made


def _is_of(one: Verified, sheet: Sheet) -> bool:
    return one.submission.task == sheet.task.name and sheet.scenario in one.submission.settings


def _references(sheet: Sheet, records: Iterable[Record]) -> dict[Key, Record]:
    """The reference's records by unit and seed; of several devices that on a CPU."""
    found = [
        record
        for record in records
        if record.status == "ok"
        and (record.cell.task, record.cell.scenario) == (sheet.task.name, sheet.scenario)
        and record.cell.method == sheet.task.reference
    ]
    ordered = sorted(found, key=lambda record: (record.cell.device == "cpu", record.cell.device))
    return {(record.cell.unit, record.cell.seed): record for record in ordered}


def _submitted(one: Verified, sheet: Sheet, references: Mapping[Key, Record], suite: Suite | None) -> Submitted:
    submission, task = one.submission, sheet.task
    parts = submission.of(sheet.scenario)
    seconds = [part.seconds for part in parts if part.seconds is not None]
    access = Access(few_labels=submission.few_labels, optional=submission.access).granted(task.views)
    names = dict.fromkeys((*sheet.columns, sheet.ranked_by))
    return Submitted(
        method=submission.method,
        authors=", ".join(submission.authors),
        link=submission.link,
        licence=submission.licence,
        date=submission.date,
        n=len(parts),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        hardware=submission.hardware,
        reads=str(access),
        track=_track(task, submission.settings[sheet.scenario], access),
        notes=tuple(_notes(one, sheet, suite)),
        entries=tuple(entry for entry in _entries(one, sheet, references, names) if entry.reported or entry.verified),
    )


def _track(task: Task, settings: Mapping[str, Any], access: Access) -> str:
    if task.track is None:
        return ""
    try:
        return task.track(msgspec.convert(settings, task.scenario), access)
    except (ValueError, TypeError, ArithmeticError):
        return "?"


def _notes(one: Verified, sheet: Sheet, suite: Suite | None) -> list[str]:
    submission = one.submission
    found = [submission.notes] if submission.notes else []
    seeds = [part.seed for part in submission.of(sheet.scenario)]
    if sorted(seeds) != list(range(len(seeds))):
        found.append(f"of seeds {', '.join(map(str, sorted(seeds)))}")
    found += left_out(cell for cell in submission.missing if cell.scenario == sheet.scenario)
    changed = "" if suite is None else changed_since(submission, sheet.scenario, suite)
    return [f"outdated: {changed}", *found] if changed else found


def _entries(one: Verified, sheet: Sheet, references: Mapping[Key, Record], names: Iterable[str]) -> list[Beside]:
    reported: dict[int, list[Values]] = {}
    verified: dict[int, list[Values]] = {}
    for part in one.submission.of(sheet.scenario):
        reference = references.get((part.unit, part.seed))
        again = {name: judged.value for name, judged in one.metrics[part.name].items()}
        reported[part.seed] = [_with_derived(sheet.task, part.reported, reference)]
        verified[part.seed] = [_with_derived(sheet.task, again, reference)]
    verdicts = _verdicts(one, sheet.scenario)
    return [_beside(name, _cell(name, reported), _cell(name, verified), verdicts) for name in names]


def _with_derived(task: Task, own: Values, reference: Record | None) -> Values:
    return {**own, **(task.derive(own, reference.values()) if reference else {})}


def _cell(name: str, values: Mapping[int, Sequence[Values]]) -> MetricCell | None:
    found = metric_cell(name, values)
    return None if found.mean is None else found


def _verdicts(one: Verified, scenario: str) -> dict[str, Verdict]:
    """The worst verdict on each metric over seeds."""
    found: dict[str, Verdict] = {}
    for part in one.submission.of(scenario):
        for name, judged in one.metrics[part.name].items():
            found[name] = min(judged.verdict, found.get(name, "agrees"), key=WORST.index)
    return found


def _beside(
    name: str, reported: MetricCell | None, verified: MetricCell | None, verdicts: Mapping[str, Verdict]
) -> Beside:
    """With the verdict on the metric; one that is derived from others differs where any of those does."""
    verdict: Verdict = "not verifiable" if verified is None else "not reported" if reported is None else "agrees"
    if name in verdicts:
        verdict = verdicts[name]
    elif verdict == "agrees" and "differs" in verdicts.values():
        verdict = "differs"
    return Beside(name, reported, verified, verdict)


def submitted_tables(task: Task, found: Sequence[Submitted]) -> list[str]:
    """A heading and two tables in Markdown: who submitted what, and the numbers; nothing where nobody did."""
    if not found:
        return []
    tracks = [cells.TRACK] if task.track else []
    heads = ["method", "by", "n", *tracks, "seconds, as reported", "on", "read, as reported", "licence", "date", "note"]
    body = [_who(task, one) for one in found]
    numbers = [
        [escape(cells.heading(entry.name, task)), escape(one.method), *_numbers(entry)]
        for one, entry in by_metric(found)
    ]
    return [
        HEADING,
        "",
        explained(task),
        "",
        *table(heads, body, left=[i for i in range(len(heads)) if heads[i] not in ("n", "seconds, as reported")]),
        *table(["metric", "method", "reported", "verified", "verdict"], numbers, left=(0, 1, 4)),
    ]


def explained(task: Task) -> str:
    """What stands above the tables of a task."""
    return f"{EXPLAINED} {CLAIMED[task.name]}" if task.name in CLAIMED else EXPLAINED


def by_metric(found: Sequence[Submitted]) -> list[tuple[Submitted, Beside]]:
    """Every number with its submission, those of one metric beside each other."""
    names = dict.fromkeys(entry.name for one in found for entry in one.entries)
    return [(one, entry) for name in names for one in found for entry in one.entries if entry.name == name]


def _who(task: Task, one: Submitted) -> list[str]:
    name = f"[{escape(one.method)}](<{one.link}>)" if one.link else escape(one.method)
    track = [escape(one.track)] if task.track else []
    texts = [one.hardware or "-", one.reads, one.licence, one.date, "; ".join(one.notes)]
    return [name, escape(one.authors), str(one.n), *track, cells.seconds(one.seconds), *map(escape, texts)]


def _numbers(entry: Beside) -> list[str]:
    return [cells.interval(entry.reported), cells.interval(entry.verified), entry.verdict]
