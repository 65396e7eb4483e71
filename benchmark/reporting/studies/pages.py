"""Pages of studies: one each, and an index with what each found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.errors import InputError
from benchmark.files import write_atomically
from benchmark.reporting.figures.drawings import Drawing
from benchmark.reporting.figures.gallery import save_all
from benchmark.reporting.studies.page import study_page
from benchmark.reporting.studies.texts import written
from benchmark.reporting.text import command_text, escape, file_name
from benchmark.running.records import STUDIES
from benchmark.studies.definition import Study, load_study, study_names
from benchmark.studies.found import Found

INDEX = "index.md"


def write_studies(results: Path, reports: Path, more: Sequence[Study] = ()) -> list[Path]:
    """Write the page of every study that has results, and the index; returns the files. Nothing where none has any.

    ``more``: studies of the user's own files.
    """
    studies = [*(load_study(name) for name in study_names()), *more]
    every = [Found.of(study, results) for study in studies if (results / STUDIES).is_dir()]
    there = [found for found in every if found.started]
    if not there:
        return []
    folder = reports / STUDIES
    drawings: list[Drawing] = []
    pages = {}
    for found in there:
        pages[file_name(f"{found.study.name}.md")], own = study_page(found)
        drawings += own
    pages[INDEX] = _index(there)
    for name, text in pages.items():
        write_atomically(folder / name, text.encode())
    return [*(folder / name for name in pages), *save_all(drawings, folder / "figures")]


def _index(there: Sequence[Found]) -> str:
    lines = [
        "# Studies",
        "",
        "Questions about the five papers, asked of many cells at once. Every number on these pages comes from the "
        "records under `results/studies/`; the command on each page makes it again.",
        "",
        "| study | paper | cells | command |",
        "|---|---|---:|---|",
    ]
    for found in there:
        study = found.study
        title = f"[{escape(study.file.title)}]({file_name(study.name)}.md)"
        lines.append(f"| {title} | {escape(study.file.paper)} | {found.there} | `{command_text(study.command)}` |")
    lines.append("")
    for found in there:
        lines += [f"**[{escape(found.study.file.title)}]({file_name(found.study.name)}.md)** {_meaning(found)}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _meaning(found: Found) -> str:
    """What it means, in words; empty where that cannot be written from what is there."""
    try:
        return written(found.study.file.meaning, found)
    except InputError:
        return ""
