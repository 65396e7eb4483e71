"""StyleGAN2 as a whole: shapes, noise, style mixing, path lengths, and a little training."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import InputError
from benchmark.models.gan import Gan, build_gan
from benchmark.models.stylegan2 import StyleGan2Discriminator, StyleGan2Generator, channels, stylegan2
from benchmark.models.stylegan2_layers import ModulatedConv2d


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(before)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noisy(generator: StyleGan2Generator) -> StyleGan2Generator:
    """With noise strengths that are not zero, as after training."""
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(0.5)
    return generator


def small(side: int = 16, colours: int = 3) -> StyleGan2Generator:
    return noisy(StyleGan2Generator(colours, side, latent_dim=6, width=8))


def differ(first: Tensor, second: Tensor) -> bool:
    """By more than rounding."""
    return (first - second).abs().max().item() > 0.01


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 128, 128)])
def test_shapes(shape: tuple[int, ...]) -> None:
    gan = build_gan("stylegan2", shape, 5, 4)
    images = gan.generator(gan.generator.latents(3, rng()))
    assert images.shape == (3, *shape)
    assert gan.generator.sample(2, rng()).shape == (2, *shape)
    for batch in (1, 3):
        assert gan.discriminator(images[:batch]).shape == (batch,)


def test_channels_are_in_the_papers_proportions() -> None:
    assert [channels(side, 512) for side in (4, 32, 64, 128, 256, 1024)] == [512, 512, 512, 256, 128, 32]
    assert [channels(side, 3) for side in (64, 128, 1024)] == [3, 1, 1]
    generator = StyleGan2Generator(3, 128, latent_dim=4, width=8)
    assert generator.convs[-1].conv.weight.shape == (4, 4, 3, 3)
    assert generator.convs[-2].conv.weight.shape == (4, 8, 3, 3)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 32), (3, 4, 4), (3, 2048, 2048), (2,), (0, 8, 8)])
def test_bad_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="shape") as error:
        stylegan2(shape, 4, 4)
    assert str(shape) in str(error.value)


def test_bad_values_name_what_is_near() -> None:
    with pytest.raises(InputError, match=r"\(1, 32, 32\)"):
        stylegan2((1, 28, 28), 4, 4)
    with pytest.raises(InputError, match="width"):
        stylegan2((1, 8, 8), 4, 0)
    with pytest.raises(InputError, match="latent_dim"):
        stylegan2((1, 8, 8), 0, 4)


def test_anchored_are_the_styled_convolutions() -> None:
    kinds = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "noise.weight", "activate.bias")
    generator = small(side=16)
    assert sorted(generator.anchored()) == sorted(f"convs.{k}.{kind}" for k in range(4) for kind in kinds)
    assert set(generator.anchored()) < {name for name, _ in generator.named_parameters()}


def test_noise_is_fixed_in_evaluation_mode_only() -> None:
    generator = small()
    latents = generator.latents(1, rng()).expand(2, -1)
    first, second = generator.train()(latents), generator(latents)
    assert differ(first, second)
    assert differ(first[0], first[1])
    torch.manual_seed(3)
    again = generator(latents)
    torch.manual_seed(3)
    assert torch.equal(generator(latents), again)
    generator.eval()
    torch.testing.assert_close(generator(latents)[0], generator(latents)[1])
    assert torch.equal(generator(latents), generator(latents))


def test_styles_are_mixed_at_a_crossover() -> None:
    generator = small()
    n = 1000
    with torch.no_grad():
        styles = generator.mixed_styles(n, rng(5))
        first, second = generator.style(generator.latents(2 * n, rng(5))).chunk(2)
    late = (styles == second[:, None]).all(2)
    assert torch.equal(styles, torch.where(late[:, :, None], second[:, None], first[:, None]))
    assert not late[:, 0].any()
    assert (late[:, 1:] >= late[:, :-1]).all()
    counts = late.sum(1).bincount(minlength=generator.layers)
    assert counts[0] / n == pytest.approx(0.1, abs=0.03)
    torch.testing.assert_close(counts[1:] / n, torch.full((generator.layers - 1,), 0.9 / 5), atol=0.05, rtol=0.0)


def test_sampling_follows_its_generator() -> None:
    generator = small().eval()
    assert torch.equal(generator.sample(4, rng(1)), generator.sample(4, rng(1)))
    assert differ(generator.sample(4, rng(1)), generator.sample(4, rng(2)))
    torch.testing.assert_close(generator.sample(4, rng(1)), generator.synthesise(generator.mixed_styles(4, rng(1))))


def test_every_layer_has_its_own_style() -> None:
    generator = small().eval()
    taken: dict[str, Tensor] = {}
    for name, module in generator.named_modules():
        if isinstance(module, ModulatedConv2d):
            module.register_forward_pre_hook(lambda _, inputs, name=name: taken.update({name: inputs[1]}))
    styles = torch.randn(2, 6, 6)
    generator.synthesise(styles)
    order = {"conv1": 0, "to_rgb1": 1, "convs.0": 1, "convs.1": 2, "to_rgbs.0": 3}
    order |= {"convs.2": 3, "convs.3": 4, "to_rgbs.1": 5}
    assert generator.layers == 6
    assert taken.keys() == {f"{name}.conv" for name in order}
    assert all(torch.equal(taken[f"{name}.conv"], styles[:, layer]) for name, layer in order.items())


def test_an_image_of_one_latent_has_one_style() -> None:
    generator = small().eval()
    latents = generator.latents(2, rng())
    styles = generator.style(latents)[:, None].expand(-1, 6, -1)
    assert torch.equal(generator(latents), generator.synthesise(styles))
    assert differ(generator(latents)[0], generator(latents)[1])
    torch.testing.assert_close(generator(3 * latents), generator(latents), rtol=1e-3, atol=1e-4)


class Linear(StyleGan2Generator):
    """Images that are a linear map of the styles, so that the map is the derivative."""

    map: Tensor

    def synthesise(self, styles: Tensor) -> Tensor:
        self.batch = len(styles)
        return (styles.flatten(1) @ self.map).view(-1, 1, 8, 8)


def test_path_length_of_a_linear_map() -> None:
    generator = Linear(1, 8, latent_dim=3, width=2)
    generator.map = torch.randn(generator.layers * 3, 64)
    styles = generator.mixed_styles(5, rng())
    y = torch.randn(5, 64, generator=rng(1)) / 8
    gradient = (y @ generator.map.T).view(5, generator.layers, 3)
    wanted = torch.stack([(g.norm(dim=1).square().sum() / generator.layers).sqrt() for g in gradient])
    torch.testing.assert_close(generator._path_lengths(styles, rng(1)), wanted)


def test_path_length_penalty_is_about_its_running_mean() -> None:
    generator = Linear(1, 8, latent_dim=3, width=2)
    generator.map = torch.randn(generator.layers * 3, 64)
    mean = 0.0
    for seed in range(3):
        draws = rng(seed)
        lengths = generator._path_lengths(generator.mixed_styles(4, draws), draws)
        mean += 0.01 * (lengths.mean().item() - mean)
        penalty = generator.path_length_penalty(8, rng(seed))
        assert generator.batch == 4
        assert penalty.shape == ()
        assert penalty.item() == pytest.approx((lengths - mean).square().mean().item(), rel=1e-5)
        assert generator.mean_path_length.item() == pytest.approx(mean, rel=1e-5)
    generator.path_length_penalty(1, rng())
    assert generator.batch == 1
    assert "mean_path_length" in generator.state_dict()


def test_path_length_against_finite_differences() -> None:
    generator = small(side=8, colours=1).eval().double()
    styles = torch.randn(1, generator.layers, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 1, 8, 8, generator=rng(1)).double() / 8
    squares = []
    for step in torch.eye(styles.numel(), dtype=torch.float64) * 1e-6:
        ahead = generator.synthesise(styles + step.view_as(styles))
        behind = generator.synthesise(styles - step.view_as(styles))
        squares.append((((ahead - behind) * y).sum() / 2e-6).square())
    wanted = (torch.stack(squares).sum() / generator.layers).sqrt()
    torch.testing.assert_close(generator._path_lengths(styles, rng(1))[0], wanted, rtol=1e-5, atol=1e-8)


def slope(value: object, parameter: Tensor) -> tuple[float, float]:
    """The derivative of ``value()`` in one direction: by autograd and by a central difference."""
    assert callable(value)
    direction = torch.randn(parameter.shape, generator=rng(9)).double()
    (gradient,) = torch.autograd.grad(value(), parameter)
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter += sign * 1e-5 * direction
        ends.append(value().item())
        with torch.no_grad():
            parameter -= sign * 1e-5 * direction
    return (gradient * direction).sum().item(), (ends[0] - ends[1]) / 2e-5


def test_path_length_can_be_differentiated_again() -> None:
    generator = small(side=8, colours=1).eval().double()
    styles = torch.randn(2, generator.layers, 6, dtype=torch.float64, requires_grad=True)
    for parameter in (generator.convs[0].conv.weight, generator.convs[1].conv.modulation.weight, generator.input):
        exact, difference = slope(lambda: generator._path_lengths(styles, rng(1)).square().mean(), parameter)
        assert exact == pytest.approx(difference, rel=1e-4, abs=1e-7)
        assert abs(exact) > 1e-6


def test_gradient_penalty_can_be_differentiated_again() -> None:
    discriminator = StyleGan2Discriminator(1, 8, width=4).double()
    images = torch.randn(4, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()

    for parameter in (discriminator.convs[0].weight, discriminator.convs[2].skip[1].weight):
        exact, difference = slope(penalty, parameter)
        assert exact == pytest.approx(difference, rel=1e-4, abs=1e-7)
        assert abs(exact) > 1e-6


def test_construction_follows_torchs_seed() -> None:
    torch.manual_seed(4)
    first = stylegan2((1, 8, 8), 4, 4).state_dict()
    torch.manual_seed(4)
    second = stylegan2((1, 8, 8), 4, 4).state_dict()
    other = stylegan2((1, 8, 8), 4, 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("generator.input", "generator.convs.0.noise.fixed", "discriminator.final_conv.0.weight"):
        assert not torch.equal(first[name], other[name])


def test_average_is_a_copy_in_evaluation_mode_and_all_is_restored() -> None:
    gan = stylegan2((1, 8, 8), 4, 4)
    latents = gan.generator.latents(3, rng())
    assert isinstance(gan.average, StyleGan2Generator)
    assert not gan.average.training
    assert not any(p.requires_grad for p in gan.average.parameters())
    assert torch.equal(gan.average(latents), gan.generator.eval()(latents))
    noisy(gan.generator)
    assert not torch.equal(gan.average(latents), gan.generator(latents))
    fresh = stylegan2((1, 8, 8), 4, 4)
    fresh.restore(gan.tensors())
    assert torch.equal(fresh.generator.eval()(latents), gan.generator(latents))
    assert torch.equal(fresh.average(latents), gan.average(latents))


def generator_loss(gan: Gan) -> Tensor:
    return F.softplus(-gan.discriminator(gan.generator.sample(8, rng(2)))).mean()


def test_a_little_training_moves_both_networks() -> None:
    gan = stylegan2((1, 8, 8), 8, 8)
    real = torch.randn(8, 1, 8, 8) * 0.1 + 0.5
    fakes = gan.generator.sample(8, rng()).detach()

    def loss() -> Tensor:
        return F.softplus(-gan.discriminator(real)).mean() + F.softplus(gan.discriminator(fakes)).mean()

    for network, objective in ((gan.discriminator, loss), (gan.generator, lambda: generator_loss(gan))):
        start = objective().item()
        optimiser = torch.optim.Adam(network.parameters(), lr=0.002, betas=(0.0, 0.99))
        for _ in range(30):
            optimiser.zero_grad()
            objective().backward()
            optimiser.step()
        assert objective().item() < 0.7 * start


def test_training_step_is_the_same_bit_for_bit() -> None:
    def gradients() -> list[Tensor]:
        torch.manual_seed(1)
        gan = stylegan2((3, 16, 16), 6, 8)
        penalty = gan.generator.path_length_penalty(8, rng())
        assert penalty is not None
        (generator_loss(gan) + penalty).backward()
        return [p.grad for p in gan.generator.parameters() if p.grad is not None]

    first, second = gradients(), gradients()
    assert len(first) == len(list(small().parameters()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
