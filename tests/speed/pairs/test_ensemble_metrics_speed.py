"""Unlearned against retrained models: all examples and models at once beside loops over them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import norm, rankdata, t

from benchmark.metrics.ensembles import example_epsilons, example_kloms, largest_epsilon, u_lira_auc
from benchmark.stats import bootstrap_interval

pytestmark = pytest.mark.usefixtures("on_cpu")
DELTA = 1e-5


def confidences(models: int, examples: int) -> tuple[np.ndarray, np.ndarray]:
    """Of unlearned and retrained models, (models, examples) both; examples are hard or easy for all models alike."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0.0, 2.0, examples)
    return rng.normal(hard + 0.4, 1.3, (models, examples)), rng.normal(hard, 1.0, (models, examples))


def test_u_lira(beside, full) -> None:  # type: ignore[no-untyped-def]
    """For each pair and example two Gaussians without the pair, and one curve a pair."""
    models, examples = (64, 500) if full else (8, 40)
    u, r = confidences(models, examples)

    def plain() -> float:
        areas = []
        for i in range(models):
            scores = np.zeros((2, examples))
            for j in range(examples):
                of_u = norm_of(np.delete(u[:, j], i))
                of_r = norm_of(np.delete(r[:, j], i))
                for group, value in enumerate((u[i, j], r[i, j])):
                    scores[group, j] = log_density(value, *of_u) - log_density(value, *of_r)
            ranks = rankdata(scores.ravel())[:examples]
            areas.append((ranks.sum() - examples * (examples + 1) / 2) / examples**2)
        return 100 * float(np.mean(areas))

    found, expected = beside(
        lambda: u_lira_auc(u, r).value,
        plain,
        f"U-LiRA of {models} models of each kind, {examples} examples",
        "two Gaussians fitted for each pair and example",
        bar=50,
        bar_on="cpu",
    )
    assert found == pytest.approx(expected, abs=1e-9)


def norm_of(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a Gaussian."""
    return float(values.mean()), float(values.std(ddof=1))


def log_density(value: float, mean: float, deviation: float) -> float:
    return -0.5 * ((value - mean) / deviation) ** 2 - math.log(deviation)


def test_klom(beside, full) -> None:  # type: ignore[no-untyped-def]
    """For each example two histograms over the range of both groups."""
    models, examples = (64, 500) if full else (8, 40)
    u, r = confidences(models, examples)

    def plain() -> float:
        found = []
        for j in range(examples):
            ours, theirs = np.clip(u[:, j], -100, 100), np.clip(r[:, j], -100, 100)
            span = min(ours.min(), theirs.min()), max(ours.max(), theirs.max())
            p = np.histogram(ours, bins=20, range=span)[0] / models
            q = np.histogram(theirs, bins=20, range=span)[0] / models
            q = np.where(p > 0, np.maximum(q, 1e-5), q)
            q = q / q.sum()
            seen = p > 0
            found.append(max(0.0, float((p[seen] * np.log(p[seen] / q[seen])).sum())))
        return float(np.mean(found))

    found, expected = beside(
        lambda: example_kloms(u, r).mean(),
        plain,
        f"KLoM of {models} models of each kind, {examples} examples",
        "np.histogram for each example and group",
        bar=50,
        bar_on="cpu",
    )
    assert found == pytest.approx(expected, rel=1e-9)


def test_forgetting_epsilon(beside, full) -> None:  # type: ignore[no-untyped-def]
    """For each example all attacks by one threshold and by two, and their error rates."""
    models, examples = (64, 500) if full else (8, 40)
    u, r = confidences(models, examples)
    most = largest_epsilon(models)

    def plain() -> float:
        return float(np.mean([min(most, best_attack(u[:, j], r[:, j])) for j in range(examples)]))

    found, expected = beside(
        lambda: np.minimum(example_epsilons(u, r), most).mean(),
        plain,
        f"forgetting epsilon of {models} models of each kind, {examples} examples",
        "for each example and lower threshold all upper ones in one expression",
        bar=50,
        bar_on="cpu",
    )
    assert found == pytest.approx(expected, rel=1e-9)


def best_attack(u: np.ndarray, r: np.ndarray) -> float:
    """The largest epsilon of the attacks on one example."""
    high, low = (u, r) if np.median(u) >= np.median(r) else (r, u)
    narrow, wide = (high, low) if np.ptp(high) < np.ptp(low) else (low, high)
    best = 0.0
    values = np.sort(np.concatenate([u, r]))
    for place, start in enumerate(values):
        best = max(best, float(implied((high < start).mean(), (low >= start).mean())))
        stops = values[place:, None]
        missed = 1 - ((narrow >= start) & (narrow <= stops)).mean(1)
        taken = ((wide >= start) & (wide <= stops)).mean(1)
        best = max(best, float(implied(missed, taken).max()))
    return best


def implied(fnr: np.ndarray, fpr: np.ndarray) -> np.ndarray:
    """Epsilon of attacks with these error rates; 0 where exactly one of the two is 0."""
    fnr = np.where(np.abs(fnr) < 1e-12, 0.0, fnr)
    with np.errstate(divide="ignore", invalid="ignore"):
        one, other = np.log(1 - DELTA - fpr) - np.log(fnr), np.log(1 - DELTA - fnr) - np.log(fpr)
    found = np.fmax(np.fmax(one, other), 0.0)
    return np.where((fnr == 0) != (fpr == 0), 0.0, found)


def test_bootstrap(beside, full) -> None:  # type: ignore[no-untyped-def]
    """The limit of infinitely many resamples beside a loop over 10,000; within a tenth of a standard error."""
    n, resamples = (1_000, 10_000) if full else (100, 2_000)
    values = np.random.default_rng(0).exponential(size=n)
    error = values.std(ddof=1) / math.sqrt(n)

    def plain() -> np.ndarray:
        rng = np.random.default_rng(1)
        means = np.array([rng.choice(values, n).mean() for _ in range(resamples)])
        return bca(values, means)

    found, expected = beside(
        lambda: bootstrap_interval(values),
        plain,
        f"bootstrap interval of the mean of {n:,} values",
        f"a loop over {resamples:,} resamples, np.random's choice and mean",
        bar=50,
        bar_on="cpu",
    )
    assert [found.low, found.high] == pytest.approx(expected, abs=error * (0.1 if full else 0.25))


def bca(values: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Bounds of the 95 % interval from resamples' means, its tails widened to Student's."""
    n, apart = len(values), values - values.mean()
    bias = ndtri((means < values.mean()).mean())
    skew = (apart**3).sum() / (apart**2).sum() ** 1.5 / 6
    z = math.sqrt(n / (n - 1)) * t.ppf([0.025, 0.975], n - 1)
    levels = ndtr(bias + (bias + z) / (1 - skew * (bias + z)))
    assert levels == pytest.approx(norm.cdf([-1.96, 1.96]), abs=0.05)
    return np.asarray(np.quantile(means, levels))
