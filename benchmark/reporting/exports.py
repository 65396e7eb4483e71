"""The sheets as files for programs and papers: CSV, JSON and LaTeX, all of one scenario beside each other.

The fields are described in docs/tables.md.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from benchmark.boards.aggregates import MetricCell, Origin
from benchmark.boards.comparisons import Comparison
from benchmark.files import write_atomically
from benchmark.metrics.catalogue import metric
from benchmark.metrics.metric import Metric
from benchmark.reporting.latex.macros import index, macros
from benchmark.reporting.latex.tables import document, latex_table
from benchmark.reporting.sheet import Line, Sheet
from benchmark.reporting.text import command_text, file_name

#: Counts up when a field of the JSON gets another name or meaning; new fields do not count.
SCHEMA = 1
FIELDS = (
    *("suite", "task", "scenario", "method", "kind", "device", "track", "status", "code", "reasons"),
    *("rank", "rank_label_free", "metric", "label", "unit", "better", "column", "mean", "low", "high", "n", "gap"),
    *("gap_low", "gap_high", "tied", "compared_with", "difference", "difference_low", "difference_high", "p"),
    "p_corrected",
)
#: The files of a scenario.
ENDINGS = (".tex", ".macros.tex", ".csv", ".json")
#: What a method's calls cost, as lines of their own: name, label, unit, and the field of the row's cost.
COSTS = (
    ("cost.seconds", "seconds", "s", "seconds"),
    ("cost.device-seconds", "CPU or GPU seconds", "s", "device_seconds"),
    ("cost.ratio", "device seconds / reference's", "", "ratio_to_retrain"),
    ("cost.peak-bytes", "peak memory", "bytes", "peak_bytes"),
)
LONGEST_NAME = 120
#: What makes a formula of a cell in a spreadsheet.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Measured(NamedTuple):
    """A metric of a line and its gap to the reference.

    ``tied`` is None where the metric is no column of the table, in which alone ties are told.
    """

    known: Metric
    cell: MetricCell
    gap: MetricCell | None
    tied: bool | None


def measured(sheet: Sheet, line: Line) -> list[Measured]:
    """The metrics of a line: the table's columns, blank or not, then all others that have a value.

    Gaps are no metrics of their own, but where they are columns.
    """
    tied = {entry.name: entry.tied for entry in line.entries}
    metrics = line.row.metrics
    others = (name for name, cell in metrics.items() if cell.mean is not None and not name.endswith(".gap"))
    found = []
    for name in dict.fromkeys((*sheet.columns, sheet.ranked_by, *others)):
        known, gap = metric(name), metrics.get(f"{name}.gap")
        cell = metrics.get(name) or MetricCell(None, None, None, 0, known.unit, known.better)
        found.append(Measured(known, cell, gap if gap is not None and gap.n else None, tied.get(name)))
    return found


def csv_table(sheet: Sheet) -> str:
    """One line a method and metric, with the names of ``FIELDS`` above; numbers as exact as they are known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for line in sheet.lines:
        for one in measured(sheet, line):
            writer.writerow([_field(value) for value in _fields(sheet, line, one)])
        for values in _costs(sheet, line):
            writer.writerow([_field(value) for value in values])
    return text.getvalue()


def _about(sheet: Sheet, line: Line) -> list[Any]:
    row = line.row
    names = [sheet.suite, row.task, row.scenario, row.method, row.kind, row.device, row.track, row.status, row.code]
    return [*names, " | ".join(row.reasons), row.rank, row.rank_label_free]


def _costs(sheet: Sheet, line: Line) -> list[list[Any]]:
    """Lines of what the row's calls cost: means over cells, of memory the median."""
    found = [(name, label, unit, getattr(line.row.cost, field)) for name, label, unit, field in COSTS]
    blank = [None] * (len(FIELDS) - FIELDS.index("low"))
    return [
        [*_about(sheet, line), name, label, unit, "lower", name in ("cost.seconds", "cost.ratio"), value, *blank]
        for name, label, unit, value in found
        if value is not None
    ]


def _fields(sheet: Sheet, line: Line, one: Measured) -> list[Any]:
    known, cell = one.known, one.cell
    names = [known.name, known.label, known.unit, known.better, one.tied is not None]
    gap = (None, None, None) if one.gap is None else (one.gap.mean, one.gap.low, one.gap.high)
    numbers = [cell.mean, cell.low, cell.high, cell.n, *gap, one.tied]
    compared = _compared(line.difference) if known.name == sheet.ranked_by else {}
    whose = sheet.compared_with if compared else None
    return [*_about(sheet, line), *names, *numbers, whose, *(compared.get(name) for name in FIELDS[-5:])]


def _compared(found: Comparison | None) -> dict[str, float | None]:
    if found is None:
        return {}
    mean, low, high, _ = found.difference
    values = (mean, low, high, found.p, found.corrected)
    return dict(zip(FIELDS[-5:], values, strict=True))


def _field(value: Any) -> str:
    """A number as Python writes it, truth as yes and no, nothing for what there is not; text is no formula."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return repr(value)
    text = "".join(c if c.isprintable() else " " for c in value)
    return f"'{text}" if value.startswith(FORMULA) else text


def json_table(sheet: Sheet) -> str:
    """The sheet as one JSON object, one line a row: also cost, what was read, origin, and the values by seed."""
    known = {one.known.name: one.known for line in sheet.lines for one in measured(sheet, line)}
    shared = Shared([], [])
    rows = ",\n".join([_json(_row(sheet, line, shared)) for line in sheet.lines])
    about = {
        "schema": SCHEMA,
        "suite": sheet.suite,
        "task": sheet.task.name,
        "scenario": sheet.scenario,
        "ranked_by": sheet.ranked_by,
        "reference": sheet.task.reference,
        "compared_with": sheet.compared_with,
        "command": command_text(sheet.command),
        "devices": sheet.devices,
        "columns": sheet.columns,
        "metrics": {name: _described(one) for name, one in known.items()},
        **shared._asdict(),
        **({"submitted": sheet.submitted} if sheet.submitted else {}),
    }
    head = [f"{_json(name)}:{_json(value)}" for name, value in about.items()]
    return "{" + ",\n".join(head) + ',\n"rows":[\n' + rows + "\n]}\n"


class Shared(NamedTuple):
    """What many rows have in common; rows name it by its number here."""

    settings: list[dict[str, Any]]
    environments: list[dict[str, str]]


def _number_in(found: list[Any], value: Any) -> int:
    if value not in found:
        found.append(value)
    return found.index(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _described(known: Metric) -> dict[str, str]:
    return {"label": known.label, "unit": known.unit, "better": known.better, "summary": known.summary}


_OF_ROW = ("method", "kind", "device", "devices", "track", "status", "code", "reasons", "rank", "rank_label_free")


def _row(sheet: Sheet, line: Line, shared: Shared) -> dict[str, Any]:
    row = line.row
    return {
        **{name: getattr(row, name) for name in _OF_ROW},
        "rank_by": row.rank_by,
        "label_free": row.label_free,
        "section": line.section,
        "n": row.n,
        "cells": row.cells,
        "units": row.units,
        "metrics": {one.known.name: _values(one) for one in measured(sheet, line)},
        "difference": None if line.difference is None else _compared(line.difference),
        "cost": row.cost,
        "access": row.access,
        "choice": row.choice,
        "origin": _origin(row.origin, f"{sheet.name}/{row.method}", shared),
        "command": command_text(sheet.command_of(row)),
    }


def _origin(origin: Origin, folder: str, shared: Shared) -> dict[str, Any]:
    found = {name: value for name, value in msgspec.structs.asdict(origin).items() if name != "external" or value}
    found["settings"] = _number_in(shared.settings, origin.settings)
    found["environments"] = [_number_in(shared.environments, environment) for environment in origin.environments]
    found["records"] = {path.removeprefix(f"{folder}/"): digest for path, digest in origin.records.items()}
    return {"folder": folder, **found}


def _values(one: Measured) -> dict[str, Any]:
    cell, gap = one.cell, one.gap
    return {
        **_interval(cell),
        "gap": None if gap is None else _interval(gap),
        "tied": one.tied,
        "by_seed": dict(sorted(cell.by_seed.items())),
    }


def _interval(cell: MetricCell) -> dict[str, float | None]:
    return {"mean": cell.mean, "low": cell.low, "high": cell.high, "n": cell.n}


def write_tables(boards: Mapping[str, Sequence[Sheet]], folder: Path) -> list[Path]:
    """Write every sheet in every format below ``folder``, and what inputs all of them; returns the files.

    ``boards``: sheets by suite. A file is ``<suite>/<task>/<scenario>`` with ``.tex``, ``.macros.tex``, ``.csv`` or
    ``.json``; ``macros.tex`` and ``all.tex`` lie beside the suites. The four files of a scenario that is no longer
    there are removed.
    """
    taken: set[str] = set()
    files: dict[str, str] = {}
    sheets = [sheet for own in boards.values() for sheet in own]
    names = paths(sheets)
    for sheet in sheets:
        name = names[sheet.name]
        files[f"{name}.tex"] = latex_table(sheet)
        files[f"{name}.macros.tex"] = macros([sheet], taken)
        files[f"{name}.csv"] = csv_table(sheet)
        files[f"{name}.json"] = json_table(sheet)
    files["macros.tex"] = index([f"{name}.macros.tex" for name in names.values()])
    files["all.tex"] = document(f"{name}.tex" for name in names.values())
    for path, text in files.items():
        write_atomically(folder / path, text.encode())
    _remove_old({folder / path for path in files}, folder)
    return [folder / path for path in files]


def _remove_old(written: set[Path], folder: Path) -> None:
    """Scenarios of an earlier call: where all four of their files are there, so that nobody else's are taken."""
    for path in folder.glob("*/*/*.macros.tex"):
        stem = path.name.removesuffix(".macros.tex")
        four = [path.with_name(f"{stem}{ending}") for ending in ENDINGS]
        linked = any(one.is_symlink() for one in (path.parent, path.parent.parent))
        if not linked and not written & set(four) and all(one.is_file() and not one.is_symlink() for one in four):
            for one in four:
                one.unlink()


def paths(sheets: Sequence[Sheet]) -> dict[str, str]:
    """By the name of each sheet its path without an ending, which no other one has, on any file system."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for sheet in sheets:
        path = "/".join(_safe(part) for part in (sheet.suite, sheet.task.name, sheet.scenario))
        while path.lower() in taken:
            path += "-"
        taken.add(path.lower())
        found[sheet.name] = path
    return found


def _safe(name: str) -> str:
    """The name of a file that is no hidden one, no folder above, and not too long for endings to be added."""
    found = file_name(name)[:LONGEST_NAME]
    return found if found.strip(".") and not found.startswith(".") else f"-{found}"
