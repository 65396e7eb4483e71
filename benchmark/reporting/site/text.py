"""Markdown of ours as HTML, and what a template is given of text from outside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup


@cache
def _parser() -> MarkdownIt:
    """CommonMark with tables. Raw HTML is shown as text, and pictures are left out: a page loads nothing."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


def markdown(text: str) -> Markup:
    """Paragraphs, lists, headings and tables."""
    parser = _parser()
    tokens = [token for found in parser.parse(text) for token in _styled(found)]
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def inline(text: str) -> Markup:
    """A line, such as a figure's caption."""
    return Markup(_parser().renderInline(text))


def _styled(token: Token) -> Sequence[Token]:
    """Tables scroll in a box; columns are aligned by class, because the pages allow no style attribute."""
    if token.type == "table_open":
        return [_box('<div class="scroll" role="region" aria-label="Table of the notes" tabindex="0">'), token]
    if token.type == "table_close":
        return [token, _box("</div>")]
    style = token.attrs.pop("style", None)
    if style is not None and "right" in str(style):
        token.attrJoin("class", "num")
    return [token]


def _box(html: str) -> Token:
    return Token("html_block", "", 0, content=html)


def json_text(value: Any) -> Markup:
    """JSON for a script element: no ``<``, ``>`` or ``&`` is in it that could end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
