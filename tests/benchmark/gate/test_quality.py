"""What counts as worse: paired over seeds, an interval, a tolerance, and which way is down."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scipy import stats

from benchmark.gate.declaration import Watched
from benchmark.gate.quality import changed, interval, judge, loss, paired
from benchmark.running.records import Record

Make = Callable[..., Record]
RETAIN = Watched("digits", "svd-forgetting", "accuracy.test.retain", 0.5, "")
LEVEL = 0.005 / 13
Table = Callable[[list[float | None]], dict[tuple[str, str], dict[int, Record]]]


@pytest.fixture
def table(make_record: Make) -> Table:
    """``table(values)``: a row of records, one a seed, of the watched metric."""

    def make(values: list[float | None]) -> dict[tuple[str, str], dict[int, Record]]:
        records = {
            i: make_record("svd-forgetting", {RETAIN.metric: v, "other": 1.0}, seed=i) for i, v in enumerate(values)
        }
        return {RETAIN.row: records}

    return make


def test_the_interval_is_students() -> None:
    values = [1.0, 2.5, -0.5, 3.0]
    mean, half = interval(values, 0.01)
    low, high = stats.t.interval(0.98, 3, loc=1.5, scale=stats.sem(values))
    assert mean - half == pytest.approx(low)
    assert mean + half == pytest.approx(high)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert interval([0.1, 0.1, 0.1], LEVEL) == (0.1, 0.0)
    with pytest.raises(ValueError, match="1 values"):
        interval([1.0], LEVEL)


@pytest.mark.parametrize(
    ("mean", "half", "found"),
    [
        (0.0, 0.0, "same"),
        (0.6, 0.0, "worse"),
        (0.4, 0.0, "same"),  # within the tolerance
        (0.6, 0.7, "same"),  # the interval has 0 in it
        (-0.6, 0.5, "better"),
    ],
)
def test_worse_takes_an_interval_and_a_tolerance(mean: float, half: float, found: str) -> None:
    assert changed(mean, half, 0.5) == found


def test_differences_are_taken_seed_by_seed(table: Table) -> None:
    """Seeds spread by tens of points, and each loses about two: seen only because they are paired."""
    kept, found = [60.0, 75.0, 90.0, 80.0, 65.0, 95.0], [58.1, 73.0, 87.9, 78.0, 62.9, 93.0]
    verdict = judge(RETAIN, LEVEL, table(kept), table(found))
    assert (verdict.change, verdict.n) == ("worse", 6)
    assert verdict.mean == pytest.approx(2.017, abs=1e-3)
    assert judge(RETAIN, LEVEL, table(found), table(kept)).change == "better"
    assert judge(RETAIN, LEVEL, table(kept), table(kept)).change == "same"


def test_a_drop_within_the_noise_is_no_failure(table: Table) -> None:
    kept, found = [60.0, 75.0, 90.0, 80.0], [61.0, 70.0, 91.0, 74.0]
    assert judge(RETAIN, LEVEL, table(kept), table(found)).change == "same"


def test_seeds_without_a_value_on_both_sides_are_left_out(table: Table) -> None:
    pairs = paired(RETAIN, table([90.0, None, 91.0, 92.0]), table([90.0, 80.0, None]))
    assert [(p.kept, p.found, p.loss) for p in pairs] == [(90.0, 90.0, 0.0)]
    assert judge(RETAIN, LEVEL, table([90.0]), table([80.0])).change == "unmeasured"


def test_a_metric_that_becomes_blank_is_worse(table: Table) -> None:
    kept = table([90.0, 91.0, 92.0, 93.0])
    some, none = table([90.0, None, 92.0, 93.0]), table([None, None, None, None])
    assert [(v.change, v.lost) for v in (judge(RETAIN, LEVEL, kept, some), judge(RETAIN, LEVEL, kept, none))] == [
        ("worse", [1]),
        ("worse", [0, 1, 2, 3]),
    ]
    assert judge(RETAIN, LEVEL, some, kept).change == "same"


def test_failed_cells_have_no_value(make_record: Make, table: Table) -> None:
    kept, found = table([90.0, 91.0]), table([90.0, 91.0])
    found[RETAIN.row][0] = make_record("svd-forgetting", {RETAIN.metric: 90.0}, seed=0, status="failed")
    assert len(paired(RETAIN, kept, found)) == 1


@pytest.mark.parametrize(
    ("name", "value", "reference", "lost"),
    [
        ("accuracy.test.retain", 90.0, None, -90.0),
        ("accuracy.test.forget", 3.0, None, 3.0),
        ("accuracy.test.all", 88.0, 90.0, 2.0),
        ("accuracy.test.all", 92.0, 90.0, 2.0),
        ("accuracy.test.all", 92.0, None, None),
        ("tcav", 0.2, None, 0.3),
        ("accuracy.test.retain.gap", -4.0, None, 4.0),
        ("selection.step", 4.0, None, None),
    ],
)
def test_what_is_lost_is_lower_for_the_better(
    name: str, value: float, reference: float | None, lost: float | None
) -> None:
    assert loss(name, value, reference) == (None if lost is None else pytest.approx(lost))


def test_metrics_that_need_the_reference_are_derived_from_it(make_record: Make) -> None:
    """tow = (1 - 0.1) (1 - 0) (1 - 0): ten points of retained training samples are lost against retraining."""
    names = ("accuracy.train.retain", "accuracy.train.forget", "accuracy.test.all")
    own = make_record("svd-forgetting", dict(zip(names, (90.0, 0.0, 80.0), strict=True)))
    reference = make_record("retrain", dict(zip(names, (100.0, 0.0, 80.0), strict=True)))
    watched = Watched("digits", "svd-forgetting", "tow", 0.02, "")
    alone = {watched.row: {0: own}}
    with_it = {**alone, ("digits", "retrain"): {0: reference}}
    assert paired(watched, alone, alone) == []
    assert [p.kept for p in paired(watched, with_it, with_it)] == [pytest.approx(0.9)]
