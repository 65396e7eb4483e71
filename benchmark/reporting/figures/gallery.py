"""Drawings as files: a PNG and an SVG of each, drawn by as many processes as there are cores, and only where needed.

A hidden file in the folder keeps, for each figure, the digest of what it was drawn from and those of both files. A
figure is drawn again unless all three are what they would be: a stale, damaged or edited picture does not stay. Without
that file everything is drawn.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import msgspec

from benchmark.environment import cores
from benchmark.files import write_atomically
from benchmark.reporting.figures.drawings import Drawing
from benchmark.reporting.figures.fingerprint import fingerprint
from benchmark.reporting.text import file_name
from benchmark.running.processes import serve_parent

log = logging.getLogger("amendbench")
ENDINGS = (".png", ".svg")
KNOWN = ".drawn.json"
#: A process takes about as long to start as it takes to draw so many figures.
WORTH = 4
#: What processes have ready before their first figure, and the modules of the figures as well.
READY = ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_svg", "PIL.Image")
#: In so many bytes from its beginning, a file of ours says that it is one.
HEAD = 2048


class Known(msgspec.Struct, frozen=True):
    """Of a figure that was drawn: the digest of what it was drawn from, and those of its files by their endings."""

    source: str
    files: dict[str, str]


def save_all(drawings: Sequence[Drawing], folder: Path, jobs: int | None = None) -> list[Path]:
    """Write a PNG and an SVG of each drawing, and remove figures of ours that are not among them; returns the files.

    ``jobs``: processes, at most as many as there are cores unless given. ValueError where two drawings have one name,
    or one has a name that ``file_name`` would change. Files that did not come from here are left alone.
    """
    written = save(drawings, folder, jobs)
    kept = {path.name.casefold() for path in written}
    for path in sorted(path for ending in ENDINGS for path in folder.glob(f"*{ending}")):
        if path.name.casefold() not in kept and _is_ours(path):
            path.unlink()
    return written


def save(drawings: Sequence[Drawing], folder: Path, jobs: int | None = None) -> list[Path]:
    """The same, but nothing is removed."""
    _check(drawings)
    known = _read(folder)
    sources = {drawing.stem: fingerprint(drawing.figure) for drawing in drawings}
    fresh = {stem: known[stem] for stem, source in sources.items() if _is_fresh(known.get(stem), source, folder, stem)}
    due = [drawing for drawing in drawings if drawing.stem not in fresh]
    made = dict(zip((drawing.stem for drawing in due), _drawn(due, folder, jobs), strict=True))
    now = {stem: fresh.get(stem) or Known(source, made[stem]) for stem, source in sources.items()}
    if now != known:
        write_atomically(
            folder / KNOWN, msgspec.json.format(msgspec.json.encode(now, order="sorted"), indent=1) + b"\n"
        )
    return [folder / f"{stem}{ending}" for stem in sources for ending in ENDINGS]


def _check(drawings: Sequence[Drawing]) -> None:
    taken: set[str] = set()
    for drawing in drawings:
        if not drawing.stem or drawing.stem != file_name(drawing.stem):
            raise ValueError(f"a figure cannot be called {drawing.stem!r}")
        if drawing.stem.casefold() in taken:
            raise ValueError(f"two figures are called {drawing.stem}")
        taken.add(drawing.stem.casefold())


def _read(folder: Path) -> dict[str, Known]:
    """What is known of the folder's figures; nothing where that cannot be read."""
    try:
        return msgspec.json.decode((folder / KNOWN).read_bytes(), type=dict[str, Known])
    except (OSError, ValueError, RecursionError):
        return {}


def _is_fresh(known: Known | None, source: str, folder: Path, stem: str) -> bool:
    return known is not None and known.source == source and known.files == _digests(folder, stem)


def _digests(folder: Path, stem: str) -> dict[str, str]:
    """Digests of a figure's files by their endings; none of what is missing."""
    paths = {ending: folder / f"{stem}{ending}" for ending in ENDINGS}
    return {
        ending: hashlib.sha256(path.read_bytes()).hexdigest() for ending, path in paths.items() if path.is_file()
    }  # fmt: skip


def _drawn(due: Sequence[Drawing], folder: Path, jobs: int | None) -> list[dict[str, str]]:
    """Draw in as many processes as are worth it, or in this one where no others can be had; digests of the files."""
    jobs = min(jobs or len(cores()), len(due) // WORTH)
    if jobs > 1 and not multiprocessing.current_process().daemon:
        try:
            return _in_pool(due, folder, jobs)
        except (BrokenProcessPool, OSError, ImportError, NotImplementedError) as error:
            log.info("figures are drawn one after another: %s", error)
    return [_draw(drawing, folder) for drawing in due]


def _in_pool(due: Sequence[Drawing], folder: Path, jobs: int) -> list[dict[str, str]]:
    """Processes start anew, since forks of one that has threads, as torch starts them, may hang."""
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        modules = {getattr(drawing.figure, "func", drawing.figure).__module__ for drawing in due}
        context.set_forkserver_preload([*READY, *sorted(modules)])
    with ProcessPoolExecutor(jobs, context, _prepare) as executor:
        return list(executor.map(_draw, due, [folder] * len(due)))


def _prepare() -> None:
    serve_parent()
    import matplotlib

    matplotlib.use("Agg")


def _draw(drawing: Drawing, folder: Path) -> dict[str, str]:
    """Both files of one drawing; their digests by their endings."""
    from benchmark.reporting.figures.pictures import pictures

    contents = pictures(drawing.figure, _mark(drawing.stem))
    for ending, content in zip(ENDINGS, contents, strict=True):
        write_atomically(folder / f"{drawing.stem}{ending}", content)
    return {ending: hashlib.sha256(content).hexdigest() for ending, content in zip(ENDINGS, contents, strict=True)}


def _mark(stem: str) -> str:
    return f"figure {stem} of AmendBench"


def _is_ours(path: Path) -> bool:
    """Whether a file says that it was drawn here, and under the name that it has."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return _mark(path.stem).encode() in file.read(HEAD)
