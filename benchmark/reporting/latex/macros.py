"""Every cell of every table as a command of its own, so that a paper can put single numbers into its text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from benchmark.boards.aggregates import MetricCell
from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.latex.text import number
from benchmark.reporting.sheet import Entry, Line, Sheet
from benchmark.reporting.text import command_text

PREFIX = "Amend"
#: What is put before the paths of the files; a paper that is not compiled beside them says where they are.
FOLDER = "AmendTables"
PLAIN = re.compile(r"\d{1,9}(\.\d+)?")
_DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
_SIGNS = {"+": "Plus", "@": "At", "%": "Percent", "*": "Star", "=": "Is"}
_HOW_TO_USE = r"""% Written from the records by make report: changes are lost.
% Each number of the table beside this file as a command, to be \input in the preamble or anywhere before its use.
% A name is \Amend, then suite, task, scenario, method (with its device, if that is no cpu) and metric, each word with
% a capital, digits and signs in words, - and . dropped: 5k is Fivek, + is Plus, @ is At. That is the mean. With a
% suffix: Half, half the width of its 95 % interval; N, base models; Gap, the gap to the reference where the table shows
% it; Text, mean and half-width as in the table. Without a metric: Seconds, Ratio (device seconds to the reference's),
% Rank, Difference and DifferenceHalf (to the reference, in what the table is ranked by; to the original, where that is
% itself a distance to the reference) and P, that difference's p value, corrected for all rows. Two hyphens stand for
% what there is not. In running text: \AmendX{} or {\AmendX}."""


def macros(sheets: Iterable[Sheet], taken: set[str] | None = None) -> str:
    r"""A ``\newcommand`` for each cell of the sheets, and how they are named.

    ``taken``: names that are given already, to which these are added. Of two that are named alike only the first is
    given, and a comment says which is not: TeX has letters only, so that two methods may differ in signs it cannot say.
    """
    given = set() if taken is None else taken
    lines = [_HOW_TO_USE]
    for sheet in sheets:
        lines.append(f"% {command_text(sheet.name)}: {command_text(sheet.command)}")
        lines += (_defined(name, text, given) for name, text in commands(sheet))
    return "\n".join(lines) + "\n"


def index(files: Sequence[str]) -> str:
    r"""A file that inputs all those of the macros; ``files`` are their paths beside it."""
    return "\n".join([
        "% All numbers of all tables as commands; each of these files says how they are named, and can be had alone.",
        "% Where a paper is not compiled in this folder, it says before where that is, with a slash at the end:",
        rf"%   \newcommand{{\{FOLDER}}}{{reports/tables/}}\input{{\{FOLDER} macros.tex}}",
        rf"\providecommand{{\{FOLDER}}}{{}}",
        *(rf"\input{{\{FOLDER} {path}}}" for path in files),
        "",
    ])  # fmt: skip


def commands(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """Names, without backslash, and what they stand for: every cell of every line, in the table's order."""
    for line in sheet.lines:
        row = line.row
        device = "" if row.device == "cpu" else row.device
        name = PREFIX + "".join(map(spelled, (sheet.suite, row.task, row.scenario, row.method, device)))
        for entry in line.entries:
            yield from _of_metric(name + spelled(entry.name), entry)
        yield from _of_line(name, line, sheet.ranked_by)


def _of_metric(name: str, entry: Entry) -> Iterator[tuple[str, str]]:
    cell = entry.cell
    blank = cell is None or cell.mean is None
    yield name, _number("-" if cell is None or cell.mean is None else cells.number(cell.mean, cell.unit))
    yield f"{name}Half", _number(_half(cell))
    yield f"{name}N", "0" if blank or cell is None else str(cell.n)
    yield f"{name}Text", _number(cells.interval(cell))
    if entry.gap is not None and entry.gap.mean is not None:
        yield f"{name}Gap", _number(cells.signed(entry.gap.mean, entry.gap.unit))


def _half(cell: MetricCell | None) -> str:
    """The half-width as the table has it; a blank where it has none."""
    return cells.interval(cell).partition(" ± ")[2] or "-"


def _of_line(name: str, line: Line, ranked_by: str) -> Iterator[tuple[str, str]]:
    row = line.row
    yield f"{name}Seconds", _number(cells.seconds(row.cost.seconds))
    yield f"{name}Ratio", _number(cells.ratio(row))
    yield f"{name}Rank", "--" if row.rank is None else str(row.rank)
    if line.difference is not None:
        mean, _, half = cells.difference(line.difference.difference, metric(ranked_by).unit).partition(" ± ")
        yield f"{name}Difference", _number(mean)
        yield f"{name}DifferenceHalf", _number(half or "-")
        p = line.difference.text
        yield f"{name}P", p if line.difference.corrected is None else _number(p)


def _number(text: str) -> str:
    """The same in math mode and out of it; digits and points need no help for that."""
    if text == "-" or PLAIN.fullmatch(text):
        return number(text).strip("$")
    return rf"\ensuremath{{{number(text)[1:-1]}}}"


def spelled(text: str) -> str:
    """Letters only: words with a capital, digits and signs in words, other characters by their number."""
    parts = re.findall(r"[A-Za-z]+|[^A-Za-z]", text)
    found = []
    for i, part in enumerate(parts):
        after_digit = i > 0 and parts[i - 1].isdecimal()
        found.append(part if part.isalpha() and part.isascii() and after_digit else _word(part))
    return "".join(found)


def _word(part: str) -> str:
    if part.isascii() and part.isalpha():
        return part[0].upper() + part[1:]
    if part in "-._ ":
        return ""
    if part in "0123456789":
        return _DIGITS[int(part)]
    return _SIGNS.get(part) or "Sign" + "".join(_DIGITS[int(digit)] for digit in str(ord(part)))


def _defined(name: str, text: str, given: set[str]) -> str:
    if name in given:
        return f"% left out, because there is one of this name: {name}"
    given.add(name)
    return rf"\newcommand{{\{name}}}{{{text}}}"
