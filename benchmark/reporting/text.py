"""Text from outside, made safe for what it is put into."""

from __future__ import annotations


def escape(text: str) -> str:
    """Text from outside as plain text in a Markdown table."""
    text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
    for character in "\\`*_{}[]()#+!|~$":
        text = text.replace(character, "\\" + character)
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def command_text(text: str) -> str:
    """A command in backticks: what no name that we give has in it becomes a question mark."""
    return "".join(c if c.isascii() and (c.isalnum() or c in " -+=.,:_/") else "?" for c in text)


def file_name(text: str) -> str:
    """The name of a file of ours: what no name that we give has in it becomes a hyphen."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.+") else "-" for c in text)
