"""Accepted submissions on every board: reported beside verified, foreign text as text, and nothing without any."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console
from site_boards import HOSTILE, make_row, make_site

from benchmark.boards.board import build_board
from benchmark.reporting.exports import json_table
from benchmark.reporting.latex.tables import latex_table
from benchmark.reporting.overview import overview
from benchmark.reporting.ranking import rankings
from benchmark.reporting.sheet import Sheet, sheets
from benchmark.reporting.site.write import write_site
from benchmark.reporting.submitted import HEADING, submitted_tables, with_submissions
from benchmark.reporting.terminal import print_board
from benchmark.running.records import Record
from benchmark.submissions.accepted import Judged, Verified
from benchmark.submissions.submission import Missing, Part, Submission
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS

Make = Callable[..., Record]
OWN = {"accuracy.train.retain": 95.0, "accuracy.train.forget": 0.0, "accuracy.test.all": 90.0, "change.features": 5.0}


def submission(cell: Any, **fields: Any) -> Verified:
    """Two seeds of smoke's digits: a metric that agrees, one that differs, and one that cannot be verified."""
    task = TASKS.get("class-forget")
    settings = msgspec.convert(cell.settings, task.scenario)
    parts = [
        Part("digits", seed, task.unit(settings, seed), "0" * 64, {**OWN, "accuracy.test.retain": 99.0}, 1.5 + seed)
        for seed in (0, 1)
    ]
    given: dict[str, Any] = {
        "schema": 1,
        "method": "their-method",
        "authors": ["A", "B"],
        "licence": "CC0-1.0",
        "date": "2026-01-31",
        "suite": "smoke",
        "task": "class-forget",
        "version": task.version,
        "settings": {"digits": cell.settings},
        "data": {"digits": "sum"},
        "cells": parts,
        "access": {"retain": "xy"},
        "link": "https://example.org/paper_(1)",
        "missing": [Missing("digits", 2, "failed"), Missing("other", 3, "failed")],
    }
    judged = {name: Judged(value, 100, "agrees") for name, value in OWN.items() if name != "change.features"}
    judged |= {
        "change.features": Judged(None, 0, "not verifiable"),
        "accuracy.test.retain": Judged(88.0, 100, "differs"),
        "accuracy.test.forget": Judged(1.0, 100, "not reported"),
    }
    own = Submission(**{**given, **fields})
    return Verified(1, "0" * 64, own, {part.name: judged for part in own.cells}, "2026-02-01")


@pytest.fixture
def records(make_record: Make) -> list[Record]:
    values = {**OWN, "accuracy.test.retain": 93.0, "accuracy.test.forget": 0.0}
    return [make_record(method, values, seed=seed) for method in ("retrain", "original") for seed in (0, 1)]


@pytest.fixture
def submitted_to(records: list[Record]) -> Callable[..., Sheet]:
    """The sheet of these records with a submission of other fields: ``submitted_to(field=...)``."""

    def make(**fields: Any) -> Sheet:
        suite = load_suite("smoke")
        found = [submission(records[0].cell, **fields)]
        (sheet,) = with_submissions(sheets("smoke", build_board(records)), found, records, suite)
        return sheet

    return make


def test_reported_stands_beside_verified(submitted_to: Callable[..., Sheet]) -> None:
    sheet = submitted_to()
    text = "\n".join(submitted_tables(sheet.task, sheet.submitted))
    assert "| [their-method](<https://example.org/paper_(1)>) | A, B | 2 | 2.00 |" in text
    assert "| test retain \\(%\\) ↑ | their-method | 99.0 | 88.0 | differs |" in text
    assert "| test forget \\(%\\) ↓ | their-method | - | 1.0 | not reported |" in text
    assert "| Δ features \\(%\\) | their-method | 5.0 | - | not verifiable |" in text
    assert "digits: failed \\(seed 2\\)" in text
    assert "seed 3" not in text
    assert "retain: images \\+ labels" in text


def test_differences_are_to_this_boards_reference(submitted_to: Callable[..., Sheet]) -> None:
    """The tug-of-war of what is exactly as retrained is 1; where one of the metrics differs, so may it."""
    entries = {entry.name: entry for entry in submitted_to().submitted[0].entries}
    assert entries["tow"].reported is not None
    assert entries["tow"].verified is not None
    assert (entries["tow"].reported.mean, entries["tow"].verified.mean) == (1.0, 1.0)
    assert entries["tow"].verdict == "differs"


def test_no_row_is_ranked_for_it(submitted_to: Callable[..., Sheet], records: list[Record]) -> None:
    (without,) = sheets("smoke", build_board(records))
    assert submitted_to().lines == without.lines


def test_outdated_ones_say_so(submitted_to: Callable[..., Sheet]) -> None:
    assert "outdated: it was packed for version 99" in submitted_to(version=99).submitted[0].notes[0]


def test_other_suites_and_tasks_are_elsewhere(records: list[Record]) -> None:
    own = sheets("smoke", build_board(records))
    other = submission(records[0].cell, settings={"digits-patch": {}}, cells=[])
    assert with_submissions(own, [other], records, None)[0].submitted == ()


def test_nothing_is_said_where_nothing_was_submitted(records: list[Record]) -> None:
    own = sheets("smoke", build_board(records))
    assert with_submissions(own, [], records, None) == own
    assert submitted_tables(own[0].task, ()) == []
    assert "submitted" not in json_table(own[0])
    assert "submitted" not in latex_table(own[0])


def hostile(text: str) -> dict[str, Any]:
    return {
        "authors": [text],
        "hardware": text,
        "notes": text,
        "licence": text,
        "missing": [Missing("digits", 2, text)],
    }


@pytest.mark.parametrize("text", [*HOSTILE, "a|b[c](javascript:d)`e`*f*", r"\input{x}$\write18{y}$"])
def test_foreign_text_is_text(submitted_to: Callable[..., Sheet], tmp_path: Path, text: str) -> None:
    sheet = submitted_to(**hostile(text))
    markdown = "\n".join(submitted_tables(sheet.task, sheet.submitted))
    assert "<img" not in markdown
    assert "<script" not in markdown
    assert "<svg" not in markdown
    assert "](javascript" not in markdown
    assert "a|b" not in markdown
    latex = latex_table(sheet)
    assert r"\write18" not in latex
    assert r"\input{x}" not in latex
    assert latex.isascii()
    site = write_site(
        {"smoke": [sheet]}, {"smoke": overview(sheet.rows)}, {"smoke": rankings(sheet.rows)}, (), tmp_path / "figures",
        {}, tmp_path / "site",
    )  # fmt: skip
    (page,) = [path.read_text() for path in site if path.name == "class-forget.html"]
    assert "<img src=x" not in page
    assert "<script>document" not in page
    assert "<svg onload" not in page
    assert 'href="https://example.org/paper_(1)"' in page


def test_the_site_without_any_has_no_section(tmp_path: Path) -> None:
    make_site(tmp_path, [make_row("original", 0.0), make_row("retrain", 1.0)])
    page = (tmp_path / "site/class-forget.html").read_text()
    assert "ubmitted" not in page
    assert '<a href="#glossary">' in page


def test_every_format_has_it(submitted_to: Callable[..., Sheet]) -> None:
    sheet = submitted_to()
    (found,) = json.loads(json_table(sheet))["submitted"]
    assert found["method"] == "their-method"
    assert found["entries"][0]["reported"]["mean"] == 99.0
    latex = latex_table(sheet)
    assert r"test retain (\%) $\uparrow$ & their-method & $99.0$ & $88.0$ & differs \\" in latex
    assert r"\label{tab:smoke-class-forget-digits-submitted}" in latex
    stream = io.StringIO()
    print_board(sheet.rows, Console(file=stream, width=160), {"digits": sheet.submitted})
    assert "submitted, not ranked" in stream.getvalue()
    assert HEADING not in stream.getvalue()


def test_many_are_printed_on_several_pages(submitted_to: Callable[..., Sheet]) -> None:
    sheet = submitted_to()
    many: Sequence[Any] = [replace(sheet.submitted[0], method=f"m{i}") for i in range(12)]
    latex = latex_table(replace(sheet, submitted=tuple(many)))
    assert latex.count("-submitted") == latex.count("submitted predictions.}") > 1
