"""Text from records and names of files, made safe for a line of a terminal that rich writes."""

from __future__ import annotations

from rich.markup import escape

from benchmark.visible import visible

#: Characters of one piece of text that are shown.
MOST = 300


def plain(text: str) -> str:
    """``text`` visibly on one line, what is longer than ``MOST`` cut, and nothing of it markup of rich's."""
    return escape(visible(text if len(text) <= MOST else text[: MOST - 3] + "..."))
