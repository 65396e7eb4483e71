"""Rows compared in pairs: differences, p values, ties with the best, mean ranks and normalised scores."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from benchmark.boards import comparisons
from benchmark.boards.board import Row, build_board
from benchmark.boards.comparisons import compared_with, losses, tied_with_best, ties, to_reference
from benchmark.reporting.overview import normalised, overview
from benchmark.reporting.ranking import Ranking, differences, rankings
from benchmark.running.records import Record
from benchmark.stats import sign_flip_p, t_interval
from benchmark.tasks import TASKS

Make = Callable[..., Record]
KNOWN = TASKS.get("debias-known")
GBA = "accuracy.group-balanced"
VALUES = {"erm": 30.0, "unbiased": 90.0, "gerne": 70.0, "resampling": 60.0, "groupdro": 50.0}


def board(make: Make, by_method: dict[str, list[float]], **options: str) -> list[Row]:
    return build_board([make(m, v, seed=s, **options) for m, own in by_method.items() for s, v in enumerate(own)])


def rows_of(make: Make, n: int, **options: str) -> list[Row]:
    """ERM at 30, unbiased at 90; gerne and resampling together in front, mixup far behind in the other track."""
    noise = np.random.default_rng(n).normal(0, 0.5, size=(3, n))
    values = {
        "erm": [30.0 + s for s in range(n)],
        "unbiased": [90.0 + s for s in range(n)],
        "gerne": [70.0 + s + noise[0, s] for s in range(n)],
        "resampling": [70.0 + s + noise[1, s] for s in range(n)],
        "groupdro": [60.0 + s + noise[2, s] for s in range(n)],
        "mixup": [40.0 + s for s in range(n)],
    }
    return board(make, values, **options)


def test_differences_are_paired_by_seed(make_debias: Make) -> None:
    found = to_reference(KNOWN, rows_of(make_debias, 3), GBA)
    assert set(found) == {(m, "cpu") for m in ("unbiased", "gerne", "resampling", "groupdro", "mixup")}
    assert found["mixup", "cpu"].difference == (10.0, 10.0, 10.0, 3)  # the seeds' own spread cancels
    assert found["mixup", "cpu"].text == "not testable"
    assert found["mixup", "cpu"].comparisons == 4


def test_p_values_are_those_of_the_rows_that_compete(make_debias: Make) -> None:
    rows = rows_of(make_debias, 10)
    found = to_reference(KNOWN, rows, GBA)
    assert found["unbiased", "cpu"].p is None
    by_method = {row.method: row for row in rows}
    own = comparisons.differences_of(by_method["groupdro"], by_method["erm"], GBA)
    assert found["groupdro", "cpu"].p == sign_flip_p(own) == 2 / 2**10
    assert found["groupdro", "cpu"].corrected == pytest.approx(4 * 2 / 2**10)
    assert found["groupdro", "cpu"].text == "0.008"


def test_too_few_clusters_are_not_testable_for_all_or_for_none(make_debias: Make) -> None:
    """Six clusters could tell one comparison, not four; a row that lacks seeds holds back its whole family."""
    assert {c.text for c in to_reference(KNOWN, rows_of(make_debias, 6), GBA).values()} == {"not testable"}
    alone = board(make_debias, {"erm": [30.0] * 6, "gerne": [60.0 + s for s in range(6)]})
    assert to_reference(KNOWN, alone, GBA)["gerne", "cpu"].text == "0.031"


def test_what_is_a_distance_to_the_reference_is_compared_with_the_original(make_record: Make) -> None:
    """Nothing is better than retraining in tug-of-war by definition: whether rows differ from it is no question."""
    task = TASKS.get("class-forget")
    assert (compared_with(task, "tow"), compared_with(task, "accuracy.test.retain")) == ("original", "retrain")
    assert compared_with(KNOWN, GBA) == "erm"
    knows = {"accuracy.train.retain": 97.0, "accuracy.train.forget": 97.0, "accuracy.test.all": 97.0,
             "accuracy.test.retain": 97.0, "accuracy.test.forget": 97.0}  # fmt: skip
    forgot = {**knows, "accuracy.train.forget": 0.0, "accuracy.test.forget": 0.0}
    values = {"original": knows, "retrain": forgot, "finetune": forgot}
    found = to_reference(task, build_board([make_record(m, v) for m, v in values.items()]), "tow")
    assert ("original", "cpu") not in found
    assert found["finetune", "cpu"].difference.mean > 0


def test_where_retraining_is_the_aim_the_lowest_is_not_the_best(make_record: Make) -> None:
    """Forget-set accuracy of a task that shows gaps: destroying the model is no forgetting."""
    accuracy = {"retrain": 95.0, "finetune": 93.0, "laf": 40.0}
    records = []
    for seed in range(6):
        for method, value in accuracy.items():
            metrics = {"accuracy.train.forget": value + seed / 10, "accuracy.train.retain": 90.0}
            records.append(make_record(method, metrics, scenario="digits-noisy-labels", seed=seed))
    rows = build_board(records)
    assert tied_with_best(rows, "accuracy.train.forget") == {("finetune", "cpu")}


def test_devices_are_ranked_apart(make_debias: Make) -> None:
    records = [make_debias(m, v) for m, v in {"erm": 30.0, "gerne": 70.0, "resampling": 60.0}.items()]
    there = [msgspec.structs.replace(r, cell=msgspec.structs.replace(r.cell, device="cuda")) for r in records]
    rows = [row for row in build_board([*records, *there]) if row.rank is not None]
    assert [(row.method, row.device, row.rank) for row in rows] == [
        ("gerne", "cpu", 1), ("resampling", "cpu", 2), ("gerne", "cuda", 1), ("resampling", "cuda", 2),
    ]  # fmt: skip


def test_without_the_reference_nothing_is_compared(make_debias: Make) -> None:
    assert to_reference(KNOWN, board(make_debias, {"gerne": [1.0, 2.0]}), GBA) == {}


@pytest.mark.parametrize("n", [5, 10])
def test_the_best_and_who_is_tied_with_it(make_debias: Make, n: int) -> None:
    """By Student's t at five clusters, where no sign flip can reject, and by sign flips at ten."""
    assert tied_with_best(rows_of(make_debias, n), GBA) == {("gerne", "cpu"), ("resampling", "cpu")}


def test_ties_are_not_told_under_five_clusters(make_debias: Make) -> None:
    assert tied_with_best(rows_of(make_debias, 4), GBA) == set()


def test_a_row_without_a_seed_and_a_row_alone_in_its_track_are_not_tied(make_debias: Make) -> None:
    values = {"erm": [30.0] * 6, "gerne": [70.0, 71.0, 72.0, 73.0, 74.0], "resampling": [50.0 + s for s in range(6)],
              "groupdro": [50.0 + s for s in range(6)], "mixup": [60.0] * 6}  # fmt: skip
    assert tied_with_best(board(make_debias, values), GBA) == {("resampling", "cpu"), ("groupdro", "cpu")}


def rivals(random: np.random.Generator, n: int, step: float) -> dict[int, dict[int, float]]:
    """Losses of eight methods that share their base models, each ``step`` of the noise worse than the one before."""
    base = random.normal(0, 3, size=n)
    return {k: dict(enumerate((base + step * k + random.normal(0, 1, size=n)).tolist())) for k in range(8)}


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("step", [0.02, 0.3])
def test_the_truly_best_is_among_the_tied(n: int, step: float) -> None:
    """It is missing from under 3 % of boards, close to each other or not."""
    random = np.random.default_rng(n)
    held = sum(0 in ties(rivals(random, n, step)) for _ in range(600))
    assert held / 600 > 0.97


@pytest.mark.parametrize("n", [5, 10])
def test_equals_are_mostly_all_tied_and_what_is_worse_is_not(n: int) -> None:
    """Nine boards of ten have eight equals in bold: the best was chosen by looking. Twice the noise apart, few are."""
    random = np.random.default_rng(n)
    whole = sum(len(ties(rivals(random, n, 0.0))) == 8 for _ in range(600))
    assert 0.86 < whole / 600 < 0.94
    sizes = [len(ties(rivals(random, n, 2.0))) for _ in range(200)]
    assert 1 <= sum(sizes) / 200 < {5: 4.0, 10: 2.0}[n]


@pytest.mark.parametrize(("n", "least"), [(3, 86), (5, 86), (10, 89)])
def test_coverage_of_mean_ranks(n: int, least: float) -> None:
    """Of five methods over two scenarios: the ends of the order, where ranks hardly vary, are covered least."""
    random = np.random.default_rng(n)

    def mean_ranks(seeds: int) -> np.ndarray:
        losses = random.normal(0, 1, size=(seeds, 2, 5)) + 0.7 * np.arange(5)
        return np.argsort(np.argsort(losses, axis=2), axis=2).mean(axis=1) + 1

    truth = mean_ranks(100_000).mean(axis=0)
    covered = np.zeros(5)
    for _ in range(1_500):
        board_of = mean_ranks(n)
        intervals = [t_interval(board_of[:, k].tolist()) for k in range(5)]
        covered += [i.low is not None and i.high is not None and i.low <= t <= i.high
                    for i, t in zip(intervals, truth, strict=True)]  # fmt: skip
    reached = 100 * covered / 1_500
    assert least < reached.min() <= reached.max() < 97.5


def test_what_is_best_in_a_metric(make_record: Make, make_debias: Make) -> None:
    values = {"accuracy.test.retain": 97.0, "accuracy.test.forget": 2.0, "mia.loss.auc": 53.0}
    rows = build_board([make_record("retrain", {**values, "mia.loss.auc": 50.0}), make_record("finetune", values)])
    row = next(row for row in rows if row.method == "finetune")
    assert losses(row, "accuracy.test.retain") == {0: -97.0}
    assert losses(row, "accuracy.test.forget") == {0: 2.0}
    assert losses(row, "mia.loss.auc") == losses(row, "mia.loss.auc.gap") == {0: 3.0}
    assert losses(row, "cav.seconds") == {}
    (halves,) = build_board([make_debias("erm", metrics={"tcav": 0.1})])
    assert losses(halves, "tcav") == {0: pytest.approx(0.4)}


def test_mean_ranks_over_scenarios_with_the_seed_as_the_unit(make_debias: Make) -> None:
    n = 6
    first = {"erm": [0.0] * n, "gerne": [90.0] * n, "resampling": [80.0] * n, "groupdro": [70.0] * n}
    second = {**first, "gerne": [60.0] * 3 + [90.0] * 3, "lisa": [99.0] * n}
    rows = board(make_debias, first, scenario="one") + board(make_debias, second, scenario="two")
    (found,) = [r for r in rankings(rows) if r.track == "yes/yes"]
    # In the second scenario lisa is left out: three seeds have gerne last of three, three have it first.
    assert found.means["gerne"] == t_interval([2.0] * 3 + [1.0] * 3)
    assert {m: i.mean for m, i in found.means.items()} == {"gerne": 1.5, "resampling": 1.75, "groupdro": 2.75}
    assert list(found.means) == ["gerne", "resampling", "groupdro"]
    assert dict(found.left_out) == {"lisa": "in 1 of 2 scenarios"}
    assert (found.scenarios, len(found.blocks), found.drawable) == (("one", "two"), n, True)
    table = differences(found)
    assert table.loc["gerne", "gerne"] == 1.0
    assert table.loc["gerne", "groupdro"] < table.loc["gerne", "resampling"]


def test_who_leads_in_mean_rank_is_told_from_five_seeds_on() -> None:
    blocks = {seed: {"a": 1.0, "b": 1.5 + 0.9 * (-1) ** seed, "c": 3.0 + seed / 10} for seed in range(6)}
    means = {name: t_interval([block[name] for block in blocks.values()]) for name in "abc"}
    assert Ranking("t", "", "cpu", ("s",), means, blocks, {}).leaders == {"a", "b"}
    few = {seed: blocks[seed] for seed in range(4)}
    assert Ranking("t", "", "cpu", ("s",), means, few, {}).leaders == set()


def test_a_failed_cell_is_behind_all_others(make_debias: Make) -> None:
    records = [make_debias(m, v, seed=s) for m, v in {"gerne": 90.0, "resampling": 50.0}.items() for s in range(3)]
    records[0] = make_debias("gerne", 90.0, seed=0, status="failed")
    (found,) = rankings(build_board(records))
    assert [found.blocks[seed]["gerne"] for seed in range(3)] == [2.0, 1.0, 1.0]
    assert not found.drawable


def test_a_scenario_with_fewer_seeds_is_named_and_left_out(make_debias: Make) -> None:
    values = {"gerne": [90.0] * 3, "resampling": [80.0] * 3}
    few = {method: own[:1] for method, own in values.items()}
    (found,) = rankings(board(make_debias, values, scenario="a") + board(make_debias, few, scenario="b"))
    assert dict(found.left_out) == {"b": "1 of 3 seeds"}
    assert found.scenarios == ("a",)
    assert rankings(board(make_debias, {"gerne": [1.0]})) == []


def test_mean_ranks_add_up_and_do_not_depend_on_the_scale(make_debias: Make) -> None:
    values = {"gerne": [50.0, 70.0, 60.0], "resampling": [60.0, 60.0, 50.0], "groupdro": [10.0, 20.0, 90.0]}
    (found,) = rankings(board(make_debias, values))
    assert {m: i.mean for m, i in found.means.items()} == {"gerne": 5 / 3, "resampling": 2.0, "groupdro": 7 / 3}
    scaled = {method: [5 + value / 10 for value in own] for method, own in values.items()}
    assert rankings(board(make_debias, scaled))[0].means == found.means


def test_normalised_scores_are_the_ratio_of_means(make_debias: Make) -> None:
    values = {"erm": [30.0, 50.0], "unbiased": [90.0, 70.0], "gerne": [60.0, 65.0]}
    found = normalised(KNOWN, board(make_debias, values))
    assert isinstance(found, str)
    assert found == "erm and unbiased do not differ in accuracy.group-balanced"  # 40 ± 254
    values = {"erm": [30.0, 32.0, 31.0], "unbiased": [90.0, 91.0, 93.0], "gerne": [60.0, 66.0, 61.0]}
    found = normalised(KNOWN, board(make_debias, values))
    assert not isinstance(found, str)
    scores = {method: sum(own.values()) / 3 for (method, _), own in found.items()}
    assert scores == pytest.approx({"erm": 0.0, "unbiased": 1.0, "gerne": (187 - 93) / (274 - 93)})
    assert len(set(found["unbiased", "cpu"].values())) == 1


def test_next_to_nothing_to_do_is_no_scale(make_debias: Make) -> None:
    """Two points between original and aim: a method that loses ten would have a score of -5."""
    values = {"erm": [80.0, 80.1, 79.9], "unbiased": [82.0, 82.0, 82.1], "gerne": [70.0, 70.0, 70.0]}
    assert normalised(KNOWN, board(make_debias, values)) == f"erm and unbiased hardly differ in {GBA}"


def test_an_aim_that_is_worse_than_the_original_is_no_aim(make_debias: Make) -> None:
    values = {"erm": [90.0, 90.1, 89.9], "unbiased": [30.0, 30.0, 30.1], "gerne": [70.0, 70.0, 70.0]}
    assert normalised(KNOWN, board(make_debias, values)) == f"unbiased is worse than erm in {GBA}"


def test_a_row_that_is_ranked_by_another_metric_has_neither_score_nor_mean_rank(make_debias: Make) -> None:
    records = [make_debias(m, v, seed=s) for m, v in VALUES.items() for s in range(3)]
    records += [make_debias("lisa", 95.0, seed=s, selection="worst-group") for s in range(3)]
    rows = build_board(records)
    assert {row.method for row in rows if row.rank_by != GBA} == {"lisa"}
    assert ("lisa", "cpu") not in normalised(KNOWN, rows)
    (found,) = [r for r in rankings(rows) if r.track == "yes/yes"]
    assert list(found.means) == ["gerne", "resampling", "groupdro"]


def test_without_retraining_nothing_is_best_where_that_is_the_aim(make_record: Make) -> None:
    metrics = {"accuracy.train.forget": 40.0, "accuracy.train.retain": 90.0}
    records = [
        make_record(m, metrics, scenario="digits-noisy-labels", seed=s) for m in ("laf", "finetune") for s in range(6)
    ]
    assert tied_with_best(build_board(records), "accuracy.train.forget") == set()


def test_the_overview_has_every_method_and_says_why_a_score_is_missing(make_debias: Make) -> None:
    rows = rows_of(make_debias, 3, scenario="one")
    lost = [make_debias(m, v, seed=s, scenario="two") for m, v in (("erm", 30.0), ("gerne", 60.0)) for s in range(3)]
    found = {one.method: one for one in overview([*rows, *build_board(lost)])}
    assert set(found) == {"gerne", "resampling", "groupdro", "mixup"}
    assert dict(found["gerne"].left_out) == {"two": "no row unbiased"}
    assert set(found["gerne"].by_scenario) == {"one"}
    assert found["gerne"].score is not None
    assert found["gerne"].score.mean == pytest.approx(40 / 60, abs=0.01)
    assert found["gerne"].reads.startswith("train: images + labels + attributes")
    assert found["gerne"].cost == 1.0
    records = [make_debias(m, 60.0, seed=s) for m in ("erm", "gerne", "unbiased") for s in range(2)]
    records[2] = make_debias("gerne", 1.0, seed=0, status="failed")
    (failed,) = overview(build_board(records))
    assert (failed.score, dict(failed.left_out)) == (None, {"coloured": "failed"})
