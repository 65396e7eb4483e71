"""One static site from sheets: pages that need no network and no server, and are complete without scripts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.files import write_atomically
from benchmark.reporting.overview import Scored
from benchmark.reporting.ranking import Ranking
from benchmark.reporting.sheet import Sheet
from benchmark.reporting.site.figures import Drawn, Picture, choose
from benchmark.reporting.site.pages import Pages
from benchmark.reporting.text import file_name

ASSETS = Path(__file__).parent / "assets"
#: Names the files that were written, so that a later site removes what is not written any more.
LIST = "files.txt"
#: How many bytes all files may have: with more, figures become smaller, and then fewer.
LARGEST = 4_900_000


def write_site(
    boards: Mapping[str, Sequence[Sheet]],
    scored: Mapping[str, Sequence[Scored]],
    rankings: Mapping[str, Sequence[Ranking]],
    figures: Sequence[Drawn],
    pictures: Path,
    published: Mapping[str, list[dict[str, Any]]],
    folder: Path,
    results: str = "../../results",
) -> list[Path]:
    """Write the pages, what they need, and the figures below ``folder``; returns the files.

    ``boards``, ``scored`` and ``rankings`` are by suite, ``published`` by task: numbers of papers beside ours, as
    ``site.published`` reads them. ``pictures`` has the figures' files. ``results`` is where the records are, seen
    from a page; empty where there is no way. What an earlier call wrote and this one does not is removed. The same
    input gives the same bytes.
    """
    pages = Pages(boards, scored, rankings, figures, pictures, published, folder, results)
    kept = choose(figures, pictures)
    files = _files(pages, kept)
    over = sum(map(len, files.values())) - LARGEST
    if over > 0:
        # What is left out becomes a link, which is shorter than what showed it: the second time is not larger.
        files = _files(pages, choose(figures, pictures, sum(len(picture.content) for picture in kept) - over))
    files[LIST] = "".join(f"{name}\n" for name in sorted(files)).encode()
    _remove_old(folder, files.keys())
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def _files(pages: Pages, kept: Sequence[Picture]) -> dict[str, bytes]:
    """The content of every file by its name."""
    assets = sorted(path for path in ASSETS.rglob("*") if path.is_file() and not path.name.startswith("."))
    files = {f"assets/{path.relative_to(ASSETS).as_posix()}": path.read_bytes() for path in assets}
    files |= {f"figures/{file_name(picture.name)}": picture.content for picture in kept}
    return files | {name: text.encode() for name, text in pages.render(kept).items()}


def _remove_old(folder: Path, names: Collection[str]) -> None:
    """Remove files that the list of an earlier site names, if they lie below ``folder`` and are not among ``names``."""
    listed = folder / LIST
    if not listed.is_file():
        return
    root = folder.resolve()
    for name in listed.read_text("utf-8").splitlines():
        path = (folder / name).resolve()
        if name and name not in names and path.is_relative_to(root) and path.is_file():
            path.unlink()
