"""RR-ClArC against golden numbers, closed forms of its penalty, and its limits."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.correction import finetune
from benchmark.concepts.correction import Corrector
from benchmark.concepts.vectors import Concept
from benchmark.contracts import Access, BiasProblem, Ledger
from benchmark.data.views import View
from benchmark.discovery.methods import METHODS, load
from benchmark.errors import InputError
from benchmark.metrics import concept_sensitivity
from benchmark.models.split import split_at
from benchmark.models.surgery import state_hash
from methods.rr_clarc import (
    annotated,
    penalty,
    right_for_the_right_reasons,
    rr_clarc,
    rr_clarc_class_specific,
)

MakeBiasProblem = Callable[..., BiasProblem]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rrclarc.json").read_text())
ANNOTATIONS = ("signs", "ones", "class", "target", "predicted", "log-probabilities")
KINDS = {
    "rr-clarc": "signal",
    "rr-clarc+svm": "svm",
    "rr-clarc+ridge": "ridge",
    "rr-clarc+lasso": "lasso",
    "rr-clarc+logistic": "logistic",
    "rr-clarc+class-specific": "signal",
}
SETTINGS: dict[str, Any] = {"lr": 0.02, "epochs": 20, "batch_size": 30}


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pooled_linear(W: Tensor) -> nn.Sequential:
    """ReLU, global average pooling, a linear layer with weights W (k, C) and some bias."""
    linear = nn.Linear(W.shape[1], W.shape[0], dtype=W.dtype)
    with torch.no_grad():
        linear.weight.copy_(W)
    return nn.Sequential(nn.ReLU(inplace=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


def weighed(m: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """m . f~ for a given m (B, k) or (k,)."""
    return lambda logits, y: (m * logits).sum(1)


def loss_of(
    head: nn.Module, a: Tensor, h: Tensor, m: Callable[[Tensor, Tensor], Tensor], norm: str = "l2", mean: bool = True
) -> Tensor:
    y = torch.zeros(len(a), dtype=torch.int64)
    return right_for_the_right_reasons(head, a.clone().requires_grad_(), y, h, m, norm, mean)[1]


def sign_vectors(k: int) -> Iterator[Tensor]:
    for signs in itertools.product((-1.0, 1.0), repeat=k):
        yield double(signs)


# Golden numbers.


def test_penalty_golden() -> None:
    case = GOLDEN["rrclarc-2"]
    given, expected = case["inputs"], case["expected"]
    a, W, h, m = (double(given[name]) for name in ("a", "W", "h", "m"))
    close: dict[str, float] = {"rtol": case["rtol"], "atol": 1e-12}
    head, y = pooled_linear(W), torch.zeros(len(a), dtype=torch.int64)

    leaf = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((m * head(leaf)).sum(), leaf)
    torch.testing.assert_close((a > 0).double().mean((2, 3)), double(expected["rho"]), **close)
    torch.testing.assert_close(gradient.mean((2, 3)), double(expected["gbar"]), **close)
    assert float(penalty(gradient, h, "l2", True)) == pytest.approx(expected["L_RR"], rel=case["rtol"])

    logits, found = right_for_the_right_reasons(head, leaf, y, h, weighed(m))
    torch.testing.assert_close(logits, head(a))
    assert float(found.detach()) == pytest.approx(expected["L_RR"], rel=case["rtol"])
    found.backward()
    torch.testing.assert_close(head[3].weight.grad, double(expected["grad_W"]), **close)
    assert head[3].bias.grad is None or not head[3].bias.grad.any()

    delta = loss_of(head, a, h, lambda logits, y: annotated(logits, y, "class", 0, seeded()))
    assert float(delta.detach()) == pytest.approx(expected["L_RR_delta_class0"], rel=case["rtol"])
    every = [float(loss_of(head, a, h, weighed(signs)).detach()) for signs in sign_vectors(3)]
    assert len(set(every)) > 1
    assert sum(every) / 8 == pytest.approx(expected["L_RR_expectation_pm1"], rel=case["rtol"])


# Closed forms of a linear head.


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Activations (B, C, H, W), some of them exactly 0, weights (k, C) and a direction (C,), of random sizes."""
    rng = seeded(seed)
    b, c, height, width, k = (int(torch.randint(1, high, (), generator=rng)) for high in (5, 7, 5, 5, 6))
    a = torch.randn(b, c, height, width, generator=rng, dtype=torch.float64)
    a = a.where(torch.rand(a.shape, generator=rng) > 0.2, 0.0)
    W = torch.randn(k, c, generator=rng, dtype=torch.float64)
    return a, W, F.normalize(torch.randn(c, generator=rng, dtype=torch.float64), dim=0)


@pytest.mark.parametrize("seed", range(12))
def test_closed_form_of_a_pooled_linear_head(seed: int) -> None:
    """gbar_c = rho_c / (HW) sum_k m_k W_kc, and random signs penalise every row alone."""
    a, W, h = drawn(seed)
    area = a.shape[2] * a.shape[3]
    along = (h * (a > 0).double().mean((2, 3))) @ W.T / area  # (B, k)
    head = pooled_linear(W)
    for m in (torch.randn(len(a), len(W), generator=seeded(seed), dtype=torch.float64), torch.ones_like(along)):
        found = loss_of(head, a, h, weighed(m)).detach()
        torch.testing.assert_close(found, (m * along).sum(1).square().mean())
        found = loss_of(head, a, h, weighed(m), "l1").detach()
        torch.testing.assert_close(found, (m * along).sum(1).abs().mean())
        found = loss_of(head, a, h, weighed(m), mean=False).detach()
        own = torch.einsum("bchw,c,kc,bk->bhw", (a > 0).double(), h, W, m) / area  # each position's
        torch.testing.assert_close(found, own.square().mean())
    every = torch.stack([loss_of(head, a, h, weighed(signs)).detach() for signs in sign_vectors(len(W))])
    torch.testing.assert_close(every.mean(), along.square().sum(1).mean())


def test_random_signs_average_to_the_closed_form() -> None:
    a = torch.randn(1, 4, 3, 3, generator=seeded(), dtype=torch.float64)
    W, h = torch.randn(5, 4, generator=seeded(1), dtype=torch.float64), F.normalize(double([1, -2, 0.5, 1]), dim=0)
    along = (h * (a > 0).double().mean((2, 3))) @ W.T / 9
    generator = seeded(2)
    found = loss_of(
        pooled_linear(W),
        a.expand(6_000, -1, -1, -1),
        h,
        lambda logits, y: annotated(logits, y, "signs", 0, generator),
    )
    assert float(found.detach()) == pytest.approx(float(along.square().sum()), rel=0.06)
    assert float(along.sum().square()) != pytest.approx(float(along.square().sum()), rel=0.2)  # what `ones` gives


def test_all_ones_let_classes_cancel_where_signs_do_not() -> None:
    a, _, h = drawn(0)
    W = torch.randn(4, len(h), generator=seeded(), dtype=torch.float64)
    W -= W.mean(0)
    generator = seeded()
    found = {
        name: float(loss_of(pooled_linear(W), a, h, lambda z, y, n=name: annotated(z, y, n, 0, generator)).detach())
        for name in ("ones", "signs")
    }
    assert found["ones"] < 1e-25 < 1e-6 < found["signs"]


@pytest.mark.parametrize(("annotation", "rows"), [("class", [2]), ("target", [1]), ("signs", [0, 1, 2, 3])])
def test_rows_that_the_penalty_leaves_alone(annotation: str, rows: list[int]) -> None:
    """Exactly: one class's logit says nothing of the other rows of a linear head, and none of its biases."""
    a = torch.rand(3, 5, 2, 2, generator=seeded(), dtype=torch.float64)
    head = pooled_linear(torch.randn(4, 5, generator=seeded(1), dtype=torch.float64))
    h, generator = F.normalize(torch.ones(5, dtype=torch.float64), dim=0), seeded()

    def m(logits: Tensor, y: Tensor) -> Tensor:
        return annotated(logits, y, annotation, 2, generator)

    _, found = right_for_the_right_reasons(head, a.requires_grad_(), torch.full((3,), 1), h, m)
    found.backward()
    gradient = head[3].weight.grad
    assert gradient[rows].abs().min() > 0
    others = [row for row in range(4) if row not in rows]
    assert torch.equal(gradient[others], torch.zeros(len(others), 5, dtype=torch.float64))


# Annotations and norms by hand.

LOGITS = torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, -3.0]])
LABELS = torch.tensor([1, 2])


def log_probability(row: list[float]) -> float:
    """Mean of log(p + 1e-5)."""
    total = sum(math.exp(z) for z in row)
    return sum(math.log(math.exp(z) / total + 1e-5) for z in row) / len(row)


@pytest.mark.parametrize(
    ("annotation", "biased", "expected"),
    [
        ("ones", 0, [7.0, -4.0]),
        ("class", 0, [1.0, 0.0]),
        ("class", 2, [4.0, -3.0]),
        ("target", 0, [2.0, -3.0]),
        ("predicted", 1, [4.0, 0.0]),
        ("log-probabilities", 0, [log_probability(row) for row in LOGITS.tolist()]),
    ],
)
def test_annotations_by_hand(annotation: str, biased: int, expected: list[float]) -> None:
    found = annotated(LOGITS, LABELS, annotation, biased, seeded())
    torch.testing.assert_close(found, torch.tensor(expected))


def test_log_probabilities_are_kept_from_minus_infinity() -> None:
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    found = annotated(logits, torch.tensor([0]), "log-probabilities", 0, seeded())
    assert float(found.detach()) == pytest.approx((math.log(1 + 1e-5) + math.log(1e-5)) / 2, abs=1e-4)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert bool(gradient.isfinite().all())


def test_signs_are_drawn_for_every_sample_class_and_step() -> None:
    generator = seeded()
    one, again = (annotated_signs(400, 5, generator) for _ in range(2))
    assert len(one.unique(dim=0)) == 32  # all that there are
    assert len(one.unique(dim=1).T) == 5
    assert not torch.equal(one, again)
    for signs in (one, again):
        torch.testing.assert_close(signs.mean(0), torch.zeros(5), rtol=0, atol=0.2)
        torch.testing.assert_close(signs.T @ signs / 400, torch.eye(5), rtol=0, atol=0.2)  # independent
    assert torch.equal(annotated_signs(64, 5, seeded(3)), annotated_signs(64, 5, seeded(3)))


def annotated_signs(n: int, k: int, generator: torch.Generator) -> Tensor:
    """m (n, k) of one call: the gradient of m . f~ by the logits."""
    logits = torch.zeros(n, k, requires_grad=True)
    (m,) = torch.autograd.grad(annotated(logits, torch.zeros(n).long(), "signs", 0, generator).sum(), logits)
    assert set(m.unique().tolist()) == {-1.0, 1.0}
    return m


#: (B, C, H, W) = (2, 2, 1, 2); means over positions are (2, 0) and (-2, 1).
GRADIENT = torch.tensor([[[[1.0, 3.0]], [[2.0, -2.0]]], [[[0.0, -4.0]], [[1.0, 1.0]]]])


@pytest.mark.parametrize(
    ("norm", "mean", "expected"),
    [
        ("l2", True, (1.2**2 + 0.4**2) / 2),
        ("l1", True, (1.2 + 0.4) / 2),
        ("cosine", True, (1.2 / 2 + 0.4 / math.sqrt(5)) / 2),
        ("l2", False, (2.2**2 + 0.2**2 + 0.8**2 + 1.6**2) / 4),
        ("l1", False, (2.2 + 0.2 + 0.8 + 1.6) / 4),
        ("cosine", False, (2.2 / math.sqrt(5) + 0.2 / math.sqrt(13) + 0.8 + 1.6 / math.sqrt(17)) / 4),
    ],
)
def test_norms_by_hand(norm: str, mean: bool, expected: float) -> None:
    assert float(penalty(GRADIENT, torch.tensor([0.6, 0.8]), norm, mean)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("norm", ["l2", "l1", "cosine"])
@pytest.mark.parametrize("mean", [True, False])
def test_where_no_gradient_passes_the_penalty_is_zero_and_finite(norm: str, mean: bool) -> None:
    head = pooled_linear(torch.randn(3, 2, generator=seeded(), dtype=torch.float64))
    found = loss_of(
        head, -torch.ones(2, 2, 2, 2).double(), double([0.6, 0.8]), weighed(double([1.0, 1, 1])), norm, mean
    )
    found.backward()
    assert float(found.detach()) == 0
    assert head[3].weight.grad.isfinite().all()


def test_unknown_names_have_near_misses(make_bias_problem: MakeBiasProblem) -> None:
    with pytest.raises(InputError, match="unknown annotation 'one'; did you mean ones"):
        annotated(LOGITS, LABELS, "one", 0, seeded())
    with pytest.raises(InputError, match=r"unknown annotation 'x'; known: .*, signs, target"):
        annotated(LOGITS, LABELS, "x", 0, seeded())
    with pytest.raises(InputError, match="unknown norm 'cosines'; did you mean cosine"):
        penalty(GRADIENT, torch.tensor([0.6, 0.8]), "cosines", True)
    for wrong in ({"annotation": "random"}, {"norm": "l3"}, {"concept": "signals"}):
        with pytest.raises(InputError, match=f"unknown .*'{next(iter(wrong.values()))}'"):
            rr_clarc(make_bias_problem(), **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KINDS)
def test_a_negative_weight_is_refused(name: str, make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    with pytest.raises(InputError, match=r"lam must be at least 0, not -0\.5"):
        load(METHODS.get(name))(problem, lam=-0.5)
    assert problem.train.counts() == {"passes": 0}


# The limits of lambda.


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("head", ["linear", "deep"])
@pytest.mark.parametrize("annotation", ["signs", "log-probabilities"])
def test_without_a_penalty_it_is_finetuning(
    annotation: str, head: str, optimiser: str, make_bias_problem: MakeBiasProblem
) -> None:
    """To the bit: the same batches, the same dropout."""
    chosen = {"lr": 0.02, "epochs": 3, "batch_size": 20}

    def hashed(method: Callable[..., nn.Module], **parameters: Any) -> str:
        problem = make_bias_problem(head, optimiser=optimiser)
        samples = problem.train._samples  # of class 2 a few, so that class weights matter
        kept = samples.subset((samples.labels + torch.arange(60) // 15 < 3).nonzero().squeeze(1))
        problem.train = View("train", kept, Access(train="xy"), Ledger())
        torch.manual_seed(3)
        return state_hash(method(problem, **chosen, **parameters))

    plain = hashed(finetune)
    assert hashed(rr_clarc, lam=0.0, annotation=annotation) == plain
    assert hashed(rr_clarc, lam=1.0, annotation=annotation) != plain
    assert state_hash(make_bias_problem(head).model) != plain


def sensitivities(model: nn.Module, problem: BiasProblem) -> list[float]:
    """Mean over the biased class's samples of |derivative of each logit along h|."""
    body, head = split_at(model.eval(), "4")
    concept = model.concept
    assert isinstance(concept, Concept)
    with torch.no_grad():
        a = body(problem.concept.everything().x)
    derivatives = [concept_sensitivity.directional(head, a, concept.h, k) for k in range(3)]
    return [concept_sensitivity.sensitivity(d).value or 0.0 for d in derivatives]


def test_a_large_weight_makes_every_class_insensitive(make_bias_problem: MakeBiasProblem) -> None:
    """W_k . (h * rho) goes towards 0 for all k, and sensitivity falls with every step of lambda."""
    steps, left = [], []
    for lam in (0.0, 10.0, 100.0, 1e3):
        problem = make_bias_problem()
        model = rr_clarc(problem, lam=lam, **{**SETTINGS, "epochs": 60})
        steps.append(sensitivities(model, problem))
        with torch.no_grad():
            rho = (model[:5](problem.train.everything().x) > 0).float().mean((2, 3))
            left.append(((model.concept.h * rho) @ model[8].weight.T).abs().mean(0))
    assert all(sum(later) < 0.75 * sum(earlier) for earlier, later in itertools.pairwise(steps)), steps
    for k in range(3):
        assert steps[-1][k] < 0.2 * steps[0][k]
        assert left[-1][k] < 0.2 * left[0][k]


def test_a_deep_head_becomes_insensitive_too(make_bias_problem: MakeBiasProblem) -> None:
    found = []
    for lam in (0.0, 100.0):
        torch.manual_seed(0)
        problem = make_bias_problem("deep")
        found.append(sensitivities(rr_clarc(problem, lam=lam, **SETTINGS), problem))
    assert all(corrected < 0.5 * plain for plain, corrected in zip(*found, strict=True))


def attacked_accuracy(model: nn.Module, problem: BiasProblem) -> float:
    """Of the other classes' images with the corner."""
    samples = problem.clean._samples
    others = samples.subset((samples.labels != 1).nonzero().squeeze(1))
    others.images[:, :, :3, :3] = 255
    with torch.no_grad():
        return float((model.eval()(others.inputs()).argmax(1) == others.labels).float().mean())


def test_the_artefact_costs_less_than_before(make_bias_problem: MakeBiasProblem) -> None:
    problem = make_bias_problem()
    before = attacked_accuracy(problem.model, problem)
    after = attacked_accuracy(rr_clarc(problem, lam=1e3, **SETTINGS), problem)
    assert before < 0.6
    assert after > before + 0.2


def test_class_specific_correction_leaves_other_classes_their_evidence(make_bias_problem: MakeBiasProblem) -> None:
    found = []
    for method, lam in ((rr_clarc, 0.0), (rr_clarc, 1e3), (rr_clarc_class_specific, 1e3)):
        problem = make_bias_problem()
        found.append(sensitivities(method(problem, lam=lam, **{**SETTINGS, "epochs": 60}), problem))
    plain, every, specific = found
    assert specific[1] < 0.1 * plain[1]
    assert every[0] + every[2] < 0.2 * (plain[0] + plain[2])
    assert specific[0] + specific[2] > 0.8 * (plain[0] + plain[2])


# What it reads and what it leaves.


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_neither_masks_nor_attributes_of_the_training_set_are_read(
    annotation: str, make_bias_problem: MakeBiasProblem
) -> None:
    """Both are there, and could be read: the view gives everything."""
    ledger = Ledger()
    problem = make_bias_problem("deep", Access(train="xyam", concept="xyam", clean="xyam"), ledger=ledger)
    rr_clarc(problem, annotation=annotation, lr=0.01, epochs=2, batch_size=30)
    assert problem.train.counts() == {"samples": 60, "labels": 60, "passes": 61}
    assert problem.concept.counts() == {"samples": 20, "attributes": 20, "passes": 20}
    assert problem.clean.counts() == {"passes": 0}


@pytest.mark.usefixtures("one_blas_thread")
@pytest.mark.parametrize("name", KINDS)
def test_every_variant_runs_on_what_it_declares(name: str, make_bias_problem: MakeBiasProblem) -> None:
    info = METHODS.get(name)
    assert info.module == "methods.rr_clarc"
    assert info.kind == "paper"
    assert info.tasks == ("bias-correction",)
    ledger = Ledger()
    problem = make_bias_problem("deep", info.access, ledger=ledger)
    before = state_hash(problem.model)
    model = load(info)(problem, lam=10.0, lr=0.01, epochs=2, batch_size=30)
    assert ledger.violations == []
    assert model is problem.model
    assert state_hash(model) != before
    assert not any(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.isfinite().all() for parameter in model.parameters())
    assert isinstance(model.concept, Concept)
    assert model.concept.kind == KINDS[name]
    torch.testing.assert_close(model.concept.h, Corrector(make_bias_problem("deep")).concept(KINDS[name]).h)


def test_all_variants_are_found() -> None:
    assert {info.name for info in METHODS.values() if info.module == "methods.rr_clarc"} == set(KINDS)


def result(call: Callable[[BiasProblem], nn.Module], make: MakeBiasProblem) -> str:
    torch.manual_seed(1)
    return state_hash(call(make("deep")))


def test_hyper_parameters_reach_the_loss(make_bias_problem: MakeBiasProblem) -> None:
    """Each of them changes the result, and class-specific correction is the annotation of that name."""
    plain: dict[str, Any] = {"lam": 10.0, "lr": 0.01, "epochs": 2, "batch_size": 30}
    changes: list[dict[str, Any]] = [
        {},
        *({"annotation": name} for name in ANNOTATIONS[1:]),
        {"norm": "l1"},
        {"norm": "cosine"},
        {"mean_positions": False},
        {"lam": 20.0},
        {"lr": 0.02},
        {"epochs": 3},
        {"batch_size": 20},
        {"concept": "ridge"},
        {"concept": "ridge", "intercept": False},
    ]
    found = [result(lambda p, c=change: rr_clarc(p, **{**plain, **c}), make_bias_problem) for change in changes]
    assert len(set(found)) == len(changes)
    specific = result(lambda p: rr_clarc_class_specific(p, **plain), make_bias_problem)
    assert specific == found[changes.index({"annotation": "class"})]
    assert found[0] == result(lambda p: rr_clarc(p, **plain), make_bias_problem)
