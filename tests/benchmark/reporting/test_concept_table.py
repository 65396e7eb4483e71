"""The kinds of concept vector below a board of bias correction."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from benchmark.boards.board import build_board
from benchmark.reporting.concepts import KINDS, concept_table
from benchmark.running.records import Record

Make = Callable[..., Record]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript:d)`e`*f*\n# g"
REFERENCES = {"original": 40.0, "retrain": 97.0}


def correction(make: Make, method: str, attacked: float, **changes: Any) -> Record:
    """A record of bias correction; those with a concept vector have its alignment and the seconds of its fit."""
    values = {"accuracy.clean": 98.0, "accuracy.attacked": attacked, "attack.cost": 98.0 - attacked}
    values["tcav.sensitivity"] = 0.01
    if method in KINDS:
        values |= {"cav.alignment": attacked + 1, "cav.alignment.individual": attacked - 1, "cav.seconds": 0.25}
    return make(method, {**values, **changes.pop("values", {})}, scenario="digits-patch", **changes)


def all_kinds(make: Make) -> list[Record]:
    methods = {**REFERENCES, **{method: 60.0 + i for i, method in enumerate(KINDS)}, "finetune": 41.0}
    return [correction(make, method, value) for method, value in methods.items()]


def cells_of(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_a_row_a_kind_in_one_order(make_record: Make) -> None:
    lines = concept_table(build_board(all_kinds(make_record)))
    assert lines[0] == "#### Concept vectors"
    assert "over 90 %" in lines[2]
    assert "under 60 %" in lines[2]
    assert "second-hand" in lines[2]
    heads, _, *body = cells_of(lines)
    assert heads == [
        "vector", "CAV alignment (%) ↑", "CAV alignment (samples) (%) ↑", "CAV fit (s)", "attacked (%) ↑",
        "clean (%) ↑", "TCAVsens ↓",
    ]  # fmt: skip
    assert [line[0] for line in body] == ["signal", "svm", "ridge", "lasso", "logistic"]
    assert body[0] == ["signal", "61.0", "59.0", "0.250", "60.0", "98.0", "0.010"]


def test_nothing_where_one_kind_ran_alone_or_none(make_record: Make, make_debias: Make) -> None:
    assert concept_table([]) == []
    assert concept_table(build_board([make_debias("erm")])) == []
    records = [correction(make_record, method, value) for method, value in {**REFERENCES, "rr-clarc": 60.0}.items()]
    assert concept_table(build_board(records)) == []


def test_columns_that_are_blank_are_left_out_and_then_nothing_is_quoted(make_record: Make) -> None:
    blank = {"cav.alignment": None, "cav.alignment.individual": None}
    records = [correction(make_record, m, 60.0, values=blank) for m in ("rr-clarc", "rr-clarc+svm")]
    lines = concept_table(build_board(records))
    assert cells_of(lines)[0][:2] == ["vector", "CAV fit (s)"]
    assert "90 %" not in lines[2]


def test_rows_that_are_not_as_the_others_say_so(make_record: Make) -> None:
    records = all_kinds(make_record)
    records += [correction(make_record, m, v, seed=1) for m, v in {**REFERENCES, "rr-clarc": 50.0}.items()]
    records.append(correction(make_record, "rr-clarc+svm", 0.0, seed=1, status="failed"))
    cell = msgspec.structs.replace(records[2].cell, device=HOSTILE)
    records.append(msgspec.structs.replace(records[2], cell=cell))
    text = "\n".join(concept_table(build_board(records)))
    assert text.count("| signal |") == text.count("| signal (a\\|b&lt;img ") == 1
    assert "| svm (failed) |" in text
    assert "| ridge (partial) |" in text
    assert "| 55.0 ± 63.5 |" in text
    assert "<img" not in text
    assert "](javascript" not in text
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| ")}) == 1


def test_it_stands_below_the_board(make_record: Make, make_page: Callable[..., str]) -> None:
    text = make_page(build_board(all_kinds(make_record)))
    assert text.index("| # |") < text.index("#### Concept vectors") < text.index("## What the columns mean")
