"""Boards of debiasing: methods compete with those alone that used the same attributes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from rich.console import Console

from benchmark.boards.board import Row, build_board
from benchmark.reporting import cells
from benchmark.reporting.terminal import print_board
from benchmark.running.records import Record
from benchmark.tasks import TASKS

Make = Callable[..., Record]
HIDDEN: dict[str, Any] = {"task": "debias-unknown"}
#: Group-balanced accuracies: the methods that read no attribute of the training set are the best here.
KNOWN = {"bias-amplified": 99.0, "mixup": 90.0, "balanced-softmax": 91.0, "resampling": 60.0, "gerne": 70.0}
REFERENCES = {"erm": 30.0, "unbiased": 95.0}


def board(make: Make, values: dict[str, float], **options: Any) -> list[Row]:
    return build_board([make(method, value, **options) for method, value in {**values, **REFERENCES}.items()])


def places(rows: list[Row]) -> list[tuple[str, str, int | None]]:
    return [(row.method, row.track, row.rank) for row in rows]


def table(text: str) -> list[list[str]]:
    """The cells of a page's first table, without the ruler."""
    lines = text[text.index("| #") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def test_ranks_count_within_a_track_and_its_rows_stand_together(make_debias: Make) -> None:
    assert places(board(make_debias, KNOWN)) == [
        ("erm", "no/yes", None), ("unbiased", "no/yes", None),
        ("gerne", "yes/yes", 1), ("resampling", "yes/yes", 2),
        ("balanced-softmax", "no/yes", 1), ("mixup", "no/yes", 2),
        ("bias-amplified", "no/yes", None),
    ]  # fmt: skip


def test_without_attributes_all_compete(make_debias: Make) -> None:
    values = {"resampling": 60.0, "gerne": 70.0, "mixup": 65.0}
    assert places(board(make_debias, values, **HIDDEN))[2:] == [
        ("gerne", "no/yes", 1), ("mixup", "no/yes", 2), ("resampling", "no/yes", 3),
    ]  # fmt: skip


def test_who_trains_on_held_out_attributes_does_not_compete_with_the_blind(make_debias: Make) -> None:
    rows = board(make_debias, {"gerne": 70.0, "dfr": 60.0, "mixup": 80.0}, selection="worst-class", **HIDDEN)
    assert places(rows)[2:] == [("dfr", "no/yes", 1), ("mixup", "no/no", 1), ("gerne", "no/no", 2)]


def test_a_row_without_results_stands_last_in_its_track(make_debias: Make) -> None:
    records = [make_debias(m, v) for m, v in {**REFERENCES, **KNOWN}.items() if m != "gerne"]
    rows = build_board([*records, make_debias("gerne", status="failed")])
    assert places(rows)[2:5] == [
        ("resampling", "yes/yes", 1),
        ("gerne", "yes/yes", None),
        ("balanced-softmax", "no/yes", 1),
    ]


def test_the_metric_of_the_ranking_is_the_scenarios(make_debias: Make, make_page: Callable[..., str]) -> None:
    """Here the worst group of the method with the lower mean is the better one."""
    for selection, best in (("group-balanced", "gerne"), ("worst-group", "resampling")):
        records = [make_debias(method, value, selection=selection) for method, value in REFERENCES.items()]
        records.append(make_debias("gerne", 70.0, selection=selection, metrics={"accuracy.worst-group": 20.0}))
        records.append(make_debias("resampling", 60.0, selection=selection))
        rows = build_board(records)
        assert (rows[2].method, rows[2].rank, rows[3].rank) == (best, 1, 2)
        name = {"group-balanced": "GBA", "worst-group": "WGA"}[selection]
        assert {row.rank_by for row in rows} == {f"accuracy.{selection}"}
        assert f"Ranked by {name} among the rows that used the same attributes." in make_page(
            build_board(records), "embedded"
        )
        assert f"The rows between are ranked by {name};" in make_page(build_board(records), "embedded")


def test_a_row_of_another_time_has_no_track_and_no_rank(make_debias: Make, make_page: Callable[..., str]) -> None:
    strange = make_debias("gerne", 70.0)
    strange = msgspec.structs.replace(strange, cell=msgspec.structs.replace(strange.cell, settings={"data": "x"}))
    records = [strange, make_debias("withdrawn", 90.0), *(make_debias(m, v) for m, v in REFERENCES.items())]
    rows = build_board([*records, make_debias("mixup", 50.0)])
    assert places(rows)[2:] == [("mixup", "no/yes", 1), ("withdrawn", "", None), ("gerne", "", None)]
    assert [line[3] for line in table(make_page(build_board(records), "embedded"))[3:]] == ["?", "?"]
    assert rows[-1].rank_by == "accuracy.group-balanced"


def test_other_tasks_have_no_track(make_record: Make, make_page: Callable[..., str]) -> None:
    values = {"accuracy.test.retain": 97.0}
    records = [make_record(method, values) for method in ("retrain", "finetune")]
    assert {(row.track, row.rank_by, row.choice) for row in build_board(records)} == {("", "tow", None)}
    text = make_page(build_board(records), "embedded")
    assert cells.TRACK not in text
    assert "Ranked by" not in text
    assert "attributes" not in text
    assert "**/ retrain**: its CPU (or GPU) seconds as a ratio to retraining's on the same seed" in text


def test_the_table_has_a_column_for_the_track(make_debias: Make, make_page: Callable[..., str]) -> None:
    heads, *lines = table(
        make_page(build_board([make_debias(m, v) for m, v in {**KNOWN, **REFERENCES}.items()]), "embedded")
    )
    assert heads[:5] == ["#", "method", "n", "attributes (train/held out)", "GBA (%) ↑"]
    assert [line[:4] for line in lines[2:4]] == [
        ["1", "**gerne**", "1", "yes/yes"], ["2", "resampling", "1", "yes/yes"],
    ]  # fmt: skip


def test_costs_are_ratios_to_the_tasks_reference(make_debias: Make, make_page: Callable[..., str]) -> None:
    records = [make_debias("erm", cost=(1.0, 10.0)), make_debias("gerne", cost=(1.0, 25.0))]
    page = make_page(build_board(records), "embedded")
    heads, *lines = table(page)
    assert [line[heads.index("/ erm")] for line in lines] == ["1.00", "2.50"]
    assert "/ retrain" not in make_page(build_board(records), "embedded")
    assert "**/ erm**: its CPU (or GPU) seconds as a ratio to that of this reference" in make_page(
        build_board(records), "embedded"
    )
    assert cells.ratio_heading(TASKS.get("class-forget")) == "/ retrain"


def test_a_row_without_its_reference_names_it(make_debias: Make) -> None:
    (row,) = build_board([make_debias("gerne")])
    assert row.reasons == ["seed 0: there is no erm to compare with"]


def test_attributes_that_were_read_are_marked(make_debias: Make) -> None:
    read = {"train": {"samples": 9, "labels": 9, "attributes": 9}, "selection": {"samples": 5, "attributes": 5}}
    (row,) = build_board([make_debias("gerne", access=[read])])
    assert cells.reads(row) == "selection 5 +a, train 9 +y +a"


def test_the_page_says_what_tracks_are(make_debias: Make, make_record: Make, make_page: Callable[..., str]) -> None:
    page = make_page(build_board([make_debias("erm")]), "embedded")
    assert "each degree has ranks and ties of its own" in page
    assert "**attributes (train/held out)**: whether attributes of the training set" in page
    assert "**/ erm**: " in page
    other = make_page(build_board([make_record("retrain", {"accuracy.test.retain": 97.0})]))
    assert "each degree" not in other
    assert "**/ retrain**: " in other


@pytest.mark.parametrize("width", [80, 130, 230])
def test_the_terminal_shows_tracks_apart(make_debias: Make, width: int) -> None:
    out = io.StringIO()
    print_board(board(make_debias, KNOWN), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    found = [line.split() for line in lines if "/yes" in line]
    assert [line[:4] for line in found[2:4]] == [["1", "gerne", "1", "yes/yes"], ["2", "resampling", "1", "yes/yes"]]
    assert "/ erm" in out.getvalue()
    gap = [i for i, line in enumerate(lines) if "resampling" in line or "balanced-softmax" in line]
    between = [line for line in lines[gap[0] + 1 : gap[1]] if not line.strip()]
    assert between, "no line between the tracks"
    assert "…" not in out.getvalue() or width == 80


def test_the_terminal_shows_none_where_there_are_none(make_record: Make) -> None:
    out = io.StringIO()
    values = {"accuracy.test.retain": 97.0}
    print_board(build_board([make_record(m, values) for m in ("retrain", "finetune")]), Console(file=out, width=230))
    assert "attributes" not in out.getvalue()
    assert "/ retrain" in out.getvalue()
