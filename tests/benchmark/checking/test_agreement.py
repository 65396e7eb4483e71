"""At which level records agree: every level, and what decides between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from benchmark.checking.agreement import CLOSE, Agreement, agreement, is_predicted
from benchmark.metrics.catalogue import METRICS
from benchmark.running.records import Cell, Count, Failure, Record, Value

Make = Callable[..., Record]
NAME = "accuracy.test.retain"


@pytest.fixture
def pair(make_record: Make, make_cell: Callable[..., Cell]) -> Callable[..., Agreement]:
    """``pair(kept, found, others, field=...)``: how a record with found metrics agrees with one with kept metrics."""
    cell = make_cell("svd-forgetting")

    def compare(
        kept: dict[str, float | None],
        found: dict[str, float | None],
        others: tuple[float, ...] = (),
        **changes: Any,
    ) -> Agreement:
        beside = [
            make_record("", {NAME: v}, cell=msgspec.structs.replace(cell, seed=1 + i)) for i, v in enumerate(others)
        ]
        return agreement(make_record("", found, cell=cell, **changes), make_record("", kept, cell=cell), beside)

    return compare


def test_equal_records_agree_strictly_whatever_they_cost(pair: Callable[..., Agreement]) -> None:
    other = {
        "created": "2030-01-01T00:00:00+00:00",
        "environment": {"machine": "x"},
        "provenance": "told",
        "cost": (9, 9),
    }
    assert pair({NAME: 97.0}, {NAME: 97.0}, **other) == Agreement("strict", [])


def test_digests_and_packages_are_no_part_of_what_a_cell_is(make_record: Make, make_cell: Callable[..., Cell]) -> None:
    cell = make_cell("svd-forgetting")
    moved = msgspec.structs.replace(cell, digests={"method": "0"}, packages={"torch": "9"})
    assert (
        agreement(make_record("", {NAME: 1.0}, cell=moved), make_record("", {NAME: 1.0}, cell=cell)).level == "strict"
    )


def test_options_of_later_are_no_difference(make_record: Make, make_cell: Callable[..., Cell]) -> None:
    """A record of before an option compares with one that has its default, and with no other value."""
    cell = make_cell("svd-forgetting")
    training = {name: v for name, v in cell.settings["training"].items() if name not in ("precision", "stacked")}
    parameters = {name: value for name, value in cell.parameters.items() if name != "window"}
    earlier = msgspec.structs.replace(cell, settings={**cell.settings, "training": training}, parameters=parameters)
    assert earlier.hash != cell.hash
    kept, found = (make_record("", {NAME: 1.0}, cell=one) for one in (earlier, cell))
    assert agreement(found, kept).level == "strict"
    other = msgspec.structs.replace(cell, settings={**cell.settings, "training": {**training, "precision": "bf16"}})
    with pytest.raises(ValueError, match="their settings differ"):
        agreement(make_record("", {NAME: 1.0}, cell=other), kept)


@pytest.mark.parametrize("field", ["seed", "threads", "parameters", "versions", "device"])
def test_records_of_two_cells_are_not_compared(make_record: Make, make_cell: Callable[..., Cell], field: str) -> None:
    cell = make_cell("svd-forgetting")
    changed = {"seed": 7, "threads": 8, "parameters": {}, "versions": {"task": 99}, "device": "cuda"}[field]
    other = msgspec.structs.replace(cell, **{field: changed})
    with pytest.raises(ValueError, match=field):
        agreement(make_record("", cell=other), make_record("", cell=cell))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("arrays", "another"),
        ("flags", ["the amended model changes when it is used"]),
        ("access", [{"retain": {"samples": 11}}]),
        ("groups", {"0/0": Count(1, 2)}),
    ],
)
def test_whatever_else_differs_is_not_strict(pair: Callable[..., Agreement], field: str, value: Any) -> None:
    found = pair({NAME: 97.0}, {NAME: 97.0}, **{field: value})
    assert (found.level, [d.what for d in found.differences]) == ("close", [field])


def test_another_data_set_is_another_experiment(pair: Callable[..., Agreement]) -> None:
    found = pair({NAME: 97.0}, {NAME: 97.0}, data="another")
    assert (found.level, found.differences[0].what) == ("none", "data")


def test_close_ends_at_the_tolerance_of_the_unit(pair: Callable[..., Agreement]) -> None:
    """Records of 100 samples: two of them are two points, more than the half point of large test sets."""
    assert pair({NAME: 97.0}, {NAME: 95.0}).level == "close"
    far = pair({NAME: 97.0}, {NAME: 94.9})
    assert (far.level, far.differences[0].allowed) == ("none", 2.0)
    assert CLOSE["%"].of(Value(97.0, 10_000)) == 0.5


def test_without_enough_other_seeds_it_is_not_decided(pair: Callable[..., Agreement]) -> None:
    assert "only 2 other seeds" in pair({NAME: 97.0}, {NAME: 60.0}, (96.0, 98.0)).undecided
    assert pair({NAME: 97.0}, {NAME: 97.0}, (96.0, 98.0)).undecided == ""


def test_statistical_is_where_another_seed_would_be(pair: Callable[..., Agreement]) -> None:
    """Seeds 80, 85, 90, 95: mean 87.5, s 6.45, and t(3) = 3.18: up to 87.5 +- 23.0."""
    others = (80.0, 85.0, 90.0, 95.0)
    assert pair({NAME: 97.0}, {NAME: 65.0}, others).level == "statistical"
    outside = pair({NAME: 97.0}, {NAME: 64.0}, others)
    assert (outside.level, outside.undecided) == ("none", "")


def test_the_prediction_interval_widens_with_the_number_of_metrics() -> None:
    seen = [80.0, 85.0, 90.0, 95.0]
    assert not is_predicted(60.0, seen, 1)
    assert is_predicted(60.0, seen, 10)
    assert not is_predicted(80.0, seen[:2], 1)


def test_a_value_that_became_blank_is_another_result(pair: Callable[..., Agreement]) -> None:
    assert pair({NAME: 97.0}, {NAME: None}, (96.0, 97.0, 98.0)).level == "none"
    assert pair({NAME: 97.0}, {}, (96.0, 97.0, 98.0)).level == "none"
    assert pair({NAME: None}, {NAME: None}).level == "strict"


def test_durations_among_the_metrics_are_left_out(pair: Callable[..., Agreement]) -> None:
    assert METRICS["cav.seconds"].unit == "s"
    assert pair({NAME: 97.0, "cav.seconds": 1.0}, {NAME: 97.0, "cav.seconds": 2.0}).level == "strict"


def test_a_metric_that_is_no_longer_known_is_compared(pair: Callable[..., Agreement]) -> None:
    assert pair({"gone": 1.0}, {"gone": 1.015}).level == "close"
    assert pair({"gone": 1.0}, {"gone": 1.1}).level == "none"


def test_a_metric_that_moved_code_adds_is_not_compared(make_record: Make, make_cell: Callable[..., Cell]) -> None:
    cell = make_cell("svd-forgetting")
    moved = msgspec.structs.replace(cell, digests={"task": "0"})
    found = {NAME: 97.0, "mia.loss.auc": 50.0}
    compared = agreement(make_record("", found, cell=moved), make_record("", {NAME: 97.0}, cell=cell))
    assert compared == Agreement("strict", [], added=("mia.loss.auc",))
    compared = agreement(make_record("", {NAME: 97.0}, cell=moved), make_record("", found, cell=cell))
    assert compared.level == "none"  # one that it no longer gives is lost
    compared = agreement(make_record("", found, cell=cell), make_record("", {NAME: 97.0}, cell=cell))
    assert compared.level == "none"  # the same code gives the same metrics


def test_outputs_alone_have_no_tolerance(pair: Callable[..., Agreement]) -> None:
    assert pair({}, {}, arrays="another").level == "none"


def test_every_unit_of_the_catalogue_has_a_tolerance() -> None:
    assert {m.unit for m in METRICS.values()} - {"s"} == set(CLOSE)


def test_failures_agree_by_what_went_wrong(make_record: Make, make_cell: Callable[..., Cell]) -> None:
    cell = make_cell("svd-forgetting")

    def failed(error: str, message: str, traceback: str = "") -> Record:
        return make_record("", cell=cell, status="failed", failure=Failure(error, message, traceback))

    kept = failed("ValueError", "no (a.py:1)", "line 1")
    assert agreement(failed("ValueError", "no (a.py:1)", "line 2"), kept).level == "strict"
    assert agreement(failed("ValueError", "no (a.py:2)"), kept).level == "close"
    assert agreement(failed("KeyError", "no (a.py:1)"), kept).level == "none"
    assert agreement(make_record("", {NAME: 1.0}, cell=cell), kept).level == "none"
