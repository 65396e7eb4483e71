"""GERNE against golden numbers, its special cases, and closed forms of expectation and variance."""

from __future__ import annotations

import copy
import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines import balancing
from benchmark.contracts import Access, DebiasProblem, Ledger, StepRecipe
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.training import sampling
from benchmark.training.sampling import (
    Draw,
    GroupTable,
    joined,
    merged,
    plain,
    sees_samples_apart,
    weighted_cross_entropy,
)
from methods import gerne as module
from methods.gerne import (
    beta_bounds,
    draws,
    extrapolated,
    extrapolation_factor,
    gerne,
    less_biased,
    pseudo_minority,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "gerne.json").read_text())


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Unwatched:
    """A watch that counts how often it looks and keeps the last state."""

    def __init__(self) -> None:
        self.looks = 0

    def look(self, model: nn.Module) -> None:
        self.looks += 1
        self.state = copy.deepcopy(model.state_dict())

    def restore(self, model: nn.Module) -> None:
        model.load_state_dict(self.state)


def problem(counts: list[list[int]], *, known: bool = True, steps: int = 5, per_class: int = 40) -> DebiasProblem:
    """Points in the plane: the class moves the first coordinate, the attribute the second."""
    torch.manual_seed(0)
    k, a = len(counts), len(counts[0])
    groups = torch.tensor([y * a + b for y in range(k) for b in range(a) for _ in range(counts[y][b])])
    groups = groups[torch.randperm(len(groups))]
    points = torch.stack([groups // a, groups % a], 1).float() + 0.3 * torch.randn(len(groups), 2)
    samples = Samples(points, groups // a, attributes=groups % a)
    ledger = Ledger()
    view = View("train", samples, Access(train="xya" if known else "xy"), ledger)
    other = View("validation", samples, Access(), ledger)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, k))

    return DebiasProblem(
        model=build(),
        num_classes=k,
        device=torch.device("cpu"),
        seed=1,
        build_model=build,
        train=view,
        validation=other,
        unbiased=other,
        num_attributes=a,
        attributes_known=known,
        recipe=StepRecipe(steps=steps, per_class=per_class, lr=0.1, weight_decay=0.01, checkpoints=min(5, steps)),
        watch=Unwatched(),
        auxiliary=Unwatched,
    )


SKEWED = [[90, 10], [30, 70]]


def table_of(counts: list[list[int]]) -> GroupTable:
    a = len(counts[0])
    return GroupTable(
        torch.tensor([y * a + b for y, row in enumerate(counts) for b, n in enumerate(row) for _ in range(n)]),
        (len(counts), a),
    )


# The golden vectors.


def test_extrapolation_golden() -> None:
    case = GOLDEN["gerne-1"]
    given, expected = case["inputs"], case["expected"]
    counts, losses = double(given["counts"]), double(given["group_loss"])
    table = table_of([[int(n) for n in row] for row in given["counts"]])
    alpha, beta = table.alpha, given["beta"]
    p_lb, p_ext = less_biased(alpha, given["c"]), extrapolated(alpha, given["c"], beta)
    close = {"rtol": case["rtol"], "atol": 1e-12}
    torch.testing.assert_close(alpha, counts / counts.sum(1, keepdim=True), **close)
    torch.testing.assert_close(p_lb, double(expected["p_lb"]), **close)
    torch.testing.assert_close(p_ext, double(expected["p_ext"]), **close)
    torch.testing.assert_close(alpha * given["B"], double(expected["n_b"]), **close)
    torch.testing.assert_close(p_lb * given["B"], double(expected["n_lb"]), **close)
    l_b, l_lb = ((p * losses).sum(1).mean() for p in (alpha, p_lb))
    assert float(l_b) == pytest.approx(expected["L_b"], rel=case["rtol"])
    assert float(l_lb) == pytest.approx(expected["L_lb"], rel=case["rtol"])
    l_ext = (1 + beta) * l_lb - beta * l_b
    assert float(l_ext) == pytest.approx(expected["L_ext"], rel=case["rtol"])
    assert float((p_ext * losses).sum(1).mean()) == pytest.approx(expected["L_ext"], rel=case["rtol"])


def test_bounds_golden() -> None:
    case = GOLDEN["gerne-2"]
    low, high = beta_bounds(double(case["inputs"]["alpha"]), case["inputs"]["c"])
    assert low == pytest.approx(case["expected"]["lower"], rel=case["rtol"])
    assert high == pytest.approx(case["expected"]["upper"], rel=case["rtol"])


def test_pseudo_groups_golden() -> None:
    case = GOLDEN["gerne-3"]
    scores, t = double(case["inputs"]["scores"]), case["inputs"]["t"]
    minority = pseudo_minority(scores, torch.zeros(len(scores), dtype=torch.int64), t)
    assert minority.nonzero().squeeze(1).tolist() == case["expected"]["minority"]
    effective = case["expected"]["size"] / len(scores)
    _, high = beta_bounds(double([[1 - effective, effective]]), case["inputs"]["c"])
    assert high == pytest.approx(case["expected"]["beta_bound"], rel=case["rtol"])


# The interval of beta.


def test_beta_max_of_the_paper() -> None:
    alpha = torch.full((10, 10), 0.0045 / 9, dtype=torch.float64).fill_diagonal_(0.9955)
    assert beta_bounds(alpha, 0.5)[1] == pytest.approx(1.2233, abs=5e-5)
    assert beta_bounds(alpha, 1.0)[1] == pytest.approx(0.112, abs=5e-4)


@pytest.mark.parametrize("a", [2, 3, 5, 11])
@pytest.mark.parametrize("c", [0.2, 0.5, 1.0])
def test_upper_bound_is_the_largest_group_s(a: int, c: float) -> None:
    rng = torch.Generator().manual_seed(a)
    for _ in range(200):
        alpha = torch.rand(3, a, generator=rng, dtype=torch.float64) ** 3
        alpha /= alpha.sum(1, keepdim=True)
        low, high = beta_bounds(alpha, c)
        largest = float(alpha.max())
        assert high == pytest.approx(largest / (c * (largest - 1 / a)) - 1, rel=1e-9)
        assert low < -1
        inside, outside = extrapolated(alpha, c, high - 1e-6), extrapolated(alpha, c, high + 1e-3)
        assert inside.min() >= 0
        assert inside.max() <= 1
        assert outside.min() < 0 or outside.max() > 1


def test_balanced_groups_have_no_bound() -> None:
    assert beta_bounds(torch.full((2, 4), 0.25, dtype=torch.float64), 0.5) == (-math.inf, math.inf)


def test_beta_outside_prints_the_interval() -> None:
    alpha = table_of([[950, 50], [50, 950]]).alpha
    assert extrapolation_factor(alpha, 0.5, 2.0) == pytest.approx(3.0)
    with pytest.raises(
        InputError, match=r"beta = 3\.4000, outside \[-\d\.\d{4}, 3\.2222\].* s must be in \[.*, 2\.1111\]"
    ):
        extrapolation_factor(alpha, 0.5, 2.2)
    for known in (True, False):
        for c in (0.0, 1.5):
            with pytest.raises(InputError, match=f"c must be above 0 and at most 1, not {c}"):
                gerne(problem(SKEWED, known=known), c=c)


def test_method_refuses_beta_before_it_trains() -> None:
    known = problem(SKEWED)
    with pytest.raises(InputError, match="outside"):
        gerne(known, c=0.5, s=5.0)
    assert known.watch.looks == 0  # type: ignore[attr-defined]


# Special cases, as gradients and as whole runs.


def gradient(model: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def one_draw(table: GroupTable, c: float, beta: float, per_class: int = 40) -> Draw:
    return next(iter(draws(table, c, beta, per_class, torch.Generator().manual_seed(3))))


def test_beta_minus_one_ignores_the_less_biased_batch() -> None:
    table = table_of(SKEWED)
    found = one_draw(table, 0.5, -1.0)
    alone = table.draw(table.alpha, 40, torch.Generator().manual_seed(3))
    assert torch.equal(found.index, alone)
    assert torch.equal(found.weight, torch.full((80,), 1 / 80))
    assert torch.equal(found.index, one_draw(table, 1.0, -1.0).index)  # whatever c is


def test_c_one_beta_zero_is_resampling() -> None:
    known, twin = problem(SKEWED), problem(SKEWED)
    twin.model.load_state_dict(known.model.state_dict())
    one, other = gerne(known, c=1.0, s=1.0), balancing.resampling(twin)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_s_zero_is_class_balanced_erm_whatever_c_is() -> None:
    """Batches that are uniform in each class: what known groups give is what drawing by class alone does on average."""
    one, other = problem(SKEWED), problem(SKEWED)
    other.model.load_state_dict(one.model.state_dict())
    for a, b in zip(gerne(one, c=0.5, s=0.0).parameters(), gerne(other, c=1.0, s=0.0).parameters(), strict=True):
        assert torch.equal(a, b)
    table, classes = table_of(SKEWED), table_of([[100], [100]])
    expected = torch.zeros(200, dtype=torch.float64)
    found = torch.zeros(200, dtype=torch.float64)
    for total, own in ((expected, classes), (found, table)):
        for draw in islice(draws(own, 1.0, -1.0, 40, torch.Generator().manual_seed(0)), 2_000):
            total.index_add_(0, draw.index, draw.weight.double() / 2_000)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.001)
    torch.testing.assert_close(found, torch.full((200,), 1 / 200, dtype=torch.float64), rtol=0, atol=0.0008)


@pytest.mark.parametrize(("c", "beta"), [(0.5, 1.6), (0.5, 0.0), (1.0, 0.1), (0.3, -1.0), (0.5, -0.5)])
def test_population_losses_satisfy_the_identity(c: float, beta: float) -> None:
    known = problem(SKEWED)
    model = known.model.double()
    batch = known.train.everything()
    losses = F.cross_entropy(model(batch.x.double()), batch.y, reduction="none")
    table = GroupTable(batch.y * 2 + batch.a, (2, 2))
    group_loss = torch.stack([torch.stack([losses[table.members(y, a)].mean() for a in range(2)]) for y in range(2)])

    def population(p: Tensor) -> Tensor:
        return (p * group_loss).sum(1).mean()

    l_lb, l_b = population(less_biased(table.alpha, c)), population(table.alpha)
    extrapolation = gradient(model, (1 + beta) * l_lb - beta * l_b) if beta else gradient(model, l_lb)
    other = (table.alpha + c * (beta + 1) * (0.5 - table.alpha)).double()
    model.zero_grad()
    losses = F.cross_entropy(model(batch.x.double()), batch.y, reduction="none")
    expected = sum(
        (other[y, a] * losses[table.members(y, a)].mean() / 2 for y in range(2) for a in range(2)),
        start=torch.zeros((), dtype=torch.float64),
    )
    torch.testing.assert_close(extrapolation, gradient(model, expected), rtol=1e-6, atol=1e-9)


def test_reweighting_has_the_same_expectation() -> None:
    """Weights p_ext / alpha on the biased batch: for s = 1 and classes of equal size these are 1/n_g."""
    counts = torch.tensor([[90, 10], [30, 70]])
    alpha = table_of(SKEWED).alpha
    weights = balancing.group_weights(counts.flatten(), lambda n: 1 / n).view(2, 2)
    torch.testing.assert_close(weights.double(), extrapolated(alpha, 0.5, 1.0) / alpha, rtol=1e-6, atol=0)


def test_half_a_class_makes_beta_irrelevant() -> None:
    alpha = table_of([[50, 50], [20, 20]]).alpha
    for beta in (-1.0, 0.0, 3.0, 50.0):
        assert torch.equal(extrapolated(alpha, 0.5, beta), alpha)


def mean_weights(table: GroupTable, c: float, beta: float, n: int) -> Tensor:
    """Average over draws of the weight that each group's samples get, (K, A)."""
    total = torch.zeros(table.shape[0] * table.shape[1], dtype=torch.float64)
    for draw in islice(draws(table, c, beta, 40, torch.Generator().manual_seed(0)), n):
        total.index_add_(0, table.groups[draw.index], draw.weight.double())
    return (total / n).view(table.shape)


@pytest.mark.parametrize(("c", "beta"), [(0.5, 1.6), (1.0, 0.0), (0.25, 2.0), (0.5, -1.0)])
def test_weights_are_p_ext_on_average(c: float, beta: float) -> None:
    table = table_of([[93, 7], [31, 69]])
    found = mean_weights(table, c, beta, 400)
    torch.testing.assert_close(found * 2, extrapolated(table.alpha, c, beta), rtol=0, atol=0.02)


def test_beta_does_not_move_the_expectation_of_halves() -> None:
    table = table_of([[50, 50], [20, 20]])
    for beta in (0.0, 2.0):
        torch.testing.assert_close(
            mean_weights(table, 0.5, beta, 200), torch.full((2, 2), 0.25, dtype=torch.float64), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize(("c", "beta"), [(0.5, 1.0), (0.5, 0.3), (1.0, 0.4)])
def test_variance_with_independent_batches(c: float, beta: float) -> None:
    """((1 + beta)^2 (1 - c/2) + beta^2) Var(L_A) where the minority's loss is 0 and all of a class is majority."""
    n, per_class = 20_000, 40
    losses = torch.randn(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = torch.zeros(n + 20, dtype=torch.int64)
    counts[n:] = 1
    table = GroupTable(counts, (1, 2))
    values = torch.cat([losses, torch.zeros(20, dtype=torch.float64)])
    drawn = [
        float((d.weight.double() * values[d.index]).sum())
        for d in islice(draws(table, c, beta, per_class, torch.Generator().manual_seed(2)), 4_000)
    ]
    expected = ((1 + beta) ** 2 * (1 - c / 2) + beta**2) * float(losses.var()) / per_class
    assert float(torch.tensor(drawn).var()) == pytest.approx(expected, rel=0.08)


# Sampling.


def test_sampler_keeps_the_proportions_of_every_batch() -> None:
    table = table_of([[55, 37, 8], [10, 20, 70]])
    p = less_biased(table.alpha, 0.5)
    rng = torch.Generator().manual_seed(0)
    total = torch.zeros(6)
    for _ in range(500):
        index = table.draw(p, 17, rng)
        n = table.groups[index].bincount(minlength=6).view(2, 3)
        assert n.sum(1).tolist() == [17, 17]
        assert (n - p * 17).abs().max() < 1 + 1e-9
        total += n.flatten()
    torch.testing.assert_close(total.view(2, 3).double() / 500, p * 17, rtol=0, atol=0.08)


def test_sampler_is_uniform_within_a_group() -> None:
    table = table_of([[4, 6]])
    index = table.draw(double([[0.5, 0.5]]), 40_000, torch.Generator().manual_seed(0))
    share = index.bincount(minlength=10) / 40_000
    torch.testing.assert_close(share, torch.tensor([0.125] * 4 + [0.5 / 6] * 6), rtol=0, atol=0.006)


def test_sampler_refuses_what_is_not_there() -> None:
    table = GroupTable(torch.tensor([0, 0, 2, 3]), (2, 2))
    with pytest.raises(ValueError, match="a group that has none"):
        table.draw(double([[0.5, 0.5], [0.5, 0.5]]), 4, torch.Generator())
    with pytest.raises(InputError, match="class 1 has no training sample"):
        GroupTable(torch.tensor([0, 1]), (2, 2))


def test_merging_changes_no_loss() -> None:
    draw = joined([(2.0, torch.tensor([3, 3, 1, 0])), (-1.0, torch.tensor([3, 5]))])
    once = merged(draw)
    assert once.index.tolist() == [0, 1, 3, 5]
    torch.testing.assert_close(once.weight, torch.tensor([0.5, 0.5, 0.5, -0.5]))
    assert float(once.weight.sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(8), nn.Dropout(0.1)])
def test_what_depends_on_the_batch_is_not_merged(layer: nn.Module) -> None:
    assert sees_samples_apart(nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8)))
    model = nn.Sequential(nn.Linear(2, 8), layer, nn.Linear(8, 2))
    assert not sees_samples_apart(model)
    known = problem(SKEWED)
    before = known.train.counts()["passes"]
    weighted_cross_entropy(model, known.train)(plain([torch.tensor([0, 0, 0, 1])]).__next__())
    assert known.train.counts()["passes"] - before == 4


# Pseudo-groups and the whole method.


def test_the_floor_is_of_the_number_meant() -> None:
    minority = pseudo_minority(torch.rand(100), torch.zeros(100, dtype=torch.int64), 0.29)
    assert int(minority.sum()) == 29  # 0.29 * 100 is below 29 in floating point


def test_the_biased_network_has_a_tenth_of_the_rate_and_twice_the_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []
    plain_fit = module.fit

    def spied(*args: Any, **named: Any) -> None:
        seen.append((named["lr_scale"], named["decay_scale"]))
        plain_fit(*args, **named)

    monkeypatch.setattr(module, "fit", spied)
    monkeypatch.setattr(sampling, "fit", spied)
    gerne(problem([[90, 10], [10, 90]], known=False), lr_scale=3.0, decay_scale=0.5)
    assert seen == [(pytest.approx(0.3), pytest.approx(1.0)), (3.0, 0.5)]


@pytest.mark.parametrize(("t", "size"), [(0.25, 2), (0.2, 2), (0.19, 1), (0.1, 1)])
def test_pseudo_minority_has_floor_t_n(t: float, size: int) -> None:
    labels = torch.tensor([0] * 10 + [1] * 7)
    scores = torch.rand(17, generator=torch.Generator().manual_seed(0))
    if t == 0.1:
        with pytest.raises(InputError, match=r"t = 0\.1 makes 0 of the 7 samples of class 1"):
            pseudo_minority(scores, labels, t)
        return
    minority = pseudo_minority(scores, labels, t)
    assert int(minority[:10].sum()) == size
    for y in (0, 1):
        own = labels == y
        assert scores[own & minority].max() < scores[own & ~minority].min()


def test_unknown_mode_reads_no_attribute() -> None:
    unknown = problem([[90, 10], [10, 90]], known=False, steps=20)
    model = gerne(unknown, c=0.5, s=1.0, t=0.1)
    assert model is unknown.model
    counts = unknown.train.counts()
    assert "attributes" not in counts
    assert counts["labels"] == 200
    assert unknown.watch.looks == 5  # type: ignore[attr-defined]


def test_biased_network_finds_the_minority() -> None:
    """The shortcut is easier than the label: those whom it misleads score lowest."""
    unknown = problem([[190, 10], [10, 190]], known=False, steps=200)
    truth = unknown.train._samples
    assert truth.attributes is not None
    table = module.pseudo_groups(unknown, 0.05)
    minority = table.groups % 2 == 1
    conflicting = truth.labels != truth.attributes
    assert float((minority & conflicting).sum() / minority.sum()) > 0.3  # by chance: 0.05


def test_same_problem_same_network() -> None:
    one, other = problem(SKEWED), problem(SKEWED)
    other.model.load_state_dict(one.model.state_dict())
    for a, b in zip(gerne(one).parameters(), gerne(other).parameters(), strict=True):
        assert torch.equal(a, b)
