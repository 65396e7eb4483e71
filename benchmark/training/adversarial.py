"""Adversarial training: the one loop that base generators, references and every generator's method share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import GanRecipe
from benchmark.errors import DivergenceError, InputError
from benchmark.models.gan import Gan, Generator

#: Gives that many real images, float (n, ...) in [-1, 1], drawn by a CPU generator.
Real = Callable[[int, torch.Generator], Tensor]
#: What is added to the generator's loss: a scalar of the generator's parameters.
Penalty = Callable[[Generator], Tensor]
#: Steps between looks at the losses, each of which waits for the device.
CHECK_EVERY = 50
#: The two moments of Adam.
MOMENTS = ("exp_avg", "exp_avg_sq")


def drawn_from(images: Tensor) -> Real:
    """Images of ``images`` (N, ...) at random with replacement."""

    def real(n: int, rng: torch.Generator) -> Tensor:
        index = torch.randint(len(images), (n,), generator=rng)
        return images[index.to(images.device)]

    return real


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-D(x)) + E softplus(D(G(z))) of logits (B,): the logistic loss (Goodfellow et al., 2014)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """E softplus(-D(G(z))) of logits (B,): the non-saturating loss (Goodfellow et al., 2014)."""
    return F.softplus(-fake).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """1/2 E ||grad D(x)||^2 over real images (B, ...) (Mescheder et al., 2018, eq. 9, without its gamma)."""
    x = real.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def train_gan(
    gan: Gan,
    real: Real,
    recipe: GanRecipe,
    steps: int,
    rng: torch.Generator,
    *,
    penalty: Penalty | None = None,
    trained: Sequence[str] | None = None,
) -> None:
    """Train ``gan`` in place for ``steps`` steps of ``recipe``, going on from its moments.

    ``penalty`` is added to the generator's loss; ``trained`` names the generator's parameters that are trained, all
    where it is None. Leaves the generator in use, ``gan.average``, in evaluation mode. Raises DivergenceError if a loss
    or a parameter leaves the finite numbers, InputError for a negative number of steps.
    """
    if steps < 0:
        raise InputError(f"steps must be at least 0, not {steps}")
    generator, discriminator = gan.generator.train(), gan.discriminator.train()
    chosen = {n: p for n, p in generator.named_parameters() if trained is None or n in trained}
    g_optimiser = _adam(chosen, gan, "generator", recipe, recipe.path_length, recipe.path_every)
    critic = dict(discriminator.named_parameters())
    d_optimiser = _adam(critic, gan, "discriminator", recipe, recipe.r1, recipe.r1_every)
    # All of the generator's, also where few are trained: torch 2.13 crashes on a CPU where a group normalisation's
    # weights need a gradient and its input does not.
    weights, judges = list(generator.parameters()), list(critic.values())
    total = torch.zeros((), device=weights[0].device)
    for step in range(steps):
        images = generator.sample(recipe.batch_size, rng)
        loss = _discriminator_loss(discriminator, real(recipe.batch_size, rng), images.detach(), recipe, step)
        _update(d_optimiser, loss, judges)
        other = generator_loss(discriminator(images))
        if penalty is not None:
            other = other + penalty(generator)
        path = _path_length(generator, recipe, step, rng)
        _update(g_optimiser, other if path is None else other + path, weights)
        _average(gan, recipe.averaging)
        total = total + loss.detach() + other.detach()
        if (step + 1) % CHECK_EVERY == 0:
            _check_finite(total, step + 1)
    gan.moments = {**gan.moments, **dict(_kept(g_optimiser, chosen, "generator"))}
    gan.moments |= dict(_kept(d_optimiser, critic, "discriminator"))
    _check_finite(torch.stack([tensor.sum() for tensor in gan.parameters()]).sum() + total, steps)
    gan.eval()


def _discriminator_loss(discriminator: nn.Module, x: Tensor, fake: Tensor, recipe: GanRecipe, step: int) -> Tensor:
    loss = discriminator_loss(discriminator(x), discriminator(fake))
    if recipe.r1 and step % recipe.r1_every == 0:
        loss = loss + recipe.r1 * recipe.r1_every * r1_penalty(discriminator, x)
    return loss


def _path_length(generator: Generator, recipe: GanRecipe, step: int, rng: torch.Generator) -> Tensor | None:
    if not recipe.path_length or step % recipe.path_every:
        return None
    found = generator.path_length_penalty(recipe.batch_size, rng)
    return None if found is None else recipe.path_length * recipe.path_every * found


def _update(optimiser: torch.optim.Optimizer, loss: Tensor, leaves: list[nn.Parameter]) -> None:
    for leaf in leaves:
        leaf.grad = None
    loss.backward(inputs=leaves)
    optimiser.step()


@torch.no_grad()
def _average(gan: Gan, keep: float) -> None:
    """Move the averaged weights towards the last ones; buffers are taken over."""
    mine: list[Tensor] = list(gan.average.parameters())
    theirs: list[Tensor] = list(gan.generator.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - keep)
    for own, other in zip(gan.average.buffers(), gan.generator.buffers(), strict=True):
        own.copy_(other)


def _adam(
    parameters: dict[str, nn.Parameter], gan: Gan, network: str, recipe: GanRecipe, penalty: float, every: int
) -> torch.optim.Adam:
    """Adam in one fused kernel with the moments that ``gan`` has kept; slower where a penalty is taken now and then."""
    lr = recipe.lr_generator if network == "generator" else recipe.lr_discriminator
    c = every / (every + 1) if penalty else 1.0
    optimiser = torch.optim.Adam(
        list(parameters.values()), lr=lr * c, betas=(recipe.beta1**c, recipe.beta2**c), fused=True
    )
    for name, parameter in parameters.items():
        key = f"{network}.{name}"
        if f"{key}.step" in gan.moments:
            optimiser.state[parameter] = {"step": gan.moments[f"{key}.step"].clone()}
            for moment in MOMENTS:  # in the parameter's memory format: the fused kernel takes it for granted
                kept = torch.empty_like(parameter).copy_(gan.moments[f"{key}.{moment}"])
                optimiser.state[parameter][moment] = kept
    return optimiser


def _kept(
    optimiser: torch.optim.Adam, parameters: dict[str, nn.Parameter], network: str
) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in parameters.items():
        for moment, tensor in optimiser.state[parameter].items():
            yield f"{network}.{name}.{moment}", tensor.detach()


def _check_finite(total: Tensor, steps: int) -> None:
    if not total.isfinite():
        raise DivergenceError(f"a loss or a parameter of the GAN is not finite after {steps} steps")
