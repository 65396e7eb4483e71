"""What stands below a board of debiasing: other rules of selection, groups, and their map."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from benchmark.boards.board import build_board
from benchmark.reporting.figures.drawings import drawings
from benchmark.reporting.figures.pictures import pictures
from benchmark.reporting.figures.plots import group_maps as draw
from benchmark.reporting.groups import group_maps, group_tables
from benchmark.reporting.report import render
from benchmark.reporting.selection import how_ranked, selection_table
from benchmark.reporting.sheet import sheets
from benchmark.reporting.text import file_name
from benchmark.running.records import Record, RecordStore
from benchmark.tasks import TASKS

Make = Callable[..., Record]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript:d)`e`*f*\n# g $\\x^{"
TASK = TASKS.get("debias-known")
RULES = ("worst-group", "group-balanced", "last", "oracle")


def by_rule(start: float, metric: str = "group-balanced") -> dict[str, float]:
    return {f"accuracy.{metric}@{rule}": start + i for i, rule in enumerate(RULES)}


def grid(low: int, size: int = 3) -> dict[str, tuple[int, int]]:
    """Right and all samples of each group: all right where label and attribute agree, ``low`` of 10 elsewhere."""
    return {f"{c} / colour {a}": (10 if c == a else low, 10) for c in range(size) for a in range(size)}


def cells_of(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


def test_the_selection_table_has_a_column_a_rule(make_debias: Make) -> None:
    records = [make_debias("erm", metrics=by_rule(30.0), seed=s) for s in (0, 1)]
    records += [make_debias("gerne", metrics=by_rule(60.0 + 2 * s), seed=s) for s in (0, 1)]
    heads, _, *lines = cells_of(selection_table(build_board(records)))
    assert heads == [
        "method", "worst-group", "group-balanced (this scenario's)", "last",
        "oracle (study only: chooses on test data)",
    ]  # fmt: skip
    assert lines[0] == ["erm *(reference)*", "30.0", "31.0", "32.0", "33.0"]
    assert lines[1][:2] == ["**gerne**", "61.0 ± 12.7"]


def test_the_selection_table_shows_what_the_scenario_is_ranked_by(make_debias: Make) -> None:
    both = {**by_rule(30.0), **by_rule(10.0, "worst-group")}
    lines = selection_table(build_board([make_debias("erm", metrics=both, selection="worst-group")]))
    assert "WGA (%) ↑ of the same runs, had another rule chosen the state" in lines[2]
    assert cells_of(lines)[2] == ["erm *(reference)*", "10.0", "11.0", "12.0", "13.0"]
    assert cells_of(lines)[0][1] == "worst-group (this scenario's)"


def test_no_selection_table_where_no_rules_were_compared(make_debias: Make, make_record: Make) -> None:
    assert selection_table([]) == []
    assert selection_table(build_board([make_debias("erm")])) == []
    assert selection_table(build_board([make_record("retrain", {"accuracy.test.retain": 97.0})])) == []


def test_how_states_were_chosen(make_debias: Make) -> None:
    records = [make_debias("erm", error=6.0, samples=25, selection="bias-conflicting")]
    records += [make_debias("dfr", error=8.04, samples=12, selection="bias-conflicting")]
    assert how_ranked(TASK, build_board(records)) == [
        "Ranked by GBA among the rows that used the same attributes. The state of each network was chosen by the rule "
        "*bias-conflicting* on held-out samples: the score of the chosen one rests on 12 to 25 of them. At most 25 of "
        "these are bias-conflicting: accuracy pooled over them has a standard error of 6.0 to 8.0 points.",
        "",
    ]
    (text, _) = how_ranked(TASK, build_board([make_debias("erm", samples=40)]))
    assert text.endswith("*group-balanced* on held-out samples: the score of the chosen one rests on 40 of them.")
    (text, _) = how_ranked(TASK, build_board([make_debias("erm", samples=0, selection="last")]))
    assert text.endswith("The state of each network was chosen by the rule *last*.")
    failed = build_board([make_debias("erm", status="failed")])
    assert how_ranked(TASK, failed)[0].endswith("by the rule *group-balanced*.")


def test_few_groups_have_a_column_each(make_debias: Make) -> None:
    records = [make_debias("erm", groups={"low / red": (2, 10), "high / red": (1500, 2000)})]
    records += [make_debias("erm", groups={"low / red": (4, 10), "high / red": (1700, 2000)}, seed=1)]
    heads, _, *lines = cells_of(group_tables(build_board(records)))
    assert heads == ["method", "low / red (n 10)", "high / red (n 2,000)"]
    assert lines == [["erm *(reference)*", "30.0", "80.0"]]
    assert group_maps(build_board(records)) is None


def test_a_group_that_a_method_lacks_is_blank(make_debias: Make) -> None:
    records = [make_debias("erm", groups={"a / b": (1, 10), "empty / b": (0, 0)}), make_debias("mixup")]
    records += [make_debias("gerne", groups={"a / c": (5, 20), "a / b": (5, 5)})]
    heads, _, *lines = cells_of(group_tables(build_board(records)))
    assert heads == ["method", "a / b (n 5 or 10)", "a / c (n 20)"]
    assert lines == [["erm *(reference)*", "10.0", "-"], ["**gerne**", "100.0", "25.0"]]


def test_no_groups_no_table(make_record: Make) -> None:
    assert group_tables(build_board([make_record("retrain", {"accuracy.test.retain": 97.0})])) == []


def test_of_many_groups_the_worst_are_listed(make_debias: Make) -> None:
    worse = {**grid(6), "2 / colour 0": (1, 10)}
    records = [
        make_debias("gerne", groups=worse),
        make_debias("erm", groups=grid(2)),
        make_debias("mixup", groups=grid(3)),
    ]
    lines = group_tables(build_board(records))
    assert "There are 9 groups" in lines[2]
    heads, _, *body = cells_of(lines)
    assert heads == ["method", "groups under 50 %", "worst", "second", "third", "fourth", "fifth"]
    assert [line[:3] for line in body] == [
        ["erm *(reference)*", "6 of 9", "0 / colour 1: 20.0 (n 10)"],
        ["**gerne**", "1 of 9", "2 / colour 0: 10.0 (n 10)"],
    ]  # fmt: skip
    assert body[1][3] == "0 / colour 1: 60.0 (n 10)"


def test_a_row_with_fewer_groups_than_are_listed_has_blanks(make_debias: Make) -> None:
    records = [make_debias("erm", groups=grid(2)), make_debias("gerne", groups={"0 / colour 0": (1, 4)})]
    *_, last = cells_of(group_tables(build_board(records)))
    assert last == ["**gerne**", "1 of 1", "0 / colour 0: 25.0 (n 4)", "-", "-", "-", "-"]


def test_the_map_has_a_panel_for_some_methods(make_debias: Make) -> None:
    records = [make_debias(m, groups=grid(i)) for i, m in enumerate(("resampling", "gerne", "mixup", "erm"))]
    maps = group_maps(build_board(records))
    assert maps is not None
    assert list(maps.panels) == ["erm", "gerne", "resampling"]
    assert (maps.classes, maps.attributes) == (["0", "1", "2"], ["colour 0", "colour 1", "colour 2"])
    assert maps.panels["gerne"] == [[100.0, 10.0, 10.0], [10.0, 100.0, 10.0], [10.0, 10.0, 100.0]]
    assert group_maps(build_board(records[2:3])) is None  # none of those that are shown


@pytest.mark.parametrize("panels", [1, 4, 5])
def test_a_map_is_the_same_twice(panels: int) -> None:
    values = [[0.0, 50.0, float("nan")], [100.0, 33.3, 66.6]]
    methods = {f"m{i}": values for i in range(panels)}
    contents = [pictures(partial(draw, ["0", HOSTILE], ["snow", "$fog$", "x" * 90], methods), "mark") for _ in range(2)]
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"\x89PNG\r\n\x1a\n")


def test_a_map_has_numbers_where_there_is_room_for_them() -> None:
    """Digits are shapes that are used again: five numbers, one of three digits, and none where 90 lie in a row."""
    values = [[0.0, 50.0, float("nan")], [100.0, 33.3, 66.6]]
    _, svg = pictures(partial(draw, ["a", "b"], ["c", "d", "e"], {"m": values}), "mark")
    assert len(re.findall(rb'<use xlink:href="#m', svg)) == 1 + 2 + 3 + 2 + 2
    _, svg = pictures(partial(draw, ["a"], ["b"] * 90, {"m": [[50.0] * 90]}), "mark")
    assert b'<use xlink:href="#m' not in svg


def test_the_report_draws_the_map(make_debias: Make, tmp_path: Path) -> None:
    store = RecordStore(tmp_path / "results")
    for method in ("erm", "gerne"):
        store.write(make_debias(method, groups=grid(4), metrics=by_rule(40.0)), {})
        store.write(make_debias(method, groups=grid(4, size=2), scenario="halves"), {})
    records = list(store.all("embedded"))
    (drawing,) = drawings("embedded", records, sheets("embedded", build_board(records)), store)
    assert (drawing.stem, drawing.kind, drawing.scenario) == ("embedded-coloured-groups", "groups", "coloured")
    assert drawing.alt == "Tables of accuracy in coloured, classes by attributes, shaded by its height, for erm, gerne."
    render(store.root, tmp_path / "reports")
    text = "".join(path.read_text("utf-8") for path in sorted((tmp_path / "reports").rglob("*.md")))
    assert "figures/embedded-coloured-groups.png" in text
    assert text.index("| # |") < text.index("#### By selection rule") < text.index("#### By group")
    assert "Beside the paper" not in text
    assert "Every number was measured by this code" in text


def test_names_from_records_are_text(make_debias: Make, make_page: Callable[..., str]) -> None:
    def recast(record: Record, **changes: str) -> Record:
        return msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, **changes))

    for size in (2, 3):
        groups = {**grid(2, size), f"{HOSTILE} / {HOSTILE}": (1, 9)}
        for method, device in (("erm", HOSTILE), (HOSTILE, "cpu")):
            record = make_debias("erm", groups=groups, metrics=by_rule(20.0), scenario=HOSTILE)
            record = recast(record, method=method, device=device)
            text = make_page(build_board([record]), "standard")
            assert "<img" not in text
            assert "](javascript" not in text
            assert not re.search(r"^# g", text, re.MULTILINE)
            for block in text.split("\n\n"):
                pipes = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines() if line.startswith("| ")}
                assert len(pipes) <= 1, block


def test_file_names_are_tame() -> None:
    assert file_name("smoke-four-gaussians-regions.png") == "smoke-four-gaussians-regions.png"
    assert file_name("a/../b (c).png") == "a-..-b--c-.png"
