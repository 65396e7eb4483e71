"""The board: rows from records, paired by seed, in an order that means something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmark.boards.board import MetricCell, Row, build_board
from benchmark.discovery.methods import METHODS
from benchmark.reporting import cells
from benchmark.running.records import Record
from benchmark.stats import t_interval
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS

Make = Callable[..., Record]
SUITE = load_suite("smoke")
SAMPLES = "digits-data-removal"
GOOD = {
    "accuracy.test.retain": 97.0,
    "accuracy.test.forget": 0.0,
    "accuracy.test.all": 87.0,
    "accuracy.train.retain": 100.0,
    "accuracy.train.forget": 0.0,
    "mia.loss.auc": 50.0,
    "relearn.steps": 20.0,
}
KNOWS = {**GOOD, "accuracy.test.forget": 98.0, "accuracy.train.forget": 100.0}


def by_method(records: list[Record], **options: Any) -> dict[str, Row]:
    return {row.method: row for row in build_board(records, **options)}


def block(make: Make, seeds: int = 3) -> list[Record]:
    return [make(m, v, seed=s) for s in range(seeds) for m, v in (("original", KNOWS), ("retrain", GOOD))]


def test_a_row_is_the_mean_and_interval_over_seeds(make_record: Make) -> None:
    values = [50.0, 53.0, 62.0]
    records = block(make_record)
    records += [make_record("finetune", {**GOOD, "mia.loss.auc": v}, seed=s) for s, v in enumerate(values)]
    row = by_method(records, suite=SUITE)["finetune"]
    expected = t_interval(values)
    assert row.metrics["mia.loss.auc"] == MetricCell(
        expected.mean, expected.low, expected.high, 3, "%", "reference", dict(enumerate(values))
    )
    assert row.metrics["mia.loss.auc.gap"] == MetricCell(
        pytest.approx(5.0),
        pytest.approx(expected.low - 50),
        pytest.approx(expected.high - 50),
        3,
        "points",
        "zero",
        {0: 0.0, 1: 3.0, 2: 12.0},
    )
    assert (row.n, row.cells, row.units) == (3, 3, 3)
    assert (row.task, row.scenario, row.kind, row.status, row.reasons) == (
        "class-forget",
        "digits",
        "baseline",
        "ok",
        [],
    )
    assert row.code == "current"
    assert row.devices == ["a processor"]


def test_gaps_are_paired_by_seed(make_record: Make) -> None:
    """Each cell is compared with the retrained model of its own seed; without one it has no gap."""
    references = [("retrain", {**GOOD, "relearn.steps": 20.0}), ("retrain", {**GOOD, "relearn.steps": 30.0})]
    records = [make_record(m, v, seed=s) for s, (m, v) in enumerate(references)]
    records += [make_record("finetune", {**GOOD, "relearn.steps": v}, seed=s) for s, v in enumerate((19.0, 28.0, 7.0))]
    row = by_method(records)["finetune"]
    assert row.metrics["relearn.steps"].n == 3
    assert row.metrics["relearn.steps.gap"].mean == -1.5
    assert row.metrics["relearn.steps.gap"].n == 2
    failed = [make_record("retrain", {}, seed=0, status="failed"), make_record("finetune", GOOD)]
    assert "relearn.steps.gap" not in by_method(failed)["finetune"].metrics


def test_the_reference_ties_with_itself(make_record: Make) -> None:
    row = by_method(block(make_record))["retrain"]
    assert row.metrics["tow"] == MetricCell(1.0, 1.0, 1.0, 3, "", "higher", dict.fromkeys(range(3), 1.0))
    assert row.metrics["mia.loss.auc.gap"].mean == 0.0
    assert row.cost.ratio_to_retrain == 1.0


def test_cells_of_one_base_are_no_replicates(make_record: Make, make_cell: Callable[..., Any]) -> None:
    """Two units of one seed are averaged first: n counts base models."""
    records = []
    for seed, unit, value in ((0, "class-0", 40.0), (0, "class-1", 60.0), (1, "class-1", 70.0)):
        cell = msgspec.structs.replace(make_cell("finetune", seed=seed), unit=unit)
        records.append(make_record("finetune", {"mia.loss.auc": value}, cell=cell))
    row = by_method(records)["finetune"]
    assert (row.n, row.cells, row.units) == (2, 3, 2)
    assert row.metrics["mia.loss.auc"].mean == 60.0
    assert row.metrics["mia.loss.auc"].n == 2


def test_references_come_first_cheats_last_and_the_rest_by_rank(make_record: Make) -> None:
    tows = {"finetune": 30.0, "svd-forgetting": 0.0, "svd-forgetting+search": 10.0}
    records = [make_record("logit-mask", GOOD, scenario="four-gaussians")]
    records += [
        make_record(m, {**GOOD, "accuracy.train.forget": v}, scenario="four-gaussians") for m, v in tows.items()
    ]
    records.append(make_record("scrub", {}, scenario="four-gaussians", status="failed"))
    records += [make_record(m, v, scenario="four-gaussians") for m, v in (("retrain", GOOD), ("original", KNOWS))]
    order = [row.method for row in build_board(records)]
    assert order == [
        "original", "retrain", "svd-forgetting", "svd-forgetting+search", "finetune", "scrub", "logit-mask",
    ]  # fmt: skip


def test_blocks_come_by_scenario_and_task_can_be_chosen(make_record: Make) -> None:
    records = [make_record("retrain", GOOD, scenario=name) for name in ("four-gaussians", "digits")]
    assert [row.scenario for row in build_board(records)] == ["digits", "four-gaussians"]
    assert len(build_board(records, task="class-forget")) == 2
    assert build_board(records, task="debias-known") == []
    strange = msgspec.structs.replace(records[0], cell=msgspec.structs.replace(records[0].cell, task="gone"))
    assert build_board([strange]) == []


@pytest.mark.parametrize("status", ["failed", "timeout", "out-of-memory", "disqualified"])
def test_a_failure_is_a_row_that_says_why(make_record: Make, status: str) -> None:
    records = [*block(make_record), make_record("finetune", GOOD), make_record("finetune", {}, seed=1, status=status)]
    row = by_method(records)["finetune"]
    assert row.status == status
    assert row.reasons == [f"seed 1: {status}: Error: it was {status}"]
    assert (row.n, row.cells) == (1, 2)  # the good cell's number is still there, and the count tells
    assert (row.rank, row.metrics["tow"].n) == (None, 1)


def test_a_row_without_results_has_no_numbers(make_record: Make) -> None:
    row = by_method([make_record("finetune", {}, status="failed")])["finetune"]
    assert (row.n, row.metrics, row.access) == (0, {}, {})
    assert msgspec.to_builtins(row.cost) == {
        "seconds": None, "device_seconds": None, "ratio_to_retrain": None, "peak_bytes": None, "exclusive": False,
    }  # fmt: skip


def test_flags_and_gates_make_rows_unreliable(make_record: Make) -> None:
    records = [*block(make_record), make_record("finetune", GOOD, seed=2, flags=["odd"])]
    rows = by_method(records)
    assert (rows["finetune"].status, rows["finetune"].reasons) == ("unreliable", ["seed 2: odd"])
    assert rows["retrain"].status == "ok"
    still = make_record("retrain", {**GOOD, "accuracy.test.forget": 6.0}, seed=1)
    records = [r for r in records if (r.cell.method, r.cell.seed) != ("retrain", 1)]
    rows = by_method([*records, still])
    assert {row.status for row in rows.values()} == {"unreliable"}  # the whole block
    assert all(any("seed 1: the retrained model still knows" in reason for reason in r.reasons) for r in rows.values())
    ignorant = make_record("original", {**KNOWS, "accuracy.test.forget": 49.0}, seed=0)
    rows = by_method([ignorant, make_record("retrain", GOOD), make_record("finetune", GOOD)])
    assert rows["finetune"].status == "unreliable"
    assert "seed 0: the base model hardly knows" in rows["finetune"].reasons[0]


def recast(record: Record, **changes: Any) -> Record:
    return msgspec.structs.replace(record, cell=msgspec.structs.replace(record.cell, **changes))


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({}, "ok", "current"),
        ({"versions": {"task": 1, "method": 99}}, "outdated", "current"),
        ({"versions": {"task": 0, "method": 1}}, "outdated", "current"),
        ({"parameters": {"lr": 1.0}}, "outdated", "current"),
        ({"settings": {"data": "digits"}}, "outdated", "current"),
        ({"method": "withdrawn"}, "outdated", "moved"),
        ({"digests": {"task": "0", "method": "0", "harness": "0"}}, "ok", "moved"),
    ],
)
def test_old_results_are_marked(make_record: Make, changes: dict[str, Any], status: str, code: str) -> None:
    records = [make_record("retrain", GOOD), recast(make_record("finetune", GOOD), **changes)]
    (row,) = [row for row in build_board(records, SUITE) if row.method != "retrain"]
    assert (row.status, row.code) == (status, code)
    assert bool(row.reasons) == (status != "ok")


def test_what_was_added_to_a_scenario_that_does_not_list_it_is_not_old(make_record: Make) -> None:
    added, listed = METHODS.get("scrub", "class-forget").defaults(), SUITE.scenarios["digits"].methods
    assert "scrub" not in listed
    for parameters, status in ((added, "ok"), ({**added, "batch_size": added["batch_size"] + 1}, "outdated")):
        own = recast(make_record("finetune", GOOD), method="scrub", parameters=parameters)
        rows = by_method([make_record("retrain", GOOD), own], suite=SUITE)
        assert rows["scrub"].status == status


def test_cost_is_a_ratio_to_retraining_of_the_same_seed_on_the_same_machine(make_record: Make) -> None:
    records = [make_record("retrain", GOOD, seed=s, cost=(9.0, c)) for s, c in enumerate((10.0, 40.0, 1.0))]
    records += [make_record("finetune", GOOD, seed=s, cost=(3.0, c)) for s, c in enumerate((1.0, 8.0))]
    elsewhere = {"machine": "another", "device": "another processor"}
    records.append(make_record("finetune", GOOD, seed=2, cost=(3.0, 900.0), environment=elsewhere))
    row = by_method(records)["finetune"]
    assert row.cost.ratio_to_retrain == pytest.approx((0.1 + 0.2) / 2)
    assert row.cost.seconds == 3.0
    assert row.cost.device_seconds == pytest.approx(303.0)
    assert row.cost.exclusive
    assert row.devices == ["a processor", "another processor"]


def test_one_shared_core_makes_a_cost_shared(make_record: Make) -> None:
    shared = make_record("finetune", GOOD, seed=1)
    shared = msgspec.structs.replace(
        shared, cost=msgspec.structs.replace(shared.cost, exclusive=False, peak_bytes=None)
    )
    row = by_method([make_record("finetune", GOOD), shared])["finetune"]
    assert not row.cost.exclusive
    assert row.cost.peak_bytes == 1000


def test_access_sums_requests_and_averages_cells(make_record: Make) -> None:
    two = [{"retain": {"samples": 10, "passes": 10}}, {"retain": {"samples": 6, "passes": 6}, "forget": {"passes": 2}}]
    records = [make_record("finetune", GOOD, access=two), make_record("finetune", GOOD, seed=1, access=[{}])]
    assert by_method(records)["finetune"].access == {
        "retain": {"samples": 8.0, "passes": 8.0},
        "forget": {"passes": 1.0},
    }


def test_blank_metrics_and_strange_ones(make_record: Make) -> None:
    values = {**GOOD, "mia.loss.tpr@1fpr": None, "of.another.version": 3.0}
    row = by_method([make_record("retrain", GOOD), make_record("finetune", values)])["finetune"]
    assert row.metrics["mia.loss.tpr@1fpr"] == MetricCell(None, None, None, 0, "%", "reference")
    assert row.metrics["mia.loss.auc"] == MetricCell(50.0, None, None, 1, "%", "reference", {0: 50.0})
    assert "of.another.version" not in row.metrics


def test_devices_have_rows_and_references_of_their_own(make_record: Make) -> None:
    records = []
    for device, steps in (("cpu", 20.0), ("cuda", 30.0)):
        for method, value in (("retrain", steps), ("finetune", 33.0)):
            records.append(recast(make_record(method, {**GOOD, "relearn.steps": value}), device=device))
    gaps = {(r.method, r.device): r.metrics["relearn.steps.gap"].mean for r in build_board(records)}
    assert gaps == {("retrain", "cpu"): 0, ("retrain", "cuda"): 0, ("finetune", "cpu"): 13, ("finetune", "cuda"): 3}


def test_a_row_without_its_reference_is_unreliable(make_record: Make) -> None:
    records = [make_record("retrain", GOOD), make_record("finetune", GOOD), make_record("finetune", GOOD, seed=1)]
    row = by_method(records)["finetune"]
    assert (row.status, row.reasons) == ("unreliable", ["seed 1: there is no retrained model to compare with"])


NAMES = ("accuracy.train.retain", "accuracy.train.forget", "accuracy.test.all", "mia.softmax.xgboost")


def apart(distance: float | None) -> dict[str, float | None]:
    """Metrics of label-free forgetting whose average gap to ``apart(0.0)`` is ``distance``."""
    return dict.fromkeys(NAMES, None if distance is None else 80.0 + distance)


def label_free(make: Make, distances: dict[str, float | None]) -> list[Record]:
    methods = {"retrain": 0.0, "original": 15.0, **distances}
    return [make(name, apart(value), scenario=SAMPLES) for name, value in methods.items()]


def test_the_smallest_gap_is_ranked_first_and_none_last(make_record: Make) -> None:
    distances = {"laf": 3.0, "finetune": -0.5, "neggrad-plus": None, "laf-r": 1.0}
    rows = build_board(label_free(make_record, distances), SUITE)
    assert [row.method for row in rows] == ["original", "retrain", "finetune", "laf-r", "laf", "neggrad-plus"]
    assert [row.metrics["gap.average"].mean for row in rows] == [15.0, 0.0, 0.5, 1.0, 3.0, None]
    assert {row.status for row in rows} == {"ok"}


def test_ranks_count_all_rows_and_those_without_labels(make_record: Make) -> None:
    distances = {"finetune": 1.0, "laf": 2.0, "laf-r": 3.0, "bad-teacher": 4.0, "neggrad-plus": None}
    rows = build_board(label_free(make_record, distances), SUITE)
    assert [(row.method, row.rank, row.rank_label_free) for row in rows] == [
        ("original", None, None), ("retrain", None, None), ("finetune", 1, None), ("laf", 2, 1), ("laf-r", 3, None),
        ("bad-teacher", 4, 2), ("neggrad-plus", None, None),
    ]  # fmt: skip
    assert [row.method for row in rows if row.label_free] == ["original", "laf", "bad-teacher"]
    assert [cells.ranks(row) for row in rows] == ["", "", "1", "2 (1)", "3", "4 (2)", ""]


def test_ranks_start_anew_in_every_scenario(make_record: Make) -> None:
    records = [make_record(m, GOOD, scenario=s) for s in ("digits", "four-gaussians") for m in ("retrain", "finetune")]
    assert [row.rank for row in build_board(records) if row.method == "finetune"] == [1, 1]


def test_a_partial_row_is_not_ranked_and_no_rank_is_left_out_for_it(make_record: Make) -> None:
    records = label_free(make_record, {"laf": 1.0, "laf-r": 2.0, "finetune": 3.0})
    records += [
        make_record(m, apart(3.0 * (m != "retrain")), scenario=SAMPLES, seed=1) for m in ("retrain", "finetune")
    ]
    records += [make_record("laf-r", apart(2.0), scenario=SAMPLES, seed=1)]
    rows = {row.method: row for row in build_board(records, SUITE)}
    assert rows["laf"].status == "partial"
    assert {name: row.rank for name, row in rows.items()} == {
        "original": None, "retrain": None, "laf-r": 1, "finetune": 2, "laf": None,
    }  # fmt: skip


@pytest.mark.parametrize("status", ["failed", "timeout", "out-of-memory", "disqualified", "partial"])
def test_a_row_without_all_of_its_results_stands_below_the_ranked_ones(make_record: Make, status: str) -> None:
    """However good the others are: here a method without labels, of whose two seeds one is the best of all."""
    best: dict[str, float | None] = {"laf": 0.1, "bad-teacher": 2.0, "finetune": 3.0}
    records = label_free(make_record, best)
    records += [
        make_record(m, apart(v), scenario=SAMPLES, seed=1)
        for m, v in {"retrain": 0.0, "original": 15.0, "bad-teacher": 2.0, "finetune": 3.0}.items()
    ]
    if status != "partial":
        records.append(make_record("laf", {}, scenario=SAMPLES, seed=1, status=status))
    records.append(
        make_record("neggrad-plus", {}, scenario=SAMPLES, status=status if status != "partial" else "failed")
    )
    rows = build_board(records, SUITE)
    assert [(row.method, row.rank, row.rank_label_free) for row in rows] == [
        ("original", None, None), ("retrain", None, None), ("bad-teacher", 1, 1), ("finetune", 2, None),
        ("laf", None, None), ("neggrad-plus", None, None),
    ]  # fmt: skip
    laf = next(row for row in rows if row.method == "laf")
    assert (laf.status, laf.metrics["gap.average"].mean) == (status, pytest.approx(0.1))
    assert [cells.ranks(row) for row in rows] == ["", "", "1 (1)", "2", "", ""]


@pytest.mark.parametrize("status", ["ok", "unreliable", "outdated"])
def test_rows_with_all_of_their_results_are_ranked(make_record: Make, status: str) -> None:
    flags = ["odd"] if status == "unreliable" else []
    record = make_record("finetune", GOOD, flags=flags)
    if status == "outdated":
        record = recast(record, parameters={"lr": 1.0})
    row = by_method([make_record("retrain", GOOD), record], suite=SUITE)["finetune"]
    assert (row.status, row.rank) == (status, 1)


def test_what_another_device_has_makes_no_row_partial(make_record: Make) -> None:
    records = [recast(make_record(m, GOOD), device="cuda") for m in ("retrain", "finetune")]
    records += [make_record(m, GOOD, seed=s) for s in range(3) for m in ("retrain", "finetune")]
    records += [make_record("svd-forgetting", GOOD)]
    found = {(row.method, row.device): (row.status, row.n) for row in build_board(records)}
    assert found == {
        ("retrain", "cpu"): ("ok", 3), ("finetune", "cpu"): ("ok", 3), ("svd-forgetting", "cpu"): ("partial", 1),
        ("retrain", "cuda"): ("ok", 1), ("finetune", "cuda"): ("ok", 1),
    }  # fmt: skip
    (reason,) = [row.reasons for row in build_board(records) if row.method == "svd-forgetting"]
    assert reason == ["1 of 3 seeds: not ranked with the others"]


def test_cheats_are_not_ranked(make_record: Make) -> None:
    rows = by_method([make_record(m, GOOD) for m in ("retrain", "logit-mask", "finetune")])
    assert (rows["finetune"].rank, rows["logit-mask"].rank, rows["retrain"].rank) == (1, None, None)


def test_a_later_hyper_parameter_with_its_default_outdates_nothing(make_record: Make) -> None:
    """Records of a time when a method had fewer hyper-parameters; one that the suite sets to another value counts."""
    reference, record = (make_record(m, apart(v), scenario=SAMPLES) for m, v in (("retrain", 0.0), ("laf", 1.0)))
    chosen, defaults = SUITE.scenarios[SAMPLES].methods["laf"], METHODS.get("laf").defaults()
    assert chosen["latent_dim"] == defaults["latent_dim"]
    assert chosen["batch_size"] != defaults["batch_size"]

    def status(parameters: dict[str, Any]) -> str:
        return by_method([reference, recast(record, parameters=parameters)], suite=SUITE)["laf"].status

    for name in chosen:
        fewer = {key: value for key, value in chosen.items() if key != name}
        assert status(fewer) == ("ok" if chosen[name] == defaults[name] else "outdated"), name
    assert status({**chosen, "withdrawn": 1}) == "outdated"
    assert status({**chosen, "latent_dim": 9}) == "outdated"


def test_columns_that_are_blank_in_every_row_are_left_out(make_record: Make) -> None:
    task = TASKS.get("label-free-forget")
    rows = build_board(label_free(make_record, {"laf": 2.0}), SUITE)
    assert cells.columns(task, rows) == ["gap.average", *NAMES]
    blank = {"accuracy.test.retain": None, "relearn.steps": 3.0}
    more = [*label_free(make_record, {}), make_record("laf", {**apart(2.0), **blank}, scenario=SAMPLES)]
    assert cells.columns(task, build_board(more, SUITE)) == ["gap.average", *NAMES, "relearn.steps"]


def test_a_value_has_its_gap_in_brackets_where_the_task_wants_it(make_record: Make) -> None:
    task, name = TASKS.get("label-free-forget"), "accuracy.test.all"
    distances = {"laf": 2.0, "laf-r": -1.25, "finetune": 0.0, "neggrad-plus": None, "bad-teacher": 0.04}
    rows = by_method(label_free(make_record, distances))
    assert {method: cells.value(task, row, name) for method, row in rows.items()} == {
        "original": "95.0 (+15.0)", "retrain": "80.0", "laf": "82.0 (+2.0)", "laf-r": "78.8 (-1.2)",
        "finetune": "80.0 (0.0)", "neggrad-plus": "-", "bad-teacher": "80.0 (0.0)",
    }  # fmt: skip
    assert cells.value(task, rows["laf"], "gap.average") == "2.0"
    alone = by_method([make_record("laf", apart(2.0), scenario=SAMPLES)])["laf"]
    assert cells.value(task, alone, name) == "82.0"  # there is nothing to compare it with
    of_classes = by_method(block(make_record, 1))["original"]
    assert cells.value(TASKS.get("class-forget"), of_classes, "accuracy.test.forget") == "98.0"


def test_no_arrow_where_retraining_is_the_aim(make_record: Make) -> None:
    task = TASKS.get("label-free-forget")
    assert cells.heading("gap.average", task) == "avg gap (points) ↓"
    assert "↑" not in "".join(cells.heading(name, task) for name in task.headline)
    assert "↑" in cells.heading("accuracy.test.retain", TASKS.get("class-forget"))
