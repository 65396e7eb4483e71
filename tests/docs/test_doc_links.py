"""Every relative link and anchor of README.md, docs/ and reports/ leads somewhere; no network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from reading import FENCE, ROOT, prose

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "reports/**/*.md")
    for path in ROOT.glob(pattern)
    if not path.name.startswith(".")
)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")


def links(text: str) -> Iterator[str]:
    """Addresses of a page that are no addresses of other places."""
    for found in LINK.finditer(prose(text)):
        address = found[1] or found[2]
        if not ELSEWHERE.match(address):
            yield address


@cache
def anchors(path: Path) -> frozenset[str]:
    """What can follow the ``#``: GitHub's names of the headings, and names that the page gives."""
    text = FENCE.sub("", path.read_text("utf-8"))
    found = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", text, re.MULTILINE):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(found)


def slug(heading: str) -> str:
    """GitHub's anchor of a heading."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def broken(path: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for address in links(path.read_text("utf-8")):
        name, _, anchor = unquote(address).partition("#")
        target = (path.parent / name).resolve() if name else path
        outside = not target.is_relative_to(ROOT) or not target.exists()
        if outside or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(address)
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_every_page_is_found() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in PAGES}
    assert {"README.md", "docs/index.md", "docs/api/stats.md", "reports/leaderboard.md"} <= names


def test_what_is_broken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_doc_links.ROOT", tmp_path)
    (tmp_path / "there.md").write_text("# A `b` (c)\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    text = "[a](there.md#a-b-c) [b](there.md#twice-1) [c](#here) ![d](no.png) [e](there.md#twice-2) [f](../x.md) "
    text += '[g](there.md#no-heading) `[h](code.md)` [i](https://example.org/x) <img src="gone.svg">\n\n# Here\n'
    page = tmp_path / "page.md"
    page.write_text(text)
    assert broken(page) == ["no.png", "there.md#twice-2", "../x.md", "there.md#no-heading", "gone.svg"]
