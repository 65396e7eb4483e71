"""Adapt then Unlearn with stage 1 changed: so many negatives, and places as far away that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import GanProblem, Ledger
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.models.extrapolation import Extrapolated
from benchmark.models.surgery import state_hash
from benchmark.suites.definition import methods_of
from benchmark.training import screening
from benchmark.training.screening import ROUND, screened, so_many_negatives
from methods.ablations.adapt_then_unlearn import (
    adapted_to,
    atu_el2_negatives,
    atu_el2_random,
    elsewhere,
    extrapolation_negatives,
    extrapolation_random,
)
from methods.adapt_then_unlearn import Distance
from methods.adapt_then_unlearn_variants import adapted, atu_el2

ENTRIES: dict[str, Callable[..., nn.Module]] = {
    "atu-el2+negatives": atu_el2_negatives,
    "extrapolation+negatives": extrapolation_negatives,
    "atu-el2+random": atu_el2_random,
    "extrapolation+random": extrapolation_random,
}
STEPS: dict[str, Any] = {"models": 2, "adapt_steps": 3}
UNLEARN: dict[str, Any] = {"steps": 4, "images": 60}
Make = Callable[..., GanProblem]


def theta_of(problem: GanProblem) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in problem.model.named_parameters()}


def norm(tensors: dict[str, Tensor]) -> float:
    return float(torch.cat([t.flatten() for t in tensors.values()]).norm())


def quick(name: str) -> dict[str, Any]:
    own: dict[str, Any] = {"negatives": 20} if name.endswith("+negatives") else {"adapt_images": 40}
    return {**STEPS, **own, **(UNLEARN if name.startswith("atu") else {})}


# So many negatives.


@pytest.mark.parametrize("count", [1, 7, 30])
def test_just_so_many_negatives_are_found(count: int, make_gan_problem: Make) -> None:
    problem = make_gan_problem()
    found = so_many_negatives(problem, count, "mine")
    assert len(found) == count
    screened_images = problem.feedback.counts()["samples"]
    assert screened_images % ROUND == 0
    assert bool(problem.feedback.undesired(found).all())
    # The last round was needed, and the negatives are the first that there were.
    every, _ = screened(make_gan_problem(), ROUND, "mine")
    torch.testing.assert_close(found[: len(every)], every[:count])
    assert screened_images == ROUND * (1 if count <= len(every) else 2)


def test_too_few_negatives_are_said(make_gan_problem: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Never(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return -torch.ones(len(images))

    problem = make_gan_problem("images")
    with pytest.raises(InputError, match="negatives must be at least 1, not 0"):
        so_many_negatives(problem, 0)
    problem.feedback._judge = Never()
    monkeypatch.setattr(screening, "MOST", 1200)
    with pytest.raises(InputError, match="0 of 1,200 images were judged undesired: take fewer than 3"):
        so_many_negatives(problem, 3)
    assert problem.feedback.counts()["samples"] == 1200


def test_all_negatives_of_a_round_give_the_models_of_the_paper_s_file(make_gan_problem: Make) -> None:
    """With as many negatives as the paper's file has found, a model is the same."""
    sizes = {len(screened(make_gan_problem(), ROUND, f"negatives {m}")[0]) for m in range(2)}
    first = len(screened(make_gan_problem(), ROUND, "negatives 0")[0])
    one = adapted_to(make_gan_problem(), 1, first, 3, 1.0)
    other = adapted(make_gan_problem(), 1, ROUND, 3, 1.0)
    assert all(torch.equal(one[name], other[name]) for name in other)
    fewer = adapted_to(make_gan_problem(), 1, min(sizes) // 2, 3, 1.0)
    assert any(not torch.equal(fewer[name], other[name]) for name in other)
    two = adapted_to(make_gan_problem(), 2, 5, 3, 0.0)
    assert all(len(each) == 2 for each in two.values())
    assert any(not torch.equal(*each) for each in two.values())


def test_no_model_is_refused(make_gan_problem: Make) -> None:
    with pytest.raises(InputError, match="models must be at least 1, not 0"):
        adapted_to(make_gan_problem(), 0, 5, 3, 1.0)


# Somewhere else.


def test_elsewhere_is_as_far_and_no_direction(make_gan_problem: Make) -> None:
    problem = make_gan_problem()
    theta, models = theta_of(problem), adapted(problem, 3, 100, 20, 1.0)
    moved = elsewhere(problem, models)
    again = elsewhere(make_gan_problem(), models)
    way = {name: each - theta[name] for name, each in models.items()}
    other = {name: each - theta[name] for name, each in moved.items()}
    for name in models:
        assert torch.equal(moved[name], again[name])
        one, two = way[name].flatten(1), other[name].flatten(1)
        torch.testing.assert_close(one @ one.T, two @ two.T, rtol=1e-3, atol=1e-6)  # lengths and angles of the three
        torch.testing.assert_close(one.abs().sort().values, two.abs().sort().values, rtol=1e-3, atol=1e-5)
    cosine = sum(float((way[name] * other[name]).sum()) for name in way) / norm(way) / norm(other)
    assert abs(cosine) < 0.1
    distances = [float(Distance.to(each, "sum", {})(theta)) for each in (models, moved)]
    assert distances[0] == pytest.approx(distances[1], rel=1e-4)


def test_a_random_direction_is_another_result(make_gan_problem: Make) -> None:
    plain = atu_el2(make_gan_problem(), **quick("atu-el2+random"))
    assert state_hash(atu_el2_random(make_gan_problem(), **quick("atu-el2+random"))) != state_hash(plain)
    without = atu_el2_random(make_gan_problem(), **quick("atu-el2+random"), gamma=0.0)
    assert state_hash(without) == state_hash(atu_el2(make_gan_problem(), **quick("atu-el2+random"), gamma=0.0))


@pytest.mark.parametrize("name", ["extrapolation+negatives", "extrapolation+random"])
def test_extrapolated_generators_lie_on_the_line(name: str, make_gan_problem: Make) -> None:
    theta = theta_of(make_gan_problem())
    for s in (0.0, -0.7):
        moved = ENTRIES[name](make_gan_problem(), **quick(name), s=s)
        assert isinstance(moved, Extrapolated)
        for key, parameter in moved.moved.named_parameters():
            torch.testing.assert_close(parameter.detach(), theta[key] + s * moved.direction[key])
    assert norm(dict(moved.direction)) > 0


# All of them.


@pytest.mark.parametrize("name", ENTRIES)
def test_ablations_are_declared_guarded_and_the_same_every_time(name: str, make_gan_problem: Make) -> None:
    info = METHODS.get(name, "gan-feature-removal")
    assert info.kind == "ablation"
    assert name not in methods_of("gan-feature-removal")
    results = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        ledger = Ledger()
        problem = make_gan_problem(access=info.access, ledger=ledger)
        results.append(state_hash(ENTRIES[name](problem, **quick(name))))
        judged = problem.feedback.counts()["samples"] - (UNLEARN["images"] if name.startswith("atu") else 0)
        assert judged == (2 * ROUND if name.endswith("+negatives") else 2 * 40)
        assert ledger.violations == []
    assert results[0] == results[1]
