"""Pages of the documentation as tests read them: code blocks, and text without code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: A fenced block: the fence, the language, and the content.
FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>[\w-]*)\n(?P<content>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    """The text of a page of docs/."""
    return (DOCS / name).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks of a language."""
    return [found["content"] for found in FENCE.finditer(text) if found["language"] == language]


def prose(text: str) -> str:
    """A text without fenced blocks and inline code."""
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", FENCE.sub("", text), flags=re.DOTALL)


def files(text: str) -> dict[str, str]:
    """Path -> content of the Python blocks that begin with a comment that is a path."""
    found = {}
    for content in blocks(text, "python"):
        named = re.match(r"# (\S+\.py)\n", content)
        if named:
            found[named[1]] = content[named.end() :]
    return found


def additions(text: str) -> list[tuple[str, str, str]]:
    """The ``diff`` blocks: a file, lines of it that are there, and the same with those that are added.

    The first line is ``@@ path @@``; lines that are there begin with a space, those that are added with a plus sign.
    """
    found = []
    for content in blocks(text, "diff"):
        head, *lines = content.splitlines()
        _, path, _ = head.split()
        assert {line[:1] for line in lines} == {" ", "+"}, content
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] == " ")
        found.append((path, before, "".join(f"{line[1:]}\n" for line in lines)))
    return found
