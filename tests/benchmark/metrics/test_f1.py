"""Macro F1: by hand, against scikit-learn, and what is not a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from benchmark.metrics.f1 import macro_f1


def said(predictions: list[int], classes: int) -> Tensor:
    """Logits that are largest at the predictions."""
    return torch.nn.functional.one_hot(torch.tensor(predictions), classes).float() - 0.5


def test_by_hand() -> None:
    """Class 0: 2 of 3 found, 2 of 2 right; class 1: 1 of 2 and 1 of 3; class 2: 1 of 1 and 1 of 1."""
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    found = macro_f1(said([0, 0, 1, 1, 1, 2], 3), labels)
    assert found == (pytest.approx(100 * (4 / 5 + 4 / 5 + 1) / 3), 6)
    found = macro_f1(said([0, 0, 1, 1, 0, 2], 3), labels)
    assert found == (pytest.approx(100 * (4 / 6 + 2 / 4 + 1) / 3), 6)


def test_all_right_and_all_wrong() -> None:
    labels = torch.arange(4)
    assert macro_f1(said([0, 1, 2, 3], 4), labels) == (100.0, 4)
    assert macro_f1(said([1, 2, 3, 0], 4), labels) == (0.0, 4)


def test_small_classes_weigh_as_much_as_large_ones() -> None:
    labels = torch.tensor([0] * 98 + [1] * 2)
    found = macro_f1(said([0] * 100, 2), labels)
    assert found == (pytest.approx(100 * (2 * 98 / (2 * 98 + 2)) / 2), 100)


def test_classes_without_samples_are_not_averaged_over() -> None:
    """What is said to be one of them is wrong for its own class."""
    labels = torch.tensor([1, 1, 3])
    assert macro_f1(said([1, 1, 3], 5), labels) == (100.0, 3)
    assert macro_f1(said([1, 4, 3], 5), labels) == (pytest.approx(100 * (2 / 3 + 1) / 2), 3)


@pytest.mark.parametrize("seed", range(3))
def test_as_scikit_learn(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(6, (200,), generator=rng)
    logits = torch.randn(200, 6, generator=rng) + 2 * torch.nn.functional.one_hot(labels, 6)
    expected = f1_score(labels.numpy(), logits.argmax(1).numpy(), average="macro")
    assert macro_f1(logits, labels) == (pytest.approx(100 * expected), 200)
    each = f1_score(labels.numpy(), logits.argmax(1).numpy(), average=None)
    assert macro_f1(logits, labels).value == pytest.approx(100 * np.mean(each))


def test_rows_that_are_not_numbers_are_wrong_for_their_class_and_for_no_other() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    logits = said([0, 0, 1, 1], 2)
    logits[0, 1] = torch.nan  # argmax would say 1
    logits[2, 0] = torch.nan
    assert macro_f1(logits, labels) == (pytest.approx(100 * (2 * 1 / (2 * 1 + 1))), 4)
    assert macro_f1(torch.full((4, 2), torch.nan), labels) == (0.0, 4)


def test_no_rows() -> None:
    assert macro_f1(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == (None, 0)
