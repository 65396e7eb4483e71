"""Adapt then Unlearn: the distance to all adapted generators in closed form, beside a loop over them in every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, GanRecipe, Ledger
from benchmark.data.feedback import Feedback
from benchmark.data.packaged import load
from benchmark.data.views import View
from benchmark.models.gan import Gan, Generator, build_gan
from benchmark.training.adversarial import drawn_from, train_gan
from benchmark.training.screening import positives
from methods.adapt_then_unlearn import Distance, il2, unlearn

#: As many adapted models as the paper's runs have.
M = 5
GAMMA, IMAGES = 1.0, 500
#: Steps after which both ways are compared.
FEW = 5
#: Side of the images, latent dimensions and width: those of the embedded suite, and small ones.
FULL, SMALL = (16, 64, 32), (8, 6, 8)


class Brightness(nn.Module):
    """A judge: undesired is what is brighter on average than a grey."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))


def problem_of(size: tuple[int, int, int], device: str) -> GanProblem:
    """A GAN as it is initialised: a step costs what it costs at its end."""
    side, latent, width = size

    def build() -> Gan:
        torch.manual_seed(0)
        return build_gan("dcgan", (1, side, side), latent, width).to(device)

    gan, access, ledger = build(), Access(feedback="y"), Ledger()
    return GanProblem(
        model=gan.average,
        gan=gan,
        num_classes=2,
        device=torch.device(device),
        seed=0,
        build_model=lambda: build().generator,
        build_gan=build,
        feedback=Feedback(Brightness(), access, ledger),
        real=View("real", load("digits").train, access, ledger),
        recipe=GanRecipe(2000, 64, lr_generator=4e-3, lr_discriminator=4e-3, r1=0.1),
    )


def adapted(size: tuple[int, int, int], device: str) -> list[dict[str, Tensor]]:
    """Parameters of M generators near the original's."""
    rng = torch.Generator().manual_seed(1)
    theta = dict(problem_of(size, device).gan.generator.named_parameters())
    draw: Callable[[Tensor], Tensor] = lambda p: 0.05 * torch.randn(p.shape, generator=rng).to(p)  # noqa: E731
    return [{name: p.detach() + draw(p) for name, p in theta.items()} for _ in range(M)]


def mean_distance(generator: Generator, models: list[dict[str, Tensor]]) -> Tensor:
    """d: the mean over adapted models of ||theta - theta_N||^2, one after the other."""
    total = torch.zeros((), device=next(generator.parameters()).device)
    for model in models:
        for name, parameter in generator.named_parameters():
            total = total + ((parameter - model[name]) ** 2).sum()
    return total / len(models)


def stacked(models: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each parameter (M, ...), as stage 1 gives them."""
    return {name: torch.stack([model[name] for model in models]) for name in models[0]}


WAY = "a loop over the adapted models in every step"


def test_unlearning(beside, device: str, full: bool) -> None:  # type: ignore[no-untyped-def]
    """Stage 2, adversarial loss and all: after five steps parameters agree within 1 % of a tensor's largest step.

    Later they need not: adversarial training magnifies what is rounded differently.
    """
    size, steps = (FULL, 200) if full else (SMALL, 10)
    models = adapted(size, device)

    def ours(steps: int) -> nn.Module:
        return unlearn(problem_of(size, device), stacked(models), il2, GAMMA, IMAGES, steps, "relative")

    def plain(steps: int) -> nn.Module:
        problem = problem_of(size, device)
        at_start = float(mean_distance(problem.gan.generator, models).detach())
        real = drawn_from(positives(problem, IMAGES))

        def push(generator: Generator) -> Tensor:
            return GAMMA * at_start / mean_distance(generator, models)

        train_gan(problem.gan, real, problem.recipe, steps, problem.generator("unlearning"), penalty=push)
        return problem.gan.average

    title = "Adapt then Unlearn: stage 2"
    beside(lambda: ours(steps), lambda: plain(steps), title, WAY, amount=steps, unit="steps")
    old, own = problem_of(size, device).model.state_dict(), ours(FEW).state_dict()
    for name, tensor in plain(FEW).state_dict().items():
        step = float((tensor - old[name]).abs().max())
        assert step > 0
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=0.01 * step, msg=lambda m, n=name: f"{n}: {m}")


def test_repulsion(beside, device: str, full: bool) -> None:  # type: ignore[no-untyped-def]
    """The repulsion and its gradient alone, which agree within 1e-5."""
    size, times = (FULL, 500) if full else (SMALL, 5)
    models = adapted(size, device)
    generator = problem_of(size, device).gan.generator
    parameters = dict(generator.named_parameters())
    distance = Distance.to(stacked(models), "sum", parameters)

    def repeated(d: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        for _ in range(times):
            gradients = torch.autograd.grad(il2(d()), list(parameters.values()))
        return gradients

    def ours() -> tuple[Tensor, ...]:
        return repeated(lambda: distance(dict(generator.named_parameters())))

    def plain() -> tuple[Tensor, ...]:
        return repeated(lambda: mean_distance(generator, models))

    found, expected = beside(ours, plain, "Adapt then Unlearn: repulsion", WAY, amount=times, unit="gradients")
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
