"""Re-scoring: kept outputs give each task's metrics again, and arrays that are not the scenario's are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from benchmark.contracts import Measured
from benchmark.errors import InputError
from benchmark.rescoring import rescore as rescoring
from benchmark.rescoring.known_data import checksum
from benchmark.running.arrays import ArraysError, read_arrays
from benchmark.running.records import Record, Value
from benchmark.tasks import TASKS

EVERY_TASK = list(TASKS)
RecordOf = Callable[[str], Record]
Arrays = dict[str, np.ndarray]


def kept(results: Path, record: Record) -> Arrays:
    return read_arrays((results / record.cell.file).with_suffix(".npz").read_bytes())


@pytest.mark.parametrize("task", EVERY_TASK)
def test_kept_outputs_give_the_same_metrics(task: str, results: Path, record_of: RecordOf) -> None:
    record = record_of(task)
    found = rescoring.rescore(record, kept(results, record))
    assert rescoring.differences(record, found) == []
    assert found.keys() <= record.metrics.keys()


@pytest.mark.parametrize("task", EVERY_TASK)
def test_what_is_not_found_again_says_what_it_needs(task: str, results: Path, record_of: RecordOf) -> None:
    record = record_of(task)
    found = rescoring.rescore(record, kept(results, record))
    assert len(found) >= 4
    assert all(rescoring.needs(task, name) for name in record.metrics if name not in found)


@pytest.mark.parametrize("task", EVERY_TASK)
def test_data_has_the_checksum_of_the_record(task: str, record_of: RecordOf) -> None:
    record = record_of(task)
    assert checksum(msgspec.convert(record.cell.settings, TASKS.get(task).scenario)) == record.data


def test_threads_are_as_they_were(results: Path, record_of: RecordOf) -> None:
    torch.set_num_threads(2)
    rescoring.rescore(record_of("debias-known"), kept(results, record_of("debias-known")))
    assert torch.get_num_threads() == 2


# Outputs that were exchanged.


@pytest.mark.parametrize(
    ("task", "array", "metric"),
    [
        ("class-forget", "test.logits", "accuracy.test.all"),
        ("label-free-forget", "train.logits", "accuracy.train.retain"),
        ("bias-correction", "attacked.logits", "f1.attacked"),
        ("gan-feature-removal", "scores", "undesired.after"),
    ],
)
def test_other_outputs_give_other_metrics(
    task: str, array: str, metric: str, results: Path, record_of: RecordOf
) -> None:
    record = record_of(task)
    arrays = kept(results, record)
    arrays[array] = -arrays[array]
    lines = rescoring.differences(record, rescoring.rescore(record, arrays))
    assert any(line.startswith(f"{metric} is ") for line in lines)


def test_one_sample_less_is_a_difference(results: Path, record_of: RecordOf) -> None:
    record = record_of("class-forget")
    arrays = kept(results, record)
    right = int(np.flatnonzero(arrays["test.logits"].argmax(1) == arrays["test.labels"])[0])
    arrays["test.logits"][right] = 0.0
    arrays["test.logits"][right, (arrays["test.labels"][right] + 1) % 10] = 1.0
    lines = rescoring.differences(record, rescoring.rescore(record, arrays))
    assert any(line.startswith("accuracy.test.all is ") for line in lines)


def test_outputs_that_are_no_numbers_are_wrong_and_have_no_attack(results: Path, record_of: RecordOf) -> None:
    record = record_of("class-forget")
    arrays = kept(results, record)
    arrays["test.logits"][:] = np.nan
    found = rescoring.rescore(record, arrays)
    assert found["accuracy.test.all"].value == 0.0
    assert not any(name.startswith("mia.") for name in found)


def test_another_history_of_selection_is_another_step(results: Path, record_of: RecordOf) -> None:
    record = record_of("debias-known")
    arrays = kept(results, record)
    rule = f"selection.{record.cell.settings['selection']}"
    best = int(arrays[rule].argmax())
    arrays[rule][0 if best else 1] = 100.0
    lines = rescoring.differences(record, rescoring.rescore(record, arrays))
    assert {line.split(" ")[0] for line in lines} >= {"selection.step", "selection.score"}


# Arrays that are not the scenario's.


def shortened(array: np.ndarray) -> np.ndarray:
    return array[:-1]


def moved(array: np.ndarray) -> np.ndarray:
    return np.roll(array, 1, axis=0)


STRANGE: list[tuple[str, str, Callable[[np.ndarray], Any], str]] = [
    ("class-forget", "test.labels", shortened, "test.labels has 399 entries, not 400"),
    ("class-forget", "test.labels", moved, "test.labels is not that of data set digits"),
    ("class-forget", "train.labels", lambda a: a + 9, "train.labels has a label that is not 0 to 9"),
    ("class-forget", "train.forget", lambda a: ~a, "train.forget is not the samples of the forgotten classes"),
    ("class-forget", "forgotten", lambda a: a + 1, r"forgotten is not \[0\]"),
    ("class-forget", "test.logits", lambda a: a[:, 1:], "test.logits has shape .400, 9., not 1 to 500,000 rows of 10"),
    ("class-forget", "test.logits", lambda a: a[:0], "test.logits has shape"),
    ("class-forget", "test.logits", lambda a: a.astype(np.int16), "test.logits is int16"),
    ("label-free-forget", "train.forget", moved, "train.forget is not that of data set digits"),
    ("label-free-forget", "train.forget", np.zeros_like, "nothing is in the forget set"),
    ("label-free-forget", "train.labels", moved, "train.labels is not that of data set digits"),
    ("debias-known", "test.labels", moved, "test.labels is not that of data set digits"),
    ("debias-known", "test.attributes", moved, "test.attributes is not that of data set digits"),
    ("debias-known", "test.logits", lambda a: -a, "counts by group are not those of its outputs"),
    ("debias-unknown", "selection.last", shortened, "scores are missing or not of as many looks"),
    ("bias-correction", "clean.labels", moved, "attacked.labels are not those of the clean samples"),
    ("bias-correction", "biased", lambda a: a + 1, "biased is not 0"),
    ("gan-feature-removal", "before", shortened, "3999 images were judged, not 4000"),
]


@pytest.mark.parametrize(("task", "array", "change", "said"), STRANGE)
def test_arrays_of_something_else_are_refused(
    task: str,
    array: str,
    change: Callable[[np.ndarray], Any],
    said: str,
    results: Path,
    record_of: RecordOf,
) -> None:
    record = record_of(task)
    arrays = kept(results, record)
    arrays[array] = change(arrays[array])
    with pytest.raises(ArraysError, match=said):
        rescoring.rescore(record, arrays)


@pytest.mark.parametrize("task", EVERY_TASK)
def test_a_missing_array_is_named(task: str, results: Path, record_of: RecordOf) -> None:
    record = record_of(task)
    first = {"gan-feature-removal": "scores", "bias-correction": "clean.logits"}.get(task, "test.logits")
    arrays = kept(results, record)
    del arrays[first]
    with pytest.raises(ArraysError, match=f"array {first} is missing"):
        rescoring.rescore(record, arrays)


def test_labels_of_both_sides_moved_together_are_not_the_data_set_s(results: Path, record_of: RecordOf) -> None:
    record = record_of("bias-correction")
    arrays = kept(results, record)
    labels = arrays["clean.labels"] = moved(arrays["clean.labels"])
    arrays["attacked.labels"] = labels[~np.isin(labels, (1, 2))]
    with pytest.raises(ArraysError, match=r"clean.labels are not those of data set digits"):
        rescoring.rescore(record, arrays)


def test_settings_that_are_none_are_said(results: Path, record_of: RecordOf) -> None:
    record = record_of("class-forget")
    cell = msgspec.structs.replace(record.cell, settings={**record.cell.settings, "classes": 10**30})
    with pytest.raises(InputError, match="settings: "):
        rescoring.rescore(msgspec.structs.replace(record, cell=cell), {})


# Data that is not at hand.


def test_bias_of_data_that_is_elsewhere_is_known_by_how_it_is_made(
    results: Path, record_of: RecordOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the training set no weights are known, but each class has its own colour."""
    record = record_of("debias-known")
    arrays = kept(results, record)
    monkeypatch.setattr("benchmark.rescoring.known_data.at_hand", lambda scenario: False)
    found = rescoring.rescore(record, arrays)
    assert rescoring.differences(record, found) == []
    conflicting = record.cell.settings["bias"]["conflicting"]
    assert ("accuracy.bias-aligned" in found) == (conflicting <= 0.1)
    assert "accuracy.mean.train-weighted" not in found


@pytest.mark.parametrize("task", ["class-forget", "label-free-forget", "bias-correction"])
def test_all_else_needs_no_data(task: str, results: Path, record_of: RecordOf, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(task)
    arrays = kept(results, record)
    here = rescoring.rescore(record, arrays)
    monkeypatch.setattr("benchmark.rescoring.known_data.at_hand", lambda scenario: False)
    assert rescoring.rescore(record, arrays) == here


# Tolerances.


@pytest.mark.parametrize(
    ("name", "kept", "found", "agree"),
    [
        ("accuracy.test.all", Value(50.0, 100), Measured(50.0, 100), True),
        ("accuracy.test.all", Value(50.0, 100), Measured(50.001, 100), False),
        ("accuracy.test.all", Value(50.0, 100), Measured(50.0, 101), False),
        ("accuracy.test.all", Value(None, 0), Measured(None, 0), True),
        ("accuracy.test.all", Value(None, 0), Measured(50.0, 100), False),
        ("accuracy.test.all", Value(50.0, 100), Measured(None, 100), False),
        ("selection.standard-error", Value(1.0, 100), Measured(float("nan"), 100), False),
        ("mia.softmax.xgboost", Value(50.0, 10_000), Measured(51.4, 10_000), True),
        ("mia.softmax.xgboost", Value(50.0, 10_000), Measured(51.6, 10_000), False),
        ("mia.loss.auc", Value(50.0, 10_000), Measured(50.005, 10_000), True),
        ("mia.loss.auc", Value(50.0, 10_000), Measured(50.02, 10_000), False),
        ("mia.true-class-probability.svc", Value(50.0, 1000), Measured(50.1, 1000), True),
        ("mia.true-class-probability.svc", Value(50.0, 1000), Measured(50.3, 1000), False),
    ],
)
def test_what_agrees(name: str, kept: Value, found: Measured, agree: bool) -> None:
    assert rescoring.agrees(name, kept, found) == agree


def test_an_older_record_may_lack_a_metric(record_of: RecordOf) -> None:
    record = record_of("class-forget")
    metrics = {name: value for name, value in record.metrics.items() if name != "mia.loss.auc"}
    less = msgspec.structs.replace(record, metrics=metrics)
    found = {"mia.loss.auc": Measured(50.0, 100)}
    said = "mia.loss.auc is not in the record; its arrays give 50 of 100"
    assert rescoring.differences(less, found) == [said]
    assert rescoring.differences(less, found, complete=False) == []
