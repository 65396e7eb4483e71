"""Step 1 of label-agnostic forgetting (arXiv:2404.00506, ``methods/laf.py``): auto-encoders of representations.

A variational auto-encoder h (VAE; Kingma and Welling, 2014) of e = e_D(x) codes it as q(z | e) = N(mu, sigma^2), with
a standard normal prior, and decodes z = mu + sigma eps, eps ~ N(0, 1):

    L_h = (1/B) sum |h(e) - e|^2 + 0.025 KL(q(z | e) || N(0, 1))

Taken from the official code where the paper leaves it open: the layers, the weight of the KL term, Adam, and noise that
is drawn in evaluation mode, too. The decoder ends in a sigmoid although representations are signed and unbounded. Its
errors stay large for it, phi stays near e, and the first gradients of L_UE are tiny: this quirk is part of what was
published, and it is kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark import training
from benchmark.contracts import ForgetProblem
from benchmark.training.batches import shuffled
from benchmark.training.scopes import named

KL_WEIGHT = 0.025


class VAE(nn.Module):
    """h: encoder D-128-32, two heads 32-d for mu and log sigma^2, decoder d-32-128-D with the official sigmoid."""

    def __init__(self, D: int, d: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
        self.mu, self.logvar = nn.Linear(32, d), nn.Linear(32, d)
        hidden = [nn.Linear(d, 32), nn.ReLU(), nn.Linear(32, 128), nn.ReLU()]
        self.decoder = nn.Sequential(*hidden, nn.Linear(128, D), nn.Sigmoid())

    def forward(self, e: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction of e (B, D), mu and logvar (B, d); ``generator``, on the CPU, gives the noise eps."""
        code = self.encoder(e)
        mu, logvar = self.mu(code), self.logvar(code)
        eps = torch.randn(mu.shape, generator=generator).to(mu.device)
        rec: Tensor = self.decoder(mu + torch.exp(logvar / 2) * eps)
        return rec, mu, logvar


def reconstruction_error(e: Tensor, rec: Tensor) -> Tensor:
    """m = |rec - e|^2 of representations and their reconstructions (B, D), summed over D: (B,)."""
    return (rec - e).square().sum(1)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL of N(mu, sigma^2) from N(0, 1), sigma^2 = exp(logvar); (B, d), summed over d, mean over B."""
    sigma2 = logvar.exp()
    return -0.5 * (torch.log(sigma2 + 1e-8) + 1 - mu.square() - sigma2).sum(1).mean()


def vae_loss(e: Tensor, rec: Tensor, mu: Tensor, logvar: Tensor, kl_weight: float = KL_WEIGHT) -> Tensor:
    """L_h of e and rec (B, D), mu and logvar (B, d)."""
    return reconstruction_error(e, rec).mean() + kl_weight * kl_divergence(mu, logvar)


def fit_vae(
    problem: ForgetProblem, name: str, e: Tensor, *, d: int, epochs: int, lr: float, batch_size: int
) -> tuple[VAE, list[float]]:
    """The VAE called ``name``, fitted on representations (N, D) and frozen; the mean loss of every epoch.

    DivergenceError names the VAE and the epoch.
    """
    h = problem.initialised(f"laf {name}", lambda: VAE(e.shape[1], d))
    optimiser, generator = training.adam(h, lr), problem.generator(f"laf {name}")

    def loss(batch: Tensor) -> Tensor:
        return vae_loss(batch, *h(batch, generator))

    curve = []
    for epoch in range(1, epochs + 1):
        with named(f"VAE {name}, epoch {epoch}"):
            curve.append(training.optimise(shuffled(e, batch_size, generator), loss, optimiser))
    return h.eval().requires_grad_(False), curve
