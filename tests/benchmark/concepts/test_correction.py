"""What methods of bias correction share: what trains, what stays, what is read, and that kept activations are exact."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.concepts import correction
from benchmark.concepts.correction import Corrector, class_weights, clipping, cross_entropy, optimiser_of, trainable
from benchmark.concepts.vectors import concept_vector, pooled
from benchmark.contracts import Access, BiasProblem, Ledger
from benchmark.data.views import Samples, View
from benchmark.errors import DivergenceError, InputError
from benchmark.models.split import split_at
from benchmark.models.surgery import captured_inputs

MakeBiasProblem = Callable[..., BiasProblem]
READS = Access(train="xy", concept="xa")


def state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and running statistics as they are now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def trained(problem: BiasProblem, lr: float = 0.02, epochs: int = 3, batch_size: int = 30) -> dict[str, Tensor]:
    torch.manual_seed(5)  # dropout
    corrector = Corrector(problem)
    corrector.train(cross_entropy(problem, corrector.head), lr=lr, epochs=epochs, batch_size=batch_size)
    return state(problem.model)


# Activations.


def test_activations_are_those_of_the_layer_in_evaluation_mode(
    make_bias_problem: MakeBiasProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = make_bias_problem("deep")
    with captured_inputs(problem.model[5]) as seen, torch.no_grad():
        problem.model(problem.train.everything().x)
    monkeypatch.setattr(correction, "BATCH", 7)
    found = Corrector(problem).activations(problem.train)
    assert found.shape == (60, 8, 4, 4)
    assert not found.requires_grad
    torch.testing.assert_close(found, seen[0], rtol=1e-5, atol=1e-6)


class FunctionalDropout(nn.Module):
    """Dropout that the module asks for itself, by the mode that it is in: as torchvision's EfficientNet has it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(F.max_pool2d(x, 2), 0.5, self.training)


def test_nothing_below_the_layer_is_random(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem("deep")
    problem.model[3] = FunctionalDropout()
    with torch.no_grad():
        expected = problem.model.eval()[:5](problem.train.everything().x)
    corrector = Corrector(problem)
    found = corrector.activations(problem.train)
    assert torch.equal(found, corrector.activations(problem.train))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["linear", "deep"])
@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_kept_and_recomputed_activations_train_the_same_head(
    head: str, optimiser: str, make_bias_problem: MakeBiasProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, computed = (make_bias_problem(head, optimiser=optimiser) for _ in range(2))
    found = trained(kept)
    monkeypatch.setattr(correction, "MOST_KEPT", 0)
    other = trained(computed)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-4, atol=1e-6)
    assert kept.train.counts() == {"samples": 60, "labels": 60, "passes": 60 + 1}
    assert computed.train.counts() == {"samples": 60, "labels": 60, "passes": 3 * 60 + 1}


def test_activations_are_kept_up_to_a_number_of_bytes(
    make_bias_problem: MakeBiasProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bytes_, passes in ((60 * 8 * 16 * 4, 61), (60 * 8 * 16 * 4 - 1, 181)):
        monkeypatch.setattr(correction, "MOST_KEPT", bytes_)
        problem = make_bias_problem()
        trained(problem)
        assert problem.train.counts()["passes"] == passes


# What trains.


@pytest.mark.parametrize("most", [0, 1 << 30])
def test_only_linear_layers_of_the_head_change(
    most: int, make_bias_problem: MakeBiasProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolutions and batch norm on both sides of the layer stay to the bit, running statistics included."""
    monkeypatch.setattr(correction, "MOST_KEPT", most)
    problem = make_bias_problem("deep")
    before = state(problem.model)
    after = trained(problem)
    linear = {
        f"{n}.{p}" for n, m in problem.model.named_modules() if isinstance(m, nn.Linear) for p in ("weight", "bias")
    }
    assert {name for name in before if not torch.equal(before[name], after[name])} == linear
    assert {name.split(".")[0] for name in linear} == {"10", "13"}
    assert {"1.running_mean", "5.running_mean", "5.num_batches_tracked", "7.weight"} < before.keys()


@pytest.mark.parametrize("head", ["linear", "deep"])
def test_the_model_is_left_trainable_and_in_evaluation_mode(head: str, make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem(head)
    for parameter in problem.model.parameters():
        parameter.requires_grad_(False)
    trained(problem)
    assert all(parameter.requires_grad for parameter in problem.model.parameters())
    assert not any(module.training for module in problem.model.modules())


def test_while_it_trains_dropout_is_on_and_batch_norm_off(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem("deep")
    corrector = Corrector(problem)
    modes: list[dict[str, bool]] = []

    def loss(a: Tensor, y: Tensor) -> Tensor:
        modes.append({name: module.training for name, module in problem.model.named_modules()})
        needed = {name for name, parameter in problem.model.named_parameters() if parameter.requires_grad}
        assert needed == {"10.weight", "10.bias", "13.weight", "13.bias"}
        assert not a.requires_grad
        return F.cross_entropy(corrector.head(a), y)

    corrector.train(loss, lr=0.01, epochs=1, batch_size=30)
    assert len(modes) == 2
    assert all(mode["12"] and not mode["1"] and not mode["5"] for mode in modes)


def test_linear_layers_below_are_not_trained() -> None:
    """Of a network that has one on both sides."""
    model = nn.Sequential(
        nn.Linear(4, 4), nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3)
    )
    found = trainable(model, split_at(model, "2").head)
    assert {id(p) for p in found} == {id(p) for p in model[4].parameters()}
    assert not any(p.requires_grad for p in [*model[0].parameters(), *model[2].parameters()])


def test_an_unknown_layer_is_refused(make_bias_problem: MakeBiasProblem) -> None:
    with pytest.raises(InputError, match="unknown layer '44'"):
        Corrector(make_bias_problem(layer="44"))


# Loss, optimiser, clipping.


def labelled(labels: list[int], num_classes: int, make: MakeBiasProblem) -> BiasProblem:
    samples = Samples(torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8), torch.tensor(labels), (0.0,), (1.0,))
    return make(train=View("train", samples, READS, Ledger()), num_classes=num_classes)


@pytest.mark.parametrize(
    ("labels", "weights"),
    [
        ([0, 1, 2], [1.0, 1.0, 1.0]),
        ([0, 0, 0, 0, 0, 0, 1, 2, 2, 2], [1.0, 6.0, 2.0]),
        ([1, 3, 3, 1, 3, 3], [0.0, 2.0, 0.0, 1.0, 0.0]),
    ],
)
def test_class_weights(labels: list[int], weights: list[float], make_bias_problem: MakeBiasProblem) -> None:
    """The largest class's size over a class's; 0 for a class that is empty."""
    found = class_weights(labelled(labels, len(weights), make_bias_problem))
    assert found.dtype == torch.float32
    assert found.tolist() == weights


def test_cross_entropy_weighs_classes(make_bias_problem: MakeBiasProblem) -> None:
    problem = labelled([0] * 6 + [1] + [2] * 3, 3, make_bias_problem)
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 1, 2])
    own = -logits.log_softmax(1)[torch.arange(4), y]
    weights = torch.tensor([1.0, 6, 6, 2])
    torch.testing.assert_close(cross_entropy(problem, nn.Identity())(logits, y), (weights * own).sum() / weights.sum())


def test_the_optimiser_is_of_the_kind_that_trained_the_base_model(make_bias_problem: MakeBiasProblem) -> None:
    parameters = [nn.Parameter(torch.zeros(2))]
    plain = optimiser_of(make_bias_problem(optimiser="sgd"), parameters, 0.3)
    assert type(plain) is torch.optim.SGD
    expected = {"lr": 0.3, "momentum": 0.9, "weight_decay": 0, "nesterov": False, "dampening": 0}
    assert plain.defaults.items() >= expected.items()
    adam = optimiser_of(make_bias_problem(optimiser="adam"), parameters, 0.3)
    assert type(adam) is torch.optim.Adam
    assert adam.defaults.items() >= {"lr": 0.3, "eps": 1e-7, "weight_decay": 0, "betas": (0.9, 0.999)}.items()


def test_gradients_are_clipped_together() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    for scale, expected in ((1_000.0, 100.0), (5.0, 15.0)):
        parameters[0].grad, parameters[1].grad = torch.tensor([1.0, 2]) * scale, torch.tensor([2.0]) * scale
        clipping(parameters)()
        joint = torch.cat([parameter.grad for parameter in parameters])
        assert float(joint.norm()) == pytest.approx(expected, rel=1e-4)
        torch.testing.assert_close(joint, expected * torch.tensor([1.0, 2, 2]) / 3, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("scale", "norm"), [(1e6, 100.0), (1e-3, None)])
def test_a_step_is_no_longer_than_the_clipped_gradient(
    scale: float, norm: float | None, make_bias_problem: MakeBiasProblem
) -> None:
    problem = make_bias_problem()
    before, corrector = copy.deepcopy(problem.model[8]), Corrector(problem)

    def loss(a: Tensor, y: Tensor) -> Tensor:
        return scale * corrector.head(a).square().sum()

    corrector.train(loss, lr=1e-3, epochs=1, batch_size=60)
    moved = [p - q for p, q in zip(problem.model[8].parameters(), before.parameters(), strict=True)]
    length = float(torch.cat([m.detach().flatten() for m in moved]).norm())
    assert length == pytest.approx(0.1, rel=1e-3) if norm else 0 < length < 0.01


def test_epochs_batches_and_rate_are_those_asked_for(make_bias_problem: MakeBiasProblem) -> None:
    """Against a training loop of three lines."""
    problem, twin = make_bias_problem(), make_bias_problem()
    after = trained(problem, lr=0.05, epochs=4, batch_size=20)
    body, head = split_at(twin.model, "4")
    with torch.no_grad():
        a = body(twin.train.everything().x)
    y, generator = twin.train.everything().y, twin.generator("batches")
    optimiser = torch.optim.SGD(twin.model[8].parameters(), lr=0.05, momentum=0.9)
    for _ in range(4):
        for index in torch.randperm(60, generator=generator).split(20):
            optimiser.zero_grad()
            F.cross_entropy(head(a[index]), y[index]).backward()
            optimiser.step()
    torch.testing.assert_close(after["8.weight"], twin.model[8].weight.detach(), rtol=1e-4, atol=1e-6)


def test_training_that_leaves_the_finite_numbers_says_so(make_bias_problem: MakeBiasProblem) -> None:
    corrector = Corrector(make_bias_problem())
    with pytest.raises(DivergenceError):
        corrector.train(lambda a, y: corrector.head(a).sum() * torch.inf, lr=0.1, epochs=1, batch_size=30)


# Concepts.


@pytest.mark.parametrize("kind", ["signal", "ridge"])
def test_the_concept_is_that_of_the_biased_class_s_activations(kind: str, make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem("deep", READS)
    told = problem.concept.everything()
    with torch.no_grad():
        a = pooled(problem.model[:5](told.x))
    found = Corrector(problem).concept(kind, intercept=False)
    expected = concept_vector(kind, a, told.a, intercept=False)
    torch.testing.assert_close(found.h, expected.h, rtol=1e-4, atol=1e-6)
    assert found.with_artefact == pytest.approx(expected.with_artefact, abs=1e-4)
    assert found.without == pytest.approx(expected.without, abs=1e-4)
    assert problem.model.concept is found
    assert not torch.allclose(found.h, concept_vector("ridge", a, told.a).h, atol=1e-3)  # the intercept is passed on


def test_what_is_read_is_counted(make_bias_problem: MakeBiasProblem) -> None:
    ledger = Ledger()
    problem = make_bias_problem("deep", READS, ledger=ledger)
    torch.manual_seed(0)
    corrector = Corrector(problem)
    corrector.concept("signal")
    assert problem.concept.counts() == {"samples": 20, "attributes": 20, "passes": 20}
    assert problem.train.counts() == {"passes": 0}
    corrector.train(cross_entropy(problem, corrector.head), lr=0.01, epochs=2, batch_size=60)
    assert problem.train.counts() == {"samples": 60, "labels": 60, "passes": 61}
    assert problem.concept.counts() == {"samples": 20, "attributes": 20, "passes": 20}
    assert problem.clean.counts() == {"passes": 0}
    assert ledger.violations == []
