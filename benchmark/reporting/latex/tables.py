"""One scenario's board as a table for a paper, and a document of all of them. Needs pdflatex and booktabs, no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from benchmark.metrics.catalogue import metric
from benchmark.reporting import cells
from benchmark.reporting.latex.columns import SEPARATION, WIDTH, Column, beside, headed, parts
from benchmark.reporting.latex.notes import notes
from benchmark.reporting.latex.submitted import submitted_tables
from benchmark.reporting.latex.text import breakable, number, number_width, shortened, tex, width
from benchmark.reporting.sheet import Entry, Line, Sheet
from benchmark.reporting.text import command_text, file_name

#: Points of a page that a table may take with its caption and notes, and of a line: size and distance.
HEIGHT = 600.0
SIZE, LINE = 7.0, 8.4
#: Points of a rule with the space around it, and of the longest caption in usual type.
RULE, CAPTION = 5.5, 66.0
#: What of a name is shown; the whole of it is in the other formats.
LONGEST_NAME, LONGEST_DEVICE, LONGEST_DEVICES = 40, 12, 80


class Block(NamedTuple):
    """Lines that stand together, by number: what is above them, and a heading, empty where there is none."""

    rule: str
    heading: str
    rows: list[int]


def latex_table(sheet: Sheet) -> str:
    r"""A sheet as one or more ``table*``, to be ``\input``: at most 5.5 inches wide, in seven points.

    Where columns or rows are too many for one, further ones follow, which say so. Names and reasons are escaped.
    """
    marks = notes(sheet)
    blocks = _blocks(sheet)
    floats = _floats(parts(_columns(sheet, marks.by_line)), _height(sheet, blocks), len(marks.texts))
    head = [
        f"% The board of {command_text(sheet.name)}. Written from the records by make report: changes are lost.",
        r"% Needs \usepackage{booktabs}; use it with \input{...}. Full precision is in the .csv and .json beside it.",
        f"% Made again by: {command_text(sheet.command)}",
    ]
    tables = [_table(sheet, own, blocks, i, marks.texts) for i, own in enumerate(floats)]
    lines = [*head, *(line for table in tables for line in table), *submitted_tables(sheet, label(sheet))]
    return "\n".join(lines) + "\n"


def label(sheet: Sheet) -> str:
    r"""What ``\ref`` finds the table by."""
    parts = (file_name(part).replace("_", "-") for part in (sheet.suite, sheet.task.name, sheet.scenario))
    return f"tab:{'-'.join(parts)}"


def document(tables: Iterable[str]) -> str:
    """A document of all ``tables``, the paths of their files beside it, one after the other on a page of its own."""
    return "\n".join([
        "% Every table on a page of its own: pdflatex all.tex",
        r"\documentclass[10pt]{article}",
        r"\usepackage{booktabs}",
        rf"\setlength{{\textwidth}}{{{WIDTH}pt}}",
        r"\setlength{\textheight}{640pt}",
        r"\setlength{\topmargin}{-36pt}",
        r"\setlength{\oddsidemargin}{36pt}",
        r"\input{macros.tex}",
        r"\begin{document}",
        *(rf"\input{{{path}}}\clearpage" for path in tables),
        r"\end{document}",
        "",
    ])  # fmt: skip


def _blocks(sheet: Sheet) -> list[Block]:
    """References, each track's ranked rows and those that are not, and cheats."""

    def group(i: int) -> tuple[str, str]:
        line = sheet.lines[i]
        return line.section, line.row.track if sheet.task.track and line.section in ("ranked", "unranked") else ""

    found: list[Block] = []
    before = ""
    for (section, track), rows in groupby(range(len(sheet.lines)), key=group):
        rule = r"\addlinespace" if (before, section) == ("ranked", "unranked") else r"\midrule"
        found.append(Block(rule, _heading(sheet, section, track), list(rows)))
        before = section
    return found


def _heading(sheet: Sheet, section: str, track: str) -> str:
    if section == "unranked":
        return "not ranked"
    return f"{cells.TRACK}: {track or '?'}" if sheet.task.track and section == "ranked" else ""


def _columns(sheet: Sheet, marks: Sequence[str]) -> list[Column]:
    """Rank, method and n; the metrics; and what it cost."""
    lines = sheet.lines
    ranks = [cells.ranks(line.row) for line in lines]
    columns = [Column("r", [r"\#"], [tex(text) for text in ranks], max(map(width, ranks)))]
    names = [shortened(line.row.method, LONGEST_NAME) for line in lines]
    extra = [f"{'+' if line.row.kind == 'paper' else ''}{marks[i]}{_device(line)}" for i, line in enumerate(lines)]
    shown = [_name(line, name, mark) for line, name, mark in zip(lines, names, marks, strict=True)]
    widest = max(width(name) + width(more) for name, more in zip(names, extra, strict=True))
    columns.append(Column("l", ["method"], shown, widest))
    columns.append(_numbers("n", [str(line.row.n) for line in lines]))
    columns += [_metric(sheet, i) for i in range(len(sheet.columns))]
    seconds = _numbers("time (s)", [cells.seconds(line.row.cost.seconds) for line in lines])
    ratios = _numbers(cells.ratio_heading(sheet.task), [cells.ratio(line.row) for line in lines])
    return [*columns, beside(seconds, ratios)]


def _device(line: Line) -> str:
    return "" if line.row.device == "cpu" else f" ({shortened(line.row.device, LONGEST_DEVICE)})"


def _name(line: Line, name: str, mark: str) -> str:
    shown = tex(name)
    if line.section in ("references", "cheats"):
        shown = rf"\textit{{{shown}}}"
    raised = (r"\dagger" if line.row.kind == "paper" else "") + (rf"\mathrm{{{mark}}}" if mark else "")
    return shown + (f"$^{{{raised}}}$" if raised else "") + tex(_device(line))


def _numbers(heading: str, texts: Sequence[str]) -> Column:
    return headed(heading, [number(text) for text in texts], max(map(number_width, texts)))


def _metric(sheet: Sheet, i: int) -> Column:
    entries = [line.entries[i] for line in sheet.lines]
    widest = max(number_width(entry.text, entry.tied) for entry in entries)
    return headed(cells.heading(sheet.columns[i], sheet.task), [value(entry) for entry in entries], widest)


def value(entry: Entry) -> str:
    """A metric's cell: in bold where it is tied with the best, its gap in brackets behind it."""
    shown = number(cells.interval(entry.cell), bold=entry.tied)
    if entry.gap is None or entry.gap.mean is None:
        return shown
    return f"{shown} {number(f'({cells.signed(entry.gap.mean, entry.gap.unit)})')}"


def _height(sheet: Sheet, blocks: list[Block]) -> float:
    """Points that a part of the table is high without its heading."""
    headings = sum(bool(block.heading) for block in blocks)
    return LINE * (len(sheet.lines) + headings + 1) + RULE * (len(blocks) + 2)


def _floats(found: list[list[Column]], height: float, lines_of_notes: int) -> list[list[list[Column]]]:
    """The parts of a table on as many pages as they need: each has a caption and the notes."""
    floats: list[list[list[Column]]] = []
    left = 0.0
    for part in found:
        needed = height + LINE * max(len(column.heading) for column in part)
        if not floats or needed > left:
            floats.append([])
            left = HEIGHT - CAPTION - LINE * (2 * lines_of_notes + 2)
        floats[-1].append(part)
        left -= needed
    return floats


def _table(sheet: Sheet, own: list[list[Column]], blocks: list[Block], page: int, texts: Sequence[str]) -> list[str]:
    name = f"{tex(sheet.task.name)} / {tex(shortened(sheet.scenario, LONGEST_NAME))}"
    caption = _caption(sheet) if page == 0 else rf"Further columns of Table~\ref{{{label(sheet)}}}."
    lines = [
        r"\begin{table*}[tp]",
        r"\centering",
        rf"\caption[{{{name}}}]{{\textbf{{{name}.}} {caption}}}",
        rf"\label{{{label(sheet)}{f'-{page + 1}' if page else ''}}}",
        rf"\fontsize{{{SIZE:g}}}{{{LINE:g}}}\selectfont",
        rf"\setlength{{\tabcolsep}}{{{SEPARATION / 2:g}pt}}",
        r"\smallskip",
    ]
    for i, part in enumerate(own):
        lines += [*([r"\par\medskip"] if i else []), *_tabular(part, blocks)]
    return [*lines, *_below(sheet, texts), r"\end{table*}"]


def _tabular(part: list[Column], blocks: list[Block]) -> list[str]:
    lines = [
        rf"\begin{{tabular}}{{@{{}}{''.join(column.align for column in part)}@{{}}}}",
        r"\toprule",
        " & ".join(column.head for column in part) + r" \\",
    ]
    across = sum(len(column.align) for column in part)
    for block in blocks:
        lines.append(block.rule)
        if block.heading:
            lines.append(rf"\multicolumn{{{across}}}{{@{{}}l}}{{\textit{{{tex(block.heading)}}}}} \\")
        lines += [" & ".join(column.cells[row] for column in part) + r" \\" for row in block.rows]
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _caption(sheet: Sheet) -> str:
    task = sheet.task
    devices = breakable(shortened(sheet.devices, LONGEST_DEVICES))
    parts = [
        f"Suite {tex(shortened(sheet.suite, LONGEST_NAME))}, on {devices}. "
        r"Mean $\pm$ half-width of the 95\,\% $t$ interval over $n$ base models"
    ]
    if any(entry.gap for line in sheet.lines for entry in line.entries):
        parts[0] += f", in brackets the gap to {tex(task.reference)} of the same seed"
    parts[0] += "."
    among = " among the rows that used the same attributes" if task.track else ""
    free = any(line.row.rank_label_free is not None for line in sheet.lines)
    brackets = ", in brackets among the methods that read no label" if free else ""
    parts.append(f"Ranked by {tex(metric(sheet.ranked_by).label)}{among}{brackets}; arrows say which way is better.")
    if any(entry.tied for line in sheet.lines for entry in line.entries):
        parts.append(
            "In bold: the best, and what a paired comparison does not tell from it; a row whose seeds differ much may "
            "be bold and far from the best."
        )
    return " ".join([*parts, *_kinds(sheet)])


def _kinds(sheet: Sheet) -> list[str]:
    """What references, cheats and papers' methods are marked by, where there are any."""
    sections = {line.section for line in sheet.lines}
    parts = []
    if "references" in sections:
        parts.append("References stand in italics above the first rule" + (", cheats" if "cheats" in sections else ""))
    elif "cheats" in sections:
        parts.append("Cheats stand in italics")
    if "cheats" in sections:
        parts.append("below the last")
    sentence = [f"{' '.join(parts)}."] if parts else []
    if any(line.row.kind == "paper" for line in sheet.lines):
        sentence.append(r"$\dagger$: a paper's method.")
    return sentence


def _below(sheet: Sheet, texts: Sequence[str]) -> list[str]:
    reference = tex(sheet.task.reference)
    cost = f"Time: wall seconds of the method's calls; / {reference}: device seconds as a ratio to {reference}'s"
    shared = any(not line.row.cost.exclusive and line.row.cost.ratio_to_retrain for line in sheet.lines)
    cost += ", in brackets where something else of the run shared the cores." if shared else "."
    again = rf"Made again by \texttt{{{breakable(command_text(sheet.command))}}}."
    return [
        r"\par\smallskip",
        r"\parbox{\linewidth}{\raggedright",
        *(rf"{text}\par" for text in texts),
        f"{cost} {again}}}",
    ]
