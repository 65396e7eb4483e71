"""LAF's auto-encoders: their loss against golden numbers, layers, noise, and how they are fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import View
from benchmark.errors import DivergenceError
from benchmark.seeding import generator
from methods.laf_autoencoders import KL_WEIGHT, VAE, fit_vae, kl_divergence, reconstruction_error, vae_loss

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "laf.json").read_text())


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def agree(found: Tensor, expected: Any) -> None:
    torch.testing.assert_close(found, double(expected), rtol=1e-9, atol=1e-15)


def problem(seed: int = 0) -> ForgetProblem:
    """A problem of which only the seed and the device matter here."""
    samples, access, ledger = load("digits").train.subset(torch.arange(4)), Access(), Ledger()
    views = {name: View(name, samples, access, ledger) for name in ("retain", "forget", "selection", "labelled")}
    return ForgetProblem(
        model=nn.Linear(1, 1),
        **views,
        forget_classes=(),
        num_classes=10,
        recipe=Recipe(1, 0.1, 32),
        device=torch.device("cpu"),
        seed=seed,
        build_model=lambda: nn.Linear(1, 1),
    )


def test_golden_vae_loss() -> None:
    given, expected = GOLDEN["laf-3"]["inputs"], GOLDEN["laf-3"]["expected"]
    assert given["kl_weight"] == KL_WEIGHT  # the default
    e, rec, mu, logvar = (double(given[key]) for key in ("e", "rec", "mu", "logvar"))
    agree(reconstruction_error(e, rec).mean(), expected["reconstruction"])
    agree(kl_divergence(mu, logvar), expected["KL"])
    agree(vae_loss(e, rec, mu, logvar), expected["loss"])
    agree(vae_loss(e, rec, mu, logvar, kl_weight=0.0), expected["reconstruction"])
    single = vae_loss(*(tensor.float() for tensor in (e, rec, mu, logvar)))
    torch.testing.assert_close(single.double(), double(expected["loss"]), rtol=1e-5, atol=0)


def test_the_vae_has_the_published_layers_and_draws_noise_from_its_generator_alone() -> None:
    h = VAE(256, 8).eval()
    assert [tuple(p.shape) for p in h.parameters() if p.dim() == 2] == [
        (128, 256), (32, 128), (8, 32), (8, 32), (32, 8), (128, 32), (256, 128),
    ]  # fmt: skip
    e, before = torch.randn(4, 256), torch.random.get_rng_state()
    rec, mu, logvar = h(e, generator(0, "eps"))
    again, other = h(e, generator(0, "eps"))[0], h(e, generator(1, "eps"))[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(rec, again)
    assert not torch.equal(rec, other)
    assert rec.shape == e.shape
    assert mu.shape == logvar.shape == (4, 8)
    assert 0 < rec.min() < rec.max() < 1  # the sigmoid


def fitted(e: Tensor, *, seed: int = 0, **changes: Any) -> tuple[VAE, list[float]]:
    settings: dict[str, Any] = {"d": 2, "epochs": 3, "lr": 1e-2, "batch_size": 8}
    return fit_vae(problem(seed), "h", e, **{**settings, **changes})


def test_one_epoch_by_hand() -> None:
    """Batches in the order of the generator, which then gives their noise; a step of Adam on each."""
    e = torch.rand(20, 5, generator=generator(0, "e"))
    found, curve = fitted(e, epochs=1)
    own = problem()
    h, rng = own.initialised("laf h", lambda: VAE(5, 2)), own.generator("laf h")
    optimiser, losses = torch.optim.Adam(h.parameters(), lr=1e-2), []
    for index in torch.randperm(20, generator=rng).split(8):
        rec, mu, logvar = h(e[index], rng)
        kl = 0.5 * (logvar.exp() + mu.square() - 1 - logvar).sum(1).mean()
        loss = (rec - e[index]).square().sum(1).mean() + 0.025 * kl
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert curve == [pytest.approx(sum(losses) / 3, rel=1e-5)]
    for mine, theirs in zip(found.parameters(), h.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)


def test_a_fitted_auto_encoder_is_frozen_and_reconstructs_better() -> None:
    e = torch.rand(40, 5, generator=generator(0, "e"))
    h, curve = fitted(e, epochs=20)
    assert len(curve) == 20
    assert curve[-1] < curve[0]
    assert not h.training
    assert not any(p.requires_grad for p in h.parameters())


def test_the_seed_decides_and_nothing_else() -> None:
    e = torch.rand(20, 5, generator=generator(0, "e"))
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(torch.seed())
        found.append(fitted(e, seed=seed)[1])
    assert found[0] == found[1] != found[2]


def test_divergence_names_auto_encoder_and_epoch() -> None:
    e = torch.rand(20, 5, generator=generator(0, "e"))
    e[3] = torch.nan
    with pytest.raises(DivergenceError, match="VAE h, epoch 1: the loss is not finite after 3 steps"):
        fitted(e)
