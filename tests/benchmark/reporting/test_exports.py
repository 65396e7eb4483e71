"""CSV and JSON: they agree with each other and with what tables print, and what is in them is documented."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.boards.aggregates import MetricCell
from benchmark.boards.board import build_board
from benchmark.reporting import cells
from benchmark.reporting.exports import FIELDS, csv_table, json_table, write_tables
from benchmark.reporting.sheet import Sheet, sheets
from benchmark.running.records import Record, RecordStore
from benchmark.suites.definition import load_suite

Make = Callable[..., Record]
ROOT = Path(__file__).parents[3]
VALUES = {"accuracy.test.retain": 97.04, "accuracy.test.forget": 0.0, "tow": 0.1 + 0.2}
HOSTILE = ["=1+1", "@x", "a,b\"c\nd\re;'", "../../x", "..", "💥\u202e\x00", "y" * 250]


@pytest.fixture(scope="module")
def smoke() -> list[Sheet]:
    """The sheets of the committed records of a suite with three tasks."""
    return sheets("smoke", build_board(RecordStore(ROOT / "results").all("smoke"), load_suite("smoke")))


def lines_of(sheet: Sheet) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_table(sheet))))


def recast(record: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, **changes))


def sheet_of(*records: Record, suite: str = "smoke") -> Sheet:
    return sheets(suite, build_board(records))[0]


def test_csv_and_json_have_the_same_numbers(smoke: list[Sheet]) -> None:
    assert len({sheet.task.name for sheet in smoke}) == 3
    for sheet in smoke:
        rows = {row["method"]: row for row in json.loads(json_table(sheet))["rows"]}
        lines = [line for line in lines_of(sheet) if not line["metric"].startswith("cost.")]
        assert [line["method"] for line in lines] == [m for m, row in rows.items() for _ in row["metrics"]]
        for line in lines:
            other = rows[line["method"]]["metrics"][line["metric"]]
            gap = other["gap"] or {"mean": None, "low": None, "high": None}
            found = [float(line[name]) if line[name] else None for name in ("mean", "low", "high")]
            assert found == [other[name] for name in ("mean", "low", "high")]
            found = [float(line[name]) if line[name] else None for name in ("gap", "gap_low", "gap_high")]
            assert found == [gap[name] for name in ("mean", "low", "high")]
            assert int(line["n"]) == other["n"] == len(other["by_seed"])
            assert line["tied"] == {None: "", True: "yes", False: "no"}[other["tied"]]
            if other["n"]:
                assert math.isclose(math.fsum(other["by_seed"].values()) / other["n"], other["mean"], abs_tol=1e-12)


def test_costs_are_lines_of_the_csv(smoke: list[Sheet]) -> None:
    for sheet in smoke:
        rows = {row["method"]: row["cost"] for row in json.loads(json_table(sheet))["rows"]}
        lines = [line for line in lines_of(sheet) if line["metric"].startswith("cost.")]
        assert {line["method"] for line in lines} == {m for m, cost in rows.items() if cost["seconds"] is not None}
        for line in lines:
            field = {"cost.ratio": "ratio_to_retrain"}.get(line["metric"], line["metric"][5:].replace("-", "_"))
            assert float(line["mean"]) == rows[line["method"]][field]
            assert (line["low"], line["tied"], line["p"]) == ("", "", "")


def test_csv_has_what_tables_print(smoke: list[Sheet]) -> None:
    for sheet in smoke:
        found = {(line["method"], line["metric"]): line for line in lines_of(sheet)}
        for own in sheet.lines:
            for entry in own.entries:
                line = found[own.row.method, entry.name]
                mean, low, high = (float(line[name]) if line[name] else None for name in ("mean", "low", "high"))
                read = MetricCell(mean, low, high, int(line["n"]), line["unit"], line["better"])
                text = cells.interval(read)
                if sheet.task.with_gaps and line["gap"] and own.row.method != sheet.task.reference:
                    text += f" ({cells.signed(float(line['gap']), line['unit'])})"
                assert text == entry.text
                assert line["column"] == "yes"
                assert line["rank"] == ("" if own.row.rank is None else str(own.row.rank))
                assert (line["difference"] != "") == (entry.name == sheet.ranked_by and own.difference is not None)


def test_numbers_are_exact(make_record: Make) -> None:
    sheet = sheet_of(make_record("retrain", VALUES), make_record("finetune", VALUES))
    line = next(line for line in lines_of(sheet) if (line["method"], line["metric"]) == ("finetune", "tow"))
    assert line["mean"] == "0.30000000000000004"
    assert '"tow":{"mean":0.30000000000000004' in json_table(sheet)


def test_a_row_without_results_is_there(make_record: Make) -> None:
    sheet = sheet_of(make_record("retrain", VALUES), make_record("finetune", {}, status="timeout"))
    lines = [line for line in lines_of(sheet) if line["method"] == "finetune"]
    assert [line["metric"] for line in lines] == list(sheet.columns)
    assert {(line["status"], line["mean"], line["n"], line["rank"]) for line in lines} == {("timeout", "", "0", "")}
    assert lines[0]["reasons"] == "seed 0: timeout: Error: it was timeout"
    row = json.loads(json_table(sheet))["rows"][1]
    assert (row["status"], row["section"], row["origin"]["failed"]) == ("timeout", "unranked", [0])


def test_p_values_stand_with_what_is_ranked_by(make_debias: Make) -> None:
    means = {"erm": 30.0, "unbiased": 90.0, "gerne": 60.0}
    records = [make_debias(m, v + s * len(m), seed=s) for m, v in means.items() for s in range(10)]
    sheet = sheet_of(*records, suite="embedded")
    found = {(line["method"], line["metric"]): line for line in lines_of(sheet)}
    line = found["gerne", sheet.ranked_by]
    assert float(line["p"]) == float(line["p_corrected"]) == 2 / 2**10
    assert float(line["difference"]) == pytest.approx(30 + 2 * 4.5)
    assert float(line["difference_low"]) < 39 < float(line["difference_high"])
    assert line["track"] == "yes/yes"
    assert found["gerne", "accuracy.worst-group"]["p"] == ""
    difference = json.loads(json_table(sheet))["rows"][2]["difference"]
    assert {name: repr(value) for name, value in difference.items()} == {name: line[name] for name in difference}


def test_json_says_where_a_row_comes_from(smoke: list[Sheet]) -> None:
    table = json.loads(json_table(smoke[0]))
    row = next(row for row in table["rows"] if row["rank"] == 1)
    for name, digest in row["origin"]["records"].items():
        record = json.loads((ROOT / "results" / row["origin"]["folder"] / name).read_bytes())
        assert record["hash"] == digest
        assert record["cell"]["parameters"] == row["origin"]["parameters"]
        assert record["cell"]["settings"] == table["settings"][row["origin"]["settings"]]
        assert record["environment"] in [table["environments"][i] for i in row["origin"]["environments"]]
    assert len(row["origin"]["records"]) == row["cells"]
    assert f"METHODS={row['method']} " in row["command"]
    assert table["schema"] == 1


def test_json_has_a_line_a_row(smoke: list[Sheet]) -> None:
    for sheet in smoke:
        text = json_table(sheet)
        lines = text[text.index('"rows":[\n') :].splitlines()[1:-1]
        assert [json.loads(line.rstrip(","))["method"] for line in lines] == [row.method for row in sheet.rows]


def test_every_field_is_documented(smoke: list[Sheet]) -> None:
    page = (ROOT / "docs" / "tables.md").read_text("utf-8")
    table = json.loads(json_table(smoke[0]))
    row = table["rows"][2]
    fields = [*FIELDS, *table, *row, *row["cost"], *row["origin"], *next(iter(row["metrics"].values()))]
    assert [name for name in dict.fromkeys(fields) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(make_record: Make, text: str) -> None:
    record = recast(make_record("finetune", VALUES, flags=[text], environment={"device": text}), method=text)
    sheet = sheet_of(make_record("retrain", VALUES), record)
    lines = [line for line in lines_of(sheet) if line["metric"] == "tow"]
    assert [set(line) for line in lines] == [set(FIELDS)] * 2
    assert not lines[1]["method"].startswith(("=", "@", "+", "-"))
    assert "".join(c for c in text if c.isprintable()) in lines[1]["method"].replace(" ", "")
    assert json.loads(json_table(sheet))["rows"][1]["method"] == text
    command = json.loads(json_table(sheet))["rows"][1]["command"]
    assert command.isascii()
    assert not set(command) & set(";'\"\n`$&|")


def test_files_stay_in_their_folder_and_apart(make_record: Make, tmp_path: Path) -> None:
    records = [make_record("retrain", VALUES), make_record("finetune", VALUES)]
    names = [*HOSTILE, "a|b", "a?b", "A!b", "a-b"]
    boards = {
        suite: [s for name in names for s in sheets(suite, build_board([recast(r, scenario=name) for r in records]))]
        for suite in ("smoke", "..")
    }
    folder = tmp_path / "reports" / "tables"
    written = write_tables(boards, folder)
    there = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(written) == sorted(there)
    assert len({str(path).lower() for path in written}) == len(written) == 2 * 4 * len(names) + 2
    assert all(path.resolve().is_relative_to(folder) for path in written)
    assert not [path for path in written if path.name.startswith(".")]
    for name in ("all.tex", "macros.tex"):
        text = (folder / name).read_text()
        assert text.count(r"\input{") >= 2 * len(names)


def test_the_same_bytes_twice(smoke: list[Sheet], tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write_tables({"smoke": smoke}, tmp_path / "a")]
    assert [path.read_bytes() for path in write_tables({"smoke": smoke}, tmp_path / "b")] == first
    assert len(first) == 4 * len(smoke) + 2


def test_a_scenario_that_has_gone_takes_its_files_with_it(smoke: list[Sheet], tmp_path: Path) -> None:
    """And nobody else's: not a file beside them, nor one that has not all four forms."""
    write_tables({"smoke": smoke}, tmp_path)
    gone, kept = smoke[0], smoke[1:]
    folder = tmp_path / gone.suite / gone.task.name
    own = [folder / "mine.tex", folder / "half.macros.tex", folder / "half.csv"]
    for path in own:
        path.write_text("mine")
    write_tables({"smoke": kept}, tmp_path)
    assert not list(folder.glob(f"{gone.scenario}.*"))
    assert all(path.read_text() == "mine" for path in own)
    assert {path.name for path in tmp_path.rglob("*.json")} == {f"{sheet.scenario}.json" for sheet in kept}
