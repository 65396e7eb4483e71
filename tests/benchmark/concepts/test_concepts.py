"""Concept vectors: the paper's signal vector in closed form, and regressions by what they minimise."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.concepts import vectors as concepts
from benchmark.concepts.vectors import KINDS, concept_vector, pooled, signal
from benchmark.errors import InputError
from benchmark.metrics import alignment

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "rrclarc.json").read_text())
REGRESSIONS = tuple(kind for kind in KINDS if kind != "signal")

pytestmark = pytest.mark.usefixtures("one_blas_thread")


def double(values: list[list[float]] | list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(seed: int, n: int = 120, channels: int = 5, share: float = 0.5) -> tuple[Tensor, Tensor]:
    """Activations without any structure, and labels of which about ``share`` are 1, in no order."""
    rng = torch.Generator().manual_seed(seed)
    t = (torch.rand(n, generator=rng) < share).long()
    t[:2] = torch.tensor([0, 1])
    return torch.randn(n, channels, generator=rng, dtype=torch.float64), t


# Signal.


def test_signal_golden() -> None:
    case = GOLDEN["rrclarc-1"]
    x, t = double(case["inputs"]["X"]), torch.tensor(case["inputs"]["t"])
    close: dict[str, float] = {"rtol": case["rtol"], "atol": 1e-12}
    torch.testing.assert_close(signal(x, t), double(case["expected"]["mean_difference"]), **close)
    h = signal(x, t) / signal(x, t).norm()
    torch.testing.assert_close(h, double(case["expected"]["h"]), **close)
    torch.testing.assert_close(concept_vector("signal", x, t).h, double(case["expected"]["h"]).float())


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_signal_is_the_difference_of_means(share: float) -> None:
    for seed in range(25):
        a, t = drawn(seed, share=share)
        expected = a[t == 1].mean(0) - a[t == 0].mean(0)
        torch.testing.assert_close(signal(a, t), expected)
        found = concept_vector("signal", a, t)
        torch.testing.assert_close(found.h, (expected / expected.norm()).float())
        torch.testing.assert_close(signal(a + 7, t), expected)
        torch.testing.assert_close(concept_vector("signal", a, 1 - t).h, -found.h)


def test_features_are_the_largest_of_all_positions() -> None:
    a = torch.tensor([[[[1.0, 5.0], [2.0, 0.0]], [[-3.0, -1.0], [-2.0, -9.0]]]])
    assert torch.equal(pooled(a), torch.tensor([[5.0, -1.0]]))


# What every kind keeps to.


def separable(seed: int, offset: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Activations that the artefact moves along v, a third of them, with little noise."""
    rng = torch.Generator().manual_seed(seed)
    v = F.normalize(torch.randn(5, generator=rng), dim=0)
    t = torch.arange(90) % 3 // 2
    return 2 * t[:, None] * v + 0.2 * torch.randn(90, 5, generator=rng) + offset, t, v


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_point_from_without_to_with(kind: str) -> None:
    a, t, v = separable(0)
    found = concept_vector(kind, a, t)
    assert float(found.h @ v) > 0.9
    assert float(concept_vector(kind, a, 1 - t).h @ v) < -0.9
    assert found.kind == kind
    assert found.h.dtype == torch.float32
    assert found.h.shape == (5,)
    assert float(found.h.norm()) == pytest.approx(1, abs=1e-6)
    z = a @ found.h
    assert found.with_artefact == pytest.approx(float(z[t == 1].mean()), abs=1e-5)
    assert found.without == pytest.approx(float(z[t == 0].mean()), abs=1e-5)
    assert found.with_artefact > found.without + 1.5
    assert found.seconds > 0
    assert torch.equal(concept_vector(kind, a, t).h, found.h)


def test_gradients_and_labels_of_other_types_do_no_harm() -> None:
    a, t, _ = separable(1)
    found = concept_vector("signal", a.requires_grad_(), t.bool())
    assert not found.h.requires_grad
    torch.testing.assert_close(found.h, concept_vector("signal", a, t).h)
    assert found.with_artefact > found.without


@pytest.mark.parametrize("seed", range(2))
def test_correlated_distractors_mislead_regressions(seed: int) -> None:
    """a = t v + noise along d, which is not orthogonal to v: regressions turn away from d, the means do not."""
    rng = torch.Generator().manual_seed(seed)
    v, d = F.one_hot(torch.tensor(0), 6).float(), torch.tensor([0.6, 0.8, 0, 0, 0, 0])
    t = torch.arange(300) % 2
    noise = 0.5 * torch.randn(300, 6, generator=rng) + 2 * torch.randn(300, 1, generator=rng) * d
    fit = {kind: alignment.overall(concept_vector(kind, 2 * t[:, None] * v + noise, t).h, v[None]) for kind in KINDS}
    values = {kind: measured.value or 0.0 for kind, measured in fit.items()}
    assert values["signal"] > 97
    for kind in REGRESSIONS:
        assert values[kind] < values["signal"] - 10, kind


# Regressions.


def ridge(a: Tensor, t: Tensor, weights: Tensor, alpha: float, intercept: bool) -> Tensor:
    """The direction that minimises sum of w (2 t - 1 - a . h - h_0)^2 + alpha ||h||^2."""
    x = torch.cat([a, torch.ones(len(a), 1, dtype=a.dtype)], 1) if intercept else a
    penalty = alpha * torch.eye(x.shape[1], dtype=a.dtype)
    if intercept:
        penalty[-1, -1] = 0
    solution = torch.linalg.solve(x.T @ (weights[:, None] * x) + penalty, x.T @ (weights * (2 * t - 1).to(a)))
    return F.normalize(solution[: a.shape[1]], dim=0)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("alpha", [1e-3, 50.0])
def test_ridge_in_closed_form(intercept: bool, alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concepts, "STRENGTHS", (alpha,))
    a, t = drawn(3, share=0.15)
    a = a * torch.where(t == 1, 3.0, 1.0)[:, None] * torch.tensor([1.0, 2, 3, 4, 5]) + t[:, None] + 0.5
    n = t.bincount()
    weights = (n.min() / n)[t].double()
    expected = ridge(a, t, weights, alpha, intercept)
    found = concept_vector("ridge", a, t, intercept=intercept).h
    torch.testing.assert_close(found, expected.float(), rtol=1e-4, atol=1e-5)
    for other in (ridge(a, t, torch.ones_like(weights), alpha, intercept), ridge(a, t, weights, alpha, not intercept)):
        assert float(expected @ other) < 0.999  # the weights and the intercept matter here


@pytest.mark.parametrize(
    ("kind", "strength", "scale"),
    [("svm", 0.05, 1 / 3), ("logistic", 0.05, 1 / 3), ("ridge", 20.0, 3.0), ("lasso", 0.05, 1.0)],
)
def test_rare_labels_weigh_as_if_they_were_repeated(
    kind: str, strength: float, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter has the artefact: three copies of each, all weighing the same, with the strength that goes with it.

    The weights here are 1 and 1/3, those of the copies 1: the sum of the losses is three times as large.
    """
    a, t = drawn(5, n=160, share=0.0)
    t = (torch.arange(160) % 4 == 0).long()
    a = a * torch.where(t == 1, 3.0, 1.0)[:, None] * torch.tensor([1.0, 2, 1, 2, 1])
    a = a + t[:, None] * torch.tensor([1.0, 1, 0, 0, 2])
    copies = torch.cat([torch.arange(160), *[(t == 1).nonzero().squeeze(1)] * 2])
    monkeypatch.setattr(concepts, "STRENGTHS", (strength,))
    found = concept_vector(kind, a, t).h
    monkeypatch.setattr(concepts, "STRENGTHS", (strength * scale,))
    repeated = concept_vector(kind, a[copies], t[copies]).h
    torch.testing.assert_close(found, repeated, rtol=0, atol=0.01)


@pytest.mark.parametrize("kind", REGRESSIONS)
def test_the_intercept_takes_what_all_samples_have_in_common(kind: str) -> None:
    near, t, v = separable(2)
    far, _, _ = separable(2, offset=0.5)
    with_one = [concept_vector(kind, a, t).h for a in (near, far)]
    # That of liblinear's SVM is regularised, and is not quite free.
    assert float(with_one[0] @ with_one[1]) > (0.9 if kind == "svm" else 0.999)
    without = concept_vector(kind, far, t, intercept=False).h
    assert float(with_one[1] @ v) > float(without @ v) + 0.08


def test_strengths_are_chosen_by_cross_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """One informative channel beside many of noise, and few samples: the strong penalty is the better one."""
    rng = torch.Generator().manual_seed(0)
    t = torch.arange(40) % 2
    a = torch.randn(40, 30, generator=rng, dtype=torch.float64)
    a[:, 0] += 1.5 * t
    alone = {}
    for alpha in (1e-5, 100.0):
        monkeypatch.setattr(concepts, "STRENGTHS", (alpha,))
        alone[alpha] = concept_vector("ridge", a, t).h
    monkeypatch.setattr(concepts, "STRENGTHS", (1e-5, 100.0))
    assert torch.equal(concept_vector("ridge", a, t).h, alone[100.0])
    assert not torch.allclose(alone[1e-5], alone[100.0], atol=0.05)


def test_few_samples_with_the_artefact_are_enough() -> None:
    """Fewer than there are folds."""
    rng = torch.Generator().manual_seed(4)
    v = F.normalize(torch.randn(5, generator=rng), dim=0)
    t = torch.zeros(90, dtype=torch.int64)
    t[[3, 60]] = 1
    a = 4 * t[:, None] * v + 0.2 * torch.randn(90, 5, generator=rng)
    for kind in REGRESSIONS:
        assert float(concept_vector(kind, a, t).h @ v) > 0.5, kind


@pytest.mark.parametrize("kind", REGRESSIONS)
@pytest.mark.parametrize("label", [0, 1])
def test_one_sample_is_enough_for_means_alone(kind: str, label: int) -> None:
    """Regressions cannot be cross-validated, and say so."""
    a, _ = drawn(0)
    t = torch.full((len(a),), 1 - label)
    t[5] = label
    torch.testing.assert_close(signal(a, t), a[t == 1].mean(0) - a[t == 0].mean(0))
    concept_vector("signal", a, t)
    with pytest.raises(InputError, match=f"a {kind} concept vector needs 2 samples"):
        concept_vector(kind, a, t)


# What is no concept.


@pytest.mark.parametrize(("kind", "hint"), [("sign", "signal"), ("laso", "lasso"), ("logistics", "logistic")])
def test_unknown_kinds_have_near_misses(kind: str, hint: str) -> None:
    a, t = drawn(0)
    with pytest.raises(InputError, match=f"unknown kind of concept vector '{kind}'; did you mean {hint}"):
        concept_vector(kind, a, t)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [0, 1])
def test_both_labels_are_needed(kind: str, label: int) -> None:
    a, t = drawn(0)
    with pytest.raises(InputError, match=f"{label * len(t)} of {len(t)} have it"):
        concept_vector(kind, a, torch.full_like(t, label))


def test_vectors_without_a_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    a, t = drawn(0)
    with pytest.raises(InputError, match="signal concept vector is zero"):
        concept_vector("signal", torch.ones_like(a), t)
    with pytest.raises(InputError, match="signal concept vector is not finite"):
        concept_vector("signal", a.where(a < 1, math.nan), t)
    monkeypatch.setattr(concepts, "STRENGTHS", (1e4,))
    with pytest.raises(InputError, match="lasso concept vector is zero"):
        concept_vector("lasso", a, t)
