"""The linear probe reads what can be read, and no more."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.probe import linear_probe


def blobs(n: int, distance: float, seed: int) -> tuple[Tensor, Tensor]:
    """Four classes; class c is shifted along axis c."""
    labels = torch.arange(n) % 4
    noise = torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))
    return noise + distance * torch.eye(8)[labels], labels


@pytest.mark.parametrize("per_class", [10, 100])
def test_separable_features_are_read(per_class: int) -> None:
    found = linear_probe(*blobs(800, 12.0, 0), *blobs(200, 12.0, 1), per_class=per_class, seed=0)
    assert found == Measured(100.0, 200)


def test_random_features_give_chance() -> None:
    found = linear_probe(*blobs(2_000, 0.0, 0), *blobs(4_000, 0.0, 1), per_class=100, seed=0)
    assert found.value == pytest.approx(25.0, abs=4.0)


def test_more_labels_read_more() -> None:
    values = [linear_probe(*blobs(2_000, 2.0, 0), *blobs(2_000, 2.0, 1), per_class=k, seed=0).value for k in (3, 200)]
    assert None not in values
    assert values[0] + 5 < values[1]  # type: ignore[operator]


def test_scale_and_offset_of_features_do_not_matter() -> None:
    (x, y), (x_test, y_test) = blobs(400, 3.0, 0), blobs(400, 3.0, 1)
    plain = linear_probe(x, y, x_test, y_test, per_class=50, seed=0).value
    moved = linear_probe(1e3 * x + 7, y, 1e3 * x_test + 7, y_test, per_class=50, seed=0).value
    assert moved == pytest.approx(plain, abs=0.6)


def test_labelled_samples_are_drawn_by_the_seed() -> None:
    data = (*blobs(400, 1.0, 0), *blobs(1_000, 1.0, 1))
    values = [linear_probe(*data, per_class=5, seed=seed).value for seed in (0, 0, 1, 2)]
    assert values[0] == values[1]
    assert len(set(values)) > 1


def test_only_so_many_labels_a_class_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[list[int]] = []
    fit = LogisticRegression.fit

    def recorded(self: LogisticRegression, X: np.ndarray, y: np.ndarray) -> LogisticRegression:
        fitted.append(np.bincount(y).tolist())
        return fit(self, X, y)

    monkeypatch.setattr(LogisticRegression, "fit", recorded)
    x, y = blobs(43, 1.0, 0)
    for per_class in (1, 5, 100):
        linear_probe(x, y, x, y, per_class=per_class, seed=0)
    assert fitted == [[1] * 4, [5] * 4, [11, 11, 11, 10]]


def test_blank_without_test_samples_or_finite_features() -> None:
    x, y = blobs(40, 1.0, 0)
    broken = x.clone()
    broken[3, 3] = math.inf
    assert linear_probe(x, y, x[:0], y[:0], per_class=5, seed=0) == Measured(None, 0)
    assert linear_probe(broken, y, x, y, per_class=5, seed=0) == Measured(None, 40)
    assert linear_probe(x, y, broken, y, per_class=5, seed=0) == Measured(None, 40)
