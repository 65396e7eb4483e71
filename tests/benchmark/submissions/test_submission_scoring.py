"""Scoring a submission again: what is reported must follow from the predictions, with the benchmark's own labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from handed_in import SCENARIO, logits, scored

from benchmark.checking.submitted import MOST_ROUNDING, Outcome, allowed, on_border, score
from benchmark.contracts import Measured
from benchmark.errors import InputError
from benchmark.metrics.membership import loss_auc
from benchmark.submissions.accepted import FILE, accept, accepted, archive_of
from benchmark.submissions.archive import Archive
from benchmark.submissions.current import suite_of
from benchmark.submissions.expected import checksum, expected, halved
from benchmark.submissions.packing import PREDICTIONS
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS

Changed = Callable[..., Archive]
MEAN = "accuracy.mean"


def verdicts(found: Outcome, name: str) -> list[str]:
    return [own[name].verdict for own in found.verified.metrics.values()]


def test_what_predictions_give(archive: Archive) -> None:
    found = scored(archive)
    truth = expected(load_suite("smoke").scenarios[SCENARIO].settings, 0).truth["test.labels"]
    mean = found.verified.metrics[f"{SCENARIO}, seed 0"][MEAN]
    assert mean.value == pytest.approx(100 * float((logits(0).argmax(1) == truth).mean()))
    assert mean.n == len(truth)
    assert set(verdicts(found, MEAN)) == {"not reported"}
    assert found.exit_code == 0


def test_what_is_reported_as_it_is_agrees(reported: Changed) -> None:
    found = scored(reported())
    assert found.exit_code == 0
    assert found.count("agrees") == 16
    assert found.count("differs") == 0


@pytest.mark.parametrize(
    "other", [{MEAN: 99.0}, {"accuracy.worst-group": 100.0}, {MEAN: None}, {"bias.difference": -30}]
)
def test_what_predictions_do_not_support_differs(reported: Changed, other: dict[str, Any]) -> None:
    found = scored(reported(other))
    assert verdicts(found, next(iter(other))) == ["differs", "differs"]
    assert found.exit_code == 1


def test_what_predictions_do_not_tell_is_no_lie(reported: Changed) -> None:
    found = scored(reported({"attribute.decodability": 50.0, "selection.score": 1.0}))
    assert verdicts(found, "attribute.decodability") == ["not verifiable"] * 2
    assert verdicts(found, "selection.score") == ["not verifiable"] * 2
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"test.logits": logits().astype(np.float16)[:-1]}, "of shape"),
        ({"test.logits": logits().astype(np.float16)[:, :1]}, "of shape"),
        ({"test.logits": np.zeros((5, 2), np.int64)}, "is int64"),
        ({"test.logits": logits()}, "float32; amendbench submit packs float16"),
        ({"other": np.zeros(3)}, "unknown array 'other'"),
        ({"test.logtis": logits().astype(np.float16)}, "did you mean test.logits"),
        (
            {"test.logits": logits().astype(np.float16), "test.labels": logits().argmax(1).astype(np.int16)},
            "array test.labels: the benchmark has its own",
        ),
    ],
)
def test_other_arrays_are_bad_input(changed: Changed, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(InputError, match=said):
        scored(changed(arrays={1: arrays}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_never_right(changed: Changed, value: float) -> None:
    found = scored(changed(arrays={0: {"test.logits": np.full_like(logits(), value, dtype=np.float16)}}))
    assert found.verified.metrics[f"{SCENARIO}, seed 0"][MEAN].value == 0


def test_one_class_for_all_is_not_excused_by_rounding(archive: Archive, changed: Changed) -> None:
    """Every sample is on the border, which allows for half a point and no more."""
    same = {"test.logits": np.ones(logits().shape, np.float16)}
    cells = [msgspec.structs.replace(part, reported={MEAN: 99.0}) for part in archive.submission.cells]
    found = scored(changed(arrays={0: same, 1: same}, cells=cells))
    assert verdicts(found, MEAN) == ["differs", "differs"]


def test_scores_of_images_that_are_no_numbers_remove_nothing(tmp_path: Path) -> None:
    from benchmark.rescoring.reported import Claim
    from benchmark.rescoring.rescore import rescore_claim

    scenario = load_suite("smoke").scenarios["ring"].settings
    arrays = {name: np.zeros(told.shape, bool if told.logical else np.float16) for name, told in
              expected(scenario, 0).predictions.items()}  # fmt: skip
    arrays["before"][:50] = True
    assert rescore_claim(scenario, Claim(0, {}, None), arrays)["pul"].value == 100
    assert rescore_claim(scenario, Claim(0, {}, None, ("not finite",)), arrays)["pul"].value is None


@pytest.mark.parametrize("name", [s.name for s in load_suite("smoke").scenarios.values()])
def test_every_task_says_what_it_needs(name: str) -> None:
    scenario = load_suite("smoke").scenarios[name]
    needed = expected(scenario.settings, 0)
    assert tuple(needed.predictions) == PREDICTIONS[scenario.task]
    assert not needed.truth.keys() & needed.predictions.keys()
    assert len(checksum(scenario.settings)) == 16


def test_what_is_kept_of_predictions() -> None:
    given = np.array([1.0, 1e9, -np.inf, np.nan, 0.1])
    assert halved({"x": given, "b": np.array([True])})["x"].tolist()[:2] == [1.0, 65504.0]
    assert np.isnan(halved({"x": given})["x"][2:4]).all()
    assert halved({"x": given})["x"].dtype == np.float16


# Scenarios that are others now.


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"version": 99}, "version 99"),
        ({"data": {SCENARIO: "0" * 16}}, "its data are 0000"),
        ({"suite": "embedded"}, "unknown scenario"),
    ],
)
def test_a_scenario_that_has_changed_is_not_scored(changed: Changed, fields: dict[str, Any], said: str) -> None:
    found = scored(changed(**fields))
    assert said in found.changed[SCENARIO]
    assert found.exit_code == 1
    assert {judged.value for own in found.verified.metrics.values() for judged in own.values()} <= {None}


def test_settings_that_have_changed_are_named(archive: Archive, changed: Changed) -> None:
    settings = archive.submission.settings[SCENARIO]
    found = scored(changed(settings={SCENARIO: {**settings, "selection": "last", "oracle": False}}))
    assert found.changed[SCENARIO] == "its selection and oracle are others now"
    found = scored(changed(settings={SCENARIO: {"data": [[]] * 100}}))
    assert "settings are none of today's" in found.changed[SCENARIO]


def test_seeds_for_tuning_and_other_units(archive: Archive, changed: Changed) -> None:
    unit = [msgspec.structs.replace(part, unit="class-1") for part in archive.submission.cells]
    assert "unit is 'class-1', but it amends colour" in scored(changed(cells=unit)).changed[SCENARIO]
    from benchmark.submissions.current import changed_since

    tuned = [msgspec.structs.replace(part, seed=102) for part in archive.submission.cells[:1]]
    submission = msgspec.structs.replace(archive.submission, cells=tuned)
    assert changed_since(submission, SCENARIO, load_suite("smoke")) == "seed 102 is for tuning and is never reported"


def test_a_suite_that_is_not_ours(tmp_path: Path, changed: Changed) -> None:
    theirs = changed(suite="theirs")
    found = scored(theirs)
    assert found.exit_code == 3
    assert "name its file with --suite" in found.unseen[SCENARIO]
    text = (Path(load_suite("smoke").path)).read_text().replace('name = "smoke"', 'name = "theirs"')
    (tmp_path / "theirs.toml").write_text(text)
    assert score(theirs, suite_of(theirs.submission, str(tmp_path / "theirs.toml"))).exit_code == 0
    with pytest.raises(InputError, match="but the submission is for theirs"):
        suite_of(theirs.submission, "smoke")


# Rounding.


def test_rounding_moves_no_value_further_than_is_allowed() -> None:
    rng = np.random.default_rng(0)
    for scale in (0.001, 1.0, 100.0):
        exact = (scale * rng.normal(size=(4_000, 3))).astype(np.float32)
        exact[:, 1] = exact[:, 0] + scale * 1e-3 * rng.normal(size=4_000)
        kept = exact.astype(np.float16)
        flipped = int((exact.argmax(1) != kept.argmax(1)).sum())
        assert 0 < flipped <= on_border(kept)


@pytest.mark.parametrize(
    ("name", "n", "unsure", "expected_"),
    [(MEAN, 1000, 0, 1e-9), (MEAN, 1000, 3, 0.3), (MEAN, 1000, 900, MOST_ROUNDING), (MEAN, 40, 9, 2.5),
     ("bias.difference", 1000, 3, 0.6), ("mia.loss.auc", 100, 0, 0.1)],
)  # fmt: skip
def test_allowed(name: str, n: int, unsure: int, expected_: float) -> None:
    assert allowed(name, Measured(0.5, n), unsure) == pytest.approx(expected_)


def test_the_area_moves_less_than_is_allowed() -> None:
    import torch

    rng = torch.Generator().manual_seed(0)
    loss = torch.rand(1_000, generator=rng, dtype=torch.float64)
    half = loss_auc(loss[:500].half().double(), loss[500:].half().double())
    whole = loss_auc(loss[:500], loss[500:])
    assert half.value is not None
    assert whole.value is not None
    assert 0 < abs(half.value - whole.value) < allowed("mia.loss.auc", whole, 0)


# Accepted ones.


def test_what_is_accepted_is_read_again(reported: Changed, tmp_path: Path) -> None:
    archive = reported()
    found = scored(archive).verified
    folder = accept(found, archive.content, tmp_path)
    assert folder == tmp_path / "submissions/smoke/debias-known/their-method"
    assert archive_of(folder, found.submission).read_bytes() == archive.content
    assert list(accepted(tmp_path)) == [found]
    assert list(accepted(tmp_path, "embedded")) == []
    accept(scored(archive).verified, archive.content, tmp_path)


def test_another_one_of_that_name_stays(reported: Changed, changed: Changed, tmp_path: Path) -> None:
    first, second = reported(), changed(notes="the second")
    accept(scored(first).verified, first.content, tmp_path)
    with pytest.raises(InputError, match="another submission of method their-method"):
        accept(scored(second).verified, second.content, tmp_path)
    assert next(accepted(tmp_path)).sha256 == first.sha256


def test_what_was_tampered_with_is_left_out(
    reported: Changed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = reported()
    path = accept(scored(archive).verified, archive.content, tmp_path) / FILE
    whole = path.read_text()
    for old, new in (
        ("https:", "javascript:"),
        ("accuracy.mean", "accuracy.mine"),
        ("their-method", "other-method"),
        ('"n": ', '"n": -'),
        ('"value": ', '"value": 999'),
    ):
        path.write_text(whole.replace(old, new))
        assert list(accepted(tmp_path)) == []
    assert len(caplog.records) == 5
    path.unlink()
    path.symlink_to(tmp_path)
    assert list(accepted(tmp_path)) == []


def test_tasks_are_all_there() -> None:
    assert list(PREDICTIONS) == list(TASKS)
