"""Rendered reports: numbers as promised, foreign text as text, the same bytes twice."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmark.boards.board import MetricCell, build_board
from benchmark.errors import InputError
from benchmark.reporting import cells
from benchmark.reporting.figures.pictures import pictures
from benchmark.reporting.figures.plots import decision_regions, loss_curves
from benchmark.reporting.report import render
from benchmark.reporting.text import escape
from benchmark.running.records import Record, RecordStore

Make = Callable[..., Record]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript:d)`e`*f*\n# g"
VALUES = {"accuracy.test.retain": 97.04, "accuracy.test.forget": 0.0, "mia.loss.auc": 50.0}


def recast(record: Record, **changes: str) -> Record:
    return msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, **changes))


def test_escape() -> None:
    assert escape("plain name") == "plain name"
    assert escape("a|b_c*d") == "a\\|b\\_c\\*d"
    assert escape("<b>\n`x`") == "&lt;b&gt; \\`x\\`"
    assert escape("\\|") == "\\\\\\|"


def assert_tame(text: str) -> None:
    """Nothing of HOSTILE is markup: no tag, no link, no heading, no further column."""
    assert "a\\|b" in text or "a|b" in text, "the hostile name is nowhere"
    assert "<img" not in text
    assert "](javascript" not in text
    assert not re.search(r"^# g", text, re.MULTILINE)
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1, block


def test_a_hostile_method_is_text(make_record: Make, make_page: Callable[..., str]) -> None:
    assert_tame(
        make_page(
            build_board([make_record("retrain", VALUES), recast(make_record("finetune", VALUES), method=HOSTILE)])
        )
    )


def test_a_hostile_reason_is_text(make_record: Make, make_page: Callable[..., str]) -> None:
    assert_tame(make_page(build_board([make_record("finetune", VALUES, flags=[HOSTILE])])))


def test_a_hostile_device_is_text(make_record: Make, make_page: Callable[..., str]) -> None:
    assert_tame(make_page(build_board([make_record("finetune", VALUES, environment={"device": HOSTILE})])))


def test_a_hostile_scenario_is_text(make_record: Make, make_page: Callable[..., str]) -> None:
    assert_tame(make_page(build_board([recast(make_record("finetune", VALUES), scenario=HOSTILE)])))


def test_a_hostile_view_name_is_text(make_record: Make, make_page: Callable[..., str]) -> None:
    assert_tame(
        make_page(build_board([make_record("finetune", VALUES, access=[{HOSTILE: {"samples": 1, "passes": 1}}])]))
    )


def test_the_page_has_a_row_a_method(make_record: Make, make_page: Callable[..., str]) -> None:
    records = [make_record(m, VALUES, seed=s) for m in ("svd-forgetting", "retrain", "logit-mask") for s in (0, 1)]
    records.append(make_record("finetune", {}, status="timeout"))
    text = make_page(build_board(records))
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[0].startswith("| # | method | n | ")
    assert [row.split(" | ")[:3] for row in rows[2:6]] == [
        ["| ", "retrain *(reference)*", "2"], ["| ", "**svd-forgetting**", "2"],
        ["| ", "finetune", "0"], ["| ", "logit-mask *(cheat)*", "2"],
    ]  # fmt: skip
    assert "SUITE=smoke SCENARIOS=digits SEEDS=2" in text
    assert "97.0" in rows[2]
    assert rows[4].endswith("| timeout, defaults |")
    assert "- finetune: seed 0: timeout: Error: it was timeout" in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")


def metric_cell(mean: float | None, low: float | None = None, high: float | None = None, unit: str = "%") -> MetricCell:
    return MetricCell(mean, low, high, 3, unit, "higher")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (metric_cell(None), "-"),
        (metric_cell(97.04), "97.0"),
        (metric_cell(100.0, 100.0, 100.0), "100.0"),
        (metric_cell(50.0, 47.75, 52.25), "50.0 ± 2.2"),
        (metric_cell(0.98765, unit=""), "0.988"),
        (metric_cell(-0.04), "0.0"),
        (metric_cell(-0.0004, unit=""), "0.000"),
        (metric_cell(-1.26), "-1.3"),
    ],
)
def test_numbers(cell: MetricCell | None, text: str) -> None:
    assert cells.interval(cell) == text


def test_headings_and_costs(make_record: Make) -> None:
    assert cells.heading("accuracy.test.retain") == "test retain (%) ↑"
    assert cells.heading("tow") == "ToW ↑"
    assert cells.heading("mia.loss.auc.gap") == "MIA AUC gap (points) →0"
    assert [cells.seconds(v) for v in (None, 0.123, 12.34)] == ["-", "0.12", "12"]
    records = [make_record("retrain", VALUES, cost=(1.0, 20.0)), make_record("finetune", VALUES, cost=(1.0, 1.0))]
    row = next(r for r in build_board(records) if r.method == "finetune")
    assert cells.ratio(row) == "0.050"
    shared = msgspec.structs.replace(row, cost=msgspec.structs.replace(row.cost, exclusive=False))
    assert cells.ratio(shared) == "(0.050)"
    assert cells.reads(row) == "retain 10 +y"
    assert cells.reads(msgspec.structs.replace(row, access={})) == "none"
    assert (
        cells.note(msgspec.structs.replace(row, status="unreliable", code="moved"))
        == "unreliable, code moved, defaults"
    )
    tuned = msgspec.structs.replace(row.origin, provenance="best of 12")
    assert cells.note(msgspec.structs.replace(row, origin=tuned)) == ""


def quadrants(size: int = 20) -> np.ndarray:
    axis = np.linspace(-3, 3, size)
    x, y = np.meshgrid(axis, axis)
    return np.select([(x > 0) & (y > 0), (x <= 0) & (y > 0), (x <= 0) & (y <= 0)], [0, 1, 2], 3).astype(np.uint8)


def test_regions_are_the_same_twice() -> None:
    both = partial(decision_regions, {"original": quadrants(), HOSTILE: quadrants()}, 1)
    png, svg = pictures(both, "mark")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(png) > 5_000
    assert (png, svg) == pictures(both, "mark")
    assert pictures(partial(decision_regions, {"original": quadrants()}, 1), "mark")[0] != png


def test_losses_are_drawn_whatever_scenarios_are_called() -> None:
    losses = np.array([1.0, 0.5, 0.7]), np.array([-3.0, np.nan, -1.0])
    sizes = []
    for names in (["a"], [HOSTILE, "$\\x^{"], ["a", "b", "c", "x" * 90]):
        png, _ = pictures(partial(loss_curves, dict.fromkeys(names, losses)), "mark")
        sizes.append([int.from_bytes(png[at : at + 4]) for at in (16, 20)])
    assert [width for width, _ in sizes] == [680, 1000, 1400]
    assert sizes[2][1] > 1.9 * sizes[0][1]


@pytest.fixture
def drawn(make_record: Make, tmp_path: Path) -> RecordStore:
    """Results of the toy with regions beside them."""
    store = RecordStore(tmp_path / "results")
    arrays = {"regions": quadrants(), "forgotten": np.array([0], dtype=np.int16)}
    for method in ("original", "retrain", "finetune"):
        store.write(make_record(method, VALUES, scenario="four-gaussians"), arrays)
    return store


def test_reports_are_rendered_from_files_and_the_same_twice(drawn: RecordStore, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        written = render(drawn.root, tmp_path / name)
        names = [path.relative_to(tmp_path / name).as_posix() for path in written]
        assert {"leaderboard.md", "figures/smoke-four-gaussians-regions.png"} <= set(names)
        assert len(set(names)) == len(names)
        contents.append(dict(zip(names, (path.read_bytes() for path in written), strict=True)))
    assert contents[0] == contents[1]
    pages = [content for name, content in contents[0].items() if name.endswith(".md")]
    assert any(b"figures/smoke-four-gaussians-regions.png" in content for content in pages)


def test_damaged_arrays_cost_a_figure_and_not_the_report(drawn: RecordStore, tmp_path: Path) -> None:
    """For instance the pointer that Git LFS leaves in the place of a file."""
    for path in drawn.root.rglob("*.npz"):
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert (tmp_path / "reports" / "leaderboard.md") in render(drawn.root, tmp_path / "reports")


def test_no_records_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no records in"):
        render(tmp_path / "results", tmp_path / "reports")
    assert list(tmp_path.iterdir()) == []
