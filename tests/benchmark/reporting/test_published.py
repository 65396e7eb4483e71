"""Published numbers: copied as they are printed, and shown beside runs of the same scenario at full scale alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from benchmark.metrics.catalogue import METRICS
from benchmark.reporting.board import build_board
from benchmark.reporting.markdown import leaderboard
from benchmark.reporting.published import beside_the_paper, published
from benchmark.running.records import Record
from benchmark.suite import suite_names

Make = Callable[..., Record]
AT = {"suite": "standard", "scenario": "cmnist-0p5-hidden", "task": "debias-unknown"}


def section(make: Make, values: dict[str, float], **options: Any) -> list[str]:
    rows = build_board([make(method, value, **{**AT, **options}) for method, value in values.items()])
    return beside_the_paper(str(AT["suite"]), str(AT["scenario"]), rows)


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
    ],
)
def test_numbers_are_those_of_the_paper(scenario: str, method: str, metric: str, text: str) -> None:
    found = [n for n in published() if (n.scenario, n.method, n.metric) == (scenario, method, metric)]
    assert [n.text for n in found] == [text]
    assert found[0].suite == "standard"


def test_every_number_is_there_once_and_well_formed() -> None:
    numbers = published()
    keys = Counter((n.suite, n.scenario, n.method, n.metric, n.source) for n in numbers)
    assert set(keys.values()) == {1}
    tables = Counter(tuple(n.source.split(", ")[:2]) for n in numbers)
    assert tables == {
        ("arXiv:2309.14054", "Table 1"): 96, ("arXiv:2503.13236", "Table 1"): 89, ("arXiv:2503.13236", "Table 2"): 84,
    }  # fmt: skip
    assert {n.metric for n in numbers} <= METRICS.keys()
    assert {n.suite for n in numbers} <= set(suite_names())
    assert all(0 < float(n.value) < 100 and 0 <= float(n.std or 0) < 10 for n in numbers)


def test_a_run_stands_beside_the_paper(make_debias: Make) -> None:
    records = [make_debias("erm", 35.0, seed=s, **AT) for s in (0, 1)]
    records += [make_debias("gerne", v, seed=s, **AT) for s, v in enumerate((76.0, 78.0))]
    records += [make_debias("mixup", 40.0, seed=s, **AT) for s in (0, 1)]
    lines = beside_the_paper(str(AT["suite"]), str(AT["scenario"]), build_board(records))
    assert lines[0] == "#### Beside the paper"
    assert "GBA (%) ↑" in lines[2]
    heads, _, *body = cells_of(lines)
    assert heads == ["method", "this run", "published", "difference", "source"]
    assert body == [
        ["erm *(reference)*", "35.0 (n 2)", "35.19 ± 3.49", "-0.2", "arXiv:2503.13236, Table 1, quoted there"],
        ["**gerne**", "77.0 ± 12.7 (n 2)", "77.25 ± 0.17", "-0.2", "arXiv:2503.13236, Table 1"],
    ]  # fmt: skip
    assert lines[-2] == (
        "Published only: jtt 53.03 ± 3.89, lff 52.50 ± 2.43, DFA 65.22 ± 4.41, LC 71.25 ± 3.17, "
        "DeNetDM 74.72 ± 0.99 (arXiv:2503.13236, Table 1, quoted there)."
    )


def test_what_a_row_lacks_is_said(make_debias: Make) -> None:
    lines = section(make_debias, {"erm": 40.0}, flags=["odd"])
    assert cells_of(lines)[2][1:4] == ["40.0 (n 1, unreliable)", "35.19 ± 3.49", "+4.8"]
    rows = build_board([make_debias("erm", status="failed", **AT)])
    lines = beside_the_paper("standard", "cmnist-0p5-hidden", rows)
    assert cells_of(lines)[2][1:4] == ["failed", "35.19 ± 3.49", "-"]
    assert beside_the_paper("standard", "cmnist-0p5-hidden", [])[4].startswith("Published only: erm 35.19 ± 3.49, ")


def test_a_row_with_other_settings_than_the_suites_is_no_reproduction(make_debias: Make) -> None:
    old = make_debias("erm", 40.0, **AT)
    old.cell.versions["task"] = 0
    lines = beside_the_paper("standard", "cmnist-0p5-hidden", build_board([old]))
    assert cells_of(lines)[2][1:4] == ["outdated", "35.19 ± 3.49", "-"]


def test_a_run_at_another_scale_has_nothing_beside_it(make_debias: Make) -> None:
    rows = build_board([make_debias("erm", 40.0, **{**AT, "suite": "embedded"})])
    for suite in set(suite_names()) - {"standard"}:
        assert beside_the_paper(suite, "cmnist-0p5-hidden", rows) == []
    assert beside_the_paper("standard", "coloured", rows) == []


def test_the_page_says_that_numbers_were_published(make_debias: Make) -> None:
    rows = build_board([make_debias("erm", 40.0, **AT)])
    text = leaderboard({"standard": rows}, {}, [])
    assert "Every number that no table calls published was measured by this code" in text
    assert text.count("#### Beside the paper") == 1
    assert "published" not in leaderboard({"embedded": rows}, {}, [])
