"""GERNE with a part changed: beyond its bound it goes on, and other batches leave the expectation as it is."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, Ledger, StepRecipe
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS, load
from benchmark.errors import InputError
from benchmark.training.sampling import GroupTable
from methods.ablations.gerne import kept_from, overlapping, reweighted
from methods.gerne import extrapolated, gerne

SKEWED = [[90, 10], [30, 70]]
SAME = ("gerne+overlapping", "gerne+weighted")


class Unwatched:
    """A watch that counts how often it looks."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self, model: nn.Module) -> None:
        self.looks += 1

    def restore(self, model: nn.Module) -> None:
        pass


def problem(*, known: bool = True) -> DebiasProblem:
    """Points in the plane: the class moves the first coordinate, the attribute the second."""
    torch.manual_seed(0)
    groups = torch.tensor([y * 2 + b for y in range(2) for b in range(2) for _ in range(SKEWED[y][b])])
    points = torch.stack([groups // 2, groups % 2], 1).float() + 0.3 * torch.randn(len(groups), 2)
    samples, ledger = Samples(points, groups // 2, attributes=groups % 2), Ledger()
    view = View("train", samples, Access(train="xya" if known else "xy"), ledger)
    other = View("validation", samples, Access(), ledger)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))

    return DebiasProblem(
        model=build(),
        num_classes=2,
        device=torch.device("cpu"),
        seed=1,
        build_model=build,
        train=view,
        validation=other,
        unbiased=other,
        num_attributes=2,
        attributes_known=known,
        recipe=StepRecipe(steps=5, per_class=40, lr=0.1, weight_decay=0.01, checkpoints=5),
        watch=Unwatched(),
        auxiliary=Unwatched,
    )


def table_of(counts: list[list[int]]) -> GroupTable:
    a = len(counts[0])
    groups = [y * a + b for y, row in enumerate(counts) for b, n in enumerate(row) for _ in range(n)]
    return GroupTable(torch.tensor(groups), (len(counts), a))


def run(name: str, own: DebiasProblem, **parameters: Any) -> nn.Module:
    return load(METHODS.get(name, "debias-known"))(own, **parameters)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_they_are_ablations_of_both_tasks() -> None:
    for name in ("gerne+unbounded", *SAME):
        info = METHODS.get(name, "debias-unknown")
        assert (info.kind, info.tasks) == ("ablation", ("debias-known", "debias-unknown"))


@pytest.mark.parametrize("known", [True, False])
def test_unbounded_is_gerne_within_the_bound(known: bool) -> None:
    one, other = (
        run("gerne+unbounded", problem(known=known), c=0.5, beta=0.5),
        gerne(problem(known=known), c=0.5, s=0.75),
    )
    assert torch.equal(weights(one), weights(other))


def test_unbounded_goes_beyond_where_gerne_stops() -> None:
    with pytest.raises(InputError, match="outside"):
        gerne(problem(), c=1.0, s=4.0)
    known = problem()
    assert weights(run("gerne+unbounded", known, c=1.0, beta=3.0)).isfinite().all()
    assert known.watch.looks == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", SAME)
def test_the_others_stop_where_gerne_does(name: str) -> None:
    with pytest.raises(InputError, match=r"beta = 3\.0000, outside"):
        run(name, problem(), c=1.0, s=4.0)


@pytest.mark.parametrize("name", ["gerne+unbounded", *SAME])
@pytest.mark.parametrize("c", [0.0, 1.5])
def test_c_must_be_a_share(name: str, c: float) -> None:
    with pytest.raises(InputError, match=f"{name.replace('+', '.')}: c must be above 0 and at most 1, not {c}"):
        run(name, problem(), c=c)


@pytest.mark.parametrize("name", SAME)
def test_one_batch_alone_is_gerne(name: str) -> None:
    """beta = 0: there is no second batch to overlap with, and every weight is 1; but other numbers are drawn."""
    assert torch.allclose(
        weights(run(name, problem(), c=1.0, s=1.0)), weights(gerne(problem(), c=1.0, s=1.0)), atol=0.2
    )
    assert weights(run(name, problem(known=False), c=0.5, s=1.5, t=0.3)).isfinite().all()


def test_what_is_kept_is_of_the_same_group() -> None:
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    b, lb = torch.tensor([3, 0, 0, 4, 7]), torch.tensor([1, 2, 5, 6, 6, 8, 8])
    assert kept_from(b, lb, groups).tolist() == [3, 0, 4, 6, 6, 7, 8]


def test_batches_overlap_as_far_as_they_can() -> None:
    """alpha = (.9, .1) and p_lb = (.7, .3): of 40 samples 28 and 4 are common, and weigh (1 + beta - beta) / 40."""
    table = table_of([[900, 100]])
    for draw in islice(overlapping(table, 0.5, 2.0, 40, torch.Generator().manual_seed(0)), 20):
        lb, b = draw.index[:40], draw.index[40:]
        assert torch.equal(draw.weight, torch.tensor([3.0, -2.0]).repeat_interleave(40) / 40)
        majority, minority = (lambda batch, a: batch[table.groups[batch] == a]), 1
        assert torch.equal(majority(lb, 0), majority(b, 0)[:28])
        assert torch.equal(majority(lb, minority)[:4], majority(b, minority))


@pytest.mark.parametrize("steps", [overlapping, reweighted])
@pytest.mark.parametrize(("c", "beta"), [(0.5, 1.6), (1.0, 0.0), (0.25, 2.0), (0.5, -1.0), (1.0, 1.4)])
def test_weights_are_p_ext_on_average(steps: Any, c: float, beta: float) -> None:
    table = table_of([[93, 7], [31, 69]])
    total = torch.zeros(4, dtype=torch.float64)
    for draw in islice(steps(table, c, beta, 40, torch.Generator().manual_seed(0)), 400):
        total.index_add_(0, table.groups[draw.index], draw.weight.double())
    expected = extrapolated(table.alpha, c, beta)
    torch.testing.assert_close(total.view(2, 2) / 400 * 2, expected, rtol=0, atol=0.02)
