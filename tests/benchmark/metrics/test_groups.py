"""Accuracy by group in closed form, and how often the bound of the worst group holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.catalogue import METRICS, metric
from benchmark.metrics.groups import (
    GroupCounts,
    aligned,
    bias_difference,
    count_groups,
    group_balanced,
    mean_accuracy,
    pooled,
    standard_error,
    weighted_accuracy,
    worst_class,
    worst_group,
    worst_group_lower,
)
from benchmark.reporting.cells import heading

#: CelebA's training set: not blond and blond, by female and male.
CELEBA = torch.tensor([[71_629, 66_874], [22_880, 1_387]])
#: The groups' accuracies are 90, 50, 25 and 100 %.
COUNTS = GroupCounts(torch.tensor([[90, 5], [5, 10]]), torch.tensor([[100, 10], [20, 10]]))
#: The third class has no samples, the second none with the first attribute.
GAPS = GroupCounts(torch.tensor([[6, 2], [0, 3], [0, 0]]), torch.tensor([[8, 4], [0, 4], [0, 0]]))
EMPTY = GroupCounts(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long))


def assert_close(found: Measured, value: float | None, n: int) -> None:
    assert found.value == pytest.approx(value)
    assert found.n == n


def test_samples_are_counted_by_label_and_attribute() -> None:
    rng = torch.Generator().manual_seed(0)
    labels, attributes, predictions = (torch.randint(k, (500,), generator=rng) for k in (3, 5, 4))
    counts = count_groups(predictions, labels, attributes, 4, 6)
    assert counts.n.shape == counts.correct.shape == (4, 6)
    assert counts.n.dtype == counts.correct.dtype == torch.int64
    for k in range(4):
        for a in range(6):
            group = (labels == k) & (attributes == a)
            assert counts.n[k, a] == group.sum()
            assert counts.correct[k, a] == (predictions[group] == k).sum()


def test_a_prediction_that_is_no_label_is_wrong_and_a_sample_that_has_no_group_is_an_error() -> None:
    zeros = torch.zeros(3, dtype=torch.long)
    assert count_groups(torch.tensor([0, 7, -1]), zeros, zeros, 2, 2).correct.tolist() == [[1, 0], [0, 0]]
    for outside in (torch.tensor([0, 2, 0]), torch.tensor([0, -1, 0])):
        with pytest.raises(ValueError, match="every label"):
            count_groups(zeros, outside, zeros, 2, 2)
        with pytest.raises(ValueError, match="every attribute"):
            count_groups(zeros, zeros, outside, 2, 2)


def test_no_samples_count_to_empty_groups() -> None:
    none = torch.zeros(0, dtype=torch.long)
    counts = count_groups(none, none, none, 2, 3)
    assert torch.equal(counts.n, EMPTY.n)
    assert torch.equal(counts.correct, EMPTY.correct)


def test_accuracy_is_in_percent_and_blank_where_a_group_has_no_samples() -> None:
    assert COUNTS.accuracy.dtype == torch.float64
    assert COUNTS.accuracy.tolist() == [[90.0, 50.0], [25.0, 100.0]]
    assert GAPS.accuracy.isnan().tolist() == [[False, False], [True, False], [True, True]]


def test_closed_forms() -> None:
    assert group_balanced(COUNTS) == Measured(66.25, 140)
    assert_close(mean_accuracy(COUNTS), 100 * 110 / 140, 140)
    assert worst_group(COUNTS) == Measured(25.0, 20)
    assert worst_class(COUNTS) == Measured(50.0, 30)
    assert_close(pooled(COUNTS, torch.tensor([[False, True], [True, False]])), 100 / 3, 30)


def test_groups_without_samples_are_left_out() -> None:
    assert_close(group_balanced(GAPS), 200 / 3, 16)
    assert mean_accuracy(GAPS) == Measured(68.75, 16)
    assert worst_group(GAPS) == Measured(50.0, 4)
    assert_close(worst_class(GAPS), 200 / 3, 12)
    assert pooled(GAPS, GAPS.n == 0) == Measured(None, 0)
    own = GroupCounts(GAPS.correct[GAPS.n > 0].view(1, 3), GAPS.n[GAPS.n > 0].view(1, 3))
    assert worst_group_lower(GAPS) == worst_group_lower(own)


def test_blank_without_any_samples() -> None:
    for found in (group_balanced, mean_accuracy, worst_group, worst_class, worst_group_lower):
        assert found(EMPTY) == Measured(None, 0)
    assert weighted_accuracy(EMPTY, torch.ones(2, 3)) == Measured(None, 0)


def test_weights_tilt_the_mean_and_those_of_missing_groups_do_not_count() -> None:
    assert weighted_accuracy(COUNTS, torch.tensor([[3, 0], [1, 0]])) == Measured(73.75, 140)
    assert_close(weighted_accuracy(COUNTS, COUNTS.n), mean_accuracy(COUNTS).value, 140)
    weights = torch.tensor([[1, 1], [1_000, 2], [1_000, 1_000]])
    assert_close(weighted_accuracy(GAPS, weights), (75 + 50 + 2 * 75) / 4, 16)
    assert weighted_accuracy(GAPS, (GAPS.n == 0).float()) == Measured(None, 16)


def test_aligned_groups_of_celeba_are_not_blond_men_and_blond_women() -> None:
    assert aligned(CELEBA).tolist() == [[False, True], [True, False]]
    assert aligned(CELEBA.int()).tolist() == aligned(CELEBA).tolist()  # the products do not fit into 32 bits


def test_aligned_groups_of_ten_colours_are_the_diagonal() -> None:
    assert aligned(torch.full((10, 10), 5) + 4_950 * torch.eye(10, dtype=torch.long)).equal(torch.eye(10) == 1)
    assert not aligned(torch.full((10, 10), 7)).any()


def test_standard_error_of_a_proportion_in_percent() -> None:
    assert standard_error(Measured(50.0, 100)) == pytest.approx(5.0)
    assert standard_error(Measured(90.0, 36)) == pytest.approx(5.0)
    assert standard_error(Measured(100.0, 7)) == 0.0
    assert standard_error(Measured(None, 0)) is None
    assert standard_error(Measured(None, 9)) is None


def one_group(correct: int, n: int) -> GroupCounts:
    return GroupCounts(torch.tensor([[correct]]), torch.tensor([[n]]))


@pytest.mark.parametrize(("correct", "n", "groups"), [(7, 10, 1), (1, 10, 1), (950, 1_000, 1), (180, 200, 4)])
def test_bound_is_the_accuracy_at_which_so_many_right_are_just_too_many(correct: int, n: int, groups: int) -> None:
    others = torch.tensor([[1_000] * (groups - 1)], dtype=torch.long)
    counts = GroupCounts(torch.cat([torch.tensor([[correct]]), others], 1), torch.cat([torch.tensor([[n]]), others], 1))
    found = worst_group_lower(counts, 0.9)
    assert found.n == n
    assert found.value is not None
    assert binom.sf(correct - 1, n, found.value / 100) == pytest.approx(0.1 / groups)


def test_bound_of_groups_all_right_or_all_wrong() -> None:
    assert worst_group_lower(one_group(0, 50)) == Measured(0.0, 50)
    assert_close(worst_group_lower(one_group(50, 50)), 100 * 0.05 ** (1 / 50), 50)
    uncertain = GroupCounts(torch.tensor([[10, 900]]), torch.tensor([[10, 1_000]]))
    assert worst_group(uncertain).n == 1_000
    assert_close(worst_group_lower(uncertain), 100 * 0.025 ** (1 / 10), 10)


def test_coverage_of_one_group_is_the_stated_one() -> None:
    """Exactly: summed over all outcomes. No accuracy has less than 95 %, and some hardly more."""
    n, outcomes = 40, np.arange(41)
    bounds = np.array([worst_group_lower(one_group(int(k), n)).value for k in outcomes])
    truths = np.linspace(50, 99, 981)
    coverage = np.array([binom.pmf(outcomes, n, p / 100)[bounds <= p].sum() for p in truths])
    assert 0.95 <= coverage.min() < 0.951
    assert coverage.mean() < 0.98


def coverage(n: Tensor, truth: Tensor, simulations: int = 1_000) -> float:
    """The share of simulated test sets whose bound is at or below the lowest of the true accuracies (K, A)."""
    rng = np.random.default_rng(0)
    drawn = torch.from_numpy(rng.binomial(n.numpy(), truth.numpy(), size=(simulations, *n.shape)))
    bounds = [worst_group_lower(GroupCounts(correct, n)).value for correct in drawn]
    return sum(bound is not None and bound <= 100 * float(truth.min()) for bound in bounds) / simulations


SPREAD = torch.linspace(0.5, 0.99, 100).double().view(10, 10)
SETTINGS = {
    "100 groups of 10, all alike": (torch.full((10, 10), 10), torch.full((10, 10), 0.8).double()),
    "100 groups of 10": (torch.full((10, 10), 10), SPREAD),
    "100 groups of 10 to 1,000": (torch.linspace(10, 1_000, 100).long().view(10, 10), SPREAD),
    "CelebA's test set": (torch.tensor([[9_767, 7_535], [2_480, 180]]), torch.tensor([[0.96, 0.99], [0.85, 0.45]])),
    "4 alike of unequal size": (torch.tensor([[2_255, 2_255], [642, 642]]), torch.full((2, 2), 0.9)),
    "10 of 50": (torch.full((5, 2), 50), torch.linspace(0.7, 0.95, 10).view(5, 2)),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_bound_holds_in_simulations(setting: str) -> None:
    n, truth = SETTINGS[setting]
    assert coverage(n, truth.double()) >= 0.95


def test_bound_is_not_absurdly_low_where_one_group_is_clearly_worst() -> None:
    """Bonferroni's correction for four groups leaves that one group a bound of 98.75 %."""
    truth = torch.tensor([[0.6, 0.95, 0.97, 0.99]]).double()
    assert 0.98 <= coverage(torch.full((1, 4), 200), truth, 4_000) < 0.995


def test_metrics_of_every_rule_are_named_and_a_step_has_no_better_way() -> None:
    rules = {name.partition("@")[2] for name in METRICS if name.startswith(("accuracy.group-", "accuracy.worst-"))}
    assert rules == {"", "worst-group", "group-balanced", "bias-conflicting", "worst-class", "last", "oracle"}
    assert metric("accuracy.worst-group@last").label == "WGA, chosen by last"
    assert "for study only" in metric("accuracy.group-balanced@oracle").summary
    assert heading("accuracy.worst-group") == "WGA (%) ↑"
    assert heading("selection.step") == "step (steps)"


def test_the_bias_difference_is_within_classes() -> None:
    """A class that is hard whatever its attribute is no bias; pooled accuracies would show one."""
    n = torch.tensor([[900, 100], [10, 90]])
    correct = torch.tensor([[810, 90], [2, 18]])  # 90 and 20 %, both attributes alike
    aligned = torch.tensor([[True, False], [False, True]])
    assert bias_difference(GroupCounts(correct, n), aligned) == (0.0, 1100)
    correct = torch.tensor([[900, 50], [2, 90]])
    assert bias_difference(GroupCounts(correct, n), aligned).value == pytest.approx((50 + 80) / 2)
    lacking = torch.tensor([[900, 0], [10, 90]])
    assert bias_difference(GroupCounts(torch.minimum(correct, lacking), lacking), aligned) == (pytest.approx(80.0), 100)
    assert bias_difference(GroupCounts(correct, n), torch.ones(2, 2, dtype=torch.bool)) == (None, 0)
