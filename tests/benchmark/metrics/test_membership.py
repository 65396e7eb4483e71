"""Attacks against closed forms and constructed numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.membership import (
    NEGATIVES_FOR_ONE_PERCENT,
    loss_auc,
    loss_tpr_at_one_percent,
    svc_attack,
    true_class_probability,
)


def quantiles(n: int, centre: float = 0.0) -> Tensor:
    """n equally likely quantiles of a unit Gaussian: a sample without noise."""
    return torch.from_numpy(norm.ppf((np.arange(n) + 0.5) / n)) + centre


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_auc_of_two_unit_gaussians(distance: float) -> None:
    """Members have the lower loss: the AUC is Phi(d / sqrt 2)."""
    found = loss_auc(quantiles(2_000), quantiles(2_000, distance))
    assert found.value == pytest.approx(100 * norm.cdf(distance / math.sqrt(2)), abs=0.1)
    assert found.n == 4_000


def test_auc_counts_pairs_and_ties_by_half() -> None:
    members, others = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])
    # member below other: 0<1, 0<3, 1=1 (half), 1<3, 2<3 -> 4.5 of 6
    assert loss_auc(members, others).value == pytest.approx(100 * 4.5 / 6)
    assert loss_auc(torch.zeros(5), torch.zeros(7)).value == 50.0


def test_auc_is_blank_where_a_group_is_empty() -> None:
    assert loss_auc(torch.zeros(0), torch.zeros(7)) == Measured(None, 7)
    assert loss_auc(torch.zeros(3), torch.zeros(0)) == Measured(None, 3)


def test_tpr_at_one_percent_is_exact() -> None:
    """Of 1,000 others with losses 0 .. 999, ten may lie below the threshold: it is 10."""
    others = torch.arange(1_000).float()[torch.randperm(1_000, generator=torch.Generator().manual_seed(0))]
    members = torch.tensor([0.0, 5.0, 9.5, 9.99, 10.0, 10.5, 500.0, 2_000.0])
    assert loss_tpr_at_one_percent(members, others) == Measured(50.0, 1_000)
    assert loss_tpr_at_one_percent(torch.full((3,), -1.0), others).value == 100.0
    assert loss_tpr_at_one_percent(others, others).value == pytest.approx(1.0)


def test_tpr_never_allows_more_than_one_percent_false_positives() -> None:
    """Ties at the threshold count against the attack."""
    others = torch.zeros(1_500)
    assert loss_tpr_at_one_percent(torch.zeros(10), others).value == 0.0
    others = torch.randn(1_999, generator=torch.Generator().manual_seed(0))
    value = loss_tpr_at_one_percent(others, others).value
    assert value is not None
    assert 0.9 < value <= 1.0


def test_tpr_of_two_unit_gaussians() -> None:
    found = loss_tpr_at_one_percent(quantiles(5_000), quantiles(5_000, 1.0)).value
    assert found == pytest.approx(100 * norm.cdf(norm.ppf(0.01) + 1.0), abs=0.2)


def test_tpr_is_blank_under_a_thousand_negatives() -> None:
    assert NEGATIVES_FOR_ONE_PERCENT == 1_000
    assert loss_tpr_at_one_percent(torch.zeros(5_000), torch.ones(999)) == Measured(None, 999)
    assert loss_tpr_at_one_percent(torch.zeros(5_000), torch.ones(1_000)) == Measured(100.0, 1_000)
    assert loss_tpr_at_one_percent(torch.zeros(0), torch.ones(1_000)).value is None


def near(centre: float, n: int, seed: int) -> Tensor:
    noise = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (centre + 0.05 * (noise - 0.5)).clamp(0, 1)


def test_svc_gives_100_for_a_retrained_model() -> None:
    """High probability on what stays, none on the class that was never seen, in training or test."""
    assert svc_attack(near(0.97, 900, 0), near(0.02, 100, 1), near(0.02, 40, 2)) == Measured(100.0, 40)


def test_svc_gives_0_for_the_original() -> None:
    """All samples are known alike: the larger group, the members, wins everywhere."""
    assert svc_attack(near(0.97, 900, 0), near(0.97, 100, 1), near(0.97, 40, 2)) == Measured(0.0, 40)


def test_svc_with_capped_fit_says_the_same_and_is_repeatable() -> None:
    groups = near(0.97, 9_000, 0), near(0.02, 1_000, 1), torch.cat([near(0.02, 30, 2), near(0.97, 10, 3)])
    capped = svc_attack(*groups, max_fit=500)
    assert capped == Measured(75.0, 40) == svc_attack(*groups, max_fit=500)
    tiny = svc_attack(near(0.97, 9_000, 0), near(0.02, 2, 1), near(0.02, 40, 2), max_fit=100)
    assert tiny.n == 40  # a group is never left without a sample


def test_svc_is_blank_where_a_group_is_empty() -> None:
    nothing, some = torch.zeros(0, dtype=torch.float64), near(0.5, 10, 0)
    for groups in ((nothing, some, some), (some, nothing, some), (some, some, nothing)):
        assert svc_attack(*groups) == Measured(None, len(groups[2]))


def test_true_class_probability_is_softmax_at_the_label() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]]))
    assert true_class_probability(logits, torch.tensor([2, 0])).tolist() == pytest.approx([0.5, 0.7])
    hidden = torch.tensor([[torch.finfo(torch.float16).min, 0.0]])
    assert true_class_probability(hidden, torch.tensor([0])).tolist() == [0.0]
