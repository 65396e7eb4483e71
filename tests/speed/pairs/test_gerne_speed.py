"""GERNE: one weighted batch that passes each sample once, beside two batches whose gradients are put together."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, Ledger, StepRecipe
from benchmark.data.colours import assign, colour
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.models.classifiers import build_classifier
from benchmark.training.sampling import GroupTable
from methods.gerne import gerne

C, S = 0.5, 1.0
BETA = S / C - 1
#: Steps after which both ways are compared.
FEW = 5


class Unwatched:
    """Nobody looks: the same is timed on both sides."""

    def look(self, model: nn.Module) -> None:
        pass

    def restore(self, model: nn.Module) -> None:
        raise AssertionError("nothing was looked at")


@functools.cache
def coloured(data: str) -> Samples:
    """Ten colours, 5 % of each class in other classes' colours; of few samples more, so that no group has none."""
    train = load(data).train
    attributes = assign(train.labels, 10, 0.05 if data == "mnist-5k" else 0.3)
    images = colour(train.images, attributes, 1, torch.Generator().manual_seed(0))
    return Samples(images, train.labels, (0.5,) * 3, (0.5,) * 3, attributes=attributes, channels_last=False)


def problem_of(data: str, steps: int, per_class: int, device: str) -> DebiasProblem:
    """The embedded suite's network and recipe."""
    samples, access, ledger = coloured(data).to(torch.device(device)), Access(train="xya"), Ledger()
    nothing = View("validation", samples, Access(), ledger)

    def build() -> nn.Module:
        torch.manual_seed(0)
        return build_classifier("cmnist-mlp", 10, (3, *samples.images.shape[2:])).to(device)

    return DebiasProblem(
        model=build(),
        num_classes=10,
        device=torch.device(device),
        seed=0,
        build_model=build,
        train=View("train", samples, access, ledger),
        validation=nothing,
        unbiased=nothing,
        num_attributes=10,
        attributes_known=True,
        recipe=StepRecipe(steps=steps, per_class=per_class, lr=0.1, weight_decay=0.01, checkpoints=1),
        watch=Unwatched(),
        auxiliary=Unwatched,
    )


def gradient(model: nn.Module, view: View, index: Tensor) -> list[Tensor]:
    """Of the mean cross-entropy of a batch."""
    batch = view.batch(index)
    model.zero_grad()
    F.cross_entropy(model(batch.x), batch.y).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def extrapolated(problem: DebiasProblem) -> nn.Module:
    """Algorithm 1: (1 + beta) grad L_lb - beta grad L_b in every step."""
    model, view, recipe = problem.model.train(), problem.train, problem.recipe
    everything = view.everything()
    table = GroupTable(everything.y * 10 + everything.a, (10, 10))
    p_b = table.alpha
    p_lb = p_b + C * (0.1 - p_b)
    optimiser = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    generator = problem.generator("batches")
    for _ in range(recipe.steps):
        g_lb = gradient(model, view, table.draw(p_lb, recipe.per_class, generator))
        g_b = gradient(model, view, table.draw(p_b, recipe.per_class, generator))
        for p, lb, b in zip(model.parameters(), g_lb, g_b, strict=True):
            p.grad = (1 + BETA) * lb - BETA * b
        optimiser.step()
    return model


def test_extrapolation(beside, device: str, full: bool) -> None:  # type: ignore[no-untyped-def]
    """From the same draws: after five steps parameters agree within 0.1 % of the largest step of a tensor.

    Later they need not: at this rate what is rounded differently grows tenfold every few steps. In double precision
    both ways agree to nine digits after 200 steps.
    """
    data, steps, per_class = ("mnist-5k", 200, 50) if full else ("digits", 10, 10)

    def ours(steps: int) -> nn.Module:
        return gerne(problem_of(data, steps, per_class, device), c=C, s=S)

    def plain(steps: int) -> nn.Module:
        return extrapolated(problem_of(data, steps, per_class, device))

    way = "two batches and arithmetic with their gradients"
    beside(lambda: ours(steps), lambda: plain(steps), "GERNE", way, amount=steps, unit="steps")
    old, own = problem_of(data, FEW, per_class, device).model.state_dict(), ours(FEW).state_dict()
    for name, tensor in plain(FEW).state_dict().items():
        step = float((tensor - old[name]).abs().max())
        assert step > 0
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=1e-3 * step, msg=lambda m, n=name: f"{n}: {m}")
