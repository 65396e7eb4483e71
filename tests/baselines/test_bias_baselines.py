"""What bias correction is compared with, each against what defines it; a tiny network that looks for a corner."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.clarc import a_clarc, p_clarc, p_clarc_finetuned
from baselines.correction import balanced, dfr, finetune, logit_mask, retrain
from baselines.references import LogitMask, original
from baselines.rrr import masked_share, rrr
from benchmark.concepts import correction
from benchmark.concepts.correction import Corrector
from benchmark.concepts.vectors import Concept, pooled
from benchmark.contracts import Access, BiasProblem, Ledger
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS, load
from benchmark.errors import AccessViolation, InputError
from benchmark.models.split import ShiftedLayer, rectify_again, shifted
from benchmark.models.surgery import captured_inputs, state_hash
from benchmark.training import train_classifier

MakeBiasProblem = Callable[..., BiasProblem]
TASK = "bias-correction"
SETTINGS: dict[str, Any] = {"lr": 0.02, "epochs": 3, "batch_size": 20}
TRAINED = ("finetune", "a-clarc", "p-clarc-finetuned", "rrr")
FOUND = {
    "finetune": (finetune, "baseline"),
    "retrain": (retrain, "reference"),
    "original": (original, "reference"),
    "dfr": (dfr, "baseline"),
    "a-clarc": (a_clarc, "baseline"),
    "p-clarc": (p_clarc, "baseline"),
    "p-clarc-finetuned": (p_clarc_finetuned, "baseline"),
    "rrr": (rrr, "baseline"),
    "logit-mask": (logit_mask, "cheat"),
}
NOTHING = {"passes": 0}


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def seeded(method: Callable[..., nn.Module], problem: BiasProblem, **parameters: Any) -> nn.Module:
    """The result with the same dropout each time."""
    torch.manual_seed(2)
    return method(problem, **parameters)


# What all of them keep to.


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("name", FOUND)
def test_contract(name: str, make_bias_problem: MakeBiasProblem) -> None:
    """Twice the same bits, from what is declared and nothing else; in evaluation mode, and nothing frozen."""
    info = METHODS.get(name, TASK)
    assert load(info) is FOUND[name][0]
    assert info.kind == FOUND[name][1]
    found = []
    for _ in range(2):
        ledger = Ledger()
        problem = make_bias_problem("deep", info.access, ledger=ledger)
        model = seeded(load(info), problem, **(SETTINGS if name in TRAINED else {}))
        assert ledger.violations == []
        for view in ("train", "concept", "clean"):
            assert (getattr(problem, view).counts() != NOTHING) == (view in info.access.views)
        random = (nn.Dropout, nn.BatchNorm2d)
        assert not any(module.training for module in model.modules() if isinstance(module, random))
        assert all(parameter.requires_grad for parameter in model.parameters())
        logits = model(problem_inputs())
        assert logits.shape == (60, 3)
        assert logits.isfinite().all()
        found.append(state_hash(model))
    assert found[0] == found[1]


def problem_inputs() -> Tensor:
    return torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(8))


@pytest.mark.parametrize("name", TRAINED)
def test_only_linear_layers_of_the_head_are_trained(name: str, make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem("deep")
    before = state(problem.model)
    model = seeded(load(METHODS.get(name, TASK)), problem, **SETTINGS)
    after = {key.replace("4.layer", "4"): tensor for key, tensor in model.state_dict().items()}
    assert changed(before, after) == {"10.weight", "10.bias", "13.weight", "13.bias"}


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("change", [{"lr": 0.03}, {"epochs": 4}, {"batch_size": 30}])
def test_hyper_parameters_of_training_matter(
    name: str, change: dict[str, Any], make_bias_problem: MakeBiasProblem
) -> None:
    method = load(METHODS.get(name, TASK))
    one, other = (
        state_hash(seeded(method, make_bias_problem("deep"), **chosen)) for chosen in (SETTINGS, {**SETTINGS, **change})
    )
    assert one != other


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("method", [a_clarc, p_clarc, p_clarc_finetuned])
def test_clarc_takes_any_kind_of_concept(method: Callable[..., nn.Module], make_bias_problem: MakeBiasProblem) -> None:
    for kind in ("signal", "ridge"):
        concept = method(make_bias_problem(), concept=kind).concept
        assert isinstance(concept, Concept)
        assert concept.kind == kind
        torch.testing.assert_close(concept.h, Corrector(make_bias_problem()).concept(kind).h)
    with pytest.raises(InputError, match="unknown kind of concept vector 'signals'"):
        method(make_bias_problem(), concept="signals")


# Fine-tuning, retraining, the cheat.


def test_finetuning_learns_what_there_is_to_learn(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    nn.init.zeros_(problem.model[8].weight)
    x, y = problem.train.everything().x, problem.train.everything().y
    before = float(F.cross_entropy(problem.model(x), y).detach())
    model = finetune(problem, lr=0.1, epochs=20, batch_size=20)
    assert model is problem.model
    assert float(F.cross_entropy(model(x), y).detach()) < before - 0.3


def unbalanced(problem: BiasProblem, keep: dict[int, int]) -> Samples:
    """So many training samples of each class."""
    samples = problem.train._samples
    index = torch.cat([(samples.labels == label).nonzero().squeeze(1)[:n] for label, n in keep.items()])
    return samples.subset(index)


@pytest.mark.parametrize("name", TRAINED)
def test_the_first_step_weighs_classes(name: str, make_bias_problem: MakeBiasProblem) -> None:
    """By hand, with 20, 10 and 4 samples of the three classes."""
    problem, twin = make_bias_problem(), make_bias_problem()
    samples = unbalanced(problem, {0: 20, 1: 10, 2: 4})
    problem.train = View("train", samples, Access(train="xym"), Ledger())
    without_penalty = {"lam": 0.0} if name == "rrr" else {}
    model = load(METHODS.get(name, TASK))(problem, lr=0.1, epochs=1, batch_size=34, **without_penalty)
    with torch.no_grad():
        a = twin.model[:5](samples.inputs())
        if name == "a-clarc":
            found = Corrector(make_bias_problem()).concept("signal")
            a = shifted(a, found.h, found.with_artefact)
    losses = F.cross_entropy(twin.model[5:](a), samples.labels, reduction="none")
    for weights, right in (([1.0, 2.0, 5.0], True), ([1.0, 1.0, 1.0], False)):
        w = torch.tensor(weights)[samples.labels]
        (step,) = torch.autograd.grad((w * losses).sum() / w.sum(), twin.model[8].weight, retain_graph=True)
        expected = twin.model[8].weight - 0.1 * step
        assert torch.allclose(model[8].weight, expected, rtol=1e-4, atol=1e-6) is right


def test_retraining_is_training_by_the_recipe_on_clean_data(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem("deep")
    base = state_hash(problem.model)
    torch.manual_seed(0)
    model = retrain(problem)
    assert problem.clean.counts() == {"samples": 60, "labels": 60, "passes": 40 * 60}
    assert problem.train.counts() == problem.concept.counts() == NOTHING
    assert state_hash(problem.model) == base != state_hash(model)
    twin = make_bias_problem("deep")
    expected = twin.fresh_model()
    torch.manual_seed(0)
    train_classifier(expected, twin.clean, twin.recipe, twin.generator("retrain"))
    assert state_hash(model) == state_hash(expected)


def test_the_cheat_hides_one_logit_and_changes_nothing(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    before, x = state_hash(problem.model), problem.train.everything().x
    plain = problem.model(x)
    assert (plain.argmax(1) == 1).sum() > 5
    masked = logit_mask(problem)
    assert isinstance(masked, LogitMask)
    assert masked.model is problem.model
    assert state_hash(problem.model) == before
    logits = masked(x)
    assert torch.equal(logits[:, [0, 2]], plain[:, [0, 2]])
    assert not (logits.argmax(1) == 1).any()
    assert logits.isfinite().all()
    assert float(logits[:, 1].max().detach()) <= -65_504


# DFR.


def objective(layer: nn.Linear, x: Tensor, labels: Tensor, weights: Tensor, reg: float) -> Tensor:
    """The gradient of DFR's objective by weights and biases, in standardised features; x (N, D) enters the layer."""
    x = x.double()
    mean, deviation = x.mean(0), x.std(0, correction=0)
    deviation[deviation == 0] = 1
    weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
    W, b = (weight * deviation).requires_grad_(), (bias + weight @ mean).requires_grad_()
    losses = F.cross_entropy((x - mean) / deviation @ W.T + b, labels, reduction="none")
    total = (weights * losses).sum() / weights.sum() + reg / 2 * W.square().sum()
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(total, [W, b])])


@pytest.mark.parametrize("reg", [0.1, 2.0])
@pytest.mark.parametrize("artefacts", [10, 3])
def test_dfr_is_at_the_minimum_for_the_biased_class_in_two_groups(
    reg: float, artefacts: int, make_bias_problem: MakeBiasProblem
) -> None:
    """Classes weigh the same, and both groups of the biased one: the gradient is zero there, and not elsewhere."""
    problem = make_bias_problem("deep")
    told = problem.concept._samples
    assert told.attributes is not None
    told.attributes[told.attributes.nonzero().squeeze(1)[artefacts:]] = 0
    labels = problem.train._samples.labels
    attributes = torch.zeros_like(labels)
    attributes[labels == 1] = told.attributes
    before = state(problem.model)
    model = dfr(problem, reg=reg)
    assert model is problem.model
    assert changed(before, state(model)) == {"13.weight", "13.bias"}
    assert problem.train.counts() == {"samples": 60, "labels": 60, "passes": 60}
    assert problem.concept.counts() == {"samples": 20, "attributes": 20, "passes": 20}
    with captured_inputs(model[13]) as seen, torch.no_grad():
        model(problem.train._samples.inputs())
    halves = torch.where(attributes == 1, 1 / artefacts, 1 / (20 - artefacts)) / 2
    weights = torch.where(labels == 1, halves, 1 / 20).double()  # a class has 20 samples
    assert objective(model[13], seen[0], labels, weights, reg).abs().max() < 2e-3
    assert objective(model[13], seen[0], labels, weights, 2 * reg).abs().max() > 2e-2
    groups = torch.where(labels == 1, 2 * halves, 1 / 20).double()  # four groups that weigh the same
    assert objective(model[13], seen[0], labels, groups, reg).abs().max() > 1e-2
    if artefacts != 10:
        assert objective(model[13], seen[0], labels, torch.ones(60).double(), reg).abs().max() > 5e-3


def test_classes_weigh_the_same_and_so_do_the_groups_of_a_class() -> None:
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 2, 1, 1])
    groups = torch.tensor([0, 0, 0, 0, 2, 2, 3, 1, 1])
    weights = balanced(labels, groups)
    assert weights.dtype == torch.float64
    torch.testing.assert_close(weights, torch.tensor([1 / 4] * 4 + [1 / 4] * 2 + [1 / 2] + [1 / 2] * 2).double() * 2)


def test_a_class_without_samples_has_no_weight_to_share() -> None:
    labels = torch.tensor([0, 0, 3, 3, 3])
    found = balanced(labels, torch.tensor([0, 0, 3, 4, 4]))
    torch.testing.assert_close(found, torch.tensor([1, 1, 1, 0.5, 0.5]).double())


def test_dfr_refuses_a_penalty_of_nothing(make_bias_problem: MakeBiasProblem) -> None:
    for reg in (0.0, -1.0):
        with pytest.raises(InputError, match="reg must be above 0"):
            dfr(make_bias_problem(), reg=reg)


# ClArC.


@contextmanager
def behind_the_layer(module: nn.Module) -> Iterator[list[Tensor]]:
    """Copies of what enters a module, which may go on to work in place."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    try:
        yield seen
    finally:
        handle.remove()


def test_a_clarc_trains_on_activations_with_the_artefact(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    with torch.no_grad():
        plain = problem.model[:5](problem.train.everything().x)
    with behind_the_layer(problem.model[5]) as seen:
        model = a_clarc(problem, lr=0.02, epochs=1, batch_size=20)
    concept = model.concept
    assert isinstance(concept, Concept)
    assert concept.with_artefact > concept.without + 0.1
    trained_on = torch.cat(seen)
    assert trained_on.shape == plain.shape
    expected = torch.full((60,), concept.with_artefact)
    torch.testing.assert_close(pooled(trained_on) @ concept.h, expected, rtol=1e-5, atol=1e-5)
    # Every sample once, moved along h and nowhere else.
    index = torch.randperm(60, generator=make_bias_problem().generator("batches"))
    along = torch.einsum("bchw,c->bhw", trained_on - plain[index], concept.h)
    torch.testing.assert_close(
        trained_on, plain[index] + along[:, None] * concept.h[:, None, None], rtol=1e-4, atol=1e-5
    )


def test_a_clarc_moves_nothing_afterwards(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    names = list(problem.model.state_dict())
    model = a_clarc(problem, **SETTINGS)
    assert model is problem.model
    assert list(model.state_dict()) == names
    assert not any(isinstance(module, ShiftedLayer) for module in model.modules())
    x = problem_inputs()
    with torch.no_grad():
        assert torch.equal(model(x), nn.Sequential(*model)(x))
    assert state_hash(finetune(make_bias_problem(), **SETTINGS)) != state_hash(model)


def test_a_clarc_is_finetuning_of_the_head_behind_a_shift(make_bias_problem: MakeBiasProblem) -> None:
    """To the bit: the loss is the class-weighted cross-entropy of what is shifted."""
    model = seeded(a_clarc, make_bias_problem("deep"), **SETTINGS)
    problem = make_bias_problem("deep")
    torch.manual_seed(2)
    corrector = Corrector(problem)
    found = corrector.concept("signal")
    loss = correction.cross_entropy(problem, corrector.head)
    corrector.train(lambda a, y: loss(shifted(a, found.h, found.with_artefact), y), **SETTINGS)
    assert state_hash(problem.model) == state_hash(model)


@pytest.mark.parametrize("head", ["linear", "deep"])
def test_p_clarc_projects_at_inference(head: str, make_bias_problem: MakeBiasProblem) -> None:
    ledger = Ledger()
    problem = make_bias_problem(head, METHODS.get("p-clarc", TASK).access, ledger=ledger)
    before, x = state(problem.model), problem_inputs()
    expected = Corrector(make_bias_problem(head)).concept("signal")
    base = copy.deepcopy(problem.model)
    model = p_clarc(problem)
    assert model is problem.model
    concept = model.concept
    assert isinstance(concept, Concept)
    assert concept.without == expected.without
    with behind_the_layer(model[5]) as seen, torch.no_grad():
        logits = model(x)
    torch.testing.assert_close(pooled(seen[0]) @ expected.h, torch.full((60,), expected.without), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        by_hand = base[5:](shifted(base[:5](x), expected.h, expected.without))
        torch.testing.assert_close(logits, by_hand, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(logits, base(x), atol=1e-3)
    after = {key.replace("4.layer", "4"): tensor for key, tensor in model.state_dict().items()}
    assert changed(before, after) == set()
    assert after.keys() - before.keys() == {"4.h"}
    assert "4.h" not in dict(model.named_parameters())
    assert problem.train.counts() == problem.clean.counts() == NOTHING
    assert problem.concept.counts() == {"samples": 20, "attributes": 20, "passes": 20}


def test_p_clarc_in_front_of_another_relu(make_bias_problem: MakeBiasProblem) -> None:
    """What comes out of one is projected, and what becomes negative is clipped before the pooling."""
    problem = make_bias_problem()
    problem.model[5] = nn.ReLU()
    problem.layer = rectify_again(problem.model, "5")
    model = p_clarc(problem)
    concept = model.concept
    assert isinstance(concept, Concept)
    with behind_the_layer(model[5].again) as moved, behind_the_layer(model[6]) as seen, torch.no_grad():
        model(problem_inputs())
    torch.testing.assert_close(pooled(moved[0]) @ concept.h, torch.full((60,), concept.without), rtol=1e-5, atol=1e-5)
    assert moved[0].min() < 0
    assert torch.equal(seen[0], moved[0].clamp(min=0))


@pytest.mark.parametrize("head", ["linear", "deep"])
def test_p_clarc_finetuned_is_finetuning_and_then_p_clarc(head: str, make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem(head)
    model = seeded(p_clarc_finetuned, problem, **SETTINGS)
    twin = make_bias_problem(head)
    seeded(finetune, twin, **SETTINGS)
    assert state_hash(model) != state_hash(p_clarc(make_bias_problem(head)))
    assert state_hash(model) == state_hash(p_clarc(twin))
    shift = model[4]
    assert isinstance(shift, ShiftedLayer)
    concept = Corrector(make_bias_problem(head)).concept("signal")  # of the base model: nothing below has changed
    assert torch.equal(shift.h, concept.h)
    assert shift.target == concept.without
    assert isinstance(model.concept, Concept)
    assert not problem.model.training


# RRR.


def test_masked_share_by_hand() -> None:
    """Over channels the gradient is summed, and only its size counts."""
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0] = True
    inside = torch.tensor([[[[2.0, 2.0], [0.0, 0.0]]]])
    assert float(masked_share(inside, mask)) == pytest.approx(1)
    assert float(masked_share(inside * torch.tensor([1.0, -1.0]), mask)) == pytest.approx(1)
    assert float(masked_share(inside.flip(2), mask)) == 0
    assert float(masked_share(inside, torch.zeros_like(mask))) == 0
    one = torch.tensor([[[[-3.0, 0.0], [0.0, 4.0]]]])
    assert float(masked_share(one, mask)) == pytest.approx(3 / (5 * math.sqrt(2)))
    channels = torch.cat([one, torch.tensor([[[[1.0, 1.0], [-1.0, -4.0]]]])], 1)  # sums to (-2, 1, -1, 0)
    assert float(masked_share(channels, mask)) == pytest.approx(3 / math.sqrt(6 * 2))
    batch = torch.cat([inside, inside.flip(2), one])
    expected = (1 + 0 + 3 / (5 * math.sqrt(2))) / 3
    assert float(masked_share(batch, mask.expand(3, 2, 2))) == pytest.approx(expected)


def test_masked_share_of_nothing_is_finite() -> None:
    """Neither an input without any gradient nor a sample without a mask spoils a batch."""
    gradient = torch.zeros(2, 1, 2, 2, requires_grad=True)
    masks = torch.tensor([[[True, False], [False, False]], [[False, False], [False, False]]])
    found = masked_share(gradient, masks)
    (second,) = torch.autograd.grad(found, gradient)
    assert float(found.detach()) == 0
    assert second.isfinite().all()


@pytest.mark.parametrize("head", ["linear", "deep"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_rrr_without_a_penalty_is_finetuning(head: str, optimiser: str, make_bias_problem: MakeBiasProblem) -> None:
    one = seeded(rrr, make_bias_problem(head, optimiser=optimiser), lam=0.0, **SETTINGS).state_dict()
    other = seeded(finetune, make_bias_problem(head, optimiser=optimiser), **SETTINGS).state_dict()
    with_penalty = seeded(rrr, make_bias_problem(head, optimiser=optimiser), lam=5.0, **SETTINGS).state_dict()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-5)
    last = list(one)[-2]
    assert not torch.allclose(with_penalty[last], other[last], rtol=1e-4, atol=1e-5)


def share_in_the_mask(model: nn.Module, problem: BiasProblem) -> float:
    """Of the images that have a corner."""
    batch = problem.train.batch(problem.train._samples.attributes.nonzero().squeeze(1))
    x = batch.x.requires_grad_()
    explained = (model.eval()(x).softmax(1) + 1e-5).log().mean(1).sum()
    return float(masked_share(torch.autograd.grad(explained, x)[0], batch.masks))


@pytest.mark.parametrize("head", ["linear", "deep"])
def test_rrr_turns_gradients_away_from_the_mask(head: str, make_bias_problem: MakeBiasProblem) -> None:
    found = []
    for lam in (0.0, 20.0):
        problem = make_bias_problem(head)
        model = seeded(rrr, problem, lam=lam, lr=0.02, epochs=20, batch_size=20)
        found.append(share_in_the_mask(model, problem))
    assert found[1] < found[0] - 0.03


def test_rrr_s_first_step_by_hand(make_bias_problem: MakeBiasProblem) -> None:
    """Cross-entropy + lam times the share of the input's gradient, of the log-probabilities' mean, in the mask."""
    problem, twin = make_bias_problem(), make_bias_problem()
    rrr(problem, lam=3.0, lr=0.1, epochs=1, batch_size=60)
    batch, model = twin.train.everything(), twin.model
    x = batch.x.requires_grad_()
    logits = model(x)
    (gradient,) = torch.autograd.grad((logits.softmax(1) + 1e-5).log().mean(1).sum(), x, create_graph=True)
    size, masks = gradient.sum(1).abs(), batch.masks.float()
    norms = (size.flatten(1).norm(dim=1) * masks.flatten(1).norm(dim=1)).clamp(min=1e-8)
    share = ((size * masks).sum((1, 2)) / norms).mean()
    loss = F.cross_entropy(logits, batch.y) + 3 * share  # classes are of equal size
    (step,) = torch.autograd.grad(loss, model[8].weight)
    torch.testing.assert_close(problem.model[8].weight, model[8].weight - 0.1 * step, rtol=1e-4, atol=1e-6)


def test_rrr_needs_masks(make_bias_problem: MakeBiasProblem) -> None:
    access = METHODS.get("rrr", TASK).access
    with pytest.raises(AccessViolation, match="the train view has no masks"):
        rrr(make_bias_problem("linear", access, masks=False))
    with pytest.raises(AccessViolation, match="masks of the train view were asked for but not declared"):
        rrr(make_bias_problem("linear", Access(train="xy")))
    problem = make_bias_problem("linear", access)
    rrr(problem, **SETTINGS)
    assert problem.train.counts() == {"samples": 60, "labels": 60, "masks": 60, "passes": 3 * 60}


def test_rrr_refuses_a_negative_weight(make_bias_problem: MakeBiasProblem) -> None:
    with pytest.raises(InputError, match="lam must be at least 0, not -1"):
        rrr(make_bias_problem(), lam=-1.0)


def test_rrr_s_gradients_are_clipped(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    before = torch.cat([p.detach().flatten().clone() for p in problem.model[8].parameters()])
    rrr(problem, lam=1e7, lr=1e-3, epochs=1, batch_size=60)
    after = torch.cat([p.detach().flatten() for p in problem.model[8].parameters()])
    assert float((after - before).norm()) == pytest.approx(0.1, rel=1e-3)
