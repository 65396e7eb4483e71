"""Adapt then Unlearn (Tiwary et al., TMLR 2025, arXiv:2309.14054): repulsion from generators that show more of it.

A generator G with parameters theta and a discriminator D with parameters phi were trained on data that are not read
again. Who has feedback on generated images parts them into negatives S_n, which show what must go, and positives S_p.

    stage 1    theta_N = argmin_theta argmax_phi  L_adv(S_n) + L_adapt            M times, with negatives of their own
               L_adapt = lambda / 2 sum_i F_i (theta_i - theta_G,i)^2             F: the diagonal Fisher information
    stage 2    theta_P = argmin_theta argmax_phi  L_adv(S_p) + gamma L_repulsion
               L_repulsion = 1 / d (IL2), -d (NL2), exp(-alpha d) (EL2)           d = ||theta - theta_N||^2

Taken from the authors' code where the paper leaves it open: stage 1 starts from the averaged generator theta_G, the
last discriminator and their moments, and theta_N are averaged weights, too; stage 2 starts from the GAN as training
left it; d is the mean over the M adapted generators. Different on purpose: images are drawn with averaged weights and
without style mixing, and d has a scale. The methods are declared in ``adapt_then_unlearn_variants.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.contracts import GanProblem
from benchmark.errors import InputError, unknown
from benchmark.models.gan import Generator
from benchmark.training.adversarial import Penalty, drawn_from, train_gan
from benchmark.training.consolidation import consolidated
from benchmark.training.screening import positives

Tensors = Mapping[str, Tensor]
SCALES = ("relative", "sum", "mean", "official")


def adapt(problem: GanProblem, models: int, S_n: Callable[[str], Tensor], steps: int, lam: float) -> dict[str, Tensor]:
    """Stage 1: theta_N of M = ``models`` generators, each parameter (M, ...).

    ``S_n`` gives the negatives (N, ...) of one of them, whose latents are drawn in the role that it is told.
    """
    if models < 1:
        raise InputError(f"models must be at least 1, not {models}")
    start = copy.deepcopy(problem.gan)
    start.generator.load_state_dict(problem.model.state_dict())
    L_adapt = consolidated(start.generator, start.discriminator, lam, problem.generator("fisher"))
    theta_N = []
    for m in range(models):
        gan = copy.deepcopy(start)
        real = drawn_from(S_n(f"negatives {m}"))
        train_gan(gan, real, problem.recipe, steps, problem.generator(f"adaptation {m}"), penalty=L_adapt)
        theta_N.append({name: parameter.detach() for name, parameter in gan.average.named_parameters()})
    return {name: torch.stack([theta[name] for theta in theta_N]) for name in theta_N[0]}


@dataclass(frozen=True)
class Distance:
    """d(theta) = sum over tensors l of w_l mean over m of ||theta_l - theta_N,l^(m)||^2, in closed form.

    The mean over m is ||theta_l - centre_l||^2 + spread_l, whatever M is: ``centre`` is the mean of the adapted models
    and ``spread`` their mean squared distance from it. ``scale``: ``sum``, w_l = 1, is the paper's squared norm, and
    ``relative`` the same in units of what it is at the start of stage 2, so that gamma and alpha mean the same for
    every generator; ``mean``, w_l = 1/(2 L n_l) with n_l entries of L tensors, is the distance that the authors' code
    means, and ``official``, M^2 times that, the one that it computes by a slip.
    """

    centre: Tensors
    spread: Tensors
    weights: Mapping[str, float]

    @classmethod
    def to(cls, models: Tensors, scale: str, start: Tensors) -> Distance:
        """The distance to adapted models, each tensor (M, ...); ``start``: the parameters that stage 2 starts from."""
        if scale not in SCALES:
            raise unknown("scale", scale, SCALES)
        m = len(next(iter(models.values())))
        centre = {name: t.mean(0) for name, t in models.items()}
        spread = {name: (t - centre[name]).square().sum() / m for name, t in models.items()}
        plain = cls(centre, spread, dict.fromkeys(models, 1.0))
        if scale == "sum":
            return plain
        if scale == "relative":
            at_start = float(plain(start))
            if not at_start:
                raise InputError("the adapted generators are the original: take more adapt_steps")
            return cls(centre, spread, dict.fromkeys(models, 1 / at_start))
        factor = (m**2 if scale == "official" else 1) / (2 * len(models))
        return cls(centre, spread, {name: factor / t[0].numel() for name, t in models.items()})

    def __call__(self, theta: Tensors) -> Tensor:
        """d, a scalar, of parameters by name."""
        terms = [
            self.weights[name] * ((theta[name] - centre).square().sum() + self.spread[name])
            for name, centre in self.centre.items()
        ]
        return torch.stack(terms).sum()


def il2(d: Tensor) -> Tensor:
    """1 / d."""
    return 1 / d


def nl2(d: Tensor) -> Tensor:
    """-d, which has no lower bound: only the number of steps ends it."""
    return -d


def el2(d: Tensor, alpha: float) -> Tensor:
    """exp(-alpha d)."""
    return torch.exp(-alpha * d)


def unlearn(
    problem: GanProblem,
    models: Tensors,
    repulsion: Callable[[Tensor], Tensor],
    gamma: float,
    images: int,
    steps: int,
    scale: str,
) -> Generator:
    """Stage 2: theta_P, away from adapted ``models``, each tensor (M, ...); S_p are among ``images`` new images."""
    if gamma < 0:
        raise InputError(f"gamma must be at least 0, not {gamma}")
    d = Distance.to(models, scale, {name: p.detach() for name, p in problem.gan.generator.named_parameters()})

    def away(generator: Generator) -> Tensor:
        return gamma * repulsion(d(dict(generator.named_parameters())))

    penalty: Penalty | None = away if gamma else None
    real = drawn_from(positives(problem, images))
    train_gan(problem.gan, real, problem.recipe, steps, problem.generator("unlearning"), penalty=penalty)
    return problem.gan.average
