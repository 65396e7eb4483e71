"""Render the reports folder from the results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmark.reporting.exports import write_tables
from benchmark.reporting.front import front_page
from benchmark.reporting.gallery import save_all
from benchmark.reporting.markdown import task_page
from benchmark.reporting.material import Material, collect
from benchmark.reporting.site import write_site
from benchmark.reporting.text import file_name
from benchmark.running.files import write_atomically


def render(results: Path, reports: Path) -> list[Path]:
    """Write every report; returns the files. The same records give the same bytes."""
    materials = collect(results)
    figures = save_all([drawing for material in materials for drawing in material.drawings], reports / "figures")
    tables = write_tables({material.name: material.sheets for material in materials}, reports / "tables")
    return [*_pages(materials, reports), *figures, *tables, *_site(materials, reports)]


def _pages(materials: Sequence[Material], reports: Path) -> list[Path]:
    """The front page and one a task."""
    pages = {"leaderboard.md": front_page(materials)}
    for task in dict.fromkeys(task for material in materials for task in material.tasks):
        pages[file_name(f"{task}.md")] = task_page(task, materials)
    for name, text in pages.items():
        write_atomically(reports / name, text.encode())
    return [reports / name for name in pages]


def _site(materials: Sequence[Material], reports: Path) -> list[Path]:
    return write_site(
        {material.name: material.sheets for material in materials},
        {material.name: material.scored for material in materials},
        {material.name: material.rankings for material in materials},
        [drawing for material in materials for drawing in material.drawings],
        reports / "figures",
        _published(materials),
        reports / "site",
    )


def _published(materials: Sequence[Material]) -> dict[str, list[dict[str, Any]]]:
    """Papers' numbers beside ours by task, with the suite and scenario of ours."""
    found: dict[str, list[dict[str, Any]]] = {}
    for material in materials:
        for sheet in material.sheets:
            where = {"suite": sheet.suite, "scenario": sheet.scenario}
            own = [{**where, **msgspec.to_builtins(one)} for one in material.beside(sheet)]
            found.setdefault(sheet.task.name, []).extend(own)
    return found
