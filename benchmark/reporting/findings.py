"""What people wrote about the published records, and which records those are.

A note's first line is ``<!-- about: <digest> -->``. It is shown beside the very numbers that it was written about, and
beside no others: a run of somebody else's, or a new one of ours, has to be read anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from benchmark.boards.aggregates import MetricCell
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.text import file_name

FOLDER = Path(__file__).parent / "notes"
_START, _END = "<!-- about: ", " -->"
#: Digits of the means that make up a digest.
DIGITS = 9


def note(name: str, sheets: Sequence[Sheet]) -> str:
    """The note called ``name``; empty where there is none, or where it is about other numbers than these."""
    path = FOLDER / file_name(f"{name}.md")
    if not sheets or not path.is_file():
        return ""
    first, _, rest = path.read_text("utf-8").partition("\n")
    return rest.strip() if first == f"{_START}{about(sheets)}{_END}" else ""


def about(sheets: Sequence[Sheet]) -> str:
    """A digest of the means of all columns of these sheets, and of how many base models they are over."""
    numbers = [
        (sheet.name, row.method, row.device, row.status, row.n, entry.name, _mean(entry.cell))
        for sheet in sheets
        for row, entries in ((line.row, line.entries) for line in sheet.lines)
        for entry in entries
    ]
    return hashlib.sha256(json.dumps(sorted(numbers)).encode()).hexdigest()[:16]


def _mean(cell: MetricCell | None) -> str:
    return "-" if cell is None or cell.mean is None else f"{cell.mean:.{DIGITS}g}"
