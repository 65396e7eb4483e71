"""What tables in Markdown have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.boards.board import Row
from benchmark.reporting.text import escape

if TYPE_CHECKING:
    from benchmark.reporting.figures.drawings import Drawing


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """The lines of a table and a blank one after it; the columns ``left`` are left-aligned, the others right-aligned.

    Everything is taken as Markdown: text from outside is to be escaped before.
    """
    ruler = ["---" if i in left else "---:" for i in range(len(heads))]
    return [*("| " + " | ".join(line) + " |" for line in (heads, ruler, *rows)), ""]


def method(row: Row) -> str:
    """A row's method: papers' in bold, references and cheats named as such, and the device where it is no CPU."""
    return bare_method(row.method, row.kind) + (f" ({escape(row.device)})" if row.device != "cpu" else "")


def bare_method(name: str, kind: str) -> str:
    """The same without the device."""
    shown = f"**{escape(name)}**" if kind == "paper" else escape(name)
    return shown + (f" *({kind})*" if kind in ("reference", "cheat") else "")


def figure(drawing: Drawing) -> list[str]:
    """A drawing with its caption, on a page beside the folder of the figures."""
    alt = escape(drawing.alt).replace("\n", " ")
    return [f"![{alt}](figures/{drawing.stem}.png)", "", f"*{drawing.caption}*", ""]


def folded(summary: str, lines: Sequence[str]) -> list[str]:
    """Lines that a reader opens; nothing where there are none. ``summary`` is HTML: escape what is from outside."""
    return ["<details>", f"<summary>{summary}</summary>", "", *lines, "</details>", ""] if lines else []
