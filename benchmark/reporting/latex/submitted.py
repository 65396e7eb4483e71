"""Accepted submissions of a scenario as a table for a paper, behind that of the board."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.reporting import cells
from benchmark.reporting.latex.text import breakable, number, shortened, tex
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.submitted import Beside, Submitted, by_metric, explained

#: Lines of a table, so that it fits on a page with its caption.
MOST_LINES = 45
LONGEST_METRIC, LONGEST_METHOD, LONGEST_WHO = 28, 32, 160
SIZE, LINE = 7.0, 8.4


def submitted_tables(sheet: Sheet, label: str) -> list[str]:
    """The lines of one or more ``table*``, at most 5.5 inches wide; nothing where nobody submitted."""
    numbers = by_metric(sheet.submitted)
    starts = range(0, len(numbers), MOST_LINES)
    return [line for start in starts for line in _table(sheet, label, numbers[start : start + MOST_LINES], start)]


def _table(sheet: Sheet, label: str, numbers: Sequence[tuple[Submitted, Beside]], start: int) -> list[str]:
    name = f"{tex(sheet.task.name)} / {tex(shortened(sheet.scenario, LONGEST_METHOD))}, submitted predictions"
    body = [" & ".join(_cells(sheet, one, entry)) + r" \\" for one, entry in numbers]
    page = f"-{start // MOST_LINES + 1}" if start else ""
    return [
        r"\begin{table*}[tp]",
        r"\centering",
        rf"\caption[{{{name}}}]{{\textbf{{{name}.}} {tex(explained(sheet.task))}}}",
        rf"\label{{{label}-submitted{page}}}",
        rf"\fontsize{{{SIZE:g}}}{{{LINE:g}}}\selectfont",
        r"\smallskip",
        r"\begin{tabular}{@{}llrrl@{}}",
        r"\toprule",
        r"metric & method & reported & verified & verdict \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\par\smallskip",
        r"\parbox{\linewidth}{\raggedright",
        *(rf"{_who(one)}\par" for one in sheet.submitted),
        "}",
        r"\end{table*}",
    ]


def _cells(sheet: Sheet, one: Submitted, entry: Beside) -> list[str]:
    label = tex(shortened(cells.heading(entry.name, sheet.task), LONGEST_METRIC))
    shown = [number(cells.interval(cell)) for cell in (entry.reported, entry.verified)]
    return [label, tex(shortened(one.method, LONGEST_METHOD)), *shown, tex(entry.verdict)]


def _who(one: Submitted) -> str:
    """Who submitted it and what must be known of it, as a paragraph."""
    parts = [one.method, one.authors, one.link, f"n = {one.n}", f"{cells.seconds(one.seconds)} s", *one.notes]
    return breakable("; ".join(shortened(part, LONGEST_WHO) for part in parts if part)) + "."
