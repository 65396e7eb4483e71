"""Numbers of docs/footguns.md are those of the pages that it links to: of their text, not of their tables."""

from __future__ import annotations

import re

import pytest
from reading import DOCS, page

ENTRIES = re.split(r"^### ", page("footguns.md"), flags=re.MULTILINE)[1:]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*")


def linked(entry: str) -> list[str]:
    """The text, without tables, of the pages that an entry links to."""
    paths = [(DOCS / name).resolve() for name in LINK.findall(entry)]
    return ["\n".join(line for line in path.read_text("utf-8").splitlines() if line[:1] != "|") for path in paths]


def numbers(entry: str) -> set[str]:
    """Numbers of an entry, addresses and code aside."""
    text = re.sub(r"\]\([^)]*\)|`[^`]*`", " ", entry)
    return {found.rstrip(".,") for found in NUMBER.findall(text)}


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.splitlines()[0] for entry in ENTRIES])
def test_numbers_stand_in_what_is_linked(entry: str) -> None:
    sources = linked(entry)
    assert sources, "no page is linked"
    known = {found.rstrip(".,") for text in sources for found in NUMBER.findall(text)}
    assert numbers(entry) <= known


def test_a_number_that_is_nowhere_is_noticed() -> None:
    assert numbers("It is 12,345.5 % of [x](protocol.md#section-7), 3 of `4`.") == {"12,345.5", "3"}
    assert "12,345.5" not in "".join(linked("[x](protocol.md)"))
