"""Render the reports folder from the results folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import msgspec

from benchmark.files import write_atomically
from benchmark.reporting.claims import write_claims
from benchmark.reporting.exports import write_tables
from benchmark.reporting.figures.gallery import save_all
from benchmark.reporting.front import front_page
from benchmark.reporting.markdown import heading, task_page
from benchmark.reporting.material import Material, collect
from benchmark.reporting.site.write import write_site
from benchmark.reporting.speed import write_page
from benchmark.reporting.studies.pages import write_studies
from benchmark.reporting.text import file_name
from benchmark.tasks import TASKS


def render(results: Path, reports: Path) -> list[Path]:
    """Write every report; returns the files. The same records give the same bytes."""
    materials = collect(results)
    figures = save_all([drawing for material in materials for drawing in material.drawings], reports / "figures")
    tables = write_tables({material.name: material.sheets for material in materials}, reports / "tables")
    speed = write_page(results, reports)
    claims = write_claims(results, reports)
    studies = write_studies(results, reports)
    more = {"claims": claims is not None, "studies": bool(studies)}
    pages = [*_pages(materials, reports, more), *(page for page in (speed, claims) if page is not None)]
    return [*pages, *figures, *tables, *_site(materials, results, reports), *studies]


def _pages(materials: Sequence[Material], reports: Path, more: Mapping[str, bool]) -> list[Path]:
    """The front page and one a task; ``more``: which other pages the front page may name."""
    pages = {"leaderboard.md": front_page(materials, more)}
    for task in dict.fromkeys(task for material in materials for task in material.tasks):
        pages[file_name(f"{task}.md")] = task_page(task, materials)
    for name, text in pages.items():
        write_atomically(reports / name, text.encode())
    for task in TASKS:
        _remove_old(reports / file_name(f"{task}.md"), set(pages))
    return [reports / name for name in pages]


def _remove_old(page: Path, written: set[str]) -> None:
    """The page of a task that has no records any more; what looks otherwise is somebody else's."""
    if (
        page.name not in written
        and page.is_file()
        and page.read_text("utf-8", "replace").startswith(f"{heading(page.stem)}\n")
    ):
        page.unlink()


def _site(materials: Sequence[Material], results: Path, reports: Path) -> list[Path]:
    return write_site(
        {material.name: material.sheets for material in materials},
        {material.name: material.scored for material in materials},
        {material.name: material.rankings for material in materials},
        [drawing for material in materials for drawing in material.drawings],
        reports / "figures",
        _published(materials),
        reports / "site",
        _address(results, reports / "site"),
    )


def _address(results: Path, site: Path) -> str:
    """The way from a page to the records, where they lie beside the reports or around them; else empty.

    Anything longer would be the layout of somebody's machine.
    """
    way = PurePath(os.path.relpath(results.resolve(), site.resolve())).as_posix()
    return way if way == "../.." or (way.startswith("../../") and way.count("/") == 2 and ".." not in way[6:]) else ""


def _published(materials: Sequence[Material]) -> dict[str, list[dict[str, Any]]]:
    """Papers' numbers beside ours by task, with the suite and scenario of ours."""
    found: dict[str, list[dict[str, Any]]] = {}
    for material in materials:
        for sheet in material.sheets:
            where = {"suite": sheet.suite, "scenario": sheet.scenario}
            own = [{**where, **msgspec.to_builtins(one)} for one in material.beside(sheet)]
            found.setdefault(sheet.task.name, []).extend(own)
    return found
