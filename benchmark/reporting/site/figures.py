"""The site's figures: of each drawing the file that serves best, all of them together under a limit."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from PIL import Image

from benchmark.reporting.material import TOYS

#: The kind of figures that are on the front: they are left out last.
OVERVIEW = "overview"
#: A vector file larger than that has too many elements to be shown quickly.
LARGEST_SVG = 90_000
#: Only what is larger becomes WebP: few colours, as plots have, are no larger as PNG.
LARGE = 100_000
#: How well pictures are kept that are too large as PNG.
QUALITY = 82
#: Suites in the order in which their figures are kept, where not all can be; others stand before the last.
FIRST, LAST = ("embedded", "standard"), TOYS


class Drawn(Protocol):
    """What the site needs of a drawing: see ``drawings.Drawing``."""

    @property
    def stem(self) -> str: ...
    @property
    def suite(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def scenario(self) -> str | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def caption(self) -> str: ...
    @property
    def alt(self) -> str: ...


@dataclass(frozen=True)
class Picture:
    """A figure of the site: its file's ``name`` and ``content``, and its size in pixels."""

    drawn: Drawn
    name: str
    content: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Album:
    """The figures of one suite's scenario, or of several: ``pictures``, and the names and addresses of others."""

    title: str
    pictures: Sequence[Picture]
    left: Sequence[tuple[str, str]]


def albums(drawings: Sequence[Drawn], kept: Sequence[Picture], folder: Path, site: Path) -> list[Album]:
    """Albums in the order of suites and drawings; what is not ``kept`` has its address in ``folder`` from ``site``."""
    by_stem = {picture.drawn.stem: picture for picture in kept}
    found: dict[str, list[Drawn]] = {}
    for drawn in sorted(drawings, key=suite_order):
        found.setdefault(f"{drawn.suite} / {drawn.scenario or 'all scenarios'}", []).append(drawn)
    base = Path(os.path.relpath(folder.resolve(), site.resolve())).as_posix()
    made = []
    for title, own in found.items():
        shown = [by_stem[drawn.stem] for drawn in own if drawn.stem in by_stem]
        others = [drawn for drawn in own if drawn.stem not in by_stem and (folder / f"{drawn.stem}.png").exists()]
        left = [(drawn.kind, f"{base}/{quote(drawn.stem)}.png") for drawn in others]
        made += [Album(title, shown, left)] if shown or left else []
    return made


def choose(drawings: Sequence[Drawn], folder: Path, limit: float = math.inf) -> list[Picture]:
    """A picture of every drawing whose file lies in ``folder``, by suite and in their order.

    SVG where it is small, else PNG. Where they are more than ``limit`` bytes together, the largest become WebP, and if
    that does not do, those of the suites that matter least are left out.
    """
    found = {drawn.stem: picture for drawn in drawings if (picture := _smallest(drawn, folder)) is not None}
    for stem in sorted(found, key=lambda stem: (-len(found[stem].content), stem)):
        if _total(found) <= limit or len(found[stem].content) < LARGE:
            break
        found[stem] = _smaller(found[stem], folder)
    for stem in sorted(found, key=lambda stem: _matters(found[stem]), reverse=True):
        if _total(found) <= limit:
            break
        del found[stem]
    return sorted(found.values(), key=lambda picture: suite_order(picture.drawn))


def _total(found: dict[str, Picture]) -> int:
    return sum(len(picture.content) for picture in found.values())


def _matters(picture: Picture) -> tuple[bool, int, int]:
    """Where a picture stands among those that are kept: before those that are left out."""
    return picture.drawn.kind != OVERVIEW, suite_order(picture.drawn), len(picture.content)


def suite_order(drawn: Drawn) -> int:
    """Where a drawing's suite stands among those whose figures matter most."""
    return FIRST.index(drawn.suite) if drawn.suite in FIRST else len(FIRST) + (drawn.suite in LAST)


def _smallest(drawn: Drawn, folder: Path) -> Picture | None:
    png, svg = folder / f"{drawn.stem}.png", folder / f"{drawn.stem}.svg"
    size = _size(png, svg)
    if size is None:
        return None
    if svg.exists() and (not png.exists() or svg.stat().st_size <= min(LARGEST_SVG, png.stat().st_size)):
        return Picture(drawn, svg.name, svg.read_bytes(), *size)
    return Picture(drawn, png.name, png.read_bytes(), *size)


def _size(png: Path, svg: Path) -> tuple[int, int] | None:
    """Width and height in pixels of the screen; those of an SVG are written in its first element, in points."""
    if png.exists():
        with Image.open(png) as image:
            return image.size
    if not svg.exists():
        return None
    found = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg.read_text("utf-8")[:2000])
    return (round(float(found[1]) * 4 / 3), round(float(found[2]) * 4 / 3)) if found else (800, 600)


def _smaller(picture: Picture, folder: Path) -> Picture:
    """The same as WebP, if it was a PNG and that is smaller."""
    if not picture.name.endswith(".png"):
        return picture
    buffer = io.BytesIO()
    with Image.open(folder / picture.name) as image:
        image.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=2)
    if buffer.tell() >= len(picture.content):
        return picture
    name = f"{Path(picture.name).stem}.webp"
    return Picture(picture.drawn, name, buffer.getvalue(), picture.width, picture.height)
