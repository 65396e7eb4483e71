"""Adversarial training and elastic weight consolidation: losses in closed form, steps, moments and averages."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import GanRecipe
from benchmark.errors import DivergenceError, InputError
from benchmark.models.gan import Gan, Generator, build_gan
from benchmark.models.surgery import state_hash
from benchmark.training import adversarial
from benchmark.training.adversarial import (
    discriminator_loss,
    drawn_from,
    generator_loss,
    r1_penalty,
    train_gan,
)
from benchmark.training.consolidation import IMAGES, consolidated, consolidation, diagonal_fisher

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "adapt_then_unlearn.json").read_text())
RECIPE = GanRecipe(10, 6, lr_generator=1e-3, lr_discriminator=2e-3, averaging=0.9, r1=0.5, r1_every=5)
EVERY_GAN = pytest.mark.parametrize("kind", ["points", "images"])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new(kind: str = "points") -> Gan:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_gan("gan-toy", (2,), 4, 8) if kind == "points" else build_gan("dcgan", (1, 8, 8), 4, 8)


def data(kind: str = "points") -> Tensor:
    shape = (2,) if kind == "points" else (1, 8, 8)
    return torch.rand(50, *shape, generator=rng(9)) * 2 - 1


def train(gan: Gan, steps: int, seed: int | torch.Generator = 0, recipe: GanRecipe = RECIPE, **options: Any) -> Gan:
    """``gan``, trained on points or images, whichever it makes."""
    kind = "images" if hasattr(gan.discriminator, "down1") else "points"
    train_gan(gan, drawn_from(data(kind)), recipe, steps, rng(seed) if isinstance(seed, int) else seed, **options)
    return gan


def same(one: Gan, other: Gan) -> bool:
    """Bit for bit, the moments, too."""
    first, second = one.tensors(), other.tensors()
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


# Losses.


def test_losses_of_known_logits() -> None:
    real, fake = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 3.0])
    expected = sum(math.log1p(math.exp(-x)) for x in (0, 2)) / 2 + sum(math.log1p(math.exp(x)) for x in (-1, 3)) / 2
    assert float(discriminator_loss(real, fake)) == pytest.approx(expected, rel=1e-6)
    expected = sum(math.log1p(math.exp(-x)) for x in (-1, 3)) / 2
    assert float(generator_loss(fake)) == pytest.approx(expected, rel=1e-6)


def test_losses_are_those_of_log_probabilities() -> None:
    real, fake = torch.randn(20, generator=rng()), torch.randn(20, generator=rng(1))
    expected = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(generator_loss(fake), -fake.sigmoid().log().mean())


def test_r1_of_a_linear_discriminator_is_half_its_squared_weights() -> None:
    linear = nn.Linear(12, 1)
    critic = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
    penalty = r1_penalty(critic, torch.randn(5, 3, 2, 2))
    torch.testing.assert_close(penalty, linear.weight.square().sum() / 2)
    (gradient,) = torch.autograd.grad(penalty, linear.weight)
    torch.testing.assert_close(gradient, linear.weight)


def test_r1_is_the_mean_over_real_samples() -> None:
    points = torch.tensor([[1.0, 2.0], [3.0, -1.0]], requires_grad=True)

    class Squares(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.square().sum(1)

    assert r1_penalty(Squares(), points).item() == (4 * 5 + 4 * 10) / 2 / 2
    assert points.grad is None


def test_real_images_are_drawn_with_replacement_by_the_generator() -> None:
    images = torch.arange(6.0).view(3, 2)
    drawn = drawn_from(images)(200, rng())
    assert torch.equal(drawn, images[torch.randint(3, (200,), generator=rng())])
    assert {tuple(row) for row in drawn.tolist()} == {(0, 1), (2, 3), (4, 5)}


# Steps.


def first_step(gan: Gan, recipe: GanRecipe) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the discriminator at first, and of the generator after the discriminator's step, by name."""
    trained, before, g = train(copy.deepcopy(gan), 1, recipe=recipe), copy.deepcopy(gan), rng()
    generator, critic = before.generator.train(), before.discriminator.train()
    images = generator.sample(recipe.batch_size, g)
    x = drawn_from(data())(recipe.batch_size, g)
    loss = discriminator_loss(critic(x), critic(images.detach()))
    loss = loss + recipe.r1 * recipe.r1_every * r1_penalty(critic, x)
    of_critic = torch.autograd.grad(loss, [*critic.parameters()], materialize_grads=True)
    after = copy.deepcopy(trained.discriminator).train()
    of_generator = torch.autograd.grad(generator_loss(after(images)), [*generator.parameters()])
    names = ([n for n, _ in network.named_parameters()] for network in (critic, generator))
    one, other = (dict(zip(n, g, strict=True)) for n, g in zip(names, (of_critic, of_generator), strict=True))
    return one, other


@pytest.mark.parametrize(("r1", "path_length"), [(0.0, 0.0), (0.5, 0.0), (0.0, 2.0), (0.5, 2.0)])
def test_lazy_penalties_scale_rates_and_moments(r1: float, path_length: float) -> None:
    """Adam's first step: rate x sign of the gradient; first moments (1 - beta1) g, second (1 - beta2) g^2."""
    recipe = msgspec.structs.replace(RECIPE, r1=r1, r1_every=5, path_length=path_length, path_every=3)
    gan = new()
    trained = train(copy.deepcopy(gan), 1, recipe=recipe)
    gradients = first_step(gan, recipe)
    for network, lr, c, found in (
        ("discriminator", RECIPE.lr_discriminator, 5 / 6 if r1 else 1.0, gradients[0]),
        ("generator", RECIPE.lr_generator, 3 / 4 if path_length else 1.0, gradients[1]),
    ):
        old, now = (dict(getattr(one, network).named_parameters()) for one in (gan, trained))
        for name, g in found.items():
            moments = {k: trained.moments[f"{network}.{name}.{k}"] for k in ("step", "exp_avg", "exp_avg_sq")}
            assert float(moments["step"]) == 1
            torch.testing.assert_close(moments["exp_avg"], (1 - 0.5**c) * g, rtol=1e-4, atol=1e-9)
            torch.testing.assert_close(moments["exp_avg_sq"], (1 - 0.99**c) * g.square(), rtol=1e-4, atol=1e-12)
            moved = now[name].detach() - old[name].detach()
            torch.testing.assert_close(moved, -lr * c * g / (g.abs() + 1e-8), rtol=1e-3, atol=1e-6)


class Spied(nn.Module):
    """A discriminator's place: what it is shown."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        found: Tensor = self.inner(x)
        return found


def test_lazy_penalties_are_taken_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"r1": 0, "path": 0}

    def r1(*arguments: Any) -> Tensor:
        taken["r1"] += 1
        return torch.zeros(())

    class Long(Generator):
        latent_dim = 4

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, z: Tensor) -> Tensor:
            found: Tensor = self.layer(z)
            return found

        def path_length_penalty(self, n: int, rng: torch.Generator) -> Tensor:
            taken["path"] += 1
            assert n == RECIPE.batch_size
            return self.layer.weight.square().sum() * 0

    monkeypatch.setattr(adversarial, "r1_penalty", r1)
    gan = Gan(Long(), new().discriminator)
    train(gan, 11, recipe=msgspec.structs.replace(RECIPE, path_length=1.0, path_every=4))
    assert taken == {"r1": 3, "path": 3}  # steps 0, 5, 10 and 0, 4, 8
    train(gan, 11, recipe=msgspec.structs.replace(RECIPE, r1=0.0))
    assert taken == {"r1": 3, "path": 3}


def test_a_path_length_penalty_is_as_many_times_as_large() -> None:
    class Constant(Generator):
        latent_dim = 4

        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(2))
            self.knob = nn.Parameter(torch.zeros(3))

        def forward(self, z: Tensor) -> Tensor:
            return z[:, :2] + self.shift

        def path_length_penalty(self, n: int, rng: torch.Generator) -> Tensor:
            return (self.knob * torch.tensor([1.0, -2.0, 0.0])).sum()

    gan = Gan(Constant(), new().discriminator)
    train(gan, 1, recipe=msgspec.structs.replace(RECIPE, path_length=0.5, path_every=4))
    moment = gan.moments["generator.knob.exp_avg"]
    torch.testing.assert_close(moment, (1 - 0.5 ** (4 / 5)) * 0.5 * 4 * torch.tensor([1.0, -2.0, 0.0]))


def test_the_discriminator_sees_real_and_generated_and_the_generator_s_again() -> None:
    gan = new()
    gan.discriminator = Spied(gan.discriminator)
    train(gan, 1, recipe=msgspec.structs.replace(RECIPE, r1=0.0))
    g = rng()
    made = new().generator.sample(6, g)
    real = drawn_from(data())(6, g)
    assert len(gan.discriminator.seen) == 3
    for seen, expected in zip(gan.discriminator.seen, (real, made, made), strict=True):
        torch.testing.assert_close(seen, expected.detach())


@EVERY_GAN
def test_averaged_weights_follow_the_last_ones(kind: str) -> None:
    gan = train(new(kind), 3)
    before = {name: p.detach().clone() for name, p in gan.average.named_parameters()}
    train(gan, 1, 1)
    for name, average in gan.average.named_parameters():
        expected = 0.9 * before[name] + 0.1 * gan.generator.get_parameter(name).detach()
        torch.testing.assert_close(average, expected)
        assert not torch.equal(average, before[name])


def test_buffers_of_the_average_are_those_of_the_generator() -> None:
    class Normalised(Generator):
        latent_dim = 4

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))

        def forward(self, z: Tensor) -> Tensor:
            found: Tensor = self.layers(z)
            return found

    gan = train(Gan(Normalised(), new().discriminator), 4)
    mine, theirs = dict(gan.average.named_buffers()), dict(gan.generator.named_buffers())
    assert mine.keys() == theirs.keys() != set()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert int(mine["layers.1.num_batches_tracked"]) == 4


@EVERY_GAN
def test_what_is_in_use_is_in_evaluation_mode_and_needs_no_gradient(kind: str) -> None:
    gan = train(new(kind), 2)
    assert not any(module.training for module in gan.modules())
    assert not any(parameter.requires_grad for parameter in gan.average.parameters())
    assert all(parameter.requires_grad for parameter in gan.generator.parameters())


@EVERY_GAN
def test_the_same_seed_gives_the_same_network(kind: str) -> None:
    one = train(new(kind), 6)
    torch.manual_seed(3)
    assert same(one, train(new(kind), 6))
    assert not same(one, train(new(kind), 6, seed=1))


# Moments.


@EVERY_GAN
def test_ten_steps_are_five_and_five(kind: str) -> None:
    whole, parts, g = train(new(kind), 10), new(kind), rng()
    train(parts, 5, g)
    train(parts, 5, g)
    assert same(whole, parts)
    assert float(whole.moments["generator.project.weight.step" if kind == "images" else
                               "generator.layers.0.weight.step"]) == 10  # fmt: skip


@EVERY_GAN
def test_a_network_that_was_kept_is_trained_on_as_if_it_had_stayed_in_memory(kind: str) -> None:
    """Files know no memory format: what comes from the artifact store is contiguous."""
    stayed = train(new(kind), 5)
    kept = {name: tensor.detach().clone().contiguous() for name, tensor in stayed.tensors().items()}
    restored = new(kind)
    restored.restore(kept)
    assert same(stayed, restored)
    assert same(train(stayed, 5, 1), train(restored, 5, 1))


@EVERY_GAN
def test_without_its_moments_a_network_takes_other_steps(kind: str) -> None:
    gan = train(new(kind), 5)
    fresh = copy.deepcopy(gan)
    fresh.moments = {}
    one, other = train(gan, 1, 1), train(fresh, 1, 1)
    for network in ("generator", "discriminator"):
        assert state_hash(getattr(one, network)) != state_hash(getattr(other, network))


def test_training_a_copy_leaves_the_moments_of_the_first_alone() -> None:
    gan = train(new(), 3)
    before = {name: tensor.clone() for name, tensor in gan.moments.items()}
    other = copy.copy(gan)
    other.moments = dict(gan.moments)
    train(other, 3, 1)
    assert before
    for name, moment in before.items():
        assert torch.equal(gan.moments[name], moment), name
    assert float(other.moments["generator.layers.0.weight.step"]) == 6


# Options.


@EVERY_GAN
def test_no_penalty_is_a_penalty_of_nothing(kind: str) -> None:
    none = train(new(kind), 5)
    nothing = train(new(kind), 5, penalty=lambda generator: 0.0 * next(generator.parameters()).sum())
    assert same(none, nothing)


def test_a_penalty_is_of_the_generator_and_pulls_it() -> None:
    def small(generator: Generator) -> Tensor:
        return 100 * torch.stack([p.square().sum() for p in generator.parameters()]).sum()

    def size(gan: Gan) -> float:
        return sum(float(p.detach().square().sum()) for p in gan.generator.parameters())

    assert size(train(new(), 50, penalty=small)) < 0.9 * size(train(new(), 50))


@EVERY_GAN
@pytest.mark.parametrize("last", [1, 2])
def test_what_is_not_trained_stays_bit_for_bit(kind: str, last: int) -> None:
    gan, before = train(new(kind), 2), train(new(kind), 2)
    names = [name for name, _ in gan.generator.named_parameters()][-last:]
    train(gan, 3, 1, trained=names)
    for name, parameter in gan.generator.named_parameters():
        assert torch.equal(parameter, before.generator.get_parameter(name)) == (name not in names)
        steps = gan.moments[f"generator.{name}.step"]
        assert float(steps) == (5 if name in names else 2)
    assert state_hash(gan.discriminator) != state_hash(before.discriminator)


@pytest.mark.parametrize("where", ["real", "penalty"])
def test_what_is_not_finite_is_said(where: str) -> None:
    gan = new()
    bad = data() * torch.nan if where == "real" else data()
    options: dict[str, Any] = {} if where == "real" else {"penalty": lambda g: next(g.parameters()).sum() * torch.inf}
    with pytest.raises(DivergenceError, match="not finite after 3 steps"):
        train_gan(gan, drawn_from(bad), RECIPE, 3, rng(), **options)


def test_a_parameter_that_the_last_step_broke_is_said() -> None:
    gan = new()

    def breaks(generator: Generator) -> Tensor:
        with torch.no_grad():
            generator.get_parameter("layers.4.bias").fill_(torch.inf)
        return torch.zeros(())

    with pytest.raises(DivergenceError, match="a parameter of the GAN is not finite after 1 steps"):
        train_gan(gan, drawn_from(data()), RECIPE, 1, rng(), penalty=breaks)


def test_fewer_steps_than_none_are_refused_and_none_change_nothing() -> None:
    gan, before = train(new(), 2), train(new(), 2)
    with pytest.raises(InputError, match="steps must be at least 0, not -1"):
        train(gan, -1)
    assert same(train(gan, 0), before)


def test_a_long_training_that_diverges_ends_early() -> None:
    with pytest.raises(DivergenceError, match=f"after {adversarial.CHECK_EVERY} steps"):
        train_gan(new(), drawn_from(data() * torch.nan), RECIPE, 1000, rng())


# Elastic weight consolidation.


def golden() -> tuple[dict[str, Any], dict[str, Any]]:
    case = GOLDEN["atu-3"]
    given = {
        name: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v for name, v in case["inputs"].items()
    }
    return given, case["expected"]


class OneVector(Generator):
    """theta, and images that are latents times it: the logit's gradient with respect to theta is the latent."""

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta.clone())
        self.latent_dim = len(theta)

    def forward(self, z: Tensor) -> Tensor:
        return z * self.theta


class Sums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(1)


def test_fisher_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    given, expected = golden()
    generator = OneVector(given["theta_G"])
    monkeypatch.setattr(generator, "latents", lambda n, rng: given["logit_grads"][:n])
    found = diagonal_fisher(generator, Sums(), ["theta"], rng(), images=3)
    torch.testing.assert_close(found["theta"], torch.tensor(expected["fisher"], dtype=torch.float64), rtol=1e-9, atol=0)


def test_consolidation_golden() -> None:
    given, expected = golden()
    fisher = {"theta": torch.tensor(expected["fisher"], dtype=torch.float64)}
    generator = OneVector(given["theta"])
    penalty = consolidation(fisher, {"theta": given["theta_G"]}, given["lambda"])(generator)
    penalty.backward()
    assert penalty.item() == pytest.approx(expected["penalty"], rel=1e-9)
    assert generator.theta.grad is not None
    assert generator.theta.grad.tolist() == pytest.approx(expected["grad"], rel=1e-9)


@EVERY_GAN
def test_fisher_is_the_mean_of_squared_gradients_one_by_one(kind: str) -> None:
    gan = train(new(kind), 3)
    names = gan.generator.anchored()
    found = diagonal_fisher(gan.generator, gan.discriminator, names, rng(), images=5)
    latents = gan.generator.latents(5, rng())
    for name in names:
        parameter = gan.generator.get_parameter(name)
        each = [
            torch.autograd.grad(gan.discriminator(gan.generator(z[None]))[0], parameter)[0].square() for z in latents
        ]
        torch.testing.assert_close(found[name], torch.stack(each).mean(0), rtol=1e-3, atol=1e-7)
        assert bool((found[name] >= 0).all())
        assert float(found[name].max()) > 0
    assert not any(f.requires_grad for f in found.values())


@EVERY_GAN
@pytest.mark.parametrize("mode", [True, False])
def test_networks_are_left_as_they_were(kind: str, mode: bool) -> None:
    gan = new(kind).train(mode)
    gan.generator.requires_grad_(False)
    next(gan.generator.parameters()).requires_grad_(True)
    required, before = [p.requires_grad for p in gan.generator.parameters()], state_hash(gan)
    found = diagonal_fisher(gan.generator, gan.discriminator, gan.generator.anchored(), rng())
    assert [p.requires_grad for p in gan.generator.parameters()] == required
    assert all(p.requires_grad for p in gan.discriminator.parameters())
    assert (gan.generator.training, gan.discriminator.training) == (mode, mode)
    assert state_hash(gan) == before  # also what batch normalisation remembers
    assert all(p.grad is None for p in gan.parameters())
    other = diagonal_fisher(gan.generator.train(not mode), gan.discriminator.train(not mode), [*found], rng())
    assert all(torch.equal(found[name], other[name]) for name in found)


def test_how_many_images_the_fisher_information_is_of(monkeypatch: pytest.MonkeyPatch) -> None:
    gan, asked = new(), list[int]()
    latents = gan.generator.latents

    def counted(n: int, rng: torch.Generator) -> Tensor:
        asked.append(n)
        return latents(n, rng)

    monkeypatch.setattr(gan.generator, "latents", counted)
    assert consolidated(gan.generator, gan.discriminator, 1.0, rng()) is not None
    assert asked == [IMAGES] == [32]


@EVERY_GAN
def test_consolidation_is_to_the_generator_as_it_was(kind: str) -> None:
    """Neither the anchor nor the Fisher information moves when the generator and the discriminator are trained."""
    gan = train(new(kind), 2)
    before = copy.deepcopy(gan.generator)
    penalty = consolidated(gan.generator, gan.discriminator, 3.0, rng())
    fisher = diagonal_fisher(gan.generator, gan.discriminator, gan.generator.anchored(), rng())
    assert penalty is not None
    assert penalty(gan.generator).item() == 0
    train(gan, 5, 1)
    now = dict(gan.generator.named_parameters())
    expected = sum((f * (now[n] - before.get_parameter(n)).square()).sum().item() for n, f in fisher.items())
    assert penalty(gan.generator).item() == pytest.approx(1.5 * expected, rel=1e-5)
    assert penalty(before).item() == 0


def test_what_is_not_anchored_is_free() -> None:
    gan = new("images")
    names = gan.generator.anchored()
    assert names == ["up1.weight", "up1.bias", "up2.weight", "up2.bias"]
    penalty = consolidated(gan.generator, gan.discriminator, 1.0, rng())
    assert penalty is not None
    with torch.no_grad():
        gan.generator.get_parameter("project.weight").add_(1)
    assert penalty(gan.generator).item() == 0
    with torch.no_grad():
        gan.generator.get_parameter("up1.weight").add_(1)
    assert penalty(gan.generator).item() > 0


def test_consolidation_of_no_weight_is_none_and_a_heavy_one_holds_on() -> None:
    gan = train(new(), 5)
    assert consolidated(gan.generator, gan.discriminator, 0.0, rng()) is None
    with pytest.raises(InputError, match="lam must be at least 0, not -1"):
        consolidated(gan.generator, gan.discriminator, -1, rng())
    before = {name: p.detach().clone() for name, p in gan.generator.named_parameters()}

    def moved(lam: float) -> Tensor:
        own = copy.deepcopy(gan)
        fisher = diagonal_fisher(own.generator, own.discriminator, [*before], rng())
        train(own, 40, 1, penalty=consolidated(own.generator, own.discriminator, lam, rng()))
        now = dict(own.generator.named_parameters())
        return torch.stack([(fisher[n] * (now[n] - before[n]).square()).sum() for n in before]).sum()

    assert moved(1e7).item() < 0.5 * moved(0.0).item()
