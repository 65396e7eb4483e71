"""Baselines of label-free forgetting: the contract that all of them keep, few labels, SISA and Unroll-SGD."""

from __future__ import annotations

import copy
import inspect
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import benchmark
from baselines import boundary_shrink, distillation, scrub, sisa, unroll_sgd
from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS, load
from benchmark.errors import InputError
from benchmark.models.surgery import SplitClassifier, head, logits_and_features, representation, state_hash
from benchmark.seeding import generator, seed_globals
from benchmark.training import train_classifier

NAMES = sorted(
    info.name for info in METHODS.values() if "label-free-forget" in info.tasks and info.module.startswith("baselines.")
)
FEW = [name for name in NAMES if name.endswith("+few-labels")]
KINDS = ("data", "class", "noisy")
EVERYTHING = Access(retain="xy", forget="xy")
RECIPE = Recipe(epochs=6, lr=0.003, batch_size=32, optimiser="adam", weight_decay=1e-4, schedule="constant")
#: Rates at which a network without batch norm stays finite with wrong labels; the rest has its defaults.
RATES: dict[str, dict[str, Any]] = {"finetune": {"lr": 0.01}, "scrub": {"lr": 5e-4}}


def split_net() -> nn.Module:
    """No batch norm, no dropout; a representation of 32 and a head of two linear layers."""
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(128, 32)]
    return SplitClassifier(nn.Sequential(*layers), nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 10)))


def plain_net() -> nn.Module:
    """Batch norm and dropout, and no parts with names."""
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(128, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))


def forget_set(digits: Samples, kind: str) -> tuple[Samples, Tensor]:
    """Samples as they are labelled for the base model, and which of them (N,) bool must go."""
    y, g = digits.labels, generator(0, "test", kind)
    chance = torch.rand(len(y), generator=g)
    if kind == "class":
        return digits, y == 3
    if kind == "data":
        return digits, (y >= 5) & (chance < 0.4)
    gone = (y < 5) & (chance < 0.6)
    wrong = (y + torch.randint(1, 10, y.shape, generator=g)) % 10
    return replace(digits, labels=torch.where(gone, wrong, y)), gone


Make = Callable[..., tuple[ForgetProblem, Ledger]]


@pytest.fixture(scope="module")
def make(digits: Samples) -> Make:
    """Build a problem of one kind, with its ledger; labels of a tenth of the samples are known where few are."""
    bases: dict[tuple[str, Callable[[], nn.Module]], nn.Module] = {}
    known = torch.rand(len(digits), generator=generator(0, "test", "known")) < 0.1

    def base(kind: str, net: Callable[[], nn.Module], samples: Samples) -> nn.Module:
        key = ("noisy" if kind == "noisy" else "clean", net)
        if key not in bases:
            seed_globals(0)
            bases[key] = net()
            train_classifier(bases[key], View("retain", samples, EVERYTHING, Ledger()), RECIPE, generator(0, "base"))
        return copy.deepcopy(bases[key])

    def build(
        kind: str = "data", access: Access = EVERYTHING, net: Callable[[], nn.Module] = split_net
    ) -> tuple[ForgetProblem, Ledger]:
        ledger = Ledger()
        samples, gone = forget_set(digits, kind)
        views = {}
        for name, part in (("retain", ~gone), ("forget", gone)):
            few = access.few_labels and "y" in access.views.get(name, "")
            views[name] = View(name, samples.subset((part & known if few else part).nonzero()[:, 0]), access, ledger)
        return ForgetProblem(
            model=base(kind, net, samples), **views, selection=views["retain"], labelled=views["retain"],
            forget_classes=(3,) if kind == "class" else (), num_classes=10, recipe=RECIPE,
            device=torch.device("cpu"), seed=0, build_model=net,
        ), ledger  # fmt: skip

    return build


def run(name: str, problem: ForgetProblem, **parameters: float) -> nn.Module:
    seed_globals(0)
    return load(METHODS.get(name, "label-free-forget"))(problem, **parameters)


def check(name: str, kind: str, net: Callable[[], nn.Module], make: Make) -> None:
    results = []
    for _ in range(2):
        problem, ledger = make(kind, METHODS.get(name, "label-free-forget").access, net)
        before = state_hash(problem.model)
        result = run(name, problem, **RATES.get(name.removesuffix("+few-labels"), {}))
        assert ledger.violations == []
        assert not any(module.training for module in result.modules())
        logits, features = logits_and_features(result, make(kind)[0].retain.everything().x.__getitem__, 7)
        assert logits.shape == (7, 10)
        assert logits.isfinite().all()
        assert features.dim() == 2
        results.append(state_hash(result))
    assert results[0] == results[1]
    assert (results[0] == before) == (name == "original")


def test_all_baselines_are_found() -> None:
    full = {"finetune", "neggrad-plus", "boundary-shrink", "scrub", "retrain", "unroll-sgd"}
    assert set(NAMES) == full | {f"{name}+few-labels" for name in full} | {"original", "bad-teacher", "sisa"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, kind: str, make: Make) -> None:
    check(name, kind, split_net, make)


def test_only_bad_teacher_and_the_original_go_without_labels() -> None:
    assert {name for name in NAMES if METHODS.get(name, "label-free-forget").access.label_free} == {
        "bad-teacher",
        "original",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_bad_teacher_reads_no_label(kind: str, make: Make) -> None:
    problem, _ = make(kind, METHODS.get("bad-teacher").access)
    run("bad-teacher", problem)
    assert "labels" not in {**problem.retain.counts(), **problem.forget.counts()}


@pytest.mark.parametrize("name", FEW)
def test_few_labels_are_the_same_method_on_fewer_samples(name: str, make: Make) -> None:
    few, full = (
        METHODS.get(name, "label-free-forget"),
        METHODS.get(name.removesuffix("+few-labels"), "label-free-forget"),
    )
    assert (few.module, few.function, few.paper) == (full.module, full.function, full.paper)
    assert (few.tasks, few.kind) == (("label-free-forget",), "baseline")
    assert few.access == Access(few_labels=True, **full.access.views)
    problem, _ = make("data", few.access)
    run(name, problem)
    whole = make("data")[0]
    assert problem.retain.counts().get("labels", 0) < 0.15 * len(whole.retain)
    assert (len(problem.forget) == len(whole.forget)) == ("y" not in few.access.views.get("forget", ""))


@pytest.mark.parametrize("name", [n for n in NAMES if n.split("+")[0] not in ("original", "retrain", "sisa")])
def test_spaces_hold_the_defaults_and_allowed_values(name: str) -> None:
    text = (Path(inspect.getfile(benchmark)).parent / "suites/spaces.toml").read_text("utf-8")
    parameters = {p.name: p for p in METHODS.get(name, "label-free-forget").parameters}
    for field, space in tomllib.loads(text)[name].items():
        known = parameters[field]
        values = space.get("choices") or [space["low"], space["high"]]
        assert [known.check(value, name) for value in values] == values
        assert known.default in values or ("low" in space and values[0] <= known.default <= values[1])


# boundary-shrink, neggrad-plus, scrub


def vectors(net: nn.Module, x: Tensor, y: Tensor, gone: Tensor, build: Callable[[], nn.Module]) -> ForgetProblem:
    """A problem of plain vectors x (N, D) in which the samples ``gone`` (N,) bool are forgotten, and no class is."""
    views = [
        View(name, Samples(x[part], y[part]), EVERYTHING, Ledger())
        for name, part in (("retain", ~gone), ("forget", gone))
    ]
    retain, forget = views
    device = torch.device("cpu")
    return ForgetProblem(
        model=net.eval(),
        retain=retain,
        forget=forget,
        selection=retain,
        labelled=retain,
        forget_classes=(),
        num_classes=2,
        recipe=RECIPE,
        device=device,
        seed=0,
        build_model=build,
    )


def test_boundary_shrink_without_forgotten_classes_excludes_a_samples_own_class_alone() -> None:
    g = generator(0, "test")
    seed_globals(0)
    model, x, y = nn.Linear(4, 6), torch.randn((500, 4), generator=g), torch.randint(6, (500,), generator=g)
    none = torch.tensor((), dtype=torch.int64)
    got = boundary_shrink.nearest_wrong_class(model, x, y, none, bound=0.5)
    assert not (got == y).any()
    assert got.unique().tolist() == list(range(6))


def test_boundary_shrink_swaps_two_classes_of_which_samples_are_forgotten() -> None:
    model = nn.Linear(2, 2)
    model.weight.data.copy_(torch.eye(2))
    model.bias.data.zero_()
    x, y = torch.eye(2), torch.arange(2)
    problem = vectors(model, x.repeat(2, 1), y.repeat(2), torch.arange(4) < 2, lambda: nn.Linear(2, 2))
    result = run("boundary-shrink", problem, lr=0.5, epochs=20)
    assert result(x).argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["data", "noisy"])
def test_neggrad_plus_stops_where_it_is_told_to(kind: str, make: Make) -> None:
    problem, _ = make(kind)
    run("neggrad-plus", problem, stop_at=1.1)
    assert problem.forget.counts()["passes"] == len(problem.forget)  # one look, and no ascent
    results = [state_hash(run("neggrad-plus", make(kind)[0], **given)) for given in ({}, {"stop_at": 0.01})]
    assert results[0] == results[1]


def test_neggrad_plus_keeps_more_of_the_forget_set_when_it_stops_earlier(make: Make) -> None:
    left = []
    for stop_at in (0.0, 0.9):
        problem, _ = make("data")
        model = run("neggrad-plus", problem, lr=0.03, epochs=6, check_every=1, stop_at=stop_at)
        batch = problem.forget.everything()
        left.append(float((model(batch.x).argmax(1) == batch.y).float().mean()))
    assert left[0] < left[1] - 0.2


def test_scrub_forgets_in_a_network_that_is_its_teachers_equal_in_training_mode(make: Make) -> None:
    """Where nothing parts training from evaluation mode, KL has no gradient until a min phase has moved the student."""
    problem, _ = make("class")
    assert not scrub.random_in_training(problem.model)
    assert scrub.random_in_training(make("class", net=plain_net)[0].model)
    teacher = copy.deepcopy(problem.model)
    far = []
    for max_epochs in (0, 1):
        problem, _ = make("class")
        student = run("scrub", problem, max_epochs=max_epochs, lr=0.003, forget_batch_size=16)
        x = problem.forget.everything().x
        with torch.no_grad():
            far.append(float(distillation.kl_to_teacher(student(x), teacher(x))))
    assert problem.retain.counts()["passes"] > 2.5 * len(problem.retain)
    assert far[1] > 3 * far[0]


# sisa


@pytest.mark.parametrize("shards", [1, 3, 7])
def test_sisa_shards_are_a_random_partition(shards: int, make: Make) -> None:
    view = make("data")[0].retain
    parts = sisa.partition(view, shards, generator(0, "test"))
    together = torch.cat([part.index for part in parts])
    assert torch.equal(together.sort().values, torch.arange(len(view)))
    assert not torch.equal(together, torch.arange(len(view)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shards", [0, -1, 10_000])
def test_sisa_refuses_a_number_of_shards_that_cannot_be(shards: int, make: Make) -> None:
    with pytest.raises(InputError, match="shards"):
        run("sisa", make("data")[0], shards=shards)


@pytest.mark.parametrize("size", [7, 64, 1000])
def test_a_shard_is_shuffled_like_a_view_of_its_samples(size: int, make: Make, digits: Samples) -> None:
    index = torch.arange(0, 300, 2)
    whole = View("retain", digits, EVERYTHING, Ledger())
    alone = View("retain", digits.subset(index), EVERYTHING, Ledger())
    got = sisa.Shard(whole, index).batches(size, generator(0, "test"))
    expected = alone.batches(size, generator(0, "test"))
    assert [b.index.tolist() for b in got] == [index[b.index].tolist() for b in expected]


def test_sisa_members_never_see_each_others_samples(make: Make) -> None:
    """Every sample of the retain set is in one shard, and each member passes over it once an epoch."""
    problem, _ = make("data", METHODS.get("sisa").access)
    run("sisa", problem, shards=3)
    passes = problem.retain.counts()["passes"]
    assert passes <= RECIPE.epochs * len(problem.retain)
    assert passes > RECIPE.epochs * (len(problem.retain) - 3 * RECIPE.batch_size)
    assert problem.forget.counts() == {"passes": 0}


@pytest.mark.parametrize("net", [split_net, plain_net])
def test_an_ensembles_logits_are_the_log_of_the_mean_probability(net: Callable[[], nn.Module], make: Make) -> None:
    seed_globals(0)
    members = [net().eval() for _ in range(3)]
    ensemble = sisa.ShardEnsemble(members).eval()
    x = make("data")[0].retain.everything().x[:20]
    mean = torch.stack([torch.softmax(member(x), 1) for member in members]).mean(0)
    torch.testing.assert_close(ensemble(x).exp(), mean)
    torch.testing.assert_close(representation(ensemble, x), torch.cat([representation(m, x) for m in members], 1))
    torch.testing.assert_close(head(ensemble)(representation(ensemble, x)), ensemble(x))
    assert representation(ensemble, x).shape == (20, 96)


def test_an_ensembles_logits_stay_finite_where_members_are_sure() -> None:
    votes = sisa.MeanProbability([nn.Identity(), nn.Identity()])
    logits = votes(torch.tensor([[1e4, 0.0, 0.0, 1e4], [1e4, 0.0, 1e4, 0.0]]))
    torch.testing.assert_close(logits, torch.tensor([[0.5, 0.5], [1.0, 0.0]]).log().clamp(min=-1e4))


@pytest.mark.parametrize("net", [split_net, plain_net])
def test_an_ensemble_is_copied_trained_and_restored_as_a_whole(net: Callable[[], nn.Module], make: Make) -> None:
    seed_globals(0)
    ensemble = sisa.ShardEnsemble([net() for _ in range(2)]).eval()
    batch = make("data")[0].retain.everything()
    twin = copy.deepcopy(ensemble)
    twin.load_state_dict(ensemble.state_dict())
    assert torch.equal(twin(batch.x), ensemble(batch.x))
    assert sum(p.numel() for p in twin.parameters()) == 2 * sum(p.numel() for p in net().parameters())
    F.cross_entropy(twin(batch.x), batch.y).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in twin.parameters())
    assert all(p.grad is None for p in ensemble.parameters())
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    assert not torch.equal(twin(batch.x), ensemble(batch.x))
    ensemble.load_state_dict(twin.state_dict())
    assert torch.equal(twin(batch.x), ensemble(batch.x))


def test_sisa_with_one_shard_retrains_one_network(make: Make) -> None:
    problem, _ = make("data")
    ensemble = run("sisa", problem, shards=1)
    batch = problem.retain.everything()
    logits = ensemble(batch.x)
    assert (logits.argmax(1) == batch.y).float().mean() > 0.9
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(len(batch)))


# unroll-sgd


def test_penalised_loss_by_hand() -> None:
    """Logits (1, 3) of class 0 and (2, 2) of class 1: deviations sqrt(2) and 0, over two classes and two samples."""
    x, y = torch.tensor([[1.0, 3.0], [2.0, 2.0]]), torch.tensor([0, 1])
    batch = View("retain", Samples(x, y), EVERYTHING, Ledger()).everything()
    got = float(unroll_sgd.penalised(nn.Identity(), batch, gamma=2.0))
    cross_entropy = (2 + torch.tensor(-2.0).exp().log1p() + torch.tensor(2.0).log()) / 2
    assert got == pytest.approx(float(cross_entropy) + 2.0 * 2**0.5 / 2 / 2)


def test_the_forget_set_comes_first_in_every_epoch(make: Make) -> None:
    problem, _ = make("data")
    forget = list(problem.forget.everything().split(32))
    steps = list(unroll_sgd.forget_first(forget, problem.retain, 32, 2, generator(0, "test")))
    per_epoch = len(steps) // 2
    names = ["forget"] * len(forget) + ["retain"] * (per_epoch - len(forget))
    assert [batch.view.name for batch in steps] == names * 2
    assert len(problem.retain) - 16 <= sum(len(b) for b in steps[len(forget) : per_epoch]) <= len(problem.retain)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def smooth_problem(gone: float) -> tuple[nn.Module, ForgetProblem]:
    """A smooth network in double precision on 40 points, of which a share is forgotten.

    Four classes: with two the deviation of the logits has a kink wherever they are equal.
    """
    g = generator(0, "test")
    x = torch.randn((40, 5), generator=g, dtype=torch.float64)
    y = x[:, :4].argmax(1)
    seed_globals(0)
    model = network()
    return copy.deepcopy(model), vectors(model, x, y, torch.arange(40) < 40 * gone, network)


def flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def without_the_forget_set(model: nn.Module, problem: ForgetProblem, lr: float, epochs: int, gamma: float) -> Tensor:
    """The weights after the same whole-batch fine-tuning without the forget steps."""
    for _ in range(epochs):
        loss = unroll_sgd.penalised(model, problem.retain.everything(), gamma)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=lr)
    return flat(model)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
def test_unlearning_equals_fine_tuning_without_the_forget_set_to_first_order(epochs: int, gamma: float) -> None:
    """The forget set's steps are undone up to O(lr^2): a quarter of the error at half of the rate."""
    errors, moved = [], []
    for lr in (0.02, 0.01, 0.005):
        start, problem = smooth_problem(0.25)
        got = flat(run("unroll-sgd", problem, lr=lr, epochs=epochs, gamma=gamma, batch_size=100))
        expected = without_the_forget_set(copy.deepcopy(start), problem, lr, epochs, gamma)
        errors.append(float((got - expected).norm()))
        moved.append(float((expected - flat(start)).norm()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)
    assert errors[2] < 0.1 * moved[2]


def test_unlearning_one_step_gives_the_first_weights_back() -> None:
    """Nothing is retained, and the forget set is one batch: its step is undone exactly."""
    start, problem = smooth_problem(1.0)
    got = flat(run("unroll-sgd", problem, lr=0.1, gamma=1.0, batch_size=100))
    torch.testing.assert_close(got, flat(start), rtol=0, atol=1e-14)


def test_unroll_sgd_adds_the_gradients_of_every_forget_batch_back(make: Make) -> None:
    problem, _ = make("data")
    batches = list(problem.forget.everything().split(16))
    total = unroll_sgd.summed_gradients(problem.model, batches, 1.0)
    model = copy.deepcopy(problem.model)
    sum((unroll_sgd.penalised(model, batch, 1.0) for batch in batches), torch.zeros(())).backward()
    for got, parameter in zip(total, model.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad)


def test_unroll_sgd_leaves_running_statistics_as_they_are(make: Make) -> None:
    problem, _ = make("data", net=plain_net)
    before = copy.deepcopy(problem.model.state_dict())
    after = run("unroll-sgd", problem).state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert kept == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
