"""Label-agnostic forgetting (arXiv:2404.00506, ``methods/laf.py``) with one part changed: what its densities are worth.

``laf+gaussian`` replaces both auto-encoders by Gaussians with the covariance W W^T + s^2 I, W of ``latent_dim``
columns (probabilistic principal components; Tipping and Bishop, 1999). It is what a VAE becomes whose encoder and
decoder are linear, at the optimum of its objective (Lucas et al., 2019, arXiv:1911.02469), and it is found in closed
form. Its reconstruction of e is what it expects of e's code, so that m(x) is a squared reconstruction error as
before, of the same unit, and phi and both losses stay what they are. The Mahalanobis distance would be the Gaussian's
density itself, but it is another quantity: near D for samples of its own set, whatever they are, and of 500 samples
in 256 dimensions it depends on how the covariance is shrunk. No noise is drawn: what is expected of a code has none.

``laf+retain-vae`` fits h on the retain set, for which all data stand in the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.errors import InputError
from benchmark.training.curves import with_curves
from methods.laf import AutoEncoder, Settings, autoencoder, representations, unlearn


class Gaussian(nn.Module):
    """N(mean, W W^T + s^2 I) of maximal likelihood for representations (N, D), W (D, d).

    The columns of W are the leading principal directions, (D, d); ``kept`` (d,) is the share of a sample's coordinate
    along each that its reconstruction keeps, 1 - s^2 / lambda for the variance lambda, s^2 the mean variance along
    all other directions. InputError unless 0 < d < D.
    """

    directions: Tensor
    kept: Tensor
    mean: Tensor

    def __init__(self, e: Tensor, d: int) -> None:
        super().__init__()
        D = e.shape[1]
        if not 0 < d < D:
            raise InputError(
                f"laf+gaussian: latent_dim must be 1 to {D - 1}, below the representation's width, not {d}"
            )
        exact = e.double()
        mean = exact.mean(0)
        variances, vectors = torch.linalg.eigh((exact - mean).T @ (exact - mean) / len(e))  # ascending
        leading, noise = variances[-d:], variances[:-d].clamp(min=0).mean()
        self.register_buffer("directions", vectors[:, -d:].to(e))
        self.register_buffer("kept", torch.where(leading > noise, 1 - noise / leading, 0.0).to(e))
        self.register_buffer("mean", mean.to(e))

    def forward(self, e: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor]:
        """The reconstruction of e (B, D), alone in a tuple; the generator that a VAE draws from is left alone."""
        codes = (e - self.mean) @ self.directions
        return (self.mean + (codes * self.kept) @ self.directions.T,)


def unlearnt(
    problem: ForgetProblem, h: AutoEncoder, h_f: AutoEncoder, e_r: Tensor, e_f: Tensor, s: Settings
) -> nn.Module:
    """The problem's model after step 2 with the densities h and h_f; its ``curves`` are the mean losses."""
    return with_curves(problem.model, unlearn(problem, h, h_f, e_r, e_f, s))


@method("laf+gaussian", tasks="label-free-forget", paper="arXiv:2404.00506", access=Access(retain="x", forget="x"))
def laf_gaussian(
    problem: ForgetProblem,
    *,
    epochs: int = 20,
    lr_unlearn: float = 5e-5,
    lr_align: float = 1e-4,
    temperature: float = 20.0,
    latent_dim: int = 8,
    batch_size: int = 32,
) -> nn.Module:
    """LAF with Gaussians in closed form, of ``latent_dim`` principal directions, in place of the auto-encoders."""
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, 0, 0.0, batch_size, batch_size)
    s.check("laf+gaussian")
    model = problem.model.eval()
    e_r, e_f = representations(model, problem.retain), representations(model, problem.forget)
    h, h_f = Gaussian(torch.cat([e_r, e_f]), latent_dim), Gaussian(e_f, latent_dim)
    return unlearnt(problem, h, h_f, e_r, e_f, s)


@method("laf+retain-vae", tasks="label-free-forget", paper="arXiv:2404.00506", access=Access(retain="x", forget="x"))
def laf_retain_vae(
    problem: ForgetProblem,
    *,
    epochs: int = 20,
    lr_unlearn: float = 5e-5,
    lr_align: float = 1e-4,
    temperature: float = 20.0,
    latent_dim: int = 8,
    vae_epochs: int = 10,
    vae_lr: float = 1e-3,
    batch_size: int = 32,
    vae_batch_size: int = 32,
) -> nn.Module:
    """LAF whose auto-encoder h is fitted on the retain set and not on all data, which stand for it in the paper."""
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    s.check("laf+retain-vae")
    model = problem.model.eval()
    e_r, e_f = representations(model, problem.retain), representations(model, problem.forget)
    h, _ = autoencoder(problem, "h", e_r, s)
    h_f, _ = autoencoder(problem, "h_f", e_f, s)
    return unlearnt(problem, h, h_f, e_r, e_f, s)
