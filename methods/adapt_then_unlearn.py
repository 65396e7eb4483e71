"""Adapt then Unlearn (Tiwary et al., TMLR 2025, arXiv:2309.14054): repulsion from generators that show more of it.

Stage 1 adapts the GAN to generated images that show what must go (negatives), M times: theta_N. Stage 2 trains the
original again on generated images that do not (positives), pushed away from the adapted parameters by L_repulsion, a
function of d = ||theta - theta_N||^2. No training data are read, only feedback on generated images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, method
from benchmark.errors import InputError, unknown
from benchmark.models.gan import Generator
from benchmark.training.adversarial import Penalty, drawn_from, train_gan
from benchmark.training.consolidation import consolidated
from benchmark.training.screening import negatives, positives

Tensors = Mapping[str, Tensor]

# Stage 1: negative adaptation.


def adapt(problem: GanProblem, models: int, images: int, steps: int, lam: float) -> dict[str, Tensor]:
    """theta_N of M = ``models`` generators, each parameter (M, ...): L_adv(S_n) + lam/2 sum F (theta - theta_G)^2.

    Each has negatives of its own among ``images`` new images. It starts from the averaged generator, the last
    discriminator and their moments, as the authors' code does; theta_N are averaged weights, too.
    """
    if models < 1:
        raise InputError(f"models must be at least 1, not {models}")
    found: dict[str, list[Tensor]] = {}
    start = copy.deepcopy(problem.gan)
    start.generator.load_state_dict(problem.model.state_dict())
    ewc = consolidated(start.generator, start.discriminator, lam, problem.generator("fisher"))
    for m in range(models):
        gan = copy.deepcopy(start)
        real = drawn_from(negatives(problem, images, f"negatives {m}"))
        train_gan(gan, real, problem.recipe, steps, problem.generator(f"adaptation {m}"), penalty=ewc)
        for name, parameter in gan.average.named_parameters():
            found.setdefault(name, []).append(parameter.detach())
    return {name: torch.stack(each) for name, each in found.items()}


def adapted(problem: GanProblem, models: int, images: int, steps: int, lam: float) -> dict[str, Tensor]:
    """The adapted generators of these settings, computed once for all methods of this file that ask for them."""
    found = problem.stage(
        "adapted",
        lambda: adapt(problem, models, images, steps, lam),
        models=models,
        images=images,
        steps=steps,
        lam=lam,
    )
    # What was kept comes back in another order and layout, and sums over it would be rounded differently.
    return {name: found[name].contiguous() for name, _ in problem.model.named_parameters()}


# Stage 2: unlearning.


SCALES = ("relative", "sum", "mean", "official")


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
    """theta_P: L_adv(S_p) + gamma L_repulsion(d), from the GAN as training left it; S_p from ``images`` images."""
    if gamma < 0:
        raise InputError(f"gamma must be at least 0, not {gamma}")
    distance = Distance.to(models, scale, {n: p.detach() for n, p in problem.gan.generator.named_parameters()})

    def away(generator: Generator) -> Tensor:
        return gamma * repulsion(distance(dict(generator.named_parameters())))

    push: Penalty | None = away if gamma else None
    real = drawn_from(positives(problem, images))
    train_gan(problem.gan, real, problem.recipe, steps, problem.generator("unlearning"), penalty=push)
    return problem.gan.average


@method(
    "atu-il2",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def atu_il2(
    problem: GanProblem,
    *,
    gamma: float = 1.0,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn with the inverse distance: L_adv + gamma / d (Tiwary et al., TMLR 2025)."""
    models_of = adapted(problem, models, adapt_images, adapt_steps, lam)
    return unlearn(problem, models_of, il2, gamma, images, steps, scale)


@method(
    "atu-nl2",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def atu_nl2(
    problem: GanProblem,
    *,
    gamma: float = 1e-2,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn with the negative distance: L_adv - gamma d (Tiwary et al., TMLR 2025)."""
    models_of = adapted(problem, models, adapt_images, adapt_steps, lam)
    return unlearn(problem, models_of, nl2, gamma, images, steps, scale)


@method(
    "atu-el2",
    tasks="gan-feature-removal",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def atu_el2(
    problem: GanProblem,
    *,
    gamma: float = 100.0,
    alpha: float = 0.1,
    steps: int = 400,
    images: int = 5000,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
    scale: str = "relative",
) -> nn.Module:
    """Adapt then Unlearn with the exponential: L_adv + gamma exp(-alpha d) (Tiwary et al., TMLR 2025).

    The authors' code calls alpha gamma, and has the weight 100 written out; here both are parameters.
    """
    if alpha < 0:
        raise InputError(f"alpha must be at least 0, not {alpha}")
    models_of = adapted(problem, models, adapt_images, adapt_steps, lam)
    return unlearn(problem, models_of, lambda d: el2(d, alpha), gamma, images, steps, scale)


# What stage 1 alone is good for.


class Extrapolated(Generator):
    """theta_G + s (mean theta_N - theta_G): a generator that remembers along which line it was moved.

    ``direction``: mean theta_N - theta_G by parameter.
    """

    def __init__(self, generator: Generator, direction: Tensors, s: float) -> None:
        super().__init__()
        self.latent_dim = generator.latent_dim
        self.moved = generator
        self.direction = dict(direction)
        with torch.no_grad():
            for name, parameter in generator.named_parameters():
                parameter.add_(direction[name], alpha=s)

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.moved(z)
        return images


@method(
    "extrapolation",
    tasks="gan-feature-removal",
    kind="baseline",
    paper="arXiv:2309.14054",
    access=Access(feedback="y"),
    shares="adapted",
)
def extrapolation(
    problem: GanProblem,
    *,
    s: float = -0.5,
    models: int = 3,
    adapt_images: int = 300,
    adapt_steps: int = 200,
    lam: float = 1.0,
) -> nn.Module:
    """Parameters moved away from the adapted ones, theta_G + s (mean theta_N - theta_G) with s < 0; no training.

    The baseline in which Adapt then Unlearn sees its premise (Tiwary et al., TMLR 2025): s = 0 is the original, s = 1
    the mean adapted generator.
    """
    models_of = adapted(problem, models, adapt_images, adapt_steps, lam)
    theta = dict(problem.model.named_parameters())
    direction = {name: each.mean(0) - theta[name].detach() for name, each in models_of.items()}
    return Extrapolated(problem.model, direction, s)
