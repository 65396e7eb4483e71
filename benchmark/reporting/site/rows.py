"""The board of one task for the site: all rows of all suites and scenarios in one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from benchmark.boards.board import Row
from benchmark.contracts import Access
from benchmark.contracts.access import FIELDS
from benchmark.discovery.methods import METHODS
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.sheet import Entry, Line, Sheet
from benchmark.reporting.site.details import details
from benchmark.reporting.site.table import (
    BLANK,
    BoardTable,
    Cell,
    Column,
    Direction,
    Group,
    Section,
    Shared,
    TableRow,
    number,
)
from benchmark.reporting.text import command_text
from benchmark.tasks import TASKS, Task

#: What rows are filtered by, with the name of the filter.
FACETS = {
    "suite": "Suite",
    "scenario": "Scenario",
    "track": "Track",
    "information": "Information",
    "kind": "Kind",
    "device": "Device",
    "status": "Status",
}
#: The view that holds only those samples that are labelled.
FEW = "labelled"
#: The view whose labels are a judge's answers on images of the method's own.
FEEDBACK = "feedback"
#: Kinds that a badge tells apart.
BADGES = {"paper": "paper", "reference": "reference", "cheat": "cheat"}
#: Titles of the sections of a board that has tracks; the others are ``track_title``'s.
SECTIONS = {"references": "References", "cheats": "Cheats"}


def task_table(sheets: Sequence[Sheet]) -> BoardTable:
    """One table of the sheets of one task, which are one or more."""
    task = sheets[0].task
    shared = Shared()
    names = [name for name in task.headline if any(name in sheet.columns for sheet in sheets)]
    columns = _columns(task, sheets, names)
    groups = [_group(sheet, names, shared, [column.key for column in columns]) for sheet in sheets]
    labels = {key: label for key, label in FACETS.items() if key != "track" or task.track}
    return BoardTable(f"All rows of {task.name}", columns, groups, ("suite", "scenario"), labels, shared.blocks)


def _columns(task: Task, sheets: Sequence[Sheet], names: Sequence[str]) -> list[Column]:
    devices = {row.device for sheet in sheets for row in sheet.rows}
    measured = [
        Column(name, cells.heading(name, task), "number", metric(name).summary, _first(name), optional=True)
        for name in names
    ]
    return [
        Column("rank", "#", "rank", "rank in its scenario and track; in brackets among methods that read no label"),
        Column("method", "method", "method"),
        Column("suite", "suite", "text"),
        Column("scenario", "scenario", "text"),
        *([Column("track", "track", "text", cells.TRACK)] if task.track else []),
        *([Column("device", "device", "text")] if len(devices) > 1 else []),
        Column("n", "n", "number", "independent base models: one a seed", "desc"),
        *measured,
        Column("seconds", "seconds", "number", "wall time of the method's calls alone, mean"),
        Column("ratio", cells.ratio_heading(task), "number", f"CPU or GPU seconds as a ratio to {task.reference}"),
        Column("information", "information", "text", "what the method declares to read"),
        Column("note", "note", "note"),
    ]


def _first(name: str) -> Direction:
    return "desc" if metric(name).better == "higher" else "asc"


def _group(sheet: Sheet, names: Sequence[str], shared: Shared, columns: Sequence[str]) -> Group:
    ranked = cells.heading(sheet.ranked_by)
    facts = [f"ranked by {ranked}", f"{len(sheet.lines)} rows", f"n up to {max(row.n for row in sheet.rows)}"]
    facts += [sheet.devices] if sheet.devices else []
    sections = [
        Section(title, [_row(sheet, line, names, shared, columns) for line in lines])
        for title, lines in _sections(sheet)
    ]
    return Group(sheet.suite, sheet.scenario, facts, sections, command_text(sheet.command))


def _sections(sheet: Sheet) -> Iterator[tuple[str, list[Line]]]:
    """Rows that are ranked together, with a title where the task has tracks."""
    if sheet.task.track is None:
        yield "", list(sheet.lines)
        return
    for title, block in groupby(sheet.lines, key=lambda line: SECTIONS.get(line.section, track_title(line.row))):
        yield title, list(block)


def track_title(row: Row) -> str:
    """What rows of a track used, in words."""
    train, _, held_out = row.track.partition("/")
    if not held_out:
        return "Track unknown"
    return f"Track {row.track}: attributes of the training set {_used(train)}, of the held-out split {_used(held_out)}"


def _used(word: str) -> str:
    return "used" if word == "yes" else "not used"


def _row(sheet: Sheet, line: Line, names: Sequence[str], shared: Shared, columns: Sequence[str]) -> TableRow:
    row = line.row
    facets = {
        "suite": sheet.suite,
        "scenario": row.scenario,
        "information": information(row.method, sheet.task),
        "kind": row.kind,
        "device": row.device,
        "status": row.status,
        **({"track": cells.track(row)} if sheet.task.track else {}),
    }
    made = {**_fixed(sheet, row), **_values(sheet, line, names), **{key: Cell(value) for key, value in facets.items()}}
    made["method"] = _method(row)
    return TableRow(
        kind=row.kind,
        cells=[made[key] for key in columns],
        facets=facets,
        details=details(sheet, line, shared),
        unranked=line.section == "unranked",
    )


def _fixed(sheet: Sheet, row: Row) -> dict[str, Cell]:
    """The cells that every task has."""
    return {
        "rank": Cell(cells.ranks(row), "" if row.rank is None else str(row.rank)),
        "n": Cell(str(row.n)),
        "seconds": number(cells.seconds(row.cost.seconds), row.cost.seconds),
        "ratio": number(cells.ratio(row), row.cost.ratio_to_retrain),
        "note": _note(row),
    }


def _method(row: Row) -> Cell:
    return Cell(row.method, badges=(*kind_badge(row.kind), *_status_badge(row)))


def kind_badge(kind: str) -> tuple[tuple[str, str], ...]:
    """What tells a kind apart beside a method's name; nothing for baselines."""
    return ((kind, BADGES[kind]),) if kind in BADGES else ()


def _status_badge(row: Row) -> tuple[tuple[str, str], ...]:
    return (("status", row.status),) if row.status != "ok" else ()


def _note(row: Row) -> Cell:
    """Status and reasons, and what is to be said of the source."""
    lines = (*row.reasons, *cells.source(row), *cells.untuned(row))
    return Cell("", row.status if row.status != "ok" else "", badges=_status_badge(row), lines=lines)


def _values(sheet: Sheet, line: Line, names: Sequence[str]) -> dict[str, Cell]:
    entries = {entry.name: entry for entry in line.entries}
    return {name: _value(entries[name], sheet) if name in entries else Cell(BLANK) for name in names}


def _value(entry: Entry, sheet: Sheet) -> Cell:
    """Mean, half-width and gap; what is best, or not told from it, is marked."""
    mean, _, half = cells.interval(entry.cell).partition(" ± ")
    gap = entry.gap.mean if entry.gap is not None else None
    return number(
        mean,
        entry.cell.mean if entry.cell is not None else None,
        half=f"± {half}" if half else "",
        extra=f"({cells.signed(gap, entry.gap.unit)})" if entry.gap is not None and gap is not None else "",
        best=entry.tied,
        leading=entry.name == sheet.ranked_by,
    )


def information(method: str, task: Task) -> str:
    """What a method declares to read of any view, in a word or three; a question mark if it is no longer there."""
    if not METHODS.has(method, task.name):
        return "?"
    access: Access = METHODS.get(method, task.name).access.granted(task.views)
    fields = {field for given in access.views.values() for field in given}
    labels = [view for view, given in access.views.items() if "y" in given]
    few = access.few_labels or labels == [FEW]
    own = FEEDBACK if labels == [FEEDBACK] else "few labels" if few else FIELDS["y"]
    words = {**FIELDS, "y": own}
    return " + ".join(word for field, word in words.items() if field in fields) or "model only"


def information_of(method: str, task: str) -> str:
    """The same by the task's name."""
    return information(method, TASKS.get(task))
