"""Claims judged on made-up records, whose answers are known."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.claims.declared import Claim, ClaimFile
from benchmark.claims.evidence import Evidence
from benchmark.claims.judging import ACROSS, Judged, Outcome, judge_paper, verdict_on
from benchmark.claims.names import check_names
from benchmark.config import convert
from benchmark.errors import InputError
from benchmark.running.plan import make_plan
from benchmark.running.records import STUDIES, Failure, Record, RecordStore
from benchmark.studies import definition, found
from benchmark.studies.definition import load_study
from benchmark.studies.expansion import expanded
from benchmark.studies.measured import Measurement

Make = Callable[..., Record]
Keep = Callable[[Iterable[Record]], Path]
Board = Callable[..., list[Record]]
METRIC = "accuracy.test.forget"
SEEDS = (0, 1, 2)
STUDY = """
title = "t"
question = "q"
paper = "arXiv:1"
suite = "smoke"
metrics = ["accuracy.test.forget"]

[sweeps.samples]
scenario = "digits"
methods = ["svd-forgetting"]
x = "samples a class"
parameters.retain_per_class = [1, 3, 10]

[measurements.widths]
of = "toy_widths"
points.beta = [0, 1]
x = "beta"
metrics = ["width", "height"]
"""


@pytest.fixture
def results(tmp_path: Path, make_record: Make) -> Callable[[Iterable[Record]], Path]:
    """A results folder with these records."""

    def keep(records: Iterable[Record]) -> Path:
        store = RecordStore(tmp_path / "results")
        for record in records:
            store.write(record, {})
        return tmp_path / "results"

    return keep


@pytest.fixture
def board(make_record: Make) -> Callable[..., list[Record]]:
    """Three seeds of original, retrain, svd-forgetting and finetune: ``board(svd=[...], finetune=[...])``."""

    def make(svd: Iterable[float] = (1.0, 2.0, 3.0), finetune: Iterable[float] = (5.0, 5.0, 5.0)) -> list[Record]:
        values = {"original": [90.0] * 3, "retrain": [0.0] * 3, "svd-forgetting": svd, "finetune": finetune}
        return [
            make_record(method, {METRIC: value}, seed=seed)
            for method, own in values.items()
            for seed, value in zip(SEEDS, own, strict=True)
        ]

    return make


def claim_of(*checks: dict[str, Any], **more: Any) -> Claim:
    defaults = {"suite": "smoke", "scenarios": ["digits"], "method": "svd-forgetting"}
    own = [check if "study" in check else {**defaults, **check} for check in checks]
    raw = {"title": "t", "text": "t", "source": "s", "sure": "abstract", "checks": own, **more}
    return convert(raw, Claim, "test")


def judge(claim: Claim, results: Path) -> Judged:
    file = ClaimFile("LAF", "t", datetime.date(2026, 11, 22), {"a": claim})
    check_names(file, "test")
    return judge_paper("laf", file, Evidence(results, claim.checks))[0]


def only(results: Path, **check: Any) -> Outcome:
    (outcome,) = judge(claim_of(check), results).outcomes
    return outcome


@pytest.mark.parametrize(("limit", "says"), [(6.0, "holds"), (2.0, "undecided"), (-3.0, "fails")])
def test_a_bound(results: Keep, board: Board, limit: float, says: str) -> None:
    found = only(results(board()), kind="bound", metric=METRIC, below=limit)
    assert (found.says, found.where, found.what, found.unit) == (says, "smoke/digits", "svd-forgetting", "%")
    assert found.found is not None
    assert (found.found.mean, found.found.n) == (2.0, 3)
    assert found.found.low == pytest.approx(2 - 4.302653 / 3**0.5)


def test_a_metric_that_is_relative_to_retraining(results: Keep, board: Board) -> None:
    found = only(results(board()), kind="bound", metric=f"{METRIC}.gap", least=-100)
    assert found.found is not None
    assert (found.found.mean, found.unit) == (2.0, "points")


@pytest.mark.parametrize(
    ("finetune", "says"), [((5.0, 6.0, 7.0), "holds"), ((-3.0, -2.0, -1.0), "fails"), ((5.0, -5.0, 5.0), "undecided")]
)
def test_a_difference_is_paired(results: Keep, board: Board, finetune: list[float], says: str) -> None:
    folder = results(board(finetune=finetune))
    found = only(folder, kind="difference", metric=METRIC, versus=["finetune"], below=0)
    assert (found.says, found.what, found.unit) == (says, "svd-forgetting less finetune", "points")
    if says == "holds":  # the same 4 points for every seed, however far the seeds are apart
        assert found.found is not None
        assert found.found[:3] == (-4.0, -4.0, -4.0)


def test_differences_to_each_and_to_the_median(results: Keep, board: Board) -> None:
    folder = results(board(svd=(2.0, 2.0, 2.0), finetune=(5.0, 1.0, 5.0)))
    versus = ["finetune", "retrain", "original"]
    each = judge(claim_of({"kind": "difference", "metric": METRIC, "versus": versus, "below": 0}), folder)
    assert [one.what.split()[-1] for one in each.outcomes] == versus
    assert [one.says for one in each.outcomes] == ["undecided", "fails", "holds"]
    middle = only(folder, kind="difference", metric=METRIC, versus=versus, against="median", below=0)
    assert middle.what == "svd-forgetting less the median of finetune, retrain, original"
    assert middle.found is not None
    assert middle.found.mean == pytest.approx(2 - 11 / 3)  # of 5, 1 and 5: the original knows all, retraining nothing


def test_a_difference_of_two_metrics_of_the_same_cells(results: Keep, board: Board) -> None:
    found = only(results(board()), kind="difference", metric=METRIC, less=f"{METRIC}.gap", least=0)
    assert found.found is not None
    assert (found.says, found.found.mean) == ("holds", 0.0)


def test_a_ratio_of_costs_of_runs_on_one_machine(results: Keep, board: Board, make_record: Make) -> None:
    records = [msgspec.structs.replace(one, cost=_cost(one)) for one in board()]
    folder = results(records)
    found = only(folder, kind="ratio", versus=["finetune"], most=0.5)
    assert (found.says, found.what, found.remark) == ("holds", "svd-forgetting / finetune", "")
    assert found.found is not None
    assert (found.found.mean, found.found.n) == (0.25, 3)
    elsewhere = {"machine": "another"}
    moved = [msgspec.structs.replace(one, environment=elsewhere) for one in records if one.cell.method == "finetune"]
    results(moved[:1])
    fewer = only(folder, kind="ratio", versus=["finetune"], most=0.5)
    assert fewer.found is not None
    assert fewer.found.n == 2
    results(moved)
    assert only(folder, kind="ratio", versus=["finetune"], most=0.5).remark == "no pair of runs on one machine"


def test_a_ratio_of_costs_of_an_epoch(results: Keep, make_record: Make) -> None:
    methods = ("original", "retrain", "finetune", "neggrad-plus")
    records = [make_record(m, {}, seed=seed, scenario="digits-data-removal") for m in methods for seed in SEEDS]
    epochs = {r.cell.method: r.cell.parameters.get("epochs", 1) for r in records}
    told = [_seconds(r, 3.0 * epochs[r.cell.method] if r.cell.method == "finetune" else 6.0) for r in records]
    check = {"method": "finetune", "kind": "ratio", "versus": ["neggrad-plus"], "most": 1}
    where = {"suite": "smoke", "scenarios": ["digits-data-removal"]}
    found = only(results(told), **check, **where, per="epochs")
    assert found.found is not None
    assert found.found.mean == pytest.approx(3.0 / (6.0 / epochs["neggrad-plus"]))
    assert found.against == "neggrad-plus"


def _seconds(record: Record, seconds: float) -> Record:
    return msgspec.structs.replace(record, cost=msgspec.structs.replace(record.cost, device_seconds=seconds))


def _cost(record: Record) -> Any:
    return _seconds(record, (record.cell.seed + 1) * (4.0 if record.cell.method == "finetune" else 1.0)).cost


def test_costs_of_shared_cores_are_told(results: Keep, board: Board) -> None:
    records = [msgspec.structs.replace(r, cost=msgspec.structs.replace(r.cost, exclusive=False)) for r in board()]
    found = only(results(records), kind="ratio", versus=["finetune"], most=1)
    assert (found.says, found.remark) == ("holds", "some of these runs shared their cores")


def test_what_was_read(results: Keep, board: Board) -> None:
    ledger = [{"retain": {"samples": 40, "labels": 0, "passes": 40}, "forget": {"samples": 10, "passes": 10}}]
    records = [msgspec.structs.replace(r, access=ledger) if r.cell.method == "svd-forgetting" else r for r in board()]
    folder = results(records)
    assert only(folder, kind="reads", what="labels", most=0).says == "holds"
    assert only(folder, kind="reads", what="samples", most=49).says == "fails"
    assert only(folder, kind="reads", what="samples", views=["forget"], most=10).says == "holds"
    assert only(folder, kind="reads", what="passes", per="samples", most=1).says == "holds"
    compared = only(folder, kind="reads", what="samples", versus=["finetune"], most=4)
    assert compared.found is not None
    assert (compared.says, compared.found.mean) == ("fails", 5.0)
    none = only(folder, kind="reads", what="masks", versus=["finetune"], most=1)
    assert (none.says, none.remark) == ("missing", "finetune reads none")


def _diverged(record: Record) -> Record:
    failure = Failure("DivergenceError", "the loss is not finite")
    return msgspec.structs.replace(record, status="failed", failure=failure, metrics={})


def test_divergence_counts_failures_flags_and_what_is_useless(results: Keep, board: Board) -> None:
    own = [record for record in board(svd=(50.0, 50.0, 50.0)) if record.cell.method == "svd-forgetting"]
    others = [record for record in board() if record.cell.method != "svd-forgetting"]
    check = {"kind": "divergence", "metric": METRIC, "useless": 10.0, "least": 100.0}
    folder = results([*others, *own])
    assert only(folder, **check).says == "fails"
    results([_diverged(own[0])])
    some = only(folder, **check)
    assert some.found is not None
    assert (some.says, round(some.found.mean, 3)) == ("undecided", 33.333)
    results([msgspec.structs.replace(own[1], flags=["the amended model's outputs are not finite"])])
    results(
        [msgspec.structs.replace(own[2], metrics={METRIC: msgspec.structs.replace(own[2].metrics[METRIC], value=9.0)})]
    )
    assert only(folder, **check).says == "holds"
    other = Failure("MemoryError", "no memory")
    results([msgspec.structs.replace(record, status="failed", failure=other, metrics={}) for record in own])
    assert only(folder, **check).says == "fails"


def test_rows_that_are_not_sound_are_left_out(results: Keep, board: Board) -> None:
    records = board()
    folder = results(records)
    check = {"kind": "bound", "metric": METRIC, "below": 100}
    assert only(folder, **check).says == "holds"
    results([_diverged(record) for record in records[6:7]])
    failed = only(folder, **check)
    assert failed.says == "missing"
    assert failed.remark.startswith("svd-forgetting is failed: seed 0: failed: DivergenceError")
    results([msgspec.structs.replace(record, flags=["its outputs are odd"]) for record in records[6:7]])
    odd = only(folder, **check)
    assert (odd.says, odd.remark) == ("missing", "svd-forgetting is unreliable: seed 0: its outputs are odd")
    no_seed_two = [record for record in records if record.cell.seed != 2 or record.cell.method != "finetune"]
    assert only(results(no_seed_two), kind="bound", method="retrain", metric=METRIC, below=1).says == "holds"


def test_one_base_model_is_no_evidence(results: Keep, board: Board) -> None:
    folder = results([record for record in board() if record.cell.seed == 0])
    judged = judge(claim_of({"kind": "bound", "metric": METRIC, "below": 100}), folder)
    assert judged.verdict == "not testable here"
    assert judged.why == "one base model: there is no interval"
    assert judged.outcomes[0].found is not None
    assert judged.outcomes[0].found.mean == 1.0


def test_what_is_not_there_is_said(results: Keep, board: Board, make_record: Make) -> None:
    folder = results([record for record in board() if record.cell.method != "finetune"])
    check = {"kind": "difference", "metric": METRIC, "versus": ["finetune"], "below": 0}
    assert judge(claim_of(check), folder).why == "no records of finetune"
    assert judge(claim_of(check, needs="a week"), folder).why == "needs a week"
    blank = only(folder, kind="bound", metric="relearn.steps", below=0)
    assert (blank.says, blank.remark) == ("missing", "relearn.steps of svd-forgetting is blank")


@pytest.mark.parametrize(
    ("says", "verdict", "why"),
    [
        (["holds", "holds"], "reproduced", "holds 2"),
        (["holds", "missing"], "reproduced", "holds 1, could not be made 1"),
        (["holds", "fails"], "partly", "holds 1, fails 1"),
        (["holds", "undecided"], "partly", "holds 1, undecided 1"),
        (["undecided", "fails", "fails"], "not reproduced", "undecided 1, fails 2"),
        (["undecided", "missing"], "not testable here", f"undecided 1, could not be made 1: {ACROSS}"),
        (["missing"], "not testable here", "why"),
        ([], "not testable here", ""),
    ],
)
def test_verdicts(says: list[Any], verdict: str, why: str) -> None:
    made = [Outcome(1, "w", "w", "%", None, one, "why") for one in says]
    assert verdict_on(claim_of(), made) == (verdict, why)


Values = dict[float, list[float]]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_record: Make) -> Callable[[Values], Path]:
    """Results of a study of three points: the metric by point and seed."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "toy-samples.toml").write_text(STUDY)
    monkeypatch.setattr(definition, "FOLDER", tmp_path / "studies")

    def make(values: Values) -> Path:
        made = expanded(load_study("toy-samples"))
        assert made.suite is not None
        store = RecordStore(tmp_path / "results" / STUDIES)
        for cell in make_plan(made.suite, list(SEEDS), "cpu", store).cells:
            x = made.places[cell.scenario].point.x
            fixed = {"retrain": 0.0, "original": 90.0}
            value = fixed[cell.method] if cell.method in fixed else values[float(x)][cell.seed]
            store.write(make_record(cell.method, {METRIC: value}, cell=cell), {})
        return tmp_path / "results"

    return make


VALUES: Values = {1: [50.0, 40.0, 60.0], 3: [20.0, 10.0, 30.0], 10: [1.0, 2.0, 3.0]}
AT = {"study": "toy-samples", "sweep": "samples", "method": "svd-forgetting", "metric": METRIC}


def test_a_study_that_has_not_been_run_or_is_not_there(results: Keep, study: Callable[[Values], Path]) -> None:
    folder = results([])
    for check in ({"kind": "bound", "at": 10, "below": 1}, {"kind": "trend", "over": "x", "below": 0}):
        found = only(folder, **{**AT, **check})
        assert (found.says, found.remark) == ("missing", "the study toy-samples has not been run")
    other = only(folder, **{**AT, "kind": "bound", "study": "toy-labels", "below": 1})
    assert other.remark == "the study toy-labels has not been run"


def test_points_of_a_study(study: Callable[[Values], Path]) -> None:
    folder = study(VALUES)
    point = only(folder, **AT, kind="bound", at={"retain_per_class": 10}, most=7)
    assert (point.says, point.where) == ("holds", "toy-samples/samples, retain_per_class = 10")
    assert only(folder, **AT, kind="bound", at=10, most=7).found == point.found
    apart = only(folder, **AT, kind="difference", at=10, versus_at=3, below=0)
    assert (apart.says, apart.what) == ("undecided", "svd-forgetting less svd-forgetting at 3")
    assert apart.found is not None
    assert apart.found.mean == -18.0
    reference = only(folder, **AT, kind="difference", at=10, versus=["original"], below=-50)
    assert reference.found is not None
    assert (reference.says, reference.found.mean) == ("holds", -88.0)
    each = judge(claim_of({**AT, "kind": "bound", "points": [1, {"retain_per_class": 10}], "most": 7}), folder)
    assert [(one.where, one.says) for one in each.outcomes] == [
        ("toy-samples/samples, 1", "fails"),
        ("toy-samples/samples, retain_per_class = 10", "holds"),
    ]


def test_a_trend_over_a_study(study: Callable[[Values], Path]) -> None:
    folder = study(VALUES)
    down = only(folder, **AT, kind="trend", over="retain_per_class", below=0)
    assert down.found is not None
    assert (down.says, down.found.mean, down.unit) == ("holds", -1.0, "rank correlation")
    few = only(folder, **AT, kind="trend", over="retain_per_class", low=3, below=0)
    assert (few.says, few.remark) == ("missing", "too few points")
    store = RecordStore(folder / STUDIES)
    for record in [one for one in store.all() if one.cell.method == "original"]:  # they have never learnt the class
        own = {METRIC: msgspec.structs.replace(record.metrics[METRIC], value=5.0)}
        store.write(msgspec.structs.replace(record, metrics=own), {})
    poor = only(folder, **AT, kind="trend", over="retain_per_class", below=0)
    assert (poor.says, poor.remark) == ("missing", "too few points")


def test_runs_of_a_study_that_diverged(study: Callable[[Values], Path]) -> None:
    folder = study(VALUES)
    record = next(iter(r for r in RecordStore(folder / STUDIES).all() if r.cell.method == "svd-forgetting"))
    RecordStore(folder / STUDIES).write(_diverged(record), {})
    at = record.cell.parameters["retain_per_class"]
    left_out = only(folder, **AT, kind="bound", at=at, below=100)
    assert (left_out.says, left_out.remark) == ("missing", "svd-forgetting is failed: seed 0")
    counted = only(folder, **AT, kind="divergence", useless=0, at=at, least=100)
    assert counted.found is not None
    assert round(counted.found.mean, 3) == 33.333


def test_what_was_measured(study: Callable[[Values], Path], results: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    of = {"study": "toy-samples", "measurement": "widths", "method": "", "unit": "%"}
    missing = only(results([]), **of, kind="bound", metric="width", at={"beta": 0}, below=9)
    assert (missing.says, missing.remark) == ("missing", "it has not been measured")
    every = [_measured(beta, seed) for beta in (0, 1) for seed in SEEDS]
    monkeypatch.setattr(found, "read_measurements", lambda *_: every)
    folder = results([])
    bound = only(folder, **of, kind="bound", metric="width", at={"beta": 0}, least=5)
    assert bound.found is not None
    assert (bound.says, bound.what, bound.unit, bound.found.mean) == ("undecided", "widths", "%", 6.0)
    apart = only(folder, **of, kind="difference", metric="width", at={"beta": 1}, versus_at={"beta": 0}, above=0)
    assert apart.found is not None
    assert (apart.says, apart.what, apart.found.mean) == ("holds", "widths less widths at beta = 0", 10.0)
    less = only(folder, **of, kind="difference", metric="width", less="height", at={"beta": 1}, above=-1)
    assert less.found is not None
    assert (less.says, less.found.mean) == ("holds", 0.0)
    several = only(folder, **of, kind="bound", metric="width", least=5)
    assert several.remark == "6 measurements are meant, and not those of one point"
    for check in ({"kind": "bound", "at": {"beta": 2}}, {"kind": "difference", "at": {"beta": 1}, "versus_at": 0}):
        with pytest.raises(InputError, match="is no one point of widths"):
            only(folder, **of, **check, metric="width", least=5)


def test_factors_from_elsewhere(
    study: Callable[[Values], Path], results: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = definition.FOLDER / "toy-samples.toml"
    path.write_text(path.read_text() + SURFACE)
    of = {"study": "toy-samples", "measurement": "surface", "method": "", "kind": "transfer", "most": 0}
    assert only(results([]), **of, of="a", to=["b"]).remark == "it has not been measured"
    # At a the pair 1/1 is chosen, at b 2/1; on test samples 1/1 is worth 80 at b, of the 90 of its own pair.
    surfaces = {"a": {"1/1": (9.0, 95.0), "2/1": (5.0, 60.0)}, "b": {"1/1": (5.0, 80.0), "2/1": (9.0, 90.0)}}
    every = [_surface(place, seed, own) for place, own in surfaces.items() for seed in SEEDS]
    monkeypatch.setattr(found, "read_measurements", lambda *_: every)
    folder = results([])
    across, within = judge(claim_of({**of, "of": "a", "to": ["b", "a"]}), folder).outcomes
    assert (across.what, across.unit, across.says) == ("a to b", "points", "fails")
    assert across.found is not None
    assert (across.found.mean, across.found.n) == (10.0, 3)
    assert within.found is not None
    assert (within.what, within.says, within.found.mean) == ("a to its other classes", "holds", 0.0)
    with pytest.raises(InputError, match="unknown data 'c'"):
        only(folder, **of, of="a", to=["c"])


SURFACE = """
[measurements.surface]
of = "toy_surface"
points.data = ["a", "b"]
x = "data"
metrics = ["chosen"]
"""


def _surface(place: str, seed: int, pairs: dict[str, tuple[float, float]]) -> Measurement:
    values = {f"selection@{pair}": selection for pair, (selection, _) in pairs.items()}
    values |= {f"retain@{pair}": test for pair, (_, test) in pairs.items()}
    values |= {f"forget@{pair}": 0.0 for pair in pairs}
    return Measurement("toy-samples", "surface", {"data": place}, seed, values, "d", 1.0, {}, "2026-01-01")


def _measured(beta: int, seed: int) -> Measurement:
    width = 10.0 * beta + 5 + seed
    values = {"width": width, "height": width}
    return Measurement("toy-samples", "widths", {"beta": beta}, seed, values, "d", 1.0, {}, "2026-01-01")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"measurement": "width", "sweep": "", "method": ""},
            "unknown measurement of toy-samples 'width'; did you mean widths",
        ),
        (
            {"measurement": "widths", "sweep": "", "method": "", "metric": "widt", "at": {}},
            "unknown metric of widths 'widt'; did you mean width",
        ),
        (
            {"measurement": "widths", "sweep": "", "method": "", "metric": "width", "at": {"betta": 1}},
            "unknown field of widths 'betta'; did you mean beta",
        ),
        ({"sweep": "sample"}, "unknown sweep of toy-samples 'sample'; did you mean samples"),
        ({"method": "svd-forget"}, "unknown method 'svd-forget'; did you mean svd-forgetting"),
        ({"at": 2}, "2.0 is 0 points of samples, not one; on its axis there are 1, 3, 10"),
        ({"at": None}, "None is 3 points of samples, not one"),
        ({"at": {"retain_per_clas": 1}}, "unknown field of samples 'retain_per_clas'; did you mean retain_per_class"),
    ],
)
def test_names_of_a_study(study: Callable[[Values], Path], results: Keep, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        only(results([]), **{**AT, "kind": "bound", "at": 1, "below": 1, **changes})
