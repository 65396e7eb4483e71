"""The page of claims, the same on a terminal and for scripts, and the command that makes them."""

from __future__ import annotations

import datetime
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark.claims import declared
from benchmark.claims.checks import Bound, Difference
from benchmark.claims.declared import Claim, ClaimFile, claims_of, paper_names
from benchmark.claims.judging import Judged, JudgedPaper, Outcome, judge_papers, verdict_on
from benchmark.cli import main
from benchmark.reporting.claims import HEADING, found_text, page_of, print_claims, rows, write_claims
from benchmark.running.records import Record, RecordStore
from benchmark.stats import Interval

Make = Callable[..., Record]
HOSTILE = "a|b<img src=x onerror=alert(1)>[c](javascript:d)`e`*f*\n# g"
TOML = """
paper = "LAF"
title = "Title | of it"
written = 2026-11-22

[claims.forgets]
title = "It forgets"
text = "Nothing is left."
source = "abstract"
sure = "abstract"
note = "A note."

[[claims.forgets.checks]]
kind = "bound"
suite = "smoke"
scenarios = ["digits", "four-gaussians"]
method = "svd-forgetting"
metric = "accuracy.test.forget"
most = 1
tolerance = 0.5
threshold = "1 %"

[claims.far]
title = "It works elsewhere"
text = "There, too."
source = "Table 3"
sure = "second-hand"
needs = "a cluster"
"""


def outcome(mean: float, half: float | None, unit: str, says: Any = "holds", remark: str = "") -> Outcome:
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return Outcome(1, "s/x", "m", unit, Interval(mean, low, high, 1 if half is None else 5), says, remark)


@pytest.mark.parametrize(
    ("mean", "half", "unit", "text"),
    [
        (97.123, 0.5, "%", "97.1 ± 0.5 %"),
        (1.25, 0.25, "points", "+1.2 ± 0.2 points"),
        (-1.25, 0.0, "points", "-1.2 points"),
        (0.001, 0.0, "points", "0.0 points"),
        (0.98765, 0.01, "", "0.988 ± 0.010"),
        (-1.0, 0.0, "rank correlation", "-1.000"),
        (12.3456, 1.0, "distance", "12.3 ± 1.0"),
        (5.0, None, "samples", "5.0 samples"),
    ],
)
def test_how_a_result_is_written(mean: float, half: float | None, unit: str, text: str) -> None:
    assert found_text(outcome(mean, half, unit)) == text


def test_nothing_found_is_a_dash() -> None:
    assert found_text(Outcome(1, "s/x", "m", "%", None, "missing", "none")) == "-"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_record: Make) -> Iterator[Path]:
    """Results of two seeds of the digits, and one paper with two claims in the place of the five."""
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "toy.toml").write_text(TOML)
    monkeypatch.setattr(declared, "FOLDER", tmp_path / "claims")
    claims_of.cache_clear()
    store = RecordStore(tmp_path / "results")
    for seed in (0, 1):
        for method, value in {"original": 95.0, "retrain": 0.0, "svd-forgetting": 1.0}.items():
            store.write(make_record(method, {"accuracy.test.forget": value}, seed=seed), {})
    yield tmp_path
    claims_of.cache_clear()


def test_the_page(toy: Path) -> None:
    path = write_claims(toy / "results", toy / "reports")
    assert path == toy / "reports" / "claims.md"
    text = path.read_text("utf-8")
    assert text.startswith(f"{HEADING}\n")
    assert "written down on 2026-11-22" in text.replace("\n", " ")
    assert "2 claims: 1 reproduced, 1 not testable here." in text
    lines = text.splitlines()
    assert "| LAF | [It forgets](#toy-forgets) | **reproduced** | holds 1, could not be made 1 | smoke |" in lines
    assert "| LAF | [It works elsewhere](#toy-far) | **not testable here** | needs a cluster | - |" in lines
    assert "**Reproduced**: holds 1, could not be made 1. Nothing is left." in lines
    assert "Source: abstract (*abstract*: said in the paper's abstract). A note." in lines
    assert any(line.endswith(r"at most 1, with a tolerance of 0.5 \(the paper: 1 %\).") for line in lines)
    assert "| smoke/digits | svd-forgetting | 1.0 % | 2 | holds |" in lines
    assert "Not made in smoke/four-gaussians: no records." in lines
    for anchor in re.findall(r"\]\(#(.*?)\)", text):
        assert f'<a id="{anchor}"></a>' in lines


def test_the_same_records_give_the_same_bytes(toy: Path) -> None:
    first = write_claims(toy / "results", toy / "a")
    second = write_claims(toy / "results", toy / "b")
    assert first is not None
    assert second is not None
    assert first.read_bytes() == second.read_bytes()


def test_without_records_no_page_of_ours_is_left(toy: Path) -> None:
    reports = toy / "reports"
    write_claims(toy / "results", reports)
    assert write_claims(toy / "nothing", reports) is None
    assert not (reports / "claims.md").exists()
    (reports / "claims.md").write_text("# My claims\n")
    assert write_claims(toy / "nothing", reports) is None
    assert (reports / "claims.md").read_text() == "# My claims\n"


def test_text_from_outside_is_plain_text() -> None:
    checks = [Bound(method="m", metric="tow", suite=HOSTILE, scenarios=["s"], least=0, threshold=HOSTILE)]
    claim = Claim(HOSTILE, HOSTILE, HOSTILE, "abstract", checks, HOSTILE)
    missing = Outcome(1, HOSTILE, HOSTILE, "", None, "missing", HOSTILE)
    made = [Outcome(1, HOSTILE, HOSTILE, "%", Interval(1.0, 0.5, 1.5, 3), "holds", HOSTILE), missing]
    verdict, _ = verdict_on(claim, made)
    file = ClaimFile("LAF", HOSTILE, datetime.date(2026, 11, 22), {"a": claim})
    text = page_of([JudgedPaper("laf", file, [Judged("laf", "a", claim, verdict, HOSTILE, made)])])
    assert "<img" not in text
    assert "](javascript" not in text
    assert "\n# g" not in text
    for line in text.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) == 6


def test_a_claim_against_several_says_how_each_of_them_fares() -> None:
    claim = Claim("t", "Text.", "s", "abstract", [Bound(method="m", metric="tow", suite="s", scenarios=["s"], least=0)])
    half = Interval(1.0, 0.5, 1.5, 3)
    made = [Outcome(1, "s/x", "m less a", "", half, says, "", name) for name, says in (("a", "holds"), ("b", "fails"))]
    file = ClaimFile("LAF", "t", datetime.date(2026, 11, 22), {"a": claim})
    text = page_of([JudgedPaper("laf", file, [Judged("laf", "a", claim, "partly", "w", [*made, made[0]])])])
    assert "**Partly**: w. Text. Against a: holds 2; b: fails 1." in text
    assert "Against" not in page_of([JudgedPaper("laf", file, [Judged("laf", "a", claim, "partly", "w", made[:1])])])


def test_a_difference_says_how_many_it_is_to() -> None:
    one = Difference(method="m", metric="tow", suite="smoke", scenarios=["s"], versus=["a"], above=0)
    several = Difference(method="m", metric="tow", suite="smoke", scenarios=["s"], versus=["a", "b"], above=0, most=2)
    assert one.statistic == "tow of m less a, paired by seed"
    assert several.statistic == "tow of m less each of a, b, paired by seed"
    assert (one.limits, several.limits) == ("above 0", "above 0 and at most 2")


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["claims", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_command(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--results", str(toy / "results"), "--reports", str(toy / "reports")]
    assert call(*where) == 0
    shown = capsys.readouterr().out
    assert "It forgets" in shown
    assert "1 reproduced" in shown
    assert (toy / "reports" / "claims.md").is_file()
    assert call(*where, "--format", "json", "--paper", "toy") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["verdict"] for one in found] == ["reproduced", "not testable here"]
    (check,) = found[0]["checks"]
    assert check["outcomes"][0]["found"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 2}
    assert check["outcomes"][1]["found"] is None


def test_exit_codes_of_the_command(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--results", str(toy / "nothing"), "--reports", str(toy / "reports")]
    assert call(*where) == 3
    assert "there are no records" in capsys.readouterr().err
    assert not (toy / "reports").exists()
    where = ["--results", str(toy / "results"), "--reports", str(toy / "reports")]
    assert call(*where, "--format", "jsn") == 2
    assert "unknown format 'jsn'; did you mean json?" in capsys.readouterr().err
    assert call(*where, "--paper", "toi") == 2
    assert "unknown paper 'toi'; did you mean toy?" in capsys.readouterr().err
    assert not (toy / "reports").exists()


def test_a_terminal_shows_every_claim(toy: Path) -> None:
    judged = judge_papers(paper_names(), toy / "results")
    assert judged is not None
    console = Console(width=200, record=True, file=io.StringIO())
    print_claims(judged, console)
    text = console.export_text()
    assert "It works elsewhere" in text
    assert "2 claims: 1 reproduced, 1 not testable here" in text
    assert [one["claim"] for one in rows(judged)] == ["forgets", "far"]
