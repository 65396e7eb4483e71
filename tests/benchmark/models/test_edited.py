"""Edited weights: there and back, and accuracies of a network whose own weights stay what they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.models import edited as module
from benchmark.models.edited import EditedAccuracies, edited_weights
from benchmark.models.layer_inputs import input_matrices, weight_matrices
from benchmark.models.surgery import state_hash

CLASSES = 3
#: Of each class, how many of its samples have the input of another one.
WRONG = {0: 1, 1: 2, 2: 0}


def samples(labels: list[int]) -> Samples:
    """One-hot inputs; the first ones of a class look like the next class."""
    y = torch.tensor(labels)
    seen = dict.fromkeys(labels, 0)
    shown = []
    for label in labels:
        seen[label] += 1
        shown.append((label + (seen[label] <= WRONG[label])) % CLASSES)
    return Samples(nn.functional.one_hot(torch.tensor(shown), CLASSES).float(), y)


def problem(labels: list[int], forgotten: tuple[int, ...] = (1,)) -> ForgetProblem:
    """A linear network that says what the input shows."""
    model = nn.Linear(CLASSES, CLASSES, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(CLASSES))
    views: dict[str, Any] = {
        name: View(name, samples(labels), Access(selection="xy"), Ledger())
        for name in ("retain", "forget", "labelled", "selection")
    }
    return ForgetProblem(
        model=model,
        **views,
        forget_classes=forgotten,
        num_classes=CLASSES,
        recipe=Recipe(epochs=1, lr=0.1, batch_size=1),
        device=torch.device("cpu"),
        seed=0,
        build_model=lambda: nn.Linear(CLASSES, CLASSES),
    )


def test_matrices_become_the_parameters_that_they_came_from() -> None:
    layers = [nn.Conv2d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 5)]
    model = nn.Sequential(*layers).eval()
    inputs = input_matrices(model, [torch.randn(7, 4, 8, 8)], 7, 100, torch.Generator(), dtype=torch.float64)
    W = weight_matrices(model, inputs)
    back = edited_weights(model, {name: 2 * matrix for name, matrix in W.items()})
    assert list(back) == ["0.weight", "3.weight"]
    for name, weight in back.items():
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight, 2 * model.get_parameter(name), rtol=0, atol=0)


@pytest.mark.parametrize("batch", [250, 4])
def test_accuracies_of_retained_and_forgotten_classes(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    own = problem([0] * 4 + [1] * 5 + [2] * 4)
    accuracies = EditedAccuracies(own)
    assert accuracies({}) == (7 / 8, 3 / 5)
    before = state_hash(own.model)
    never_1 = torch.eye(CLASSES)
    never_1[1] = -1
    assert accuracies({"weight": never_1}) == (1.0, 0.0)  # class 0, too, is right where it looked like class 1
    assert accuracies({"weight": torch.eye(CLASSES).roll(1, 0)}) == (0.0, 0.0)
    assert accuracies({}) == (7 / 8, 3 / 5)
    assert state_hash(own.model) == before


def test_the_split_is_read_once() -> None:
    own = problem([0, 0, 1, 1, 2])
    accuracies = EditedAccuracies(own)
    for _ in range(3):
        accuracies({})
    assert own.selection.counts() == {"samples": 5, "labels": 5, "passes": 5}


def test_several_forgotten_classes_count_together() -> None:
    own = problem([0] * 4 + [1] * 5 + [2] * 4, (1, 0))
    assert EditedAccuracies(own)({}) == (1.0, 6 / 9)


@pytest.mark.parametrize("labels", [[0, 0, 2], [1, 1, 1]])
def test_a_split_of_one_kind_is_refused(labels: list[int]) -> None:
    with pytest.raises(InputError, match="selection split"):
        EditedAccuracies(problem(labels))
