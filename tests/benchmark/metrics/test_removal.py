"""What was removed, counted by hand and against the golden vector; how often a judge is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.catalogue import metric
from benchmark.metrics.removal import error_rate, false_rates, pul, share

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "adapt_then_unlearn.json").read_text())


def judged(*said: int) -> Tensor:
    return torch.tensor(said, dtype=torch.bool)


def test_pul_golden() -> None:
    case = GOLDEN["atu-4"]
    before, after = (torch.tensor(case["inputs"][f"undesired_{when}"]).bool() for when in ("before", "after"))
    assert pul(before, after) == (pytest.approx(case["expected"]["PUL"], rel=case["rtol"]), 10)


def test_pul_counts_latents_that_became_undesired_and_may_be_negative() -> None:
    before = judged(1, 1, 0, 0, 0)
    assert pul(before, judged(0, 0, 0, 0, 0)) == Measured(100.0, 5)
    assert pul(before, judged(0, 0, 1, 0, 1)) == Measured(0.0, 5)
    assert pul(before, judged(1, 1, 1, 0, 0)) == Measured(-50.0, 5)


def test_nothing_to_remove_leaves_pul_blank() -> None:
    assert pul(judged(0, 0, 0), judged(0, 1, 0)) == Measured(None, 3)
    assert pul(judged(), judged()) == Measured(None, 0)


def test_share() -> None:
    assert share(judged(1, 0, 0, 0)) == Measured(25.0, 4)
    assert share(judged()) == Measured(None, 0)


def test_a_judges_errors_by_hand() -> None:
    """One of four desired images is called undesired, two of three undesired ones are missed."""
    true, said = judged(0, 0, 0, 0, 1, 1, 1), judged(0, 1, 0, 0, 0, 1, 0)
    assert error_rate(said, true) == (pytest.approx(300 / 7), 7)
    assert false_rates(said, true) == (Measured(25.0, 4), (pytest.approx(200 / 3), 3))


def test_rates_of_images_that_there_are_none_of_are_blank() -> None:
    assert false_rates(judged(1, 0), judged(0, 0)) == (Measured(50.0, 2), Measured(None, 0))
    assert false_rates(judged(1, 0), judged(1, 1)) == (Measured(None, 0), Measured(50.0, 2))
    assert error_rate(judged(), judged()) == Measured(None, 0)


@pytest.mark.parametrize("measure", [pul, error_rate, false_rates])
def test_what_is_no_pair_of_judgements_is_refused(measure: object) -> None:
    assert callable(measure)
    for one, other in [
        (judged(1, 0), judged(1)),
        (judged(1, 0), torch.tensor([1.0, 0.0])),
        (judged(1, 0)[None], judged(1, 0)[None]),
        (torch.tensor([1, 0]), torch.tensor([1, 0])),
    ]:
        with pytest.raises(ValueError, match=r"judgements must be bool, one of each image, not \("):
            measure(one, other)


def test_the_catalogue_says_which_way_is_better() -> None:
    higher, lower = (
        ("pul", "pul.at-quality", "precision", "recall"),
        ("undesired.after", "fid", "kid", "ret-fid", "fid.ratio", "kid.ratio"),
    )
    assert {metric(name).better for name in higher} == {"higher"}
    assert {metric(name).better for name in lower} == {"lower"}
    assert "do not compare" in metric("fid").summary
