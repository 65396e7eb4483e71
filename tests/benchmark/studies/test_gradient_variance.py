"""The measured variance of GERNE's gradient: inner products, variances and formulae against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.studies.measuring.gradient_variance import (
    BATCHES,
    State,
    bound,
    formula,
    gradient_products,
    measure,
    variances,
    within,
)
from benchmark.training.sampling import Draw, GroupTable

SMALL: dict[str, Any] = {"suite": "smoke", "scenario": "digits-coloured", "draws": 400}


def gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(N, P): every sample's own gradient."""
    rows = []
    for i in range(len(x)):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))]))
    return torch.stack(rows)


@pytest.fixture(scope="module")
def small() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3, bias=False)).double()
    return model, torch.randn(12, 2, 3, dtype=torch.float64), torch.arange(12) % 3


def test_products_are_those_of_the_gradients(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    losses, products = gradient_products(*small)
    own = gradients(*small)
    torch.testing.assert_close(products, own @ own.T)
    torch.testing.assert_close(losses, F.cross_entropy(small[0](small[1]), small[2], reduction="none").detach())


def test_a_network_with_other_layers_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(InputError, match="no linear layer's"):
        gradient_products(model, torch.zeros(1, 1, 4, 4), torch.zeros(1, dtype=torch.int64))


def test_variances_are_those_of_the_draws(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    losses, products = gradient_products(*small)
    rng = torch.Generator().manual_seed(0)
    drawn = [
        Draw(torch.randint(12, (8,), generator=rng), torch.rand(8, generator=rng, dtype=torch.float64))
        for _ in range(9)
    ]
    of_loss, of_gradient = variances(drawn, losses, products)
    own = torch.stack([torch.zeros(12).double().index_add_(0, d.index, d.weight) for d in drawn])
    assert of_loss == pytest.approx(float((own @ losses).var()))
    assert of_gradient == pytest.approx(float((own @ gradients(*small)).var(0).sum()))


def test_variance_within_groups(small: tuple[nn.Module, Tensor, Tensor]) -> None:
    losses, products = gradient_products(*small)
    table = GroupTable(torch.tensor([0] * 5 + [2] * 3 + [3] * 4), (2, 2))
    of_loss, of_gradient = within(State(table, 10, losses, products))
    own = gradients(*small)
    assert float(of_loss[0, 0]) == pytest.approx(float(losses[:5].var(unbiased=False)))
    assert float(of_gradient[1, 1]) == pytest.approx(float(own[8:].var(0, unbiased=False).sum()))
    assert float(of_gradient[0, 1]) == 0  # nobody


@pytest.mark.parametrize("batches", list(BATCHES))
@pytest.mark.parametrize(("c", "beta"), [(0.5, 1.0), (0.25, -0.5), (1.0, 0.5)])
def test_formula_is_the_limit_of_the_sum_over_groups(batches: str, c: float, beta: float) -> None:
    """All of a class is majority: alpha = 1, p_lb = 1 - c/2, p_ext = 1 - c (1 + beta) / 2."""
    alpha, lb, ext = (torch.tensor(v, dtype=torch.float64) for v in (1.0, 1 - c / 2, 1 - c * (1 + beta) / 2))
    assert float(BATCHES[batches][1](alpha, lb, beta, ext)) == pytest.approx(formula(batches, c, beta))


def test_formulae_at_the_paper_s_favourite() -> None:
    """c = 1/2 and beta = 1: the bound is 0.54, full overlap gives 1, independent batches 4."""
    found = [formula(batches, 0.5, 1.0) for batches in ("independent", "overlapping", "weighted")]
    assert found == pytest.approx([4.0, 1.0, 1 / 3])
    assert bound(0.5, 1.0) == pytest.approx(0.536, abs=1e-3)


@pytest.mark.parametrize(("batches", "beta"), [("independent", 1.0), ("overlapping", 2.0), ("weighted", 0.5)])
def test_measured_variance_is_the_sum_over_groups(batches: str, beta: float) -> None:
    found = measure({**SMALL, "c": 0.5, "beta": beta, "batches": batches, "draws": 1_500}, 0)
    assert found["loss"] == pytest.approx(found["loss.exact"], rel=0.15)
    assert found["gradient"] == pytest.approx(found["gradient.exact"], rel=0.15)
    assert found["formula"] == formula(batches, 0.5, beta)


def test_the_same_point_gives_the_same_numbers_and_the_state_matters() -> None:
    point = {**SMALL, "c": 0.5, "beta": 1.0}
    assert measure(point, 1) == measure(point, 1) != measure(point, 2)
    assert measure({**point, "trained": "erm"}, 1)["majority"] < measure(point, 1)["majority"] <= 100


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"beta": 1.0, "c": 0.5, "batch": "independent"}, "unknown field of gradient_variance 'batch'.*batches"),
        ({"c": 0.5}, "has no beta"),
        ({"beta": 1.0, "c": 0.0}, "c must be above 0"),
        ({"beta": 1.0, "c": 0.5, "draws": 1}, "draws at least 2"),
        ({"beta": 1.0, "c": 0.5, "batches": "overlaping"}, "overlapping"),
        ({"beta": 1.0, "c": 0.5, "trained": "resample", **SMALL}, "resampling"),
        ({"beta": 1.0, "c": 0.5, **SMALL, "scenario": "digits-coloured-blind"}, "attributes are not known"),
        ({"beta": 1.0, "c": 0.5, **SMALL, "scenario": "digits"}, "not of debiasing"),
        ({"beta": 1.0, "c": 0.5, **SMALL, "scenario": "digits-colored"}, "digits-coloured"),
    ],
)
def test_bad_points(point: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(point, 0)
