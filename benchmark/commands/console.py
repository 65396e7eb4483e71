"""The terminal that commands write to."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from benchmark.visible import visible_lines


class VisibleConsole(Console):
    """One that shows control characters in text from outside as Python writes them; its own styles are markup."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible_lines(text), **how)
