"""A study's page: what was asked, what was found, every sweep as a figure and a table, and how it was made."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import partial

from benchmark.errors import InputError
from benchmark.reporting.figures.drawings import Drawing
from benchmark.reporting.studies.blocks import Block, blocks_of, label_of, shown
from benchmark.reporting.studies.drawing import Map, Panel, Series, drawn, lines, maps
from benchmark.reporting.studies.section import Section
from benchmark.reporting.studies.texts import spread, written
from benchmark.reporting.tables import figure, folded
from benchmark.reporting.text import command_text, escape, file_name
from benchmark.stats import Interval
from benchmark.studies.found import Found
from benchmark.studies.measured import stale

#: Tables of more rows than this are folded.
LONG = 12


def study_page(found: Found) -> tuple[str, list[Drawing]]:
    """The page as Markdown, and its figures, which lie in ``figures`` beside it."""
    study = found.study
    text = [f"# {escape(study.file.title)}", "", escape(study.file.question), ""]
    text += [
        f"Paper: {escape(study.file.paper)}. Made by `{command_text(study.command)}`. [All studies](index.md).",
        "",
    ]
    text += _words(found)
    drawings: list[Drawing] = []
    for block in blocks_of(found):
        own = [_drawing(found, block)] if len({x for _, x, _ in block.rows}) > 1 else []  # nothing varies: a table
        drawings += own
        text += [f"## {escape(block.title)}", "", *(line for one in own for line in figure(one)), *_table(block)]
    for name in study.file.analyses:
        for number, section in enumerate(_analysis(name, found)):
            more, own = _section(found, section, f"{name}-{number}")
            text += more
            drawings += own
    return "\n".join([*text, *_how(found)]).rstrip() + "\n", drawings


def _words(found: Found) -> list[str]:
    """What was found, in words; that something is missing, where it is."""
    study, text = found.study, list[str]()
    if found.left or found.unmeasured:
        missing = f"{found.left} cells have not been run, {found.unmeasured} measurements not been taken"
        text += [f"**{missing}**; `{command_text(study.command)}` makes the rest.", ""]
    parts = (
        ("Found", study.file.found),
        ("What it means", study.file.meaning),
        ("Against its paper", study.file.contradicts),
    )
    for title, template in parts:
        if template:
            try:
                text += [f"**{title}.** {written(template, found)}", ""]
            except InputError as error:
                text += [f"**{title}.** Not written: {escape(str(error))}.", ""]
    return text


def _drawing(found: Found, block: Block) -> Drawing:
    stem = file_name(f"{found.study.name}-{block.name}")
    if block.map_of is not None:
        picture = partial(maps, _maps(block), block.map_of[0], block.map_of[1])
        caption = f"{escape(block.title)}: means over {_seeds(block)} seeds."
    else:
        picture = partial(lines, _panels(block), block.x, block.log)
        caption = (
            f"{escape(block.title)}: means and 95 % t intervals over {_seeds(block)} seeds; "
            "those that are far wider than what varies leave the panel, and those of many lines are in the table alone."
        )
    alt = f"{block.title} of the study {found.study.name}"
    return Drawing(stem, "studies", "", None, "study", caption, alt, picture)


def _seeds(block: Block) -> str:
    counts = sorted({interval.n for _, _, intervals in block.rows for interval in intervals.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}" if counts else "0"


def _panels(block: Block) -> tuple[Panel, ...]:
    panels = []
    for metric in block.metrics:
        by_line: dict[str, list[tuple[float | str, Interval]]] = {}
        for line, x, intervals in block.rows:
            if metric in intervals:
                by_line.setdefault(line, []).append((x, intervals[metric]))
        series = tuple(_series(line, own, line in block.grey) for line, own in by_line.items())
        if series:
            panels.append(Panel(label_of(metric), series, "(%)" in label_of(metric) and not metric.endswith(".gap")))
    return tuple(panels)


def _series(name: str, own: list[tuple[float | str, Interval]], grey: bool) -> Series:
    if all(not isinstance(x, str) for x, _ in own):
        own = sorted(own, key=lambda item: float(item[0]))
    return Series(
        name,
        tuple(x for x, _ in own),
        tuple(i.mean for _, i in own),
        tuple(i.low for _, i in own),
        tuple(i.high for _, i in own),
        grey,
    )


def _maps(block: Block) -> tuple[Map, ...]:
    found = []
    columns = list(dict.fromkeys(x for _, x, _ in block.rows))
    rows = list(dict.fromkeys(line for line, _, _ in block.rows))
    for metric in block.metrics:
        at = {(line, x): own[metric].mean for line, x, own in block.rows if metric in own}
        means = tuple(tuple(at.get((row, column)) for column in columns) for row in rows)
        found.append(Map(label_of(metric), tuple(rows), tuple(columns), means))
    return tuple(found)


def _table(block: Block) -> list[str]:
    first, second = ("", block.x) if block.map_of is None else (block.map_of[1], block.map_of[0])
    most = max((interval.n for _, _, own in block.rows for interval in own.values()), default=0)
    headers = [first or "method", second, *(label_of(metric) for metric in block.metrics)]
    rows = [
        [line, shown(x), *(_value(own.get(metric), metric, most) for metric in block.metrics)]
        for line, x, own in block.rows
    ]
    return _folded_if_long(headers, _once(rows, block.grey))


def _value(interval: Interval | None, metric: str, most: int) -> str:
    """A cell of a table; it says of how many seeds it is where others are of more."""
    if interval is None:
        return "-"
    return spread(interval, metric) + (f" (n = {interval.n})" if interval.n < most else "")


def _once(rows: Sequence[list[str]], grey: Sequence[str]) -> list[list[str]]:
    """The same rows, those of a reference that is the same everywhere in one."""
    alike = {line for line in grey if len({tuple(row[2:]) for row in rows if row[0] == line}) == 1}
    kept = [row for row in rows if row[0] not in alike]
    return [*kept, *([line, "any", *next(row[2:] for row in rows if row[0] == line)] for line in grey if line in alike)]


def _folded_if_long(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    made = ["| " + " | ".join(escape(cell) for cell in headers) + " |", "|" + "---|" * len(headers)]
    made += ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in rows]
    return folded(f"All {len(rows)} rows", [*made, ""]) if len(rows) > LONG else [*made, ""]


def _analysis(name: str, found: Found) -> Sequence[Section]:
    try:
        module = importlib.import_module(f"benchmark.reporting.studies.analyses.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"benchmark.reporting.studies.analyses.{name}":
            raise
        raise InputError(f"{found.study.name}: there is no analysis called {name!r}") from error
    sections: Sequence[Section] = module.sections(found)
    return sections


def _section(found: Found, section: Section, name: str) -> tuple[list[str], list[Drawing]]:
    text = [f"## {escape(section.title)}", ""]
    text += [section.text, ""] if section.text else []
    drawings = []
    if section.figure is not None:
        stem = file_name(f"{found.study.name}-{name}".replace("_", "-"))
        alt = f"{section.title} of the study {found.study.name}"
        picture = partial(drawn, section.figure, section.size)
        drawings.append(Drawing(stem, "studies", "", None, "study", escape(section.title), alt, picture))
        text += figure(drawings[0])
    text += _folded_if_long(section.headers, section.rows) if section.headers else []
    return text, drawings


def _how(found: Found) -> list[str]:
    """How the study was made, and what is wrong with it."""
    study = found.study
    text = ["## How it was made", ""]
    if found.expected:
        minutes = f"{found.cost / 60:.0f} minutes of one worker in all"
        started = f"{found.there} cells of seeds 0 to {study.file.seeds - 1}, {minutes}"
        text += [
            f"{started}; scenarios and hyper-parameters start from the suite `{command_text(study.file.suite)}`.",
            "",
        ]
    old = sum(stale(study, name, found.results) for name in study.file.measurements)
    text += [f"{old} measurements were taken by code that has moved since.", ""] if old else []
    seen = sorted({f"{e.get('device', '')}, torch {e.get('torch', '')}" for e in found.environments})
    text += [f"Made on {escape('; '.join(seen))}.", ""] if seen else []
    failed = []
    for record in found.failed:
        why = f"{record.failure.error}: {record.failure.message[:200]}" if record.failure else ""
        cell = record.cell
        failed.append(
            f"- {escape(cell.scenario)}, {escape(cell.method)}, seed {cell.seed}: {record.status}. {escape(why)}"
        )
    text += folded(f"{len(failed)} cells without a result", [*failed, ""]) if failed else []
    reasons = [reason for own in found.gates.values() for reason in own]
    if reasons:
        text += folded(
            f"{len(reasons)} warnings about base models",
            [*(f"- {escape(reason)}" for reason in dict.fromkeys(reasons)), ""],
        )
    return text
