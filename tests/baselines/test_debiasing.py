"""Debiasing baselines: the contract that all of them keep, and each one against a closed form or a limiting case."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines import balancing, jtt, two_stage
from baselines.balanced_softmax import balanced_softmax, balanced_softmax_loss
from baselines.erm import bias_amplified, erm, generalised_cross_entropy, train_erm, unbiased
from baselines.groupdro import RobustLoss, groupdro
from baselines.lff import RelativeDifficulty, lff
from baselines.lisa import Partners, lisa, pairs, partners_of
from baselines.mixup import beta_numbers, mixed_cross_entropy, mixed_logits, mixup
from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, DebiasProblem, Ledger, MethodInfo, StepRecipe
from benchmark.data.bias import Bias
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS, MethodRegistry
from benchmark.errors import AccessViolation, InputError
from benchmark.models.surgery import state_hash
from benchmark.running import amending
from benchmark.running import cell as running
from benchmark.running.amending import amend, violations
from benchmark.running.records import Cell
from benchmark.tasks import TASKS
from benchmark.tasks.debias import Debias
from benchmark.timing import Stopwatch
from benchmark.training.last_layer import last_layer, outputs
from benchmark.training.sampling import Draw, GroupTable, weighted_cross_entropy

SEED = 103
BALANCING = ("reweighting", "sqrt-reweighting", "class-balanced", "resampling")
EVERYWHERE = (*BALANCING, "groupdro", "mixup", "balanced-softmax", "crt", "jtt", "dfr", "lff")
KNOWN = ("lisa", "subsampling")


# On real data; what every method keeps to is in tests/benchmark/checking/test_contract.py.


def scenario(task: Any, **changes: Any) -> Debias:
    given: dict[str, Any] = {
        "task": task,
        "data": "mnist-5k",
        "model": "cmnist-mlp",
        "training": StepRecipe(steps=10, per_class=5, lr=0.1, weight_decay=0.01, checkpoints=2),
        "selection": "bias-conflicting",
        "bias": Bias(kind="colour", conflicting=0.05),
    }
    return Debias(**{**given, **changes})


def run(name: str, settings: Debias, context: Context, **parameters: Any) -> tuple[nn.Module, Ledger]:
    """The network that a method of that name trains, and what it has read."""
    info, task = METHODS.get(name, settings.task), TASKS.get(settings.task)
    base = task.load().base_model(settings, SEED, context)
    ledgers: list[Ledger] = []
    watch = Stopwatch(context.device)
    chosen = {**info.defaults(), **parameters}
    return amend((info, chosen), task, settings, SEED, base, context, watch, ledgers), ledgers[0]


@pytest.fixture
def elsewhere(tmp_path: Path, deterministic: None) -> Callable[[str], Context]:
    """A context whose store is empty at first."""
    return lambda name: Context(torch.device("cpu"), 1, ArtifactStore(tmp_path / name))


def test_all_baselines_are_found() -> None:
    for name in (*EVERYWHERE, *KNOWN):
        info = METHODS.get(name, "debias-known")
        assert info.kind == "baseline"
        assert info.tasks == (("debias-known",) if name in KNOWN else ("debias-known", "debias-unknown"))
        assert {p.name: p.default for p in info.parameters}.items() >= {"lr_scale": 1.0, "decay_scale": 1.0}.items()


@pytest.mark.parametrize("name", ["reweighting", "groupdro", "subsampling", "lisa"])
def test_known_attributes_are_used(name: str, elsewhere: Callable[[str], Context]) -> None:
    _, ledger = run(name, scenario("debias-known"), elsewhere("one"))
    assert ledger.reads["train"]["attributes"] == 3_500


@pytest.mark.parametrize("name", ["groupdro", "crt", "lff", "mixup"])
def test_a_scenario_without_any_attribute(name: str, elsewhere: Callable[[str], Context]) -> None:
    _, ledger = run(name, scenario("debias-unknown", selection="worst-class"), elsewhere("one"))
    assert violations([ledger]) == []
    assert not any("attributes" in read for read in ledger.reads.values())


def reads_attributes(problem: DebiasProblem) -> nn.Module:
    with suppress(AccessViolation):
        _ = problem.train.everything().a
    return problem.model


@pytest.mark.parametrize("access", [Access(train="xy"), Access(train="xya")])
def test_reading_hidden_attributes_disqualifies(
    access: Access, elsewhere: Callable[[str], Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = MethodInfo("thief", "baseline", ("debias-unknown",), "", access, 1, (), "m", "f", "")
    monkeypatch.setattr(running, "METHODS", MethodRegistry(lambda: [info]))
    monkeypatch.setattr(amending, "load", lambda info: reads_attributes)
    cell = Cell(
        suite="s", task="debias-unknown", scenario="t", settings=msgspec.to_builtins(scenario("debias-unknown")),
        unit="u", seed=SEED, method="thief", kind="baseline", parameters={}, device="cpu", threads=1, versions={},
        digests={}, packages={},
    )  # fmt: skip
    record, _ = running.run_cell(cell, elsewhere("one"), exclusive=False, provenance="")
    assert record.status == "disqualified"
    assert record.failure is not None
    assert "train" in record.failure.message


# Points in the plane: the class moves the first coordinate, the attribute the second.


class Unwatched:
    """A watch that counts how often it looks, at what, and keeps the last state."""

    def __init__(self) -> None:
        self.seen: list[nn.Module] = []

    def look(self, model: nn.Module) -> None:
        self.seen.append(model)
        self.state = copy.deepcopy(model.state_dict())

    def restore(self, model: nn.Module) -> None:
        model.load_state_dict(self.state)


SKEWED = [[90, 10], [30, 70]]


def points(counts: list[list[int]], seed: int) -> Samples:
    rng = torch.Generator().manual_seed(seed)
    a = len(counts[0])
    groups = torch.tensor([y * a + b for y, row in enumerate(counts) for b, n in enumerate(row) for _ in range(n)])
    groups = groups[torch.randperm(len(groups), generator=rng)]
    noise = 0.3 * torch.randn(len(groups), 2, generator=rng)
    return Samples(torch.stack([groups // a, groups % a], 1).float() + noise, groups // a, attributes=groups % a)


def problem(
    counts: list[list[int]] = SKEWED,
    *,
    known: bool = True,
    steps: int = 10,
    per_class: int = 20,
    validation: list[list[int]] | None = None,
    width: int = 8,
    norm: bool = False,
) -> DebiasProblem:
    """Every call gives the same network and, of the same counts, the same samples."""
    access = Access(train="xya" if known else "xy", validation="xya", unbiased="xy")
    views = {
        name: View(name, points(own, seed), access, Ledger())
        for seed, (name, own) in enumerate(
            {"train": counts, "validation": validation or counts, "unbiased": counts}.items()
        )
    }
    between: list[nn.Module] = [nn.BatchNorm1d(width)] if norm else []

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(2, width), *copy.deepcopy(between), nn.ReLU(), nn.Linear(width, len(counts)))

    torch.manual_seed(0)
    return DebiasProblem(
        model=build(),
        num_classes=len(counts),
        device=torch.device("cpu"),
        seed=1,
        build_model=build,
        train=views["train"],
        validation=views["validation"],
        unbiased=views["unbiased"],
        num_attributes=len(counts[0]),
        attributes_known=known,
        recipe=StepRecipe(steps=steps, per_class=per_class, lr=0.1, weight_decay=0.01, checkpoints=5),
        watch=Unwatched(),
        auxiliary=Unwatched,
    )


def gradient(model: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def same(one: nn.Module, other: nn.Module) -> bool:
    return state_hash(one) == state_hash(other)


def close(one: nn.Module, other: nn.Module, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


METHODS_IN_THE_PLANE: dict[str, Callable[..., nn.Module]] = {
    "erm": erm, "mixup": mixup, "lisa": lisa, "groupdro": groupdro, "balanced-softmax": balanced_softmax,
    "crt": two_stage.crt, "jtt": jtt.jtt, "lff": lff, "bias-amplified": bias_amplified,
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS_IN_THE_PLANE)
def test_the_network_that_is_returned_is_the_one_that_was_watched(name: str) -> None:
    given = problem()
    before = state_hash(given.model)
    result = METHODS_IN_THE_PLANE[name](given)
    assert result is given.model
    assert state_hash(result) != before
    assert [model is result for model in given.watch.seen] == [True] * 5  # type: ignore[attr-defined]
    assert given.watch.state.keys() == result.state_dict().keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in METHODS_IN_THE_PLANE if name != "bias-amplified"])
def test_rate_and_decay_are_scaled(name: str) -> None:
    method, fresh = METHODS_IN_THE_PLANE[name], problem()
    assert not same(method(problem()), method(problem(), decay_scale=5.0))
    close(method(problem(), lr_scale=1e-9)[0], fresh.model[0])  # type: ignore[index]


# erm, unbiased, bias-amplified


def test_erm_is_descent_on_the_mean_loss() -> None:
    given, twin = problem(steps=5), problem(steps=5)
    erm(given)
    rng, model, batch = twin.generator("batches"), twin.model, twin.train.everything()
    x, y = batch.x, batch.y
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(5):
        index = torch.randint(200, (40,), generator=rng)
        optimiser.zero_grad()
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimiser.step()
    close(given.model, model)


def test_unbiased_reads_nothing_of_the_biased_set() -> None:
    given = problem()
    unbiased(given)
    assert given.train.counts() == {"passes": 0}
    assert given.unbiased.counts()["samples"] > 100


def test_generalised_cross_entropy_between_its_limits() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(50) % 4
    ce = F.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(generalised_cross_entropy(logits, labels, 1e-7), ce, rtol=1e-5, atol=0)
    torch.testing.assert_close(generalised_cross_entropy(logits, labels, 1.0), 1 - (-ce).exp())


def test_generalised_cross_entropy_s_gradient_is_weighted_by_p_to_the_q() -> None:
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    labels = torch.arange(20) % 3
    ce = F.cross_entropy(logits, labels, reduction="none")
    weight = (-ce).exp().detach() ** 0.7
    (expected,) = torch.autograd.grad((weight * ce).sum(), logits)
    (found,) = torch.autograd.grad(generalised_cross_entropy(logits, labels, 0.7).sum(), logits)
    torch.testing.assert_close(found, expected)


# reweighting, sqrt-reweighting, class-balanced, resampling, subsampling


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Draw]]:
    """The first draws of a method that is a matter of its draws alone."""

    def first(method: Callable[..., Any], given: DebiasProblem, n: int = 1, **parameters: Any) -> list[Draw]:
        monkeypatch.setattr(
            balancing, "train_on_draws", lambda problem, items, lr_scale, decay_scale: list(islice(items, n))
        )
        found: list[Draw] = method(given, **parameters)
        return found

    return first


def group_of(given: DebiasProblem, index: Tensor) -> Tensor:
    batch = given.train.batch(index)
    return batch.y * given.num_attributes + batch.a


def weight_by_group(given: DebiasProblem, draws: list[Draw]) -> Tensor:
    """(G,) what a sample of each group weighs, times the size of a batch."""
    found = torch.full((given.num_classes * given.num_attributes,), torch.nan)
    for draw in draws:
        found[group_of(given, draw.index)] = draw.weight * len(draw.index)
    return found


@pytest.mark.parametrize("weight", [lambda n: 1 / n, lambda n: n**-0.5, lambda n: n * 0 + 3])
def test_samples_weigh_one_on_average(weight: Callable[[Tensor], Tensor]) -> None:
    counts = torch.tensor([90, 10, 0, 30, 70])
    weights = balancing.group_weights(counts, weight)
    assert float((weights * counts).sum()) == pytest.approx(200, rel=1e-6)
    assert weights[2] == 0


def test_reweighting_has_the_gradient_of_resampling_over_the_population() -> None:
    given = problem()
    model, batch = given.model, given.train.everything()
    groups = batch.y * 2 + batch.a
    own = balancing.group_weights(groups.bincount(), lambda n: 1 / n)[groups] / len(groups)
    losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
    resampled = torch.stack([losses[groups == g].mean() for g in range(4)]).mean()
    found = gradient(model, (own * F.cross_entropy(model(batch.x), batch.y, reduction="none")).sum())
    torch.testing.assert_close(found, gradient(model, resampled))


def test_weights_of_the_methods(drawn: Callable[..., list[Draw]]) -> None:
    given = problem()
    n = torch.tensor([90.0, 10.0, 30.0, 70.0])
    inverse = weight_by_group(given, drawn(balancing.reweighting, given, 20))
    torch.testing.assert_close(inverse, 50 / n)
    root = weight_by_group(given, drawn(balancing.sqrt_reweighting, given, 20))
    torch.testing.assert_close(root, n**-0.5 * 200 / n.sqrt().sum())
    equal = weight_by_group(given, drawn(balancing.class_balanced, given, 20, b=1e-12))
    torch.testing.assert_close(equal, torch.ones(4))
    # b towards 1: an effective number is the number itself
    torch.testing.assert_close(
        weight_by_group(given, drawn(balancing.class_balanced, given, 20, b=1 - 1e-9)), inverse, rtol=1e-5, atol=0
    )
    middle = weight_by_group(given, drawn(balancing.class_balanced, given, 20, b=0.9))
    effective = (1 - 0.9**n) / 0.1
    torch.testing.assert_close(middle[0] / middle[1], effective[1] / effective[0])


def test_weights_are_by_class_where_attributes_are_unknown(drawn: Callable[..., list[Draw]]) -> None:
    given = problem([[90, 10], [200, 100]], known=False)
    (draw,) = drawn(balancing.reweighting, given)
    labels = given.train.batch(draw.index).y
    torch.testing.assert_close(draw.weight * len(draw.index), torch.tensor([2.0, 2 / 3])[labels])


@pytest.mark.parametrize("counts", [SKEWED, [[3, 90, 7], [50, 0, 50]]])
def test_resampling_draws_all_groups_of_a_class_as_often(
    counts: list[list[int]], drawn: Callable[..., list[Draw]]
) -> None:
    given = problem(counts, per_class=60)
    for draw in drawn(balancing.resampling, given, 5):
        found = group_of(given, draw.index).bincount(minlength=given.num_classes * given.num_attributes)
        present = torch.tensor(counts).flatten() > 0
        shares = present.view(given.num_classes, -1).sum(1, keepdim=True).expand(given.num_classes, len(counts[0]))
        assert torch.equal(found, torch.where(present, 60 // shares.flatten(), 0))
        assert torch.equal(draw.weight, torch.full_like(draw.weight, 1 / len(draw.index)))


def test_subsampling_reads_as_many_samples_of_each_group() -> None:
    given = problem(((30, 10), (20, 5), (8, 40)), steps=100)
    balancing.subsampling(given)
    seen = given.train.tally().seen["x"].nonzero().squeeze(1)
    assert group_of(given, seen).bincount().tolist() == [5, 5, 5, 5, 5, 5]


# groupdro


def robust(given: DebiasProblem, eta: float = 0.0, adjustment: float = 0.0) -> RobustLoss:
    batch = given.train.everything()
    table = GroupTable(batch.y * given.num_attributes + batch.a, (given.num_classes, given.num_attributes))
    return RobustLoss(given.model, given.train, table, eta, adjustment)


def equal_draw(given: DebiasProblem, groups: tuple[int, ...], n: int = 8) -> Draw:
    """``n`` samples of each of ``groups``, all weighing the same."""
    every = group_of(given, torch.arange(len(given.train)))
    index = torch.cat([(every == g).nonzero().squeeze(1)[:n] for g in groups])
    return Draw(index, torch.full((len(index),), 1 / len(index)))


def losses_of(given: DebiasProblem, groups: tuple[int, ...]) -> Tensor:
    def mean_loss(group: int) -> Tensor:
        batch = given.train.batch(equal_draw(given, (group,)).index)
        return F.cross_entropy(given.model(batch.x), batch.y)

    with torch.no_grad():
        return torch.stack([mean_loss(group) for group in groups])


def test_groupdro_without_a_step_size_has_resampling_s_gradient() -> None:
    given = problem()
    draw, plain = equal_draw(given, (0, 1, 2, 3)), weighted_cross_entropy(given.model, given.train)
    found = gradient(given.model, robust(given)(draw))
    torch.testing.assert_close(found, gradient(given.model, plain(draw)))
    other = gradient(given.model, robust(given, eta=5.0)(draw))
    assert (other - found).abs().max() > 1e-2


def test_groupdro_without_a_step_size_is_resampling() -> None:
    close(groupdro(problem(per_class=40), eta=0.0), balancing.resampling(problem(per_class=40)))


def test_q_is_the_exponential_of_the_losses() -> None:
    given = problem()
    loss = robust(given, eta=0.5, adjustment=2.0)
    losses = losses_of(given, (0, 1, 2, 3))
    value = loss(equal_draw(given, (0, 1, 2, 3)))
    expected = (0.5 * (losses + 2 / torch.tensor([90.0, 10.0, 30.0, 70.0]).sqrt())).softmax(0)
    torch.testing.assert_close(loss.q, expected)
    assert not loss.q.requires_grad
    torch.testing.assert_close(value.detach(), (expected * losses).sum())


def test_q_moves_to_the_worst_group() -> None:
    given = problem()
    loss, draw = robust(given, eta=1.0), equal_draw(given, (0, 1, 2, 3))
    worst = int(losses_of(given, (0, 1, 2, 3)).argmax())
    before = 0.25
    for _ in range(20):
        loss(draw)
        assert float(loss.q[worst]) > before
        before = float(loss.q[worst])
    for _ in range(2_000):  # the exponent is far beyond what a float holds
        loss(draw)
    assert float(loss.q[worst]) == pytest.approx(1.0)
    assert loss.q.isfinite().all()


def test_groups_that_are_not_in_the_batch_keep_their_weight_among_each_other() -> None:
    given = problem([[90, 10, 0], [30, 70, 1]])  # one sample is a group
    loss = robust(given, eta=1.0, adjustment=1.0)
    assert float(loss.q[2]) == 0
    value = loss(equal_draw(given, (0, 4)))
    q, losses = loss.q, losses_of(given, (0, 4))
    raised = (losses + 1 / torch.tensor([90.0, 70.0]).sqrt()).exp()
    total = raised.sum() + 3
    torch.testing.assert_close(q, torch.tensor([raised[0], 1, 0, 1, raised[1], 1]) / total)
    torch.testing.assert_close(value.detach(), (raised / total * losses).sum())


@pytest.mark.parametrize(("eta", "worst"), [(0.0, 3.0), (0.1, 2.0)])
def test_groupdro_evens_out_the_losses(eta: float, worst: float) -> None:
    """Of two classes that nothing tells apart one has two groups, and so two thirds of the weight: log 3 for the other.

    The worst group's loss is least where both classes are equally likely: log 2.
    """
    given = problem([[90, 10], [100, 0]], steps=400)
    own = points([[90, 10], [100, 0]], 0)
    given.train = View("train", dataclasses.replace(own, images=own.images * 0), Access(train="xya"), Ledger())
    groupdro(given, eta=eta, decay_scale=0.0)
    assert float(losses_of(given, (0, 1, 2)).max()) == pytest.approx(math.log(worst), abs=0.03)


# mixup and lisa


def test_mixed_loss_in_closed_form() -> None:
    """A linear model's mixed logits are its logits mixed."""
    model, rng = nn.Linear(3, 4), torch.Generator().manual_seed(0)
    one, two = (torch.randn(6, 3, generator=rng) for _ in range(2))
    y, z, share = torch.arange(6) % 4, torch.arange(6) // 2, torch.rand(6, generator=rng)
    logits = share[:, None] * model(one) + (1 - share[:, None]) * model(two)
    soft = share[:, None] * F.one_hot(y, 4) + (1 - share[:, None]) * F.one_hot(z, 4)
    torch.testing.assert_close(mixed_cross_entropy(model, (one, y), (two, z), share), F.cross_entropy(logits, soft))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_mixing_with_nothing(share: float) -> None:
    model, rng = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), torch.Generator().manual_seed(0)
    (one, y), (two, z) = ((torch.randn(5, 3, 2, 2, generator=rng), torch.arange(5) % k) for k in (4, 3))
    found = mixed_cross_entropy(model, (one, y), (two, z), torch.full((5,), share))
    torch.testing.assert_close(found, F.cross_entropy(model(one), y) if share else F.cross_entropy(model(two), z))


def test_of_tokens_the_representations_are_mixed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(20, 6), nn.Tanh(), nn.Linear(6, 3))
    one, two = torch.arange(20).view(4, 5), torch.arange(20).flip(0).view(4, 5)
    share = torch.tensor([0.0, 0.3, 0.5, 1.0])
    expected = share[:, None] * model(one) + (1 - share[:, None]) * model(two)  # the head is linear
    torch.testing.assert_close(mixed_logits(model, one, two, share), expected)


def test_mixup_with_a_tiny_alpha_is_erm() -> None:
    close(mixup(problem(), alpha=1e-6), erm(problem()))
    with pytest.raises(AssertionError):
        close(mixup(problem(), alpha=1.0), erm(problem()))


@pytest.mark.parametrize("alpha", [0.2, 2.0])
def test_shares_are_beta_distributed(alpha: float) -> None:
    numbers = beta_numbers(alpha, torch.Generator().manual_seed(5)).beta(alpha, alpha, 50_000)
    assert numbers.mean() == pytest.approx(0.5, abs=0.01)
    assert numbers.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.03)
    assert not np.array_equal(numbers[:9], beta_numbers(alpha, torch.Generator().manual_seed(6)).beta(alpha, alpha, 9))


@pytest.mark.parametrize("method", [mixup, lisa])
def test_alpha_must_be_above_zero(method: Callable[..., nn.Module]) -> None:
    with pytest.raises(InputError, match="alpha"):
        method(problem(), alpha=0.0)


COUNTS = [[30, 4, 6], [5, 20, 0], [9, 9, 2]]


def labels_and_attributes(counts: list[list[int]]) -> tuple[Tensor, Tensor]:
    samples = points(counts, 0)
    assert samples.attributes is not None
    return samples.labels, samples.attributes


@pytest.mark.parametrize(("p_sel", "label"), [(1.0, True), (0.0, False)])
def test_partners_share_the_label_or_the_attribute_and_not_both(p_sel: float, label: bool) -> None:
    y, a = labels_and_attributes(COUNTS)
    index = torch.arange(len(y)).repeat(20)
    partner = partners_of(index, Partners(y, a), Partners(a, y), p_sel, torch.Generator().manual_seed(0))
    assert torch.equal(y[index] == y[partner], torch.full_like(index, label, dtype=torch.bool))
    assert torch.equal(a[index] == a[partner], torch.full_like(index, not label, dtype=torch.bool))


def test_kinds_of_partners_are_as_frequent_as_asked_for() -> None:
    y, a = labels_and_attributes(COUNTS)
    index = torch.arange(len(y)).repeat(400)
    partner = partners_of(index, Partners(y, a), Partners(a, y), 0.3, torch.Generator().manual_seed(0))
    assert float((y[index] == y[partner]).float().mean()) == pytest.approx(0.3, abs=0.01)


def test_all_partners_are_equally_likely() -> None:
    y, a = labels_and_attributes(COUNTS)
    for sample in (0, int((a == 2).nonzero()[0]), int((a == 2).nonzero()[-1]), len(y) - 1):
        own = Partners(y, a)
        candidates = (y == y[sample]) & (a != a[sample])
        assert int(own.count[sample]) == int(candidates.sum())
        partner = own.draw(torch.full((20_000,), sample), torch.Generator().manual_seed(1))
        found = partner.bincount(minlength=len(y)) / 20_000
        torch.testing.assert_close(found, candidates / candidates.sum(), rtol=0, atol=0.02)


def test_where_there_is_no_partner_of_a_kind_it_is_of_the_other() -> None:
    """Class 1 has one attribute only, and nobody else has it; class 2 shares its only one with class 0."""
    y = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    a = torch.tensor([0, 0, 1, 2, 2, 0, 0])
    index = torch.arange(7).repeat(50)
    for p_sel in (0.0, 1.0):
        partner = partners_of(index, Partners(y, a), Partners(a, y), p_sel, torch.Generator().manual_seed(0))
        pair = {k: set(partner[index == k].tolist()) for k in range(7)}
        assert pair[2] == {0, 1}  # the only one with its attribute: of its label, whatever p_sel is
        assert pair[5] == {0, 1}  # the only attribute of its label: of its attribute, whatever p_sel is
        assert pair[3] == {3}  # no partner at all: itself
        assert pair[0] == ({2} if p_sel else {5, 6})


def test_lisa_s_pairs() -> None:
    given = problem(per_class=40)
    steps = list(islice(pairs(given, 2.0, 0.8), 30))
    index, partner, share = (torch.cat([getattr(s, name) for s in steps]) for name in ("index", "partner", "share"))
    one, two = given.train.batch(index), given.train.batch(partner)
    assert ((one.y == two.y) ^ (one.a == two.a)).all()
    assert float((one.y == two.y).float().mean()) == pytest.approx(0.8, abs=0.03)
    assert float(share.double().var()) == pytest.approx(1 / 20, rel=0.1)
    rng = given.generator("batches")
    assert torch.equal(index, torch.cat([torch.randint(200, (80,), generator=rng) for _ in steps]))


# balanced-softmax


def test_balanced_softmax_of_equal_classes_is_cross_entropy() -> None:
    logits, labels = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3
    torch.testing.assert_close(
        balanced_softmax_loss(logits, labels, torch.tensor([50, 50, 50])), F.cross_entropy(logits, labels)
    )
    close(balanced_softmax(problem([[60, 40], [10, 90]])), erm(problem([[60, 40], [10, 90]])))


def test_balanced_softmax_expects_the_classes_proportions() -> None:
    """Equal logits: -log of a class's share; and log n_y less than the optimum's logits makes them equal."""
    counts, labels = torch.tensor([10, 30, 60]), torch.arange(3)
    found = [float(balanced_softmax_loss(torch.zeros(1, 3), y[None], counts)) for y in labels]
    assert found == pytest.approx((-(counts / 100).log()).tolist())


# crt, jtt, dfr


def test_crt_trains_the_last_layer_alone() -> None:
    given, twin = problem(norm=True), problem(norm=True)
    result = two_stage.crt(given)
    train_erm(twin, twin.model, 1.0, 1.0)
    assert all(same(own, other) for own, other in zip(result[:-1], twin.model[:-1], strict=True))  # type: ignore[index]
    assert not same(result[-1], twin.model[-1])  # type: ignore[index]
    assert float(result[1].running_mean.abs().max()) > 0  # type: ignore[index]


def test_crt_starts_its_last_layer_anew_and_balances_the_classes() -> None:
    given, twin = problem([[180, 20], [5, 5]], steps=5), problem([[180, 20], [5, 5]], steps=5)
    two_stage.crt(given)
    train_erm(twin, twin.model, 1.0, 1.0)
    layer = last_layer(twin.fresh_model("head"))
    _, features = outputs(twin.model, twin.train)
    labels = twin.train.everything().y
    table, rng = GroupTable(labels, (2, 1)), twin.generator("balanced batches")
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(5):
        index = table.draw(torch.ones(2, 1, dtype=torch.float64), 20, rng)
        assert labels[index].bincount().tolist() == [20, 20]
        optimiser.zero_grad()
        F.cross_entropy(layer(features[index]), labels[index]).backward()
        optimiser.step()
    close(last_layer(given.model), layer)


def test_jtt_with_weight_one_is_erm() -> None:
    assert same(jtt.jtt(problem(), upweight=1.0), erm(problem()))
    assert not same(jtt.jtt(problem(), upweight=10.0), erm(problem()))


def test_upweighted_samples() -> None:
    wrong = torch.arange(50) < 10
    weights = jtt.upweighted(wrong, 6.0)
    torch.testing.assert_close(weights, torch.where(wrong, 6.0, 1.0) / 2)
    assert float(weights.mean()) == pytest.approx(1.0)


def test_jtt_is_descent_on_the_weighted_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    given, twin = problem(steps=5), problem(steps=5)
    batch = twin.train.everything()
    x, y, wrong = batch.x, batch.y, batch.y != batch.a
    monkeypatch.setattr(jtt, "misclassified", lambda *arguments: wrong)
    jtt.jtt(given, upweight=6.0)
    weights, rng = torch.where(wrong, 6.0, 1.0) / (1 + 5 * 40 / 200), twin.generator("batches")
    optimiser = torch.optim.SGD(twin.model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(5):
        index = torch.randint(200, (40,), generator=rng)
        optimiser.zero_grad()
        (weights[index] * F.cross_entropy(twin.model(x[index]), y[index], reduction="none")).mean().backward()
        optimiser.step()
    close(given.model, twin.model)


@pytest.mark.parametrize(("identify_for", "steps"), [(0.5, 5), (1.0, 10), (0.01, 1)])
def test_jtt_s_error_set(identify_for: float, steps: int) -> None:
    given, twin = problem(), problem()
    wrong = jtt.misclassified(given, identify_for, 1.0, 1.0)
    other = twin.fresh_model("identification")
    train_erm(twin, other, 1.0, 1.0, steps)
    batch = twin.train.everything()
    assert torch.equal(wrong, other.eval()(batch.x).argmax(1) != batch.y)
    assert same(given.model, problem().model)  # the network to be trained is another one


@pytest.mark.parametrize("arguments", [{"identify_for": 0.0}, {"identify_for": 1.1}, {"upweight": 0.0}])
def test_jtt_refuses_what_makes_no_sense(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match="jtt"):
        jtt.jtt(problem(), **arguments)


def test_groups_have_the_same_total_weight() -> None:
    groups = torch.tensor([0] * 60 + [1] * 20 + [3] * 30)
    weights = two_stage.equal_groups(groups)
    totals = torch.zeros(4).double().index_add(0, groups, weights)
    torch.testing.assert_close(totals, torch.tensor([20.0, 20, 0, 20]).double())
    assert float(weights.max()) == 1


@pytest.mark.parametrize("validation", [SKEWED, [[40, 3], [0, 60]], [[0, 30], [0, 0]]])
def test_dfr_refits_the_last_layer_alone(validation: list[list[int]]) -> None:
    given, twin = problem(validation=validation, norm=True), problem(norm=True)
    result = two_stage.dfr(given, reg=0.01)
    train_erm(twin, twin.model, 1.0, 1.0)
    assert all(same(own, other) for own, other in zip(result[:-1], twin.model[:-1], strict=True))  # type: ignore[index]
    kept = same(result[-1], twin.model[-1])  # type: ignore[index]
    assert kept == (sum(validation[1]) == 0)
    assert [model is result for model in given.watch.seen] == [True]  # type: ignore[attr-defined]


def test_dfr_is_fairer_than_what_it_starts_from() -> None:
    counts, held_out = [[400, 4], [4, 400]], [[100, 20], [20, 100]]
    given = problem(counts, validation=held_out, steps=50, width=32)
    plain = erm(problem(counts, steps=50, width=32))
    result = two_stage.dfr(given, reg=0.001)
    x, y = points([[200, 200], [200, 200]], 9).images, points([[200, 200], [200, 200]], 9).labels
    a = points([[200, 200], [200, 200]], 9).attributes
    assert a is not None

    def conflicting(model: nn.Module) -> float:
        right = model.eval()(x).argmax(1) == y
        return float(right[y != a].float().mean())

    assert conflicting(result) > conflicting(plain) + 0.05


def test_dfr_refuses_a_penalty_of_nothing() -> None:
    with pytest.raises(InputError, match="reg"):
        two_stage.dfr(problem(), reg=0.0)


def test_crt_and_dfr_share_their_first_stage(
    elsewhere: Callable[[str], Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, _ = run("dfr", scenario("debias-known"), elsewhere("alone"))
    trained: list[float] = []

    def counted(problem: DebiasProblem, model: nn.Module, lr_scale: float, *arguments: Any) -> None:
        trained.append(lr_scale)
        train_erm(problem, model, lr_scale, *arguments)

    monkeypatch.setattr(two_stage, "train_erm", counted)
    context = elsewhere("shared")
    run("crt", scenario("debias-known"), context)
    after, ledger = run("dfr", scenario("debias-known"), context)
    assert trained == [1.0]
    assert same(alone, after)
    assert violations([ledger]) == []
    run("dfr", scenario("debias-known"), context, lr_scale=0.5)
    assert trained == [1.0, 0.5]


# lff


def difficulty(labels: list[int], decay: float = 0.7) -> RelativeDifficulty:
    return RelativeDifficulty(torch.tensor(labels), max(labels) + 1, decay)


def test_equal_losses_are_half_as_difficult() -> None:
    own, index = difficulty([0, 1, 0, 1]), torch.arange(4)
    for losses in (torch.tensor([0.1, 2.0, 0.3, 0.5]), torch.zeros(4)):
        own.update(index, torch.stack([losses, losses]))
        torch.testing.assert_close(own.weights(index), torch.full((4,), 0.5))


def test_relative_difficulty_is_between_0_and_1() -> None:
    rng = torch.Generator().manual_seed(0)
    own = RelativeDifficulty(torch.arange(100) % 3, 3, 0.7)
    for _ in range(20):
        index = torch.randint(100, (30,), generator=rng)
        own.update(index, torch.rand(2, 30, generator=rng) ** 8 * 10)
        weights = own.weights(index)
        assert weights.min() >= 0
        assert weights.max() <= 1
    assert weights.std() > 0.1


def test_each_loss_is_divided_by_the_largest_of_its_class() -> None:
    own, index = difficulty([0, 0, 1, 1]), torch.arange(4)
    own.update(index, torch.tensor([[4.0, 1.0, 0.2, 0.1], [0.5, 1.0, 3.0, 6.0]]))
    biased, debiased = torch.tensor([1.0, 0.25, 1.0, 0.5]), torch.tensor([0.5, 1.0, 0.5, 1.0])
    torch.testing.assert_close(own.weights(index), biased / (biased + debiased))


def test_losses_are_moving_averages_that_start_at_the_first() -> None:
    own = difficulty([0, 0], decay=0.8)
    own.update(torch.tensor([0, 1]), torch.tensor([[1.0, 10.0], [1.0, 10.0]]))
    own.update(torch.tensor([0, 0]), torch.tensor([[4.0, 6.0], [0.0, 1.0]]))  # twice in a batch: the mean, once
    biased, debiased = 0.8 * 1 + 0.2 * 5, 0.8 * 1 + 0.2 * 0.5
    assert float(own.weights(torch.tensor([0]))) == pytest.approx(biased / (biased + debiased))


def test_lff_s_two_networks_do_not_touch_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The biased one is as if it had been trained alone, and rare samples end up as the difficult ones."""
    counts, fresh = [[190, 10], [10, 190]], []
    given, twin = problem(counts, steps=60), problem(counts, steps=60)

    def remembered(role: str) -> nn.Module:
        fresh.append(given.initialised(role, given.build_model).train())
        return fresh[-1]

    monkeypatch.setattr(given, "fresh_model", remembered)
    lff(given)
    twin.model = twin.fresh_model("biased")
    close(fresh[0], bias_amplified(twin), rtol=1e-3, atol=1e-4)
    batch = given.train.everything()
    losses = torch.stack(
        [F.cross_entropy(model(batch.x), batch.y, reduction="none") for model in (fresh[0], given.model)]
    )
    own = RelativeDifficulty(batch.y, 2, 0.7)
    own.update(batch.index, losses.detach())
    weights, rare = own.weights(batch.index), batch.y != batch.a
    assert weights[rare].mean() > weights[~rare].mean() + 0.1


@pytest.mark.parametrize("arguments", [{"q": 0.0}, {"q": 2.0}, {"decay": 1.0}])
def test_lff_refuses_what_makes_no_sense(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match="lff"):
        lff(problem(), **arguments)
