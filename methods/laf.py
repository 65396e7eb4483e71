"""Forgetting without labels: "Label-Agnostic Forgetting" (Shen et al., ICLR 2024, arXiv:2404.00506).

A classifier g = c(e(x)) has a representation extractor e, with parameters theta, and a head c. e_D is the original's
extractor, e_U the one that unlearns; D = D_r and D_f together are the inputs to retain and to forget, B_r and B_f
batches of them. Step 1 fits two variational auto-encoders (VAEs) on e_D(x): h on D, which stands for D_r, h_f on D_f.
In step 2 two losses take turns on theta, a batch pair at a time, each with an Adam state of its own:

    phi(m)  = exp(m / (m + 1))                  m_h(x) = |h(e_U(x)) - e_U(x)|^2       (saturated reconstruction error)
    L_UE    = sum_{B_r} phi(m_h(x)) - sum_{B_f} phi(m_{h_f}(x))                       (extractor unlearning)
    d(x)    = 1 - cos(e_U(x), e_D(x))
    L_RA    = sum_{i in B_r} log( exp(d(x_i)) / sum_{j in B_f} exp(d(x_j) / tau) )
            = sum_i d(x_i) - |B_r| log sum_j exp(d(x_j) / tau)                        (representation alignment)

L_UE pushes e_U away from what D_f looks like, L_RA holds D_r at the original representation. The head never gets a
gradient; LAF+R repairs it on labelled samples afterwards (step 3, ``methods/laf_variants.py``).

Taken from the official code where the paper leaves it open: both losses are sums over the batch, and L_RA takes a
forward pass of its own after the step on L_UE; the gradient of m_h goes through e_U(x) and its reconstruction; an
epoch has as many pairs as the shorter loader (D_f's, as a rule), whose short last batch stays; evaluation mode
throughout, so that statistics of batch norm are frozen; the default rates, which are those of class removal on MNIST.

Different on purpose: e_D(x) is computed once, not by a frozen copy in every step; the noise comes from a seeded
generator; no augmentation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.contracts import ForgetProblem
from benchmark.data.views import View
from benchmark.errors import InputError
from benchmark.models.surgery import head, representation
from benchmark.training.alternating import alternate
from benchmark.training.batches import Joined, joined
from benchmark.training.curves import packed, unpacked
from benchmark.training.scopes import training_only
from methods.laf_autoencoders import VAE, fit_vae, reconstruction_error

#: Mean losses of every epoch that a forgotten model has with it, in the order in which they are kept.
CURVES = ("unlearn", "align", "vae", "vae.forget")
#: h or h_f as step 2 sees them: of e (B, D) and a generator of noise, reconstructions (B, D) and what else there is.
AutoEncoder = Callable[[Tensor, torch.Generator], tuple[Tensor, ...]]


class Settings(NamedTuple):
    """Everything that steps 1 and 2 depend on; temperature is tau, latent_dim the width of the VAE's code z."""

    epochs: int
    lr_unlearn: float
    lr_align: float
    temperature: float
    latent_dim: int
    vae_epochs: int
    vae_lr: float
    batch_size: int
    vae_batch_size: int

    def check(self, name: str) -> None:
        """InputError, which names the method, for values that mean nothing."""
        sizes, epochs = (self.latent_dim, self.batch_size, self.vae_batch_size), (self.epochs, self.vae_epochs)
        if min(sizes) < 1 or min(epochs) < 0 or self.temperature <= 0:
            what = "latent_dim and batch sizes must be at least 1, epochs at least 0, temperature above 0"
            raise InputError(f"{name}: {what}")


def phi(m: Tensor) -> Tensor:
    """exp(m / (m + 1)) in [1, e), for m >= 0 of any shape."""
    return torch.exp(m / (m + 1))


def extractor_loss(m_r: Tensor, m_f: Tensor) -> Tensor:
    """L_UE of errors m_h (B_r,) and m_{h_f} (B_f,): sums, not means."""
    return phi(m_r).sum() - phi(m_f).sum()


def cosine_distance(e_U: Tensor, e_D: Tensor) -> Tensor:
    """d = 1 - cos(e_U, e_D), row by row of (B, D): (B,)."""
    return 1 - F.cosine_similarity(e_U, e_D, dim=1)


def alignment_loss(d_r: Tensor, d_f: Tensor, tau: float) -> Tensor:
    """L_RA of distances (B_r,) and (B_f,) in its second form; -B_r log B_f where nothing has moved."""
    return d_r.sum() - len(d_r) * torch.logsumexp(d_f / tau, 0)


def extractor_parameters(model: nn.Module) -> list[nn.Parameter]:
    """theta: all parameters but the head's."""
    of_head = {id(p) for p in head(model).parameters()}
    return [p for p in model.parameters() if id(p) not in of_head]


@torch.no_grad()
def representations(model: nn.Module, view: View) -> Tensor:
    """e(x) of all samples of a view in its order, (N, D)."""
    return torch.cat([representation(model, part.x) for part in view.everything().split(250)])


def autoencoder(problem: ForgetProblem, name: str, e: Tensor, s: Settings) -> tuple[VAE, list[float]]:
    """Step 1: h or h_f, fitted on representations (N, D), and the mean loss of every epoch."""
    return fit_vae(problem, name, e, d=s.latent_dim, epochs=s.vae_epochs, lr=s.vae_lr, batch_size=s.vae_batch_size)


def unlearn(
    problem: ForgetProblem, h: AutoEncoder, h_f: AutoEncoder, e_r: Tensor, e_f: Tensor, s: Settings
) -> dict[str, list[float]]:
    """Step 2 in place, given e_D of D_r (N_r, D) and D_f (N_f, D); the mean losses of every epoch."""
    model, generator = problem.model, problem.generator("laf")
    theta = extractor_parameters(model)

    def unlearning(B: Joined) -> Tensor:
        u_r, u_f = B.parts(representation(model, B.x))  # e_U(x)
        m_r = reconstruction_error(u_r, h(u_r, generator)[0])
        m_f = reconstruction_error(u_f, h_f(u_f, generator)[0])
        return extractor_loss(m_r, m_f)

    def alignment(B: Joined) -> Tensor:
        e_D = torch.cat([e_r[B.first.index], e_f[B.second.index]])
        d_r, d_f = B.parts(cosine_distance(representation(model, B.x), e_D))
        return alignment_loss(d_r, d_f, s.temperature)

    batches = joined(problem.retain, problem.forget, s.batch_size, s.epochs, generator)
    A1, A2 = training.adam(theta, s.lr_unlearn), training.adam(theta, s.lr_align)
    with training_only(model, theta):
        means = alternate(batches, {"L_UE": (unlearning, A1), "L_RA": (alignment, A2)})
    return {"unlearn": means["L_UE"], "align": means["L_RA"]}


def steps_1_and_2(problem: ForgetProblem, s: Settings) -> dict[str, Tensor]:
    """LAF on the problem's model: the new state and the mean losses of every epoch, packed to be kept."""
    model = problem.model.eval()
    e_r, e_f = representations(model, problem.retain), representations(model, problem.forget)
    h, vae = autoencoder(problem, "h", torch.cat([e_r, e_f]), s)
    h_f, vae_forget = autoencoder(problem, "h_f", e_f, s)
    return packed(model, unlearn(problem, h, h_f, e_r, e_f, s) | {"vae": vae, "vae.forget": vae_forget})


def forgotten(problem: ForgetProblem, s: Settings) -> nn.Module:
    """The problem's model after steps 1 and 2, which all variants share; its ``curves`` are the mean losses."""
    s.check("laf")
    tensors = problem.stage("laf", lambda: steps_1_and_2(problem, s), **s._asdict())
    return unpacked(problem.model.eval(), tensors, CURVES)
