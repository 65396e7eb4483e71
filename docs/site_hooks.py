"""What the site does beside rendering docs/: reports/ becomes a part of it, and formulas become MathML.

The same Markdown is read on GitHub, where links lead through the repository and formulas are rendered from TeX. The
site needs no network: browsers show MathML by themselves.
"""

from __future__ import annotations

import html
import posixpath
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

#: The folder that is shown beside docs/, and the boards in it that are a site of their own.
REPORTS, BOARDS = "reports", "reports/site"
#: A link or picture of Markdown whose address is relative: what is shown, and the address.
LINK = re.compile(r"\[([^\[\]]*)\]\(((?![a-z]+:|#|/)[^)\s]+)\)")
#: A link of a board's page to a page or a folder outside.
OUTWARD = re.compile(r'<a href="(\.\./[^"]*(?:\.md|/))">(.*?)</a>')
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add everything below reports/, where it is in the repository."""
    root = Path(config.config_file_path).parent
    for path in _reports(root / REPORTS):
        name = path.relative_to(root).as_posix()
        if path.suffix != ".md" or not name.startswith(f"{BOARDS}/"):
            files.append(File(name, str(root), config.site_dir, use_directory_urls=False))
    return files


def _reports(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are on the site, where docs/ and reports/ do not lie beside each other but one in the other."""
    # What is folded is Markdown, too.
    markdown = markdown.replace("<details>", '<details markdown="1">')
    root = Path(config.config_file_path).parent
    return LINK.sub(partial(_on_site, here=page.file.src_uri, root=root), markdown)


def _on_site(found: re.Match[str], here: str, root: Path) -> str:
    """A link of the page ``here`` as it is on the site; of one to a folder, which has no page, the text alone."""
    shown, address = found.groups()
    path, mark, anchor = address.partition("#")
    lies = here if here.startswith(f"{REPORTS}/") else f"docs/{here}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(lies), path))
    if (root / target).is_dir():
        return shown
    seen = posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(here) or ".")
    return f"[{shown}]({seen}{mark}{anchor})"


def on_post_build(config: MkDocsConfig) -> None:
    """Boards as they are on the site: their links to Markdown lead to pages."""
    root, boards = Path(config.config_file_path).parent, Path(config.site_dir, BOARDS)
    for path in (root / BOARDS).rglob("*.md"):
        shutil.copy(path, boards / path.relative_to(root / BOARDS))
    for path in boards.glob("*.html"):
        path.write_text(OUTWARD.sub(_outward, path.read_text("utf-8")), "utf-8")


def _outward(found: re.Match[str]) -> str:
    """A link of a board's page as it is on the site; of one to a folder the text alone."""
    address, shown = found.groups()
    if address.endswith("/"):
        return shown
    target = posixpath.normpath(posixpath.join(BOARDS, address)).removeprefix("docs/")
    seen = posixpath.relpath(target.removesuffix(".md"), BOARDS)
    return f'<a href="{seen}.html">{shown}</a>'


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML."""
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    block = found[2] == "["
    shown: str = convert(html.unescape(found[3]).strip(), display="block" if block else "inline")
    return f'<div class="formula">{shown}</div>' if block else shown
