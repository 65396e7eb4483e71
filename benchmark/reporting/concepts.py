"""RR-ClArC with each kind of concept vector, as a table below a board of bias correction."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.boards.board import Row
from benchmark.reporting import cells
from benchmark.reporting.tables import table
from benchmark.reporting.text import escape

TASK = "bias-correction"
#: The kind of vector that each variant takes, in the order of the table.
KINDS = {
    "rr-clarc": "signal",
    "rr-clarc+svm": "svm",
    "rr-clarc+ridge": "ridge",
    "rr-clarc+lasso": "lasso",
    "rr-clarc+logistic": "logistic",
}
ALIGNMENT = ("cav.alignment", "cav.alignment.individual")
COLUMNS = (*ALIGNMENT, "cav.seconds", "accuracy.attacked", "accuracy.clean", "tcav.sensitivity")
#: What the paper is said to report; nobody here has seen its table.
SAID = (
    "The paper's summary says an alignment of over 90 % for the signal vector and of under 60 % for the others: "
    "second-hand, and measured on other data."
)


def concept_table(rows: Sequence[Row]) -> list[str]:
    """A row a kind of vector; nothing where RR-ClArC ran with one kind alone, or none."""
    own = [row for row in rows if row.task == TASK and row.method in KINDS]
    if len({row.method for row in own}) < 2:
        return []
    shown = sorted(own, key=lambda row: list(KINDS).index(row.method))
    columns = [name for name in COLUMNS if any(cells.has(row, name) for row in shown)]
    said = f" {SAID}" if any(name in columns for name in ALIGNMENT) else ""
    body = [[_kind(row), *(cells.interval(row.metrics.get(name)) for name in columns)] for row in shown]
    return [
        "#### Concept vectors",
        "",
        f"RR-ClArC with each kind of concept vector: mean ± half-width over seeds.{said}",
        "",
        *table(["vector", *(cells.heading(name) for name in columns)], body),
    ]


def _kind(row: Row) -> str:
    """The kind, and in brackets the device where it is no CPU, and the status where the row is not as the others."""
    marks = [escape(row.device)] if row.device != "cpu" else []
    marks += [row.status] if row.status != "ok" else []
    return KINDS[row.method] + (f" ({', '.join(marks)})" if marks else "")
