"""The claims that come with the package, and every way to write one wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomlkit

from benchmark.claims.checks import KINDS
from benchmark.claims.declared import SURE, claims_of, paper_names, read_claims
from benchmark.claims.names import check_names
from benchmark.errors import InputError
from benchmark.published import MARKS, QUOTED, papers

CHECK: dict[str, Any] = {
    "kind": "bound",
    "suite": "smoke",
    "scenarios": ["digits"],
    "method": "svd-forgetting",
    "metric": "accuracy.test.forget",
    "below": 1.0,
}
MEASURED: dict[str, Any] = {"suite": None, "scenarios": None, "method": None, "study": "x", "measurement": "m"}
CLAIM: dict[str, Any] = {"title": "t", "text": "t", "source": "s", "sure": "abstract", "checks": [CHECK]}


def written(folder: Path, claim: dict[str, Any] | None = None, paper: str = "LAF", **check: Any) -> Path:
    """A file with one claim of one check; fields that are None are left out."""
    changed = {name: value for name, value in {**CHECK, **check}.items() if value is not None}
    one = {**CLAIM, "checks": [changed], **(claim or {})}
    content = {"paper": paper, "title": "t", "claims": {"a": one}}
    path = folder / "paper.toml"
    path.write_text("written = 2026-11-22\n" + tomlkit.dumps(content))
    return path


@pytest.mark.parametrize("name", paper_names())
def test_every_claim_names_what_is_there(name: str) -> None:
    file = claims_of(name)
    check_names(file, f"{name}.toml")
    assert len(file.claims) >= 5
    assert all(claim.checks or claim.needs for claim in file.claims.values())


def test_every_paper_has_claims() -> None:
    assert {claims_of(name).paper for name in paper_names()} == set(papers())


def test_degrees_of_certainty_are_those_of_published_numbers() -> None:
    assert set(SURE) - {"first-hand", "official code"} <= set(MARKS) - {QUOTED}


def test_a_file_is_read(tmp_path: Path) -> None:
    file = read_claims(written(tmp_path))
    check_names(file, "paper.toml")
    check = file.claims["a"].checks[0]
    assert (check.kind, check.limits) == ("bound", "below 1")
    assert check.statistic == "accuracy.test.forget of svd-forgetting, mean over base models"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "boud"}, r"claims\.a, check 1: unknown kind of check 'boud'; did you mean bound\?"),
        ({"kind": None}, r"paper\.toml"),
        ({"metrics": "tow"}, r"unknown key 'metrics'; did you mean metric"),
        ({"below": "1"}, r"paper\.toml: .*below"),
        ({"below": None}, "it has no limit: above, least, most or below"),
        ({"tolerance": -1.0}, "tolerance must be at least 0, not -1.0"),
        ({"suite": None}, "in a suite or in a study: give one of them"),
        ({"study": "x"}, "in a suite or in a study: give one of them"),
        ({"scenarios": []}, "a suite has scenarios"),
        ({"at": 1.0}, "a suite has scenarios, and neither a sweep nor a point"),
        ({"suite": None, "study": "x"}, "a study has a sweep or a measurement, and no scenarios"),
        ({"points": [1.0]}, "a suite has scenarios, and neither a sweep nor a point"),
        (
            {"suite": None, "scenarios": None, "study": "x", "sweep": "s", "at": 1.0, "points": [2.0]},
            r"one point \(at\) or several \(points\), not both",
        ),
        ({"method": None}, "method: it is missing"),
        ({"suite": None, "scenarios": None, "study": "x", "measurement": "m"}, "method: a measurement has none"),
        (
            {**MEASURED, "kind": "divergence", "useless": 1.0},
            "of a measurement there are bounds, differences and transfers, not divergence",
        ),
        ({"kind": "transfer", "metric": None, "of": "a", "to": ["b"]}, "measurement is missing"),
        ({**MEASURED, "kind": "difference", "versus": ["retrain"]}, "versus: a measurement has no methods"),
        ({"kind": "difference"}, "difference to versus or to another metric"),
        ({"kind": "difference", "versus": ["retrain"], "less": "tow"}, "difference to versus or to another metric"),
        ({"kind": "difference", "versus": ["retrain"], "versus_sweep": "x"}, "are of studies, and this is a suite"),
        ({"kind": "ratio", "metric": None, "versus": []}, "versus: there is none"),
        ({"kind": "trend", "over": "x"}, "a trend is over the points of a study's sweep"),
        ({"kind": "reads", "metric": None, "what": "lables"}, r"paper\.toml"),
    ],
)
def test_a_check_that_is_wrong(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_claims(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"suite": "smok"}, r"paper\.toml: claims\.a, check 1: unknown suite 'smok'; did you mean smoke\?"),
        ({"scenarios": ["digit"]}, r"unknown scenario of smoke 'digit'; did you mean digits"),
        ({"method": "svd"}, r"digits: unknown method 'svd'; did you mean svd-forgetting\?"),
        (
            {"metric": "accuracy.test.forgot"},
            r"unknown metric 'accuracy.test.forgot'; did you mean accuracy.test.forget",
        ),
        ({"metric": "cav.alignment"}, r"unknown metric of class-forget 'cav.alignment'"),
        ({"kind": "difference", "versus": ["retrian"]}, r"unknown method 'retrian'; did you mean retrain\?"),
        (
            {"kind": "ratio", "metric": None, "versus": ["finetune"], "per": "epoch"},
            r"unknown hyper-parameter of svd-forgetting 'epoch'",
        ),
        (
            {"kind": "reads", "metric": None, "what": "labels", "views": ["retian"]},
            r"unknown view of class-forget 'retian'; did you mean retain",
        ),
    ],
)
def test_a_name_that_is_not_there(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_names(read_claims(written(tmp_path, **changes)), "paper.toml")


@pytest.mark.parametrize(
    ("claim", "paper", "says"),
    [
        (
            {"sure": "abstrakt"},
            "LAF",
            r"claims\.a\.sure: unknown degree of certainty 'abstrakt'; did you mean abstract",
        ),
        ({"checks": []}, "LAF", r"claims\.a: it has neither checks nor what it needs"),
        ({}, "LAFF", r"paper: unknown paper 'LAFF'; did you mean LAF\?"),
    ],
)
def test_a_claim_that_is_wrong(tmp_path: Path, claim: dict[str, Any], paper: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_claims(written(tmp_path, claim, paper))


def test_a_paper_that_there_is_none_of() -> None:
    with pytest.raises(InputError, match=r"unknown paper 'gern'; did you mean gerne\?"):
        claims_of("gern")


def test_a_study_that_is_not_there_yet_has_no_names_to_check(tmp_path: Path) -> None:
    path = written(tmp_path, suite=None, scenarios=None, study="never-written", sweep="anything")
    check_names(read_claims(path), "paper.toml")


def test_every_kind_says_what_it_computes(tmp_path: Path) -> None:
    more: dict[str, dict[str, Any]] = {
        "bound": {},
        "difference": {"versus": ["finetune", "retrain"], "against": "median"},
        "ratio": {"versus": ["finetune"], "metric": None},
        "reads": {"what": "labels", "metric": None, "views": ["retain"]},
        "divergence": {"useless": 10.0},
        "transfer": {**MEASURED, "metric": None, "of": "a", "to": ["b"]},
        "trend": {"over": "x", "study": "s", "sweep": "s", "suite": None, "scenarios": None},
    }
    assert set(more) == set(KINDS)
    said = {}
    for kind, changes in more.items():
        said[kind] = read_claims(written(tmp_path, kind=kind, **changes)).claims["a"].checks[0].statistic
    assert said["difference"].startswith("accuracy.test.forget of svd-forgetting less the median of finetune, retrain")
    assert said["reads"] == "labels that svd-forgetting reads of retain"
    assert len(set(said.values())) == len(KINDS)
