"""The site: it builds without a warning, loads nothing from elsewhere, and shows formulas; skipped without MkDocs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from reading import DOCS, ROOT, blocks, page

MISSING = [name for name in ("mkdocs", "material", "mkdocstrings_handlers", "latex2mathml") if find_spec(name) is None]
IDENTIFIER = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
#: What a page loads by itself, wherever it lies.
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=\"?(https?:)?//[^>]*>")


needs_mkdocs = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (extra docs)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder


def identifiers() -> Iterator[tuple[str, str]]:
    """Page and identifier of everything that is rendered from docstrings."""
    for path in sorted((DOCS / "api").glob("*.md")):
        for name in IDENTIFIER.findall(path.read_text("utf-8")):
            yield path.name, name


@pytest.mark.parametrize(("path", "name"), list(identifiers()))
def test_what_is_rendered_from_docstrings_is_there(path: str, name: str) -> None:
    module, _, rest = name, "", ""
    while not (file := ROOT / f"{module.replace('.', '/')}.py").exists():
        package = ROOT / module.replace(".", "/") / "__init__.py"
        if package.exists():
            file = package
            break
        module, _, last = module.rpartition(".")
        rest = f"{last}.{rest}".rstrip(".")
        assert module, f"{name} of {path} is nowhere"
    if rest:
        assert re.search(rf"^(class|def) {re.escape(rest)}\b", file.read_text("utf-8"), re.MULTILINE), name


@needs_mkdocs
def test_every_page_is_built(site: Path) -> None:
    for path in DOCS.rglob("*.md"):
        assert (site / path.relative_to(DOCS).with_suffix(".html")).exists()
    assert (site / "reports" / "leaderboard.html").exists()
    assert (site / "reports" / "site" / "index.html").exists()
    assert not list(site.rglob("*.py"))


@needs_mkdocs
def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert not LOADED.findall(path.read_text("utf-8")), path


@needs_mkdocs
def test_formulas_are_mathml(site: Path) -> None:
    html = (site / "metrics.html").read_text("utf-8")
    assert html.count('<div class="formula">') == len(blocks(page("metrics.md"), "math"))
    assert "arithmatex" not in html
    assert "<merror" not in html
    text = re.sub(r"<[^>]+>", "", re.search(r"<article.*?</article>", html, re.DOTALL)[0])  # type: ignore[index]
    assert "\\" not in text


@needs_mkdocs
def test_links_lead_from_docs_to_reports_and_back(site: Path) -> None:
    assert 'href="reports/leaderboard.html"' in (site / "index.html").read_text("utf-8")
    assert 'href="../add-a-method.html"' in (site / "api" / "contracts.html").read_text("utf-8")
    board = (site / "reports" / "class-forget.html").read_text("utf-8")
    for name in re.findall(r'(?:href|src)="(figures/[^"]+|tables/[^"]+)"', board):
        assert (site / "reports" / name).exists(), name


@needs_mkdocs
def test_boards_lead_to_pages(site: Path) -> None:
    boards = site / "reports" / "site"
    assert (boards / "assets" / "vendor" / "README.md").exists()
    for path in boards.glob("*.html"):
        linked = re.findall(r'<a href="(\.\./[^"#]+)"', path.read_text("utf-8"))
        assert "../../protocol.html" in linked
        assert [name for name in linked if not (boards / name).resolve().is_file()] == []
