"""The lifted logit: 100 for a class that a constant hides, 50 for one whose logit says nothing, Phi for Gaussians."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark.contracts import Measured
from benchmark.metrics.lifted_logit import lifted_logit_auc

LABELS = torch.arange(900) % 3


def known() -> torch.Tensor:
    return 5.0 * torch.eye(3)[LABELS]


def test_a_constant_hides_nothing() -> None:
    """A bias of -100 within the weights: no sample is given the class, and all of it is there."""
    logits = known()
    logits[:, 0] -= 100.0
    assert not (logits.argmax(1) == 0).any()
    assert lifted_logit_auc(logits, LABELS, (0,)) == Measured(100.0, 900)


def test_a_logit_that_is_the_same_for_all_says_what_the_others_say() -> None:
    logits = known()
    logits[:, 0] = -3.0
    assert lifted_logit_auc(logits, LABELS, (0,)).value == 100.0  # the others are least sure of its samples
    logits[:, 1:] = 5.0
    assert lifted_logit_auc(logits, LABELS, (0,)).value == 50.0
    assert lifted_logit_auc(-known(), LABELS, (0,)).value == 0.0


@pytest.mark.parametrize("distance", [0.5, 1.5])
def test_gaussian_margins(distance: float) -> None:
    labels = torch.arange(40_000) % 2
    logits = torch.zeros(40_000, 2)
    logits[:, 1] = torch.randn(40_000, generator=torch.Generator().manual_seed(1)) + distance * labels
    expected = 50 * (1 + math.erf(distance / 2))  # 100 Phi(d / sqrt 2)
    assert lifted_logit_auc(logits, labels, (1,)).value == pytest.approx(expected, abs=1.0)


def test_of_several_classes_the_mean_and_none_against_another() -> None:
    logits = known()
    logits[:, 1] = 0.0  # 1 is gone: of its samples and of those of 2 the margin is 0 and -5
    alone = lifted_logit_auc(logits, LABELS, (1,)).value
    assert lifted_logit_auc(logits, LABELS, (0, 1)) == Measured((100.0 + 100.0) / 2, 900)
    assert alone == 100.0
    logits[LABELS == 2] = torch.tensor([9.0, 9.0, 0.0])  # these now look like either of the two
    assert lifted_logit_auc(logits, LABELS, (0, 1)).value == 0.0


def test_blank_where_nothing_can_be_said() -> None:
    assert lifted_logit_auc(known(), LABELS, (0, 1, 2)).value is None
    assert lifted_logit_auc(known()[LABELS > 0], LABELS[LABELS > 0], (0,)).value is None
    broken = known()
    broken[4, 2] = math.nan
    assert lifted_logit_auc(broken, LABELS, (0,)).value is None
