"""The training loop: it learns, it ends where its schedule ends, and it says when it diverges."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger, Recipe
from benchmark.data.views import Samples, View
from benchmark.errors import DivergenceError
from benchmark.training import loop as training
from benchmark.training.loop import adam, epochs, optimise, optimiser_of, paired, sgd, train_classifier


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy(n: int = 300) -> View:
    """Two classes on either side of a line, with a margin."""
    labels = torch.arange(n) % 2
    noise = torch.randn(n, 2, generator=seeded())
    images = 0.3 * noise + (2 * labels[:, None] - 1) * torch.tensor([1.0, -1.0])
    return View("train", Samples(images, labels), Access(train="xy"), Ledger())


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Linear(2, 2)


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_a_separable_toy_is_learned(schedule: str) -> None:
    view, model = toy(), network()
    train_classifier(model, view, Recipe(5, 0.1, 32, schedule=schedule), seeded())  # type: ignore[arg-type]
    everything = view.everything()
    with torch.no_grad():
        assert float((model(everything.x).argmax(1) == everything.y).float().mean()) > 0.99
    assert not model.training


def test_training_is_a_function_of_its_generator() -> None:
    states = []
    for seed in (1, 1, 2):
        model = network()
        train_classifier(model, toy(), Recipe(2, 0.1, 32), seeded(seed))
        states.append(model.weight.detach().clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("n", "size", "steps_an_epoch"),
    [(100, 10, 10), (104, 10, 10), (105, 10, 11), (109, 10, 11), (10, 10, 1), (7, 10, 1), (14, 10, 1), (15, 10, 2)],
)
def test_the_one_cycle_schedule_ends_with_the_last_step(
    monkeypatch: pytest.MonkeyPatch, n: int, size: int, steps_an_epoch: int
) -> None:
    """Neither over-run (an error of torch) nor under-run (the last steps at a high rate)."""
    rates: list[list[float]] = []

    class Recorded(torch.optim.lr_scheduler.OneCycleLR):
        def step(self, epoch: int | None = None) -> None:
            super().step(epoch)
            rates.append([group["lr"] for group in self.optimizer.param_groups])
            assert self.last_epoch < self.total_steps

    monkeypatch.setattr(torch.optim.lr_scheduler, "OneCycleLR", Recorded)
    train_classifier(network(), toy(n), Recipe(3, 0.1, size), seeded())
    used = [rate for (rate,) in rates[:-1]]  # a rate is set for the next step; the first is set by the constructor
    assert len(rates) == 3 * steps_an_epoch + 1
    assert max(used) == pytest.approx(0.1, rel=0.3)
    assert rates[-1][0] == pytest.approx(0.1 / 25 / 1e4)  # the schedule's floor


@pytest.mark.parametrize("steps", [4, 5, 6])
def test_a_schedule_of_few_steps(steps: int) -> None:
    """The rate rises and falls to its floor however few steps there are."""
    optimiser = sgd(network(), 0.1)
    schedule = training.schedule_of(optimiser, 4 * steps, Recipe(1, 0.1, 4))
    assert schedule is not None
    rates = []
    for _ in range(steps):
        optimiser.step()
        rates.append(optimiser.param_groups[0]["lr"])
        schedule.step()
    assert all(0 < rate <= 0.1 for rate in rates)
    assert max(rates) > 0.05
    assert optimiser.param_groups[0]["lr"] < 0.1 / 25


def test_divergence_is_a_typed_error() -> None:
    model = network()
    with pytest.raises(DivergenceError, match="not finite after 2 steps"):
        optimise([1.0, math.nan], lambda x: model.weight.sum() * x, sgd(model, 0.1))
    with pytest.raises(DivergenceError):
        train_classifier(network(), toy(), Recipe(3, 1e30, 32, schedule="constant"), seeded())


def test_optimise_takes_a_step_an_item_and_returns_the_mean_loss() -> None:
    parameter = nn.Parameter(torch.tensor([1.0]))
    optimiser = sgd([parameter], 0.5, momentum=0.0, weight_decay=0.0)
    grads: list[float] = []

    def before() -> None:
        assert parameter.grad is not None
        grads.append(float(parameter.grad))

    mean = optimise([1.0, 3.0], lambda x: (x * parameter).sum(), optimiser, before_step=before)
    assert grads == [1.0, 3.0]  # gradients do not add up over steps
    assert float(parameter.detach()) == 1.0 - 0.5 * 1 - 0.5 * 3
    assert mean == pytest.approx((1.0 * 1.0 + 3.0 * 0.5) / 2)
    assert optimise([], lambda x: parameter.sum(), optimiser) == 0.0


def test_sgd_is_the_papers() -> None:
    options = sgd(network(), 0.1).defaults
    assert (options["lr"], options["momentum"], options["weight_decay"], options["nesterov"]) == (0.1, 0.9, 5e-4, True)
    assert not sgd(network(), 0.1, momentum=0.0).defaults["nesterov"]


def test_a_recipe_names_its_optimiser() -> None:
    model = network()
    found = optimiser_of(model, Recipe(1, 0.003, 4, weight_decay=1e-4, schedule="constant", optimiser="adam"))
    assert isinstance(found, torch.optim.Adam)
    assert (found.defaults["lr"], found.defaults["weight_decay"], found.defaults["betas"]) == (
        0.003,
        1e-4,
        (0.9, 0.999),
    )
    assert [p for group in found.param_groups for p in group["params"]] == list(model.parameters())
    plain = optimiser_of(model, Recipe(1, 0.1, 4, momentum=0.5, schedule="constant"))
    assert isinstance(plain, torch.optim.SGD)
    assert (plain.defaults["lr"], plain.defaults["momentum"], plain.defaults["weight_decay"]) == (0.1, 0.5, 5e-4)


def test_a_first_step_of_adam_is_as_long_as_its_rate() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimise([1.0], lambda x: (torch.tensor([5.0, -0.01]) * parameter).sum(), adam([parameter], 0.1))
    assert parameter.tolist() == pytest.approx([0.9, -1.9], abs=1e-5)


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_adam_learns_the_toy(schedule: str) -> None:
    view, model = toy(), network()
    recipe = Recipe(5, 0.05, 32, schedule=schedule, optimiser="adam")  # type: ignore[arg-type]
    train_classifier(model, view, recipe, seeded())
    everything = view.everything()
    with torch.no_grad():
        assert float((model(everything.x).argmax(1) == everything.y).float().mean()) > 0.99


def test_epochs_are_shuffled_anew() -> None:
    orders = [batch.index.tolist() for batch in epochs(toy(8), 8, 3, seeded())]
    assert [sorted(order) for order in orders] == [list(range(8))] * 3
    assert orders[0] != orders[1] != orders[2]


def test_paired_runs_epochs_of_the_lead_and_cycles_through_the_other() -> None:
    pairs = list(paired(toy(12), toy(4), 4, 2, seeded()))
    assert len(pairs) == 6
    assert sorted(i for lead, _ in pairs[:3] for i in lead.index.tolist()) == list(range(12))
    assert [sorted(other.index.tolist()) for _, other in pairs] == [list(range(4))] * 6


def test_a_recipe_must_make_sense() -> None:
    for wrong in ({"epochs": 0}, {"batch_size": -1}, {"lr": 0.0}):
        with pytest.raises(ValueError, match="must be above 0"):
            Recipe(**{"epochs": 1, "lr": 0.1, "batch_size": 4, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimiser": "adam", "momentum": 0.5}, "momentum cannot be chosen with optimiser adam"),
        ({"schedule": "one-cycle", "momentum": 0.5}, "momentum cannot be chosen with schedule one-cycle"),
        ({"momentum": 1.0}, r"momentum 1.0 must be in \[0, 1\)"),
        ({"weight_decay": -0.1}, "weight_decay -0.1 at least 0"),
    ],
)
def test_what_a_recipe_would_not_use_or_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe(**{"epochs": 1, "lr": 0.1, "batch_size": 4, "schedule": "constant", **changes})


def test_cross_entropy_is_the_mean_over_a_batch() -> None:
    model = nn.Identity()
    view = View("v", Samples(torch.zeros(3, 4), torch.arange(3)), Access(v="xy"), Ledger())
    loss: Tensor = training.cross_entropy(model)(view.everything())
    assert float(loss) == pytest.approx(math.log(4))


def test_augmented_images_are_what_a_network_learns_from() -> None:
    """Crops and mirrored images are drawn anew in each epoch, by the generator that orders the batches."""
    images = torch.arange(8 * 64, dtype=torch.float32).view(8, 1, 8, 8)
    view = View("v", Samples(images, torch.zeros(8, dtype=torch.int64)), Access(v="xy"), Ledger())
    seen: list[Tensor] = []

    class Looking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.clone())
            return super().forward(x.flatten(1) / 512)

    for augmentation in ("none", "crop-flip"):
        recipe = Recipe(2, 1e-3, 8, schedule="constant", augmentation=augmentation)  # type: ignore[arg-type]
        train_classifier(Looking(64, 2), view, recipe, seeded())
    plain, augmented = seen[:2], seen[2:]
    assert sorted(plain[0].flatten().tolist()) == sorted(images.flatten().tolist())
    assert all(set(x.flatten().tolist()) < set(images.flatten().tolist()) for x in augmented)
    assert not torch.equal(augmented[0].sort(0).values, augmented[1].sort(0).values)


def test_low_precision_is_of_the_forward_pass() -> None:
    seen: list[torch.dtype] = []

    class Looking(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            seen.append(y.dtype)
            return y

    for precision in ("float32", "bf16"):
        model = Looking(2, 2)
        train_classifier(model, toy(), Recipe(1, 0.1, 64, precision=precision), seeded())  # type: ignore[arg-type]
        assert model.weight.dtype == torch.float32
    half = len(seen) // 2
    assert set(seen[:half]) == {torch.float32}
    assert set(seen[half:]) == {torch.bfloat16}
