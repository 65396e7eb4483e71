"""What tables in Markdown have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from benchmark.reporting.board import Row
from benchmark.reporting.text import escape


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """The lines of a table and a blank one after it; the columns ``left`` are left-aligned, the others right-aligned.

    Everything is taken as Markdown: text from outside is to be escaped before.
    """
    ruler = ["---" if i in left else "---:" for i in range(len(heads))]
    return [*("| " + " | ".join(line) + " |" for line in (heads, ruler, *rows)), ""]


def method(row: Row) -> str:
    """A row's method: papers' in bold, references and cheats named as such, and the device where it is no CPU."""
    name = f"**{escape(row.method)}**" if row.kind == "paper" else escape(row.method)
    kind = f" *({row.kind})*" if row.kind in ("reference", "cheat") else ""
    return name + kind + (f" ({escape(row.device)})" if row.device != "cpu" else "")
