"""LAF with a part changed: Gaussians against closed forms, h without the forget set, and rates of 0."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import View
from benchmark.discovery.methods import METHODS
from benchmark.discovery.methods import load as load_method
from benchmark.errors import InputError
from benchmark.models.surgery import SplitClassifier, state_hash
from methods.ablations.laf import Gaussian
from methods.laf import Settings, autoencoder, representations, unlearn
from methods.laf_autoencoders import reconstruction_error

TASK = "label-free-forget"
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr_unlearn": 1e-3, "lr_align": 1e-3, "latent_dim": 3}
VAE_TOO: dict[str, Any] = {**QUICK, "vae_epochs": 2}
ABLATIONS = {"laf+gaussian": QUICK, "laf+retain-vae": VAE_TOO}


def settings(epochs: int = 2, latent_dim: int = 3) -> Settings:
    return Settings(epochs, 1e-3, 1e-3, 20.0, latent_dim, 2, 1e-3, 16, 32)


def problem(access: Access | None = None, seed: int = 0) -> tuple[ForgetProblem, Ledger]:
    """Class 3 of 150 digits must go from an untrained network with 12 features."""
    samples, ledger = load("digits").train.subset(torch.arange(150)), Ledger()
    torch.manual_seed(0)
    extractor = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 12))
    model = SplitClassifier(extractor, nn.Linear(12, 10)).eval()
    gone = samples.labels == 3
    parts = {"retain": ~gone, "forget": gone, "labelled": ~gone, "selection": gone & ~gone}
    access = access or Access(retain="xy", forget="xy")
    views = {n: View(n, samples.subset(m.nonzero()[:, 0]), access, ledger) for n, m in parts.items()}
    made = ForgetProblem(
        model=model,
        **views,
        forget_classes=(),
        num_classes=10,
        recipe=Recipe(1, 0.1, 32),
        device=torch.device("cpu"),
        seed=seed,
        build_model=lambda: copy.deepcopy(model),
    )
    return made, ledger


def run(name: str, seed: int = 0, **parameters: Any) -> nn.Module:
    info = METHODS.get(name, TASK)
    given, ledger = problem(info.access, seed)
    found = load_method(info)(given, **{**ABLATIONS.get(name, VAE_TOO), **parameters})
    assert ledger.violations == []
    return found


def drawn(n: int, D: int, d: int, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """n samples of N(mean, W W^T + noise^2 I), W (D, d) with orthogonal columns of length 2; mean and W too."""
    rng = torch.Generator().manual_seed(1)
    W = 2 * torch.linalg.qr(torch.randn(D, d, generator=rng, dtype=torch.float64))[0]
    mean = torch.randn(D, generator=rng, dtype=torch.float64)
    z, eps = (torch.randn(n, size, generator=rng, dtype=torch.float64) for size in (d, D))
    return mean + z @ W.T + noise * eps, mean, W


# The Gaussian


def test_the_reconstruction_is_the_mean_of_what_is_made_of_the_posterior_mean() -> None:
    """Tipping and Bishop: rec = mean + W M^-1 W^T (e - mean), M = W^T W + s^2 I, W = U (L - s^2 I)^(1/2)."""
    e, _, _ = drawn(60, 7, 2, 0.5)
    h = Gaussian(e, 2)
    centred = e - e.mean(0)
    lam, U = torch.linalg.eigh(centred.T @ centred / len(e))
    s2 = lam[:-2].mean()
    W = U[:, -2:] @ (lam[-2:] - s2).sqrt().diag()
    M = W.T @ W + s2 * torch.eye(2, dtype=torch.float64)
    expected = e.mean(0) + centred @ W @ torch.linalg.inv(M) @ W.T
    torch.testing.assert_close(h(e)[0], expected)


def test_many_samples_give_the_gaussian_that_they_were_drawn_from() -> None:
    e, mean, W = drawn(50_000, 6, 2, 0.5)
    h = Gaussian(e, 2)
    torch.testing.assert_close(h.mean, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(h.directions @ h.directions.T, W @ W.T / 4, atol=0.02, rtol=0)
    torch.testing.assert_close(h.kept, torch.full((2,), 4 / 4.25, dtype=torch.float64), atol=0.01, rtol=0)


def test_without_noise_only_what_is_off_the_plane_is_an_error() -> None:
    e, _, W = drawn(30, 5, 2, 0.0)
    h = Gaussian(e, 2)
    assert float(reconstruction_error(e, h(e)[0]).max()) < 1e-20
    normal = torch.linalg.svd(W).U[:, 4]
    off = e + 3 * normal
    torch.testing.assert_close(reconstruction_error(off, h(off)[0]), torch.full((30,), 9.0, dtype=torch.float64))


def test_identical_samples_are_their_own_reconstruction() -> None:
    """No variance in any direction: nothing is divided by it."""
    e = torch.ones(4, 3)
    h = Gaussian(e, 2)
    assert torch.equal(h(e)[0], e)
    assert torch.equal(h(e + 2)[0], e)


def test_no_noise_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    e, _, _ = drawn(20, 5, 2, 0.5)
    Gaussian(e, 2)(e, generator)
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("d", [0, -1, 12, 13])
def test_too_many_directions_are_bad_input(d: int) -> None:
    with pytest.raises(InputError, match=r"laf\+gaussian: latent_dim must be"):
        Gaussian(torch.randn(20, 12), d)
    with pytest.raises(InputError, match=r"laf\+gaussian: latent_dim"):
        run("laf+gaussian", latent_dim=d)


# What the methods do


def test_gaussians_of_all_data_and_of_the_forget_set_take_the_auto_encoders_places() -> None:
    given, _ = problem()
    e_r, e_f = (representations(given.model, view) for view in (given.retain, given.forget))
    h, h_f = Gaussian(torch.cat([e_r, e_f]), 3), Gaussian(e_f, 3)
    curves = unlearn(given, h, h_f, e_r, e_f, settings())
    found = run("laf+gaussian")
    assert state_hash(found) == state_hash(given.model)
    assert found.curves == curves
    assert list(curves) == ["unlearn", "align"]


def test_h_is_fitted_on_the_retain_set_alone() -> None:
    given, _ = problem()
    e_r, e_f = (representations(given.model, view) for view in (given.retain, given.forget))
    h, h_f = (autoencoder(given, name, e, settings())[0] for name, e in (("h", e_r), ("h_f", e_f)))
    unlearn(given, h, h_f, e_r, e_f, settings())
    assert state_hash(run("laf+retain-vae")) == state_hash(given.model)
    assert state_hash(run("laf+retain-vae")) != state_hash(run("laf"))


def test_nothing_else_is_changed() -> None:
    """With no epoch of unlearning every variant gives the original; hyper-parameters have LAF's defaults."""
    base = state_hash(problem()[0].model)
    whole = METHODS.get("laf", TASK).defaults()
    for name in ABLATIONS:
        info = METHODS.get(name, TASK)
        assert state_hash(run(name, epochs=0)) == base
        assert state_hash(run(name)) == state_hash(run(name)) != state_hash(run(name, seed=1))
        assert info.defaults().items() <= whole.items()
        assert info.kind == "ablation"
        assert info.access.label_free


@pytest.mark.parametrize("name", list(ABLATIONS))
@pytest.mark.parametrize("wrong", [{"epochs": -1}, {"batch_size": 0}, {"temperature": 0.0}])
def test_hyper_parameters_that_mean_nothing_are_bad_input(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="batch sizes must be at least 1, epochs at least 0, temperature above 0"):
        run(name, **wrong)


# One loss alone


def moved(model: nn.Module, base: nn.Module) -> bool:
    return state_hash(model) != state_hash(base)


def test_a_rate_of_zero_leaves_a_loss_out() -> None:
    """Adam with rate 0 moves nothing, and the other loss's steps are those that it would take alone."""
    base = problem()[0].model
    assert not moved(run("laf", lr_unlearn=0.0, lr_align=0.0), base)
    for rates in ({"lr_align": 0.0}, {"lr_unlearn": 0.0}):
        assert moved(run("laf", **rates), base)
    still, there = run("laf", lr_unlearn=0.0, epochs=1), run("laf", lr_unlearn=0.0, epochs=1, vae_epochs=0)
    assert state_hash(still) == state_hash(there)  # of L_RA alone the auto-encoders are no part


def test_with_all_labels_the_semi_supervised_repair_is_the_supervised_one() -> None:
    """``labelled`` is all of the retain set here."""
    assert state_hash(run("laf-r+few-labels")) == state_hash(run("laf-r")) != state_hash(run("laf"))
