"""Text from outside, made safe for what it is put into."""

from __future__ import annotations


def escape(text: str) -> str:
    """Text from outside as plain text in a Markdown table."""
    for character in "\\`*_{}[]()#+!|~":
        text = text.replace(character, "\\" + character)
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
