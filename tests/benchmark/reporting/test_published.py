"""Published numbers beside rows: first-hand or marked, with a difference only where values compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmark.boards.board import Row, build_board
from benchmark.published import numbers, papers
from benchmark.published.joining import joined, joined_to
from benchmark.reporting.beside import Beside, accounts, beside
from benchmark.reporting.measured import Setting
from benchmark.reporting.published import BESIDE, accounted, beside_the_paper
from benchmark.running.records import Record

Make = Callable[..., Record]
AT = {"suite": "standard", "scenario": "cmnist-0p5-hidden", "task": "debias-unknown"}


def board(make: Make, values: dict[str, float], **options: Any) -> list[Row]:
    return build_board([make(method, value, **{**AT, **options}) for method, value in values.items()])


def section(rows: list[Row], **options: Any) -> list[str]:
    at = {**AT, **options}
    return beside_the_paper(str(at["suite"]), str(at["scenario"]), rows)


def cells_of(lines: list[str]) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


@pytest.mark.parametrize(
    ("scenario", "method", "metric", "text"),
    [
        ("cmnist-0p5", "groupdro", "accuracy.group-balanced", "63.12"),
        ("cmnist-0p5", "resampling", "accuracy.group-balanced", "77.68 ± 0.89"),
        ("cmnist-0p5", "gerne", "accuracy.group-balanced", "77.79 ± 0.90"),
        ("cmnist-5", "gerne", "accuracy.group-balanced", "92.16 ± 0.10"),
        ("cmnist-1-hidden", "lff", "accuracy.group-balanced", "61.89 ± 4.97"),
        ("cmnist-2-hidden", "DeNetDM", "accuracy.group-balanced", "89.29 ± 0.51"),
        ("ccifar-1", "gerne", "accuracy.group-balanced", "50.84 ± 0.17"),
        ("ccifar-0p5-hidden", "erm", "accuracy.group-balanced", "23.08 ± 1.25"),
        ("ccifar-5-hidden", "jtt", "accuracy.group-balanced", "42.20 ± 0.31"),
        ("bffhq", "resampling", "accuracy.bias-conflicting", "72.13 ± 0.90"),
        ("bffhq-hidden", "gerne", "accuracy.bias-conflicting", "76.80 ± 1.21"),
        ("waterbirds", "class-balanced", "accuracy.worst-group", "86.20 ± 0.30"),
        ("celeba-blond", "reweighting", "accuracy.worst-group", "89.70 ± 0.20"),
        ("civil-comments", "lisa", "accuracy.worst-group", "73.70 ± 0.30"),
        ("waterbirds-hidden", "balanced-softmax", "accuracy.worst-group", "74.10 ± 0.90"),
        ("celeba-blond-hidden", "mixup", "accuracy.worst-group", "57.80 ± 0.80"),
        ("civil-comments-hidden", "CnC", "accuracy.worst-group", "68.90 ± 2.10"),
        ("waterbirds-blind", "crt", "accuracy.worst-group", "76.30 ± 0.80"),
        ("celeba-blond-blind", "dfr", "accuracy.worst-group", "73.70 ± 0.80"),
        ("civil-comments-blind", "sqrt-reweighting", "accuracy.worst-group", "68.60 ± 1.10"),
        ("civil-comments-blind", "ReWeightCRT", "accuracy.worst-group", "64.70 ± 0.20"),
        ("mnist-class-1", "retrain", "pul", "98.80 ± 0.09"),
        ("mnist-class-1", "extrapolation", "ret-fid", "42.98 ± 0.68"),
        ("mnist-class-4", "atu-nl2", "fid", "10.50 ± 0.34"),
        ("mnist-class-4", "CDC", "pul", "42.39 ± 0.66"),
        ("mnist-class-8", "atu-il2", "ret-fid", "11.64 ± 0.46"),
        ("mnist-class-8", "atu-el2", "pul", "95.22 ± 0.55"),
        ("cifar10-class-removal", "laf", "accuracy.test.retain", "80.48"),
    ],
)
def test_numbers_are_those_of_the_paper(scenario: str, method: str, metric: str, text: str) -> None:
    """One number a method and metric, whatever the suite's other scenarios have."""
    suites = {(one.suite, one.task) for one in joined() if one.scenario == scenario}
    suite, task = max(suites)  # standard, for what is there and in paper
    found = [line for line in beside(suite, task, scenario, []) if (line.method, line.metric) == (method, metric)]
    assert [line.published for line in found] == [text]


@pytest.mark.parametrize(
    ("task", "scenario", "method", "metric", "texts"),
    [
        ("class-forget", "mnist5k-residual", "ssd", "accuracy.test.retain", ["85.76 ± 25.76"]),
        ("class-forget", "mnist5k-residual", "svd-forgetting", "accuracy.test.forget", ["0.03 ± 0.09"]),
        ("class-forget", "mnist5k-residual", "original", "accuracy.test.retain", ["94.89 ± 0.31", "94.79 ± 0.29"]),
        ("label-free-forget", "mnist5k-class-removal", "laf", "mia.softmax.xgboost", ["47.61"]),
        ("debias-known", "cmnist5k", "gerne", "accuracy.group-balanced", ["92.16 ± 0.10"]),
        ("debias-unknown", "cmnist5k-hidden", "erm", "accuracy.group-balanced", ["82.17 ± 0.74"]),
        ("bias-correction", "mnist5k-text-residual", "rr-clarc", "cav.alignment", ["≥ 90"]),
        ("bias-correction", "mnist5k-text-residual", "rr-clarc+lasso", "cav.alignment", ["≤ 60"]),
        ("gan-feature-removal", "mnist5k-class", "atu-el2", "pul", ["99.32 ± 0.43", "96.23 ± 0.54", "95.22 ± 0.55"]),
    ],
)
def test_reduced_scenarios_have_the_nearest_numbers(
    task: str, scenario: str, method: str, metric: str, texts: list[str]
) -> None:
    found = [line for line in beside("embedded", task, scenario, []) if (line.method, line.metric) == (method, metric)]
    assert [line.published for line in found] == texts
    assert all(line.nearest and line.differs and line.difference == "-" for line in found)


def test_a_run_stands_beside_the_paper(make_debias: Make) -> None:
    records = [make_debias("erm", 35.0, seed=s, **AT) for s in (0, 1)]
    records += [make_debias("gerne", v, seed=s, **AT) for s, v in enumerate((76.0, 78.0))]
    records += [make_debias("mixup", 40.0, seed=s, **AT) for s in (0, 1)]
    lines = section(build_board(records))
    assert lines[0] == BESIDE == "#### Beside the paper"
    assert any(line.startswith("GBA (%) ↑") for line in lines)
    heads, _, *body = cells_of(lines)[:4]
    assert heads == ["method", "this run", "published", "difference", "source", "confidence"]
    quoted = "paper; quoted there from another paper"
    assert body == [
        ["erm *(reference)*", "35.0 (n 2)", "35.19 ± 3.49 † quoted", "-0.2", "arXiv:2503.13236, Table 1: ERM", quoted],
        ["**gerne**", "77.0 ± 12.7 (n 2)", "77.25 ± 0.17", "-0.2", "arXiv:2503.13236, Table 1: GERNE", "paper"],
    ]
    assert (
        "Published only: JTT 53.03 ± 3.89 † quoted, LfF 52.50 ± 2.43 † quoted, DFA 65.22 ± 4.41 † quoted, "
        f"LC 71.25 ± 3.17 † quoted, DeNetDM 74.72 ± 0.99 † quoted (arXiv:2503.13236, Table 1; {quoted})."
    ) in lines


def test_what_a_row_lacks_is_said(make_debias: Make) -> None:
    lines = section(board(make_debias, {"erm": 40.0}, flags=["odd"]))
    assert cells_of(lines)[2][1:4] == ["40.0 (n 1, unreliable)", "35.19 ± 3.49 † quoted", "+4.8"]
    lines = section(build_board([make_debias("erm", status="failed", **AT)]))
    assert cells_of(lines)[2][1:4] == ["failed", "35.19 ± 3.49 † quoted", "-"]
    only = [line for line in section([]) if line.startswith("Published only: ")]
    assert only[0].startswith("Published only: ERM 35.19 ± 3.49 † quoted, ")


def test_a_row_with_other_settings_than_the_suites_is_no_reproduction(make_debias: Make) -> None:
    old = make_debias("erm", 40.0, **AT)
    old.cell.versions["task"] = 0
    rows = build_board([old])
    assert cells_of(section(rows))[2][1:4] == ["outdated", "35.19 ± 3.49 † quoted", "-"]
    first = beside("standard", "debias-unknown", "cmnist-0p5-hidden", rows)[0]
    assert (first.status, first.ours, first.n, first.difference) == ("outdated", "", 0, "-")


def test_a_reduced_run_says_what_differs_and_takes_no_difference(make_debias: Make) -> None:
    at = {"suite": "embedded", "scenario": "cmnist5k-hidden"}
    lines = section(board(make_debias, {"gerne": 70.0}, **at), **at)
    assert "**This is the nearest scenario, not the paper's: no difference is taken.**" in lines[2]
    assert "data set: 3,500 digits for 55,000" in lines[2]
    assert cells_of(lines)[2][1:4] == ["70.0 (n 1, unreliable)", "90.98 ± 0.13", "-"]


def test_where_nothing_was_published_there_is_nothing(make_debias: Make) -> None:
    rows = board(make_debias, {"erm": 40.0})
    assert section(rows, scenario="coloured") == []
    assert section(rows, suite="embedded") == []
    assert beside("standard", "debias-known", "cmnist-0p5-hidden", rows) == []


def lines_of(suite: str, task: str, scenario: str, setting: Setting | None = None) -> list[Beside]:
    return beside(suite, task, scenario, [], setting)


def test_no_second_hand_number_looks_first_hand(make_record: Make) -> None:
    values = {"accuracy.test.retain": 97.0, "accuracy.test.forget": 0.0, "mia.true-class-probability.svc": 100.0}
    rows = build_board([make_record(method, values) for method in ("original", "retrain", "svd-forgetting")])
    lines = beside_the_paper("embedded", "mnist5k-residual", rows)
    published = [row[2] for row in cells_of(lines) if row[4].startswith(("arXiv", "re-measurement"))]
    assert len(published) == 15
    assert all(" † second-hand" in text for text in published)
    only = [line for line in lines if line.startswith("Published only: ")]
    assert [line.count(" † second-hand") for line in only] == [5, 5, 5]
    assert any("†: no first-hand number; *second-hand*: not seen in the paper itself" in line for line in lines)


def test_marks_say_what_kind_of_number_it_is() -> None:
    marks = {line.mark for line in lines_of("standard", "label-free-forget", "cifar10-class-removal")}
    assert marks == {"notebook log"}
    assert {line.mark for line in lines_of("standard", "debias-known", "cmnist-0p5")} == {"", "quoted", "read by eye"}
    own = lines_of("paper", "gan-feature-removal", "afhq-cat", Setting("StyleGAN2", "Inception"))
    assert {(line.mark, line.first_hand, line.confidence) for line in own} == {
        ("", True, "authors' project page (table image)")
    }


def test_tables_of_others_are_not_called_the_papers() -> None:
    sources = {line.source for line in lines_of("embedded", "class-forget", "mnist5k-residual")}
    assert sources == {"arXiv:2312.00761, Table 1", "re-measurement, not in arXiv:2312.00761"}


def test_values_that_do_not_compare_have_no_difference(make_record: Make) -> None:
    """Same data set and scenario, but training accuracy of the log is that of augmented images."""
    names = ("accuracy.train.retain", "accuracy.test.retain")
    record = make_record("laf", dict.fromkeys(names, 80.0), scenario="digits-class-removal")
    rows = build_board([record])
    found = {
        line.metric: line
        for line in beside("standard", "label-free-forget", "cifar10-class-removal", rows)
        if line.has_row
    }
    train, test = (found[name] for name in names)
    assert (test.difference, test.incomparable, test.mark) == ("-0.5", "", "notebook log")
    assert train.difference == "-"
    assert "randomly cropped" in train.incomparable
    lines = beside_the_paper("standard", "cifar10-class-removal", rows)
    assert any(line.startswith("train retain (%). **The values do not compare**: the log has") for line in lines)


def test_approximate_numbers_and_bounds_have_no_difference(make_debias: Make) -> None:
    at = {"scenario": "cmnist-0p5", "task": "debias-known"}
    rows = board(make_debias, {"gerne": 76.0, "erm": 20.0}, metrics={"accuracy.mean": 75.0}, **at)
    found = [line for line in beside("standard", "debias-known", "cmnist-0p5", rows) if line.metric == "accuracy.mean"]
    assert [(line.method, line.called, line.published, line.difference) for line in found] == [
        ("erm", "GERNE", "≈ 22", "-"), ("gerne", "GERNE", "≈ 77", "-"),
    ]  # fmt: skip
    text = "\n".join(section(rows, **at))
    assert "**No difference is taken**: what is published is approximate." in text
    assert "| 75.0 (n 1) | ≈ 77 † read by eye | - |" in text


def test_several_settings_of_a_paper_share_a_line() -> None:
    lines = beside_the_paper("embedded", "mnist5k-class", [], Setting("DCGAN", "lenet"))
    only = next(line for line in lines if line.startswith("Published only: "))
    assert "CDC (forget class 1: 90.70 ± 0.16; forget class 4: 42.39 ± 0.66; forget class 8: 18.86 ± 0.92)" in only
    assert any(line.startswith("- CF-k, PUL: the paper has the same 18.60 ± 2.30") for line in lines)


def test_hostile_names_do_not_break_the_table(make_debias: Make) -> None:
    row = msgspec.structs.replace(board(make_debias, {"erm": 40.0})[0], device="a|b<i>")
    body = cells_of(section([row]))[2]
    assert body[0] == "erm *(reference)* (a\\"
    assert "&lt;i&gt;" in body[1]


def test_what_became_of_every_number(make_debias: Make) -> None:
    found = {one.paper: one for one in accounts({"standard": board(make_debias, {"erm": 40.0, "gerne": 70.0})})}
    assert sum(one.total for one in found.values()) == len(numbers())
    for one in found.values():
        assert one.beside + one.alone + one.waiting + one.unjoined == one.total
    gerne = found["GERNE"]
    own = joined_to("standard", "debias-unknown", "cmnist-0p5-hidden")
    assert (gerne.beside, gerne.alone) == (3, len(own) - 3)
    assert gerne.apart["trained on the validation set alone, which no scenario does"] == 3
    lines = accounted({})
    assert len(cells_of(lines)) == 2 + len(papers())
    assert any(line.startswith("- RR-ClArC: runtime of an epoch") and line.endswith("(120).") for line in lines)


def test_the_page_says_that_numbers_were_published(make_debias: Make, make_page: Callable[..., str]) -> None:
    rows = build_board([make_debias("erm", 40.0, **AT)])
    text = make_page(rows, "standard")
    assert "Every number that no table calls published was measured by this code" in text
    assert text.count("#### Beside the paper") == 1
    assert "published" not in make_page(rows, "embedded")
