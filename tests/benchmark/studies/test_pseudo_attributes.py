"""Precision and recall of GERNE's pseudo-minority."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.data.views import View
from benchmark.errors import AccessViolation, InputError
from benchmark.studies.measuring.debias_problems import posed
from benchmark.studies.measuring.pseudo_attributes import measure, quality

SMALL: dict[str, Any] = {"suite": "smoke", "scenario": "digits-coloured-blind"}


def bools(text: str) -> torch.Tensor:
    return torch.tensor([letter == "x" for letter in text])


def test_quality_by_hand() -> None:
    """3 of 4 picked are among the 5 that are sought; 2 of the other 6 are: both weigh the same."""
    found = quality(bools("xxxx......"), bools("xxx.xx...."))
    assert found == pytest.approx(
        {"precision": 75.0, "recall": 60.0, "size": 4.0, "truth": 5.0, "conflicting": (75 + 100 / 3) / 2}
    )


@pytest.mark.parametrize(("picked", "truth"), [("....", "x..."), ("xxxx", "x..."), ("x...", "....")])
def test_nothing_to_say(picked: str, truth: str) -> None:
    with pytest.raises(InputError, match="nobody"):
        quality(bools(picked), bools(truth))


def test_the_biased_network_finds_who_conflicts() -> None:
    few, many = (measure({**SMALL, "t": t}, 0) for t in (0.05, 0.5))
    assert few["truth"] == many["truth"]
    assert few["precision"] > 2 * 100 * few["truth"] / (2 * many["size"])  # twice what picking blindly would give
    assert few["recall"] < many["recall"]
    assert few["size"] < many["size"]
    assert measure({**SMALL, "t": 0.05}, 0) == few != measure({**SMALL, "t": 0.05}, 1)


def test_the_method_s_problem_shows_no_attribute() -> None:
    own = posed("smoke", "digits-coloured-blind", "gerne", 0)
    train: View = own.problem.train
    assert own.data.train.attributes is not None
    assert own.problem.attributes_known is False
    with pytest.raises(AccessViolation):
        train.read("a", torch.arange(3))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({**SMALL}, "a point has t"),
        ({**SMALL, "t": 0.1, "s": 1.0}, "a point has t and perhaps"),
        ({**SMALL, "t": 0.0001}, "makes 0 of the"),
        ({**SMALL, "t": 0.1, "scenario": "digits-coloured"}, "attributes are known"),
        ({**SMALL, "t": 0.1, "scenario": "digits-coloured-blinded"}, "digits-coloured-blind"),
    ],
)
def test_bad_points(point: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(point, 0)
