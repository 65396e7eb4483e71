"""The attribute probe reads the attribute, and is not helped by the label."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.decodability import attribute_decodability


def biased(n: int, values: int, conflicting: float, distance: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Labels along the first axes, attributes ``distance`` apart along the next; each differs for ``conflicting``."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % values
    other = (labels + torch.randint(1, values, (n,), generator=rng)) % values
    attributes = torch.where(torch.rand(n, generator=rng) < conflicting, other, labels)
    axes = torch.eye(2 * values + 2)
    means = 2 * axes[labels] + distance / math.sqrt(2) * axes[values + attributes]
    return means + torch.randn(n, len(axes), generator=rng), labels, attributes


@pytest.mark.parametrize("values", [2, 10])
def test_separated_attributes_are_read(values: int) -> None:
    found = attribute_decodability(*biased(4_000, values, 0.5, 14.0), seed=0)
    assert found.value == pytest.approx(100.0, abs=0.5)


@pytest.mark.parametrize("conflicting", [0.5, 0.1])
def test_two_gaussians_are_told_apart_as_well_as_can_be(conflicting: float) -> None:
    """Where label and attribute go together, too: a probe that did not weigh groups would go by the label."""
    found = attribute_decodability(*biased(8_000, 2, conflicting, 2.0), seed=0)
    assert found.value == pytest.approx(100 * NormalDist().cdf(1.0), abs=2.5)


@pytest.mark.parametrize("values", [2, 10])
def test_features_that_know_the_label_alone_give_chance(values: int) -> None:
    found = attribute_decodability(*biased(10_000, values, 0.2, 0.0), seed=0)
    assert found.value == pytest.approx(100 / values, abs=3.0)


def test_every_group_counts_the_same_in_judging() -> None:
    """The attribute can be read in the first class only, which has nine tenths of the samples: 75 %, not 95 %."""
    rng = torch.Generator().manual_seed(0)
    labels = (torch.arange(4_000) % 10 == 0).long()
    attributes = torch.randint(2, (4_000,), generator=rng)
    signal = torch.where(labels == 0, 10.0 * attributes - 5, torch.randn(4_000, generator=rng))
    found = attribute_decodability(signal[:, None], labels, attributes, seed=0)
    assert found.value == pytest.approx(75.0, abs=3.0)


def test_samples_are_split_into_halves_by_group_and_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features are the sample's number and attribute: no sample is in both halves, and each has half the rare."""
    seen: dict[str, np.ndarray] = {}
    weights: list[list[float]] = []
    fit, predict = LogisticRegression.fit, LogisticRegression.predict

    def recorded_fit(
        self: LogisticRegression, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray
    ) -> LogisticRegression:
        seen["fitted"] = X
        weights.append([round(float(sample_weight[y == a].sum()), 6) for a in np.unique(y)])
        return fit(self, X, y, sample_weight)

    def recorded_predict(self: LogisticRegression, X: np.ndarray) -> np.ndarray:
        seen["judged"] = X
        return predict(self, X)

    monkeypatch.setattr(LogisticRegression, "fit", recorded_fit)
    monkeypatch.setattr(LogisticRegression, "predict", recorded_predict)
    for n, rare in ((600, 40), (20_000, 90)):
        attributes = (torch.arange(n) >= n - rare).long()
        features = torch.stack([torch.arange(n), attributes], 1).double()
        found = attribute_decodability(features, torch.zeros(n, dtype=torch.long), attributes, seed=0)
        assert found == Measured(100.0, min(n // 2, 2_000))
        assert len(np.unique(np.concatenate([X[:, 0] for X in seen.values()]).round(9))) == 2 * found.n
        for X in seen.values():
            assert len(X) == found.n
            assert (X[:, 1] == X[:, 1].max()).sum() == rare // 2
        assert weights[-1] == [found.n / 2] * 2


def test_scale_and_offset_of_features_do_not_matter() -> None:
    x, y, a = biased(2_000, 2, 0.3, 2.0)
    plain = attribute_decodability(x, y, a, seed=0).value
    assert attribute_decodability(1e3 * x + 7, y, a, seed=0).value == pytest.approx(plain, abs=0.3)


def test_the_seed_alone_decides() -> None:
    data = biased(1_000, 2, 0.3, 1.0)
    values = [attribute_decodability(*data, seed=seed).value for seed in (0, 0, 1, 2)]
    assert values[0] == values[1]
    assert len(set(values)) > 1


def test_blank_where_features_are_not_finite_or_there_is_nothing_to_tell() -> None:
    x, y, a = biased(200, 2, 0.3, 1.0)
    for value in (math.inf, math.nan):
        broken = x.clone()
        broken[3, 3] = value
        assert attribute_decodability(broken, y, a, seed=0) == Measured(None, 0)
    assert attribute_decodability(x, y, torch.ones_like(a), seed=0) == Measured(None, 0)
    assert attribute_decodability(x[:0], y[:0], a[:0], seed=0) == Measured(None, 0)
