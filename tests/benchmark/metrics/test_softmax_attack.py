"""The attack on sorted softmax outputs: its split to the sample, and constructed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.softmax_attack import Sizes, asr, balanced_asr, protocol_sizes, sorted_softmax


def outputs(n: int, seed: int, scale: float = 1.0, classes: int = 10) -> Tensor:
    """(n, classes) Gaussian logits; a large scale makes sure predictions, a small one unsure ones."""
    return scale * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("sample", "test", "forget", "expected"),
    [
        (10_000, 10_000, 10_000, Sizes(5_000, 5_024, 4_976)),
        (5_000, 10_000, 5_000, Sizes(5_000, 5_024, 4_976)),
        (4_000, 10_000, 4_000, Sizes(4_000, 5_024, 4_000)),
        (15_000, 26_032, 15_000, Sizes(13_016, 13_024, 13_008)),
        (100, 1_000, 100, Sizes(100, 512, 100)),
        (100, 64, 100, Sizes(32, 32, 32)),
        (100, 33, 100, Sizes(16, 32, 1)),
        (100, 20, 100, Sizes(10, 20, 0)),
        (0, 0, 0, Sizes(0, 0, 0)),
    ],
)
def test_sizes(sample: int, test: int, forget: int, expected: Sizes) -> None:
    """157 batches of 32 test samples of 10,000 are fitted, the next ones judged, as many as there are to forget."""
    assert protocol_sizes(sample, test, forget) == expected


def test_features_are_sorted_probabilities_whatever_the_order_of_classes() -> None:
    logits = outputs(50, 0, 3.0)
    features = sorted_softmax(logits)
    assert features.dtype == np.float32
    assert (np.diff(features, axis=1) >= 0).all()
    assert features.sum(1) == pytest.approx(np.ones(50), abs=1e-6)
    assert features[:, -1] == pytest.approx(logits.softmax(1).max(1).values.numpy(), abs=1e-6)
    assert (sorted_softmax(logits[:, torch.randperm(10, generator=torch.Generator().manual_seed(1))]) == features).all()


def test_attack_is_always_right_where_members_are_sure_and_others_are_not() -> None:
    sure, unsure = (lambda n, seed: outputs(n, seed, 30.0)), (lambda n, seed: outputs(n, seed, 0.01))
    assert asr(sure(300, 0), unsure(1_000, 1), sure(200, 2), seed=0) == Measured(100.0, 400)
    assert balanced_asr(sure(300, 0), unsure(500, 1), sure(200, 2), unsure(80, 3), seed=0) == Measured(100.0, 280)


def test_attack_is_always_wrong_where_members_look_like_others_and_others_like_members() -> None:
    sure, unsure = (lambda n, seed: outputs(n, seed, 30.0)), (lambda n, seed: outputs(n, seed, 0.01))
    assert balanced_asr(sure(300, 0), unsure(500, 1), unsure(200, 2), sure(80, 3), seed=0) == Measured(0.0, 280)
    test = torch.cat([unsure(512, 1), sure(488, 3)])
    assert asr(sure(300, 0), test, unsure(200, 2), seed=0) == Measured(0.0, 400)


def test_forgotten_samples_that_look_like_others_leave_the_rest() -> None:
    """A retrained model in class removal: whole forget set judged non-members, and all test samples, too."""
    sure, unsure = outputs(300, 0, 30.0), outputs(1_000, 1, 0.01)
    assert asr(sure, unsure, outputs(200, 2, 0.01), seed=0) == Measured(50.0, 400)


@pytest.mark.parametrize(("forget", "judged"), [(200, 200), (488, 488), (2_000, 488)])
def test_a_guess_has_the_base_rate_of_the_unbalanced_groups(forget: int, judged: int) -> None:
    """All outputs equal: the larger fitted group wins everywhere, which is the 512 others."""
    found = asr(torch.zeros(forget, 10), torch.zeros(1_000, 10), torch.zeros(forget, 10), seed=0)
    assert found.n == forget + judged
    if forget < 512:
        assert found.value == pytest.approx(100 * judged / (forget + judged))
    more_members = asr(torch.zeros(600, 10), torch.zeros(1_000, 10), torch.zeros(forget, 10), seed=0)
    assert more_members.value == pytest.approx(100 * judged / (forget + judged))  # 500 members: half of the test


def test_one_distribution_has_50_where_balanced() -> None:
    """Each judged row is right in 50 % on average, whatever was fitted: 4 standard deviations of 2,000 fair coins."""
    found = balanced_asr(outputs(700, 0), outputs(600, 1), outputs(1_500, 2), outputs(500, 3), seed=0)
    spread = 100 * 0.5 * math.sqrt(0.25 / 1_500 + 0.25 / 500)
    assert found.value == pytest.approx(50.0, abs=4 * spread)
    assert found.n == 2_000


def test_classes_that_differ_from_what_was_fitted_do_not_count_for_the_balanced_attack() -> None:
    """Forgotten classes are unsure for both groups, as after retraining: 50, where the official attack finds more."""
    members, others = outputs(500, 0, 30.0), torch.cat([outputs(450, 1, 30.0), outputs(50, 2, 0.01)])
    found = balanced_asr(members, others, outputs(300, 3, 0.01), outputs(60, 4, 0.01), seed=0)
    assert found == Measured(50.0, 360)


@pytest.mark.parametrize("attack", ["asr", "balanced"])
def test_repeatable_and_blind_to_the_order_of_classes(attack: str) -> None:
    groups = [outputs(200, 0, 2.0), outputs(400, 1), outputs(150, 2, 1.5), outputs(100, 3)]
    turned = [group.flip(1) for group in groups]

    def attacked(rows: list[Tensor], seed: int) -> Measured:
        return balanced_asr(*rows, seed=seed) if attack == "balanced" else asr(*rows[:3], seed=seed)

    assert attacked(groups, 0) == attacked(groups, 0) == attacked(turned, 0)
    assert len({attacked(groups, seed).value for seed in range(4)}) > 1


def test_blank_where_a_group_is_empty_or_not_finite() -> None:
    some, nothing = outputs(100, 0), outputs(0, 0)
    broken = some.clone()
    broken[3, 3] = math.nan
    for bad in (nothing, broken):
        for at in range(3):
            groups = [bad if i == at else some for i in range(3)]
            assert asr(*groups, seed=0).value is None
        for at in range(4):
            groups = [bad if i == at else some for i in range(4)]
            assert balanced_asr(*groups, seed=0) == Measured(None, len(groups[2]) + len(groups[3]))
    assert asr(some, outputs(32, 1), some, seed=0) == Measured(None, 100)  # no test sample is left to judge
    hidden = some.clone()
    hidden[:, 0] = torch.finfo(torch.float32).min
    assert asr(some, some, hidden, seed=0).value is not None
