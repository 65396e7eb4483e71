"""Text from outside on a terminal: one line, none of it moves the cursor or changes colours, and it ends."""

from __future__ import annotations

import logging

#: Characters of a message that are shown, where it has more of them, from its beginning and from its end.
BEGINNING, END = 1_500, 500


def visible(text: str) -> str:
    r"""``text`` with what cannot be printed as Python writes it (``\n``, ``\x1b``), and without its middle if long."""
    if len(text) > BEGINNING + END:
        text = f"{text[:BEGINNING]} ... {text[-END:]}"
    return "".join(map(_shown, text))


def visible_lines(text: str) -> str:
    """The same for text of several lines, whole."""
    return "".join(c if c == "\n" else _shown(c) for c in text)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(record.getMessage())


def log_visibly() -> None:
    """Warnings to standard error, one line each, whatever the names of files and fields in them are."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
