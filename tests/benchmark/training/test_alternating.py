"""Losses that take turns: steps by hand, moments of their own, means of epochs, and a divergence that is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import DivergenceError
from benchmark.training.alternating import Turn, alternate


def parameter(value: float = 1.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value, dtype=torch.float64))


def descent(p: nn.Parameter, lr: float) -> torch.optim.SGD:
    return torch.optim.SGD([p], lr=lr)


def test_a_loss_is_computed_after_the_step_on_the_one_before() -> None:
    p = parameter()
    turns: dict[str, Turn[float]] = {
        "square": (lambda a: a * p.square(), descent(p, 0.1)),
        "line": (lambda a: a * p, descent(p, 0.5)),
    }
    curves = alternate([[1.0, 2.0], [1.0]], turns)
    x, means = 1.0, {"square": list[float](), "line": list[float]()}
    for epoch in ([1.0, 2.0], [1.0]):
        losses: dict[str, list[float]] = {"square": [], "line": []}
        for a in epoch:
            losses["square"].append(a * x**2)
            x -= 0.1 * 2 * a * x
            losses["line"].append(a * x)
            x -= 0.5 * a
        for name, own in losses.items():
            means[name].append(sum(own) / len(own))
    assert p.item() == pytest.approx(x)
    assert curves == {name: pytest.approx(own) for name, own in means.items()}


def test_each_loss_has_moments_of_its_own() -> None:
    """Adam's first step is its rate, whatever the gradient: with shared moments the second loss's would not be."""
    p = parameter(0.0)
    turns: dict[str, Turn[None]] = {
        "up": (lambda _: -1000 * p, torch.optim.Adam([p], lr=1.0)),
        "down": (lambda _: 0.001 * p, torch.optim.Adam([p], lr=0.25)),
    }
    alternate([[None]], turns)
    assert p.item() == pytest.approx(0.75, abs=1e-4)


def test_gradients_do_not_add_up() -> None:
    p = parameter(0.0)
    turns: dict[str, Turn[None]] = {name: (lambda _: 1 * p, descent(p, 1.0)) for name in ("a", "b")}
    alternate([[None, None]], turns)
    assert p.item() == -4


def test_epochs_are_begun_one_after_the_other() -> None:
    p, seen = parameter(), list[float]()

    def epoch() -> list[None]:
        seen.append(p.item())
        return [None]

    alternate((epoch() for _ in range(3)), {"line": (lambda _: 1 * p, descent(p, 1.0))})
    assert seen == [1, 0, -1]


def test_no_epoch_is_no_value() -> None:
    assert alternate([], {"line": (lambda _: parameter(), descent(parameter(), 1.0))}) == {"line": []}


@pytest.mark.parametrize(
    ("first", "message"),
    [((2, "a"), "a is not finite in epoch 1, step 2"), ((3, "b"), "b is not finite in epoch 2, step 1")],
)
def test_the_first_loss_that_diverges_is_named(first: tuple[int, str], message: str) -> None:
    p = parameter()

    def loss(name: str) -> Turn[int]:
        def value(item: int) -> Tensor:
            return p * (torch.nan if (item, name) == first else 1)

        return value, descent(p, 0.1)

    with pytest.raises(DivergenceError, match=message):
        alternate([[1, 2], [3, 4]], {name: loss(name) for name in ("a", "b")})
