"""Forgetting without labels: "Label-Agnostic Forgetting" (Shen et al., ICLR 2024, arXiv:2404.00506).

A classifier g = c(e(x)) has a representation extractor e, with parameters theta, and a head c. e_D is the original's
extractor, e_U the one that unlearns; D = D_r and D_f together are the inputs to retain and to forget, B_r and B_f
batches of them. Two variational auto-encoders (VAEs) are fitted on e_D(x): h on D, which stands for D_r, h_f on D_f.
Then two losses take turns on theta, a batch pair at a time, each with an Adam state of its own:

    phi(m)  = exp(m / (m + 1))                  m_h(x) = |h(e_U(x)) - e_U(x)|^2       (saturated reconstruction error)
    L_UE    = sum_{B_r} phi(m_h(x)) - sum_{B_f} phi(m_{h_f}(x))                       (extractor unlearning)
    d(x)    = 1 - cos(e_U(x), e_D(x))
    L_RA    = sum_{i in B_r} log( exp(d(x_i)) / sum_{j in B_f} exp(d(x_j) / tau) )
            = sum_i d(x_i) - |B_r| log sum_j exp(d(x_j) / tau)                        (representation alignment)

L_UE pushes e_U away from what D_f looks like, L_RA holds D_r at the original representation. The head never gets a
gradient; LAF+R repairs it on labelled samples afterwards.

Taken from the official code where the paper leaves it open: both losses are sums over the batch, and L_RA takes a
forward pass of its own after the step on L_UE; the gradient of m_h goes through e_U(x) and its reconstruction; an
epoch has as many pairs as the shorter loader (D_f's, as a rule), whose short last batch stays; evaluation mode
throughout, so that statistics of batch norm are frozen; the VAEs draw their noise in evaluation mode, too; the loss
weights of the VAE; the default rates, which are those of class removal on MNIST. The VAE's decoder ends in a sigmoid
although representations are signed and unbounded. Its errors stay large for it, phi stays near e, and the first
gradients of L_UE are tiny: this quirk is part of what was published, and it is kept.

Different on purpose: e_D(x) is computed once, not by a frozen copy in every step; the noise comes from a seeded
generator; no augmentation. For the repair the code records neither epochs nor rate: 1 and 1e-4 are our choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch, View
from benchmark.errors import DivergenceError, InputError
from benchmark.models.surgery import head, representation

BATCH = 250

Pair = tuple[float, float]


#: Mean losses of every epoch that a forgotten model has with it, in the order in which they are kept.
CURVES = ("unlearn", "align", "vae", "vae.forget")


class Settings(NamedTuple):
    """Everything that Steps 1 and 2 depend on; temperature is tau, latent_dim the width of the VAE's code z."""

    epochs: int
    lr_unlearn: float
    lr_align: float
    temperature: float
    latent_dim: int
    vae_epochs: int
    vae_lr: float
    batch_size: int
    vae_batch_size: int


def phi(m: Tensor) -> Tensor:
    """exp(m / (m + 1)) in [1, e), for m >= 0 of any shape."""
    return torch.exp(m / (m + 1))


def reconstruction_error(e: Tensor, rec: Tensor) -> Tensor:
    """m = |rec - e|^2 of representations and their reconstructions (B, D), summed over D: (B,)."""
    return (rec - e).square().sum(1)


def extractor_loss(m_r: Tensor, m_f: Tensor) -> Tensor:
    """L_UE of errors m_h (B_r,) and m_{h_f} (B_f,): sums, not means."""
    return phi(m_r).sum() - phi(m_f).sum()


def cosine_distance(e_U: Tensor, e_D: Tensor) -> Tensor:
    """d = 1 - cos(e_U, e_D), row by row of (B, D): (B,)."""
    return 1 - F.cosine_similarity(e_U, e_D, dim=1)


def alignment_loss(d_r: Tensor, d_f: Tensor, tau: float) -> Tensor:
    """L_RA of distances (B_r,) and (B_f,) in its second form; -B_r log B_f where nothing has moved."""
    return d_r.sum() - len(d_r) * torch.logsumexp(d_f / tau, 0)


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL of N(mu, sigma^2) from N(0, 1), sigma^2 = exp(logvar); (B, d), summed over d, mean over B."""
    sigma2 = logvar.exp()
    return -0.5 * (torch.log(sigma2 + 1e-8) + 1 - mu.square() - sigma2).sum(1).mean()


def vae_loss(e: Tensor, rec: Tensor, mu: Tensor, logvar: Tensor, kl_weight: float = 0.025) -> Tensor:
    """(1/B) sum |rec - e|^2 + kl_weight KL, of e and rec (B, D), mu and logvar (B, d)."""
    return reconstruction_error(e, rec).mean() + kl_weight * kl_divergence(mu, logvar)


class VAE(nn.Module):
    """h: encoder D-128-32, two heads 32-d for mu and log sigma^2, decoder d-32-128-D with the official sigmoid."""

    def __init__(self, D: int, d: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU())
        self.mu, self.logvar = nn.Linear(32, d), nn.Linear(32, d)
        hidden = [nn.Linear(d, 32), nn.ReLU(), nn.Linear(32, 128), nn.ReLU()]
        self.decoder = nn.Sequential(*hidden, nn.Linear(128, D), nn.Sigmoid())

    def forward(self, e: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction of e (B, D), mu and logvar (B, d); z = mu + sigma eps in evaluation mode, too."""
        code = self.encoder(e)
        mu, logvar = self.mu(code), self.logvar(code)
        eps = torch.randn(mu.shape, generator=generator).to(mu.device)
        rec: Tensor = self.decoder(mu + torch.exp(logvar / 2) * eps)
        return rec, mu, logvar


@contextmanager
def named(loss: str) -> Iterator[None]:
    """Say which loss diverged."""
    try:
        yield
    except DivergenceError as error:
        raise DivergenceError(f"{loss}: {error}") from error


@contextmanager
def training_only(model: nn.Module, chosen: Iterable[nn.Parameter]) -> Iterator[None]:
    """Only the parameters ``chosen`` take gradients while the block runs."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    model.requires_grad_(False)
    for p in chosen:
        p.requires_grad_(True)
    try:
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag).grad = None


def extractor_parameters(model: nn.Module) -> list[nn.Parameter]:
    """theta: all parameters but the head's."""
    of_head = {id(p) for p in head(model).parameters()}
    return [p for p in model.parameters() if id(p) not in of_head]


@torch.no_grad()
def representations(model: nn.Module, view: View) -> Tensor:
    """e(x) of all samples of a view in its order, (N, D)."""
    return torch.cat([representation(model, part.x) for part in view.everything().split(BATCH)])


def pairs(retain: View, forget: View, size: int, n: int, generator: torch.Generator) -> Iterator[tuple[Batch, Batch]]:
    """``n`` epochs of shuffled (B_r, B_f), each as long as the shorter view; its short last batch stays."""
    for _ in range(n):
        orders = ((view, torch.randperm(len(view), generator=generator)) for view in (retain, forget))
        B_r, B_f = (view.batch(order).split(size) for view, order in orders)
        yield from zip(B_r, B_f, strict=False)


def fit_vae(problem: ForgetProblem, name: str, e: Tensor, s: Settings) -> tuple[VAE, list[float]]:
    """Step 1: the VAE called ``name``, fitted on representations (N, D) and frozen; the mean loss of every epoch."""
    h = problem.initialised(f"laf {name}", lambda: VAE(e.shape[1], s.latent_dim))
    optimiser, generator = training.adam(h, s.vae_lr), problem.generator(f"laf {name}")
    curve = []
    for epoch in range(1, s.vae_epochs + 1):
        order = torch.randperm(len(e), generator=generator).to(e.device)
        batches = (e[index] for index in order.split(s.vae_batch_size))
        with named(f"VAE {name}, epoch {epoch}"):
            curve.append(training.optimise(batches, lambda batch: vae_loss(batch, *h(batch, generator)), optimiser))
    return h.eval().requires_grad_(False), curve


def step(loss: Tensor, optimiser: torch.optim.Optimizer) -> Tensor:
    """One step; returns the loss without its graph."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def epoch_means(losses: list[Tensor], epoch: int) -> Pair:
    """The means of L_UE and L_RA, which alternate in ``losses``; DivergenceError names the first not finite."""
    values = torch.stack(losses).cpu().double()
    wrong = (~values.isfinite()).nonzero()
    if len(wrong):
        at, which = divmod(int(wrong[0]), 2)
        raise DivergenceError(f"{('L_UE', 'L_RA')[which]} is not finite in epoch {epoch}, step {at + 1}")
    return float(values[::2].mean()), float(values[1::2].mean())


def unlearn(problem: ForgetProblem, h: VAE, h_f: VAE, e_r: Tensor, e_f: Tensor, s: Settings) -> list[Pair]:
    """Step 2 in place, given e_D of D_r (N_r, D) and D_f (N_f, D); the mean L_UE and L_RA of every epoch."""
    model, generator = problem.model, problem.generator("laf")
    theta = extractor_parameters(model)
    A1, A2 = training.adam(theta, s.lr_unlearn), training.adam(theta, s.lr_align)
    curve = []
    with training_only(model, theta):
        for epoch in range(1, s.epochs + 1):
            losses: list[Tensor] = []
            for B_r, B_f in pairs(problem.retain, problem.forget, s.batch_size, 1, generator):
                x, sizes = torch.cat([B_r.x, B_f.x]), [len(B_r), len(B_f)]
                u_r, u_f = representation(model, x).split(sizes)  # e_U(x)
                m_r = reconstruction_error(u_r, h(u_r, generator)[0])
                m_f = reconstruction_error(u_f, h_f(u_f, generator)[0])
                losses.append(step(extractor_loss(m_r, m_f), A1))
                e_D = torch.cat([e_r[B_r.index], e_f[B_f.index]])
                d_r, d_f = cosine_distance(representation(model, x), e_D).split(sizes)
                losses.append(step(alignment_loss(d_r, d_f, s.temperature), A2))
            curve.append(epoch_means(losses, epoch))
    return curve


def steps_1_and_2(problem: ForgetProblem, s: Settings) -> dict[str, Tensor]:
    """LAF on the problem's model: the new state under "model.", the mean losses of every epoch under "curve."."""
    model = problem.model.eval()
    e_r, e_f = representations(model, problem.retain), representations(model, problem.forget)
    h, vae = fit_vae(problem, "h", torch.cat([e_r, e_f]), s)
    h_f, vae_forget = fit_vae(problem, "h_f", e_f, s)
    curve = unlearn(problem, h, h_f, e_r, e_f, s)
    means = [L_UE for L_UE, _ in curve], [L_RA for _, L_RA in curve], vae, vae_forget
    curves = dict(zip(CURVES, means, strict=True))
    state = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    return state | {f"curve.{name}": torch.tensor(values, dtype=torch.float64) for name, values in curves.items()}


def forgotten(problem: ForgetProblem, s: Settings) -> nn.Module:
    """The problem's model after Steps 1 and 2, which all variants share; its ``curves`` are the mean losses."""
    if min(s.latent_dim, s.batch_size, s.vae_batch_size) < 1 or min(s.epochs, s.vae_epochs) < 0 or s.temperature <= 0:
        raise InputError("laf: latent_dim and batch sizes must be at least 1, epochs at least 0, temperature above 0")
    tensors = problem.stage("laf", lambda: steps_1_and_2(problem, s), **s._asdict())
    model = problem.model.eval()
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    curves = {name: tensors[f"curve.{name}"].tolist() for name in CURVES}  # a stage has its tensors in any order
    setattr(model, "curves", curves)  # noqa: B010 - for mypy
    return model


def repaired(problem: ForgetProblem, labelled: View, s: Settings, epochs: int, lr: float) -> nn.Module:
    """Step 3: cross-entropy on ``labelled``, for the head alone, over the pairs of ``labelled`` and D_f."""
    model = forgotten(problem, s)
    c = list(head(model).parameters())
    batches = (B for B, _ in pairs(labelled, problem.forget, s.batch_size, epochs, problem.generator("laf repair")))
    with training_only(model, c), named("repair"):
        training.optimise(batches, training.cross_entropy(model), training.adam(c, lr))
    return model


@method("laf", tasks="label-free-forget", paper="arXiv:2404.00506", access=Access(retain="x", forget="x"), shares="laf")
def laf(
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
    """Label-agnostic forgetting (Shen et al., ICLR 2024): two auto-encoders and a contrastive loss, no labels."""
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    return forgotten(problem, s)


@method(
    "laf-r", tasks="label-free-forget", paper="arXiv:2404.00506", access=Access(retain="xy", forget="x"), shares="laf"
)
def laf_r(
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
    repair_epochs: int = 1,
    repair_lr: float = 1e-4,
) -> nn.Module:
    """LAF+R: label-agnostic forgetting, then a short supervised repair of the head on the retain set.

    The official code takes the repair's epochs and rate as arguments and records neither: 1 and 1e-4 are our choice.
    """
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    return repaired(problem, problem.retain, s, repair_epochs, repair_lr)


@method(
    "laf-r+few-labels",
    tasks="label-free-forget",
    paper="arXiv:2404.00506",
    access=Access(retain="x", labelled="xy", forget="x"),
    shares="laf",
)
def laf_r_few_labels(
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
    repair_epochs: int = 1,
    repair_lr: float = 1e-4,
) -> nn.Module:
    """LAF+R, semi-supervised: the repair sees that share of the retain set whose labels are known.

    As in LAF+R, the repair's epochs and rate are our choice.
    """
    s = Settings(epochs, lr_unlearn, lr_align, temperature, latent_dim, vae_epochs, vae_lr, batch_size, vae_batch_size)
    return repaired(problem, problem.labelled, s, repair_epochs, repair_lr)
