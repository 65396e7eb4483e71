"""Unlearned against retrained models: closed forms, limits, and the definitions written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import entropy, norm

from benchmark.contracts import Measured
from benchmark.metrics.ensembles import (
    VARIANCE_FLOOR,
    example_epsilons,
    example_kloms,
    forgetting_quality,
    largest_epsilon,
    logit_scaled_confidence,
    u_lira_auc,
)


def normal(seed: int, models: int, examples: int, mean: float = 0.0, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, deviation, (models, examples))


def test_confidence_is_the_log_odds_of_the_label() -> None:
    probabilities = np.array([[[0.2, 0.3, 0.5], [0.7, 0.2, 0.1]], [[0.9, 0.05, 0.05], [0.25, 0.25, 0.5]]])
    found = logit_scaled_confidence(np.log(probabilities) + 17.0, np.array([2, 0]))
    assert found.dtype == np.float64
    odds = [[0.5 / 0.5, 0.7 / 0.3], [0.05 / 0.95, 0.25 / 0.75]]
    assert found == pytest.approx(np.log(odds))
    from_torch = logit_scaled_confidence(torch.from_numpy(np.log(probabilities)).float().numpy(), np.array([2, 0]))
    assert from_torch == pytest.approx(found, abs=1e-6)


def test_confidence_neither_overflows_nor_saturates() -> None:
    logits = np.array([[[1000.0, 0.0, 0.0], [-1000.0, 0.0, 0.0]]], dtype=np.float32)
    found = logit_scaled_confidence(logits, np.array([0, 0]))
    assert found == pytest.approx(np.array([[1000 - math.log(2), -1000 - math.log(2)]]))
    hidden = np.array([[[np.finfo(np.float32).min, 1.0]]], dtype=np.float32)
    assert np.isfinite(logit_scaled_confidence(hidden, np.array([0]))).all()
    assert logits[0, 0, 0] == 1000.0  # the caller's array is left as it was


@pytest.mark.parametrize("distance", [0.5, 1.0, -1.0, 3.0])
def test_u_lira_of_two_unit_gaussians(distance: float) -> None:
    """The likelihood ratio grows with the confidence: Phi(|d| / sqrt 2), whichever group is higher."""
    found = u_lira_auc(normal(0, 200, 300, distance), normal(1, 200, 300))
    assert found.value == pytest.approx(100 * norm.cdf(abs(distance) / math.sqrt(2)), abs=0.6)
    assert found.n == 300


def test_u_lira_finds_a_difference_in_variance_alone() -> None:
    """N(0, 1) against N(0, 9): the ratio falls with |x|, so it is P(|u| < |r|) = 2 arctan(3) / pi."""
    area = quad(lambda x: 2 * norm.pdf(x) * 2 * norm.sf(x / 3), 0, np.inf)[0]
    assert area == pytest.approx(2 * math.atan(3) / math.pi)
    found = u_lira_auc(normal(0, 200, 300), normal(1, 200, 300, deviation=3.0)).value
    assert found == pytest.approx(100 * area, abs=0.6)


@pytest.mark.parametrize(("models", "examples", "shared"), [(3, 30, 0.0), (8, 1, 0.0), (8, 30, 0.9), (32, 30, 0.5)])
def test_u_lira_of_one_distribution_is_50_however_few_the_models(models: int, examples: int, shared: float) -> None:
    """Mean of 400 draws, by its own standard error; ``shared``: correlation between the examples of a model."""
    rng, found = np.random.default_rng(models), []
    for _ in range(400):
        both = math.sqrt(1 - shared) * rng.normal(size=(2, models, examples))
        both += math.sqrt(shared) * rng.normal(size=(2, models, 1))
        found.append(u_lira_auc(*both).value)
    assert np.mean(found) == pytest.approx(50.0, abs=4 * np.std(found) / math.sqrt(400))


def test_u_lira_spread_of_one_distribution() -> None:
    """A pair's area is a mean over examples of differences of two numbers in [0, 1] that are uniform: variance at most
    1 / (3 N), and so is that of the average over pairs."""
    tolerance = 4 * 100 * math.sqrt(1 / (3 * 2_000))
    assert u_lira_auc(normal(0, 16, 2_000), normal(1, 16, 2_000)).value == pytest.approx(50.0, abs=tolerance)


def test_u_lira_of_copies() -> None:
    """Copies in one pair are left out together; elsewhere each is known from the other group, and scored against."""
    group = normal(0, 32, 200)
    assert u_lira_auc(group, group.copy()).value == 50.0
    value = u_lira_auc(group, np.roll(group, 1, axis=0)).value
    assert value is not None
    assert value < 20.0


def test_u_lira_of_groups_without_spread() -> None:
    assert u_lira_auc(np.ones((8, 5)), np.ones((8, 5))).value == 50.0
    assert u_lira_auc(np.ones((8, 5)), np.zeros((8, 5))).value == 100.0
    assert u_lira_auc(np.full((8, 5), -65504.0), normal(0, 8, 5)).value == 100.0
    assert u_lira_auc(np.full((8, 5), -3e38), normal(0, 8, 5)).value == 100.0


def test_u_lira_leaves_out_by_the_definition() -> None:
    u, r = normal(0, 5, 3, 0.5, 2.0), normal(1, 5, 3)
    areas = []
    for i in range(5):
        rest_u, rest_r = np.delete(u, i, axis=0), np.delete(r, i, axis=0)
        scores = [
            norm.logpdf(x[i], rest_u.mean(0), rest_u.std(0, ddof=1))
            - norm.logpdf(x[i], rest_r.mean(0), rest_r.std(0, ddof=1))
            for x in (u, r)
        ]
        areas.append((scores[0][:, None] > scores[1]).mean())
    assert u_lira_auc(u, r).value == pytest.approx(100 * np.mean(areas))
    shift = 1e6 * np.arange(3)
    assert u_lira_auc(u + shift, r + shift).value == pytest.approx(100 * np.mean(areas))


def test_u_lira_counts_ties_by_one_half() -> None:
    """Examples on which the groups are equal have a ratio of 1 for every model: they are tied with each other."""
    u, r = normal(0, 6, 30, 0.5), normal(1, 6, 30)
    u[:, 10:] = r[:, 10:]
    areas = []
    for i in range(6):
        rest_u, rest_r = np.delete(u, i, axis=0), np.delete(r, i, axis=0)
        of_u, of_r = [(rest.mean(0), rest.std(0, ddof=1)) for rest in (rest_u, rest_r)]
        ours, theirs = [norm.logpdf(x[i], *of_u) - norm.logpdf(x[i], *of_r) for x in (u, r)]
        areas.append((ours[:, None] > theirs).mean() + 0.5 * (ours[:, None] == theirs).mean())
    assert u_lira_auc(u, r).value == pytest.approx(100 * np.mean(areas))


def test_no_variance_is_below_that_of_a_thousandth_of_a_nat() -> None:
    """A group of equal confidences is a Gaussian of that deviation: what is apart is told apart."""
    assert pytest.approx(1e-3**2) == VARIANCE_FLOOR
    near, far = (np.full((4, 1), value) for value in (1e-4, 1.0))
    assert u_lira_auc(np.zeros((4, 1)), far).value == u_lira_auc(np.zeros((4, 1)), near).value == 100.0


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def klom(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    return float(example_kloms(unlearned, retrained).mean())


def forgetting_epsilon(unlearned: np.ndarray, retrained: np.ndarray) -> float:
    most = largest_epsilon(len(unlearned))
    return float(np.minimum(example_epsilons(unlearned, retrained), most).mean())


def test_klom_of_hand_made_histograms() -> None:
    """Bins are 0.05 wide on [0, 1]; 1 is in the last one."""
    unlearned, retrained = column(0.0, 0.01, 0.02, 1.0), column(0.0, 0.04, 1.0, 1.0)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert klom(unlearned, retrained) == pytest.approx(expected)
    assert klom(unlearned, retrained) == klom(7.0 + 30 * unlearned, 7.0 + 30 * retrained)


def test_klom_is_that_of_the_unlearned_from_the_retrained() -> None:
    """Mass where no retrained model is costs log 1e5; retrained mass without unlearned costs little."""
    one_bin, two_bins = column(0.0, 0.0, 0.0, 0.0), column(0.0, 0.0, 1.0, 1.0)
    assert klom(one_bin, two_bins) == pytest.approx(math.log(2))
    spread = 0.5 * math.log(0.5 / 1.0) + 0.5 * math.log(0.5 / 1e-5)
    assert klom(two_bins, one_bin) == pytest.approx(spread, abs=2e-5)  # the floor adds 1e-5 to the sum
    assert klom(column(0.0, 0.0), column(1.0, 1.0)) == pytest.approx(math.log(1e5), abs=2e-5)


def test_klom_of_equals_is_0() -> None:
    group = normal(0, 20, 7)
    assert klom(group, group[::-1]) == pytest.approx(0.0, abs=1e-12)
    assert klom(np.ones((4, 2)), np.ones((4, 2))) == 0.0


def test_klom_clips_margins_to_100() -> None:
    assert klom(column(-500.0, 0.0), column(-100.0, 900.0)) == klom(column(-100.0, 0.0), column(-100.0, 100.0))
    assert klom(column(200.0, 300.0), column(400.0, 500.0)) == 0.0


def test_klom_of_many_models_is_that_of_the_binned_gaussians() -> None:
    """Both groups span [-4, 4] by two samples more, so that the bins are known."""
    ends = np.array([[-4.0, -4.0], [4.0, 4.0]])
    u, r = (np.clip(normal(seed, 400_000, 2, mean), -4, 4) for seed, mean in ((0, 0.5), (1, 0.0)))
    edges = np.linspace(-4, 4, 21)[1:-1]
    p, q = (np.diff(norm.cdf(edges, mean), prepend=0.0, append=1.0) for mean in (0.5, 0.0))
    found = klom(np.concatenate([u, ends]), np.concatenate([r, ends]))
    assert found == pytest.approx(entropy(p, q), rel=0.02)
    assert found == pytest.approx(0.125, rel=0.05)  # d^2 / 2 without bins


def test_each_example_has_bins_of_its_own() -> None:
    unlearned, retrained = normal(0, 30, 5, 0.5), normal(1, 30, 5)
    assert example_kloms(unlearned, retrained) == pytest.approx(
        [klom(unlearned[:, [i]], retrained[:, [i]]) for i in range(5)]
    )


def test_kloms_of_more_examples_than_are_taken_at_once() -> None:
    unlearned, retrained = normal(0, 6, 600, 40.0, 80.0), normal(1, 6, 600, 0.0, 80.0)  # some beyond 100
    found, picked = example_kloms(unlearned, retrained), [0, 255, 256, 599]
    assert found.shape == (600,)
    assert found[picked].tolist() == [klom(unlearned[:, [i]], retrained[:, [i]]) for i in picked]
    assert example_kloms(unlearned[:, :0], retrained[:, :0]).shape == (0,)


def attack_epsilon(fnr: float, fpr: float, delta: float) -> float:
    """One attack, as the challenge has it."""
    if fnr == 0 and fpr == 0:
        return math.inf
    if fnr == 0 or fpr == 0:
        return 0.0
    pairs = [(1 - delta - fpr, fnr), (1 - delta - fnr, fpr)]
    return max([0.0, *(math.log(above) - math.log(below) for above, below in pairs if above > 0)])


def reference_epsilon(u: np.ndarray, r: np.ndarray, delta: float = 1e-5) -> float:
    """All attacks on one example, one after the other."""
    high, low = (u, r) if np.median(u) >= np.median(r) else (r, u)
    narrow, wide = (high, low) if np.ptp(high) < np.ptp(low) else (low, high)
    values = np.concatenate([u, r])
    found = [attack_epsilon((high < t).mean(), (low >= t).mean(), delta) for t in values]
    for start in values:
        for stop in values[values >= start]:
            inside = [((start <= group) & (group <= stop)).mean() for group in (narrow, wide)]
            found.append(attack_epsilon(1 - inside[0], inside[1], delta))
    return max(found)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.0, 1.0), (0.0, 0.1), (3.0, 2.0), (-1.5, 0.5)])
@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_epsilons_are_those_of_all_attacks(mean: float, deviation: float, decimals: int | None) -> None:
    """Rounded confidences are tied, within groups and between them."""
    unlearned, retrained = normal(0, 9, 40, mean, deviation), normal(1, 9, 40)
    if decimals is not None:
        unlearned, retrained = unlearned.round(decimals), retrained.round(decimals)
    expected = [reference_epsilon(unlearned[:, i], retrained[:, i]) for i in range(40)]
    assert example_epsilons(unlearned, retrained) == pytest.approx(np.array(expected))


def test_examples_do_not_depend_on_each_other() -> None:
    """More examples than are taken at once."""
    unlearned, retrained = normal(0, 6, 600, 0.5), normal(1, 6, 600)
    each = [example_epsilons(unlearned[:, [i]], retrained[:, [i]])[0] for i in (0, 255, 256, 599)]
    assert example_epsilons(unlearned, retrained)[[0, 255, 256, 599]].tolist() == each


def test_epsilon_by_hand() -> None:
    """Three models each: the threshold 2 misses no unlearned (discarded), 3 misses one and takes one retrained."""
    unlearned, retrained = column(2.0, 4.0, 5.0), column(0.0, 1.0, 3.0)
    expected = math.log(1 - 1e-5 - 1 / 3) - math.log(1 / 3)
    assert example_epsilons(unlearned, retrained) == pytest.approx([expected])
    assert expected == pytest.approx(largest_epsilon(3))
    assert forgetting_epsilon(unlearned, retrained) == pytest.approx(expected)


def test_attacks_with_one_rate_of_0_are_discarded() -> None:
    """All unlearned at 0, one retrained there, too: any threshold or interval misses nobody or everybody."""
    assert example_epsilons(column(0.0, 0.0, 0.0), column(0.0, 1.0, 2.0)).tolist() == [0.0]
    assert example_epsilons(column(0.0, 0.0, 0.0), column(0.0, 0.0, 0.0)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("unlearned", "retrained"),
    [
        ([4.0, 5.0, 6.0, 7.0], [0.0, 1.0, 2.0, 3.0]),
        ([0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]),
        ([1.0, 1.1, 1.2, 1.3], [0.0, 0.5, 2.0, 9.0]),
        ([0.0, 0.5, 2.0, 9.0], [1.0, 1.1, 1.2, 1.3]),
    ],
)
def test_perfect_separation_by_threshold_or_interval_has_the_largest_value(
    unlearned: list[float], retrained: list[float]
) -> None:
    groups = column(*unlearned), column(*retrained)
    assert example_epsilons(*groups).tolist() == [math.inf]
    assert forgetting_epsilon(*groups) == largest_epsilon(4)
    assert forgetting_quality(example_epsilons(*groups), 4).value == 0.0


def test_largest_epsilon_is_above_all_that_err() -> None:
    assert largest_epsilon(32) == math.log((1 - 1e-5 - 1 / 32) * 32)
    finite = example_epsilons(normal(0, 12, 300, 1.5), normal(1, 12, 300))
    finite = finite[np.isfinite(finite)]
    assert finite.max() == pytest.approx(largest_epsilon(12))


def test_epsilon_orders_what_is_equal_near_and_far() -> None:
    retrained = normal(1, 32, 100)
    assert forgetting_epsilon(retrained[::-1], retrained) == 0.0
    values = [forgetting_epsilon(normal(0, 32, 100, mean), retrained) for mean in (0.0, 1.0, 5.0)]
    assert 0 < values[0] < values[1] < values[2]
    assert values[2] == pytest.approx(largest_epsilon(32), abs=0.1)
    assert forgetting_epsilon(retrained, normal(0, 32, 100, 1.0)) == pytest.approx(values[1])


def test_quality_halves_for_every_bin() -> None:
    """32 models: ceil(log 31) = 4, so that eight bins count."""
    epsilons = np.array([0.0, 0.49, 0.5, 1.2, 3.4, 3.99, 4.0, math.inf])
    each = [forgetting_quality(epsilons[[i]], 32).value for i in range(8)]
    assert each == [1.0, 1.0, 0.5, 0.25, 2**-6, 2**-7, 0.0, 0.0]
    assert forgetting_quality(epsilons, 32) == Measured(pytest.approx(np.mean([v or 0.0 for v in each])), 8)
    assert forgetting_quality(np.array([4.2]), 512).value == 2**-8


def test_blank_without_examples_models_or_numbers() -> None:
    good = normal(0, 8, 5)
    broken = good.copy()
    broken[2, 2] = math.inf
    assert u_lira_auc(good[:, :0], good[:, :0]) == Measured(None, 0)
    assert u_lira_auc(good[:0], good[:0]) == Measured(None, 5)
    assert u_lira_auc(broken, good) == u_lira_auc(good, broken) == Measured(None, 5)
    with pytest.raises(ValueError, match=r"\(8, 5\) and retrained \(7, 5\)"):
        u_lira_auc(good, good[:7])


def test_blank_under_three_models_and_for_quality_of_nothing() -> None:
    assert u_lira_auc(normal(0, 2, 5), normal(1, 2, 5)).value is None
    assert forgetting_quality(np.zeros(0), 32) == Measured(None, 0)
    assert forgetting_quality(np.array([math.nan]), 32).value is None
