"""Networks trained in a stack end where training them alone ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger, Recipe, seeds_together
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.errors import DivergenceError, InputError
from benchmark.models.classifiers import build_classifier
from benchmark.seeding import generator
from benchmark.training.loop import train_classifier
from benchmark.training.stacking import train_stacked

RECIPES = {
    "sgd": Recipe(epochs=2, batch_size=32, lr=0.1),
    "adam": Recipe(epochs=2, batch_size=32, lr=1e-2, optimiser="adam", schedule="constant"),
    "weighted": Recipe(epochs=1, batch_size=32, lr=0.1, weighted=True),
}


def samples_of(shape: tuple[int, ...], seed: int = 0, n: int = 100) -> Samples:
    """Random inputs in float64, which training follows."""
    rng = torch.Generator().manual_seed(seed)
    return Samples(torch.randn(n, *shape, generator=rng, dtype=torch.float64), torch.randint(3, (n,), generator=rng))


def trained(
    train: Callable[[Sequence[nn.Module], Sequence[View], Recipe, Sequence[torch.Generator]], None],
    model: str,
    parts: Sequence[Samples],
    recipe: Recipe,
    dtype: torch.dtype = torch.float64,
    classes: int = 3,
) -> tuple[list[nn.Module], list[View]]:
    """One network on each part, each of its own weights and order."""
    models = []
    for seed, part in enumerate(parts):
        torch.manual_seed(seed)
        models.append(build_classifier(model, classes, tuple(part.images.shape[1:])).to(dtype))
    views = [View("train", part, Access(train="xy"), Ledger()) for part in parts]
    train(models, views, recipe, [generator(seed, "order") for seed in range(len(parts))])
    return models, views


def one_by_one(
    models: Sequence[nn.Module], views: Sequence[View], recipe: Recipe, generators: Sequence[torch.Generator]
) -> None:
    for model, view, rng in zip(models, views, generators, strict=True):
        train_classifier(model, view, recipe, rng)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("model", "shape"), [("mlp-toy", (2,)), ("resnet-small", (1, 8, 8)), ("laf-cnn", (3, 8, 8))])
def test_stacked_and_alone(model: str, shape: tuple[int, ...], recipe: str) -> None:
    """In float64 to 1e-9, weights and statistics of batch norm; what was read of each view is the same."""
    parts = [samples_of(shape, seed) for seed in range(3)]
    stacked, views = trained(train_stacked, model, parts, RECIPES[recipe])
    alone, others = trained(one_by_one, model, parts, RECIPES[recipe])
    for own, other in zip(stacked, alone, strict=True):
        assert not own.training
        for name, tensor in state_of(own).items():
            torch.testing.assert_close(tensor, state_of(other)[name], rtol=1e-9, atol=1e-9)
    assert [v.counts() for v in views] == [v.counts() for v in others]


def test_on_digits() -> None:
    """In float32 rounding grows from step to step; of the test samples, 99 in 100 are classified the same."""
    data, recipe = load("digits"), Recipe(epochs=6, batch_size=64, lr=0.1)
    both = [
        trained(train, "resnet-small", [data.train] * 2, recipe, torch.float32, 10)[0]
        for train in (train_stacked, one_by_one)
    ]
    with torch.no_grad():
        stacked, alone = (torch.stack([model(data.test.inputs()) for model in models]).argmax(2) for models in both)
    assert (stacked == alone).float().mean() > 0.99
    assert ((alone == data.test.labels).float().mean(1) > 0.9).all()
    assert len({tuple(each.tolist()) for each in alone}) == 2  # each has its own weights and order


def test_a_stack_of_one_is_trained_alone() -> None:
    part = samples_of((1, 8, 8))
    (own,), _ = trained(train_stacked, "resnet-small", [part], RECIPES["sgd"])
    (other,), _ = trained(one_by_one, "resnet-small", [part], RECIPES["sgd"])
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in own.state_dict().items())


def test_low_precision() -> None:
    """bf16 is another function: weights stay float32, and stacked they end near where they end alone."""
    data = load("digits")
    recipe = Recipe(epochs=3, batch_size=64, lr=0.1, precision="bf16")
    (stacked, other), _ = trained(train_stacked, "resnet-small", [data.train] * 2, recipe, torch.float32, 10)
    (alone, _), _ = trained(one_by_one, "resnet-small", [data.train] * 2, recipe, torch.float32, 10)
    (exact, _), _ = trained(
        one_by_one, "resnet-small", [data.train] * 2, Recipe(epochs=3, batch_size=64, lr=0.1), torch.float32, 10
    )
    assert {p.dtype for p in stacked.parameters()} == {torch.float32}
    assert not torch.equal(next(alone.parameters()), next(exact.parameters()))
    for model in (stacked, other, alone):
        with torch.no_grad():
            assert (model(data.test.inputs()).argmax(1) == data.test.labels).float().mean() > 0.9


def test_random_layers_are_refused() -> None:
    with pytest.raises(InputError, match="Dropout"):
        trained(train_stacked, "vgg-small", [samples_of((1, 8, 8))] * 2, RECIPES["sgd"])


class Dropping(nn.Module):
    """Random numbers where no layer says so."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(nn.functional.dropout(x, 0.5, self.training))


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    model[0].requires_grad_(False)
    return model


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 3))
    model[1].weight = model[0].weight
    return model


@pytest.mark.parametrize(("build", "said"), [(Dropping, "random"), (frozen, "frozen"), (tied, "tied")])
def test_what_cannot_be_stacked_is_said(build: Callable[[], nn.Module], said: str) -> None:
    part = samples_of((2,))
    views = [View("train", part, Access(train="xy"), Ledger()) for _ in range(2)]
    with pytest.raises(InputError, match=f"stacked: .*{said}"):
        train_stacked([build().double() for _ in views], views, RECIPES["sgd"], [generator(0, "order") for _ in views])


def test_views_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="in step"):
        trained(train_stacked, "mlp-toy", [samples_of((2,)), samples_of((2,), n=90)], RECIPES["sgd"])


def test_divergence_leaves_all_as_they_were() -> None:
    parts = [samples_of((2,)), samples_of((2,), 1)]
    parts[1].images[:] = torch.inf
    before: list[dict[str, Any]] = []

    def train(models: Sequence[nn.Module], *rest: Any) -> None:
        before.extend({name: t.clone() for name, t in model.state_dict().items()} for model in models)
        with pytest.raises(DivergenceError):
            train_stacked(models, *rest)

    models, _ = trained(train, "mlp-toy", parts, RECIPES["sgd"])
    for model, kept in zip(models, before, strict=True):
        assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())


def test_seeds_of_a_stack() -> None:
    recipe = Recipe(epochs=1, batch_size=1, lr=1.0, stacked=8)
    assert seeds_together(recipe, 10_003) == range(10_000, 10_008)
    assert seeds_together(recipe, 7) == range(8)
    assert seeds_together(RECIPES["sgd"], 7) == range(7, 8)
    with pytest.raises(ValueError, match="stacked must be above 0"):
        Recipe(epochs=1, batch_size=1, lr=1.0, stacked=0)
