"""Accuracy, tug-of-war, change, and the catalogue that names them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from benchmark.contracts import Measured
from benchmark.errors import InputError
from benchmark.metrics.accuracy import accuracy
from benchmark.metrics.catalogue import METRICS, metric
from benchmark.metrics.change import feature_change, parameter_change, relative_distance
from benchmark.metrics.tug_of_war import tug_of_war
from benchmark.tasks import TASKS


def test_accuracy_counts_rows() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0], [0.0, 5.0]])
    assert accuracy(logits, torch.tensor([0, 1, 1, 1])) == Measured(75.0, 4)


def test_accuracy_of_nobody_is_blank() -> None:
    assert accuracy(torch.zeros(0, 3), torch.zeros(0).long()) == Measured(None, 0)


@pytest.mark.parametrize("label", [0, 1])
def test_a_row_that_is_not_a_number_is_wrong_whatever_its_label(label: int) -> None:
    logits = torch.tensor([[math.nan, 1.0], [1.0, math.nan], [math.nan, math.nan]])
    assert accuracy(logits, torch.full((3,), label)) == Measured(0.0, 3)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], 1.0),
        ([(90.0, 90.0), (0.0, 0.0), (88.0, 88.0)], 1.0),
        ([(80.0, 90.0)], 0.9),
        ([(90.0, 80.0)], 0.9),
        ([(80.0, 90.0), (50.0, 0.0), (88.0, 88.0)], 0.45),
        ([(100.0, 0.0), (90.0, 90.0)], 0.0),
    ],
)
def test_tug_of_war(pairs: list[tuple[float, float]], expected: float) -> None:
    assert tug_of_war(pairs) == pytest.approx(expected)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_nothing_has_changed_in_a_copy_and_everything_in_a_double() -> None:
    original, doubled = network(), network()
    assert parameter_change(network(), original).value == 0.0
    doubled.load_state_dict({name: 2 * t if t.is_floating_point() else t for name, t in original.state_dict().items()})
    found = parameter_change(doubled, original)
    assert found.value == pytest.approx(100.0)
    assert found.n == sum(t.numel() for t in original.parameters())


def test_only_parameters_count_as_a_change_of_parameters() -> None:
    original, drifted = network(), network()
    drifted[1].running_mean += 1.0  # type: ignore[index, operator]
    assert parameter_change(drifted, original).value == 0.0
    with torch.no_grad():
        drifted[1].bias += 1.0  # type: ignore[index, operator]
    norm = math.sqrt(sum(float((t.detach() ** 2).sum()) for t in original.parameters()))
    assert parameter_change(drifted, original).value == pytest.approx(
        100 * math.sqrt(drifted[1].bias.numel()) / norm  # type: ignore[index, union-attr]
    )


def test_networks_of_other_shapes_cannot_be_compared() -> None:
    assert parameter_change(nn.Linear(3, 2), nn.Linear(3, 3)) == Measured(None, 0)
    assert parameter_change(nn.Sequential(nn.Linear(3, 2)), nn.Linear(3, 2)) == Measured(None, 0)


def test_change_of_features() -> None:
    old = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    assert feature_change(old, old) == Measured(0.0, 2)
    assert feature_change(2 * old, old) == Measured(100.0, 2)
    assert feature_change(old + torch.tensor([[0.0, 0.0], [3.0, 0.0]]), old).value == pytest.approx(60.0)
    assert feature_change(torch.zeros(2, 3), old).value is None
    assert feature_change(old.clone().fill_(math.nan), old).value is None
    assert math.isfinite(relative_distance(torch.ones(2), torch.zeros(2)))


def test_every_metric_of_a_task_has_an_entry_and_a_name() -> None:
    for task in TASKS.values():
        for name in (*task.metrics, *task.headline, task.rank_by):
            assert metric(name).name == name
        assert {name.removesuffix(".gap") for name in task.headline} <= set(task.metrics)
    assert len({m.label for m in METRICS.values()}) == len(METRICS)


def test_a_gap_is_in_points_and_best_at_zero() -> None:
    gap = metric("mia.loss.auc.gap")
    assert (gap.unit, gap.better) == ("points", "zero")
    assert metric("relearn.steps.gap").unit == "steps"
    assert metric("tow").better == "higher"
    with pytest.raises(InputError, match=r"unknown metric 'mia.loss.auk'; did you mean .*mia.loss.auc"):
        metric("mia.loss.auk")
