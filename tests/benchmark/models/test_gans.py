"""Generators and discriminators, what is kept of a GAN, and judges of what it makes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmark.data.hues import HUES, tinted
from benchmark.errors import InputError
from benchmark.models import GANS
from benchmark.models.dcgan import GROUP, DcganDiscriminator, DcganGenerator
from benchmark.models.gan import Gan, Generator, at_once, build_gan
from benchmark.models.judges import ClassJudge, HueJudge, NearestJudge
from benchmark.models.surgery import state_hash

KINDS = {"gan-toy": (2,), "dcgan": (3, 12, 8)}
EVERY_GAN = pytest.mark.parametrize("name", KINDS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new(name: str, seed: int = 0) -> Gan:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_gan(name, KINDS[name], 6, 16)


@EVERY_GAN
def test_latents_become_images_or_points_and_those_logits(name: str) -> None:
    gan = new(name)
    z = gan.generator.latents(5, rng())
    assert z.shape == (5, gan.generator.latent_dim) == (5, 6)
    assert torch.equal(z, torch.randn(5, 6, generator=rng()))
    made = gan.generator(z)
    assert made.shape == (5, *KINDS[name])
    assert torch.equal(gan.generator.sample(5, rng()), made)
    for n in (1, 5):
        assert gan.discriminator(made[:n]).shape == (n,)
    assert gan.generator.path_length_penalty(4, rng()) is None


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 4, 32)])
def test_a_dcgan_makes_images_of_any_multiple_of_four(shape: tuple[int, ...]) -> None:
    gan = build_gan("dcgan", shape, 3, GROUP)
    images = gan.generator(torch.randn(2, 3) * 100)
    assert images.shape == (2, *shape)
    assert float(images.detach().abs().max()) <= 1
    assert gan.discriminator(images).shape == (2,)


@EVERY_GAN
@pytest.mark.parametrize("training", [True, False])
def test_an_image_depends_on_nothing_else_in_the_batch(name: str, training: bool) -> None:
    generator = new(name).generator.train(training)
    z, before = generator.latents(7, rng()), state_hash(generator)
    with torch.no_grad():
        images = generator(z)
        for k in (0, 6):
            torch.testing.assert_close(generator(z[k : k + 1])[0], images[k], rtol=1e-4, atol=1e-5)
    assert not list(generator.buffers())
    assert state_hash(generator) == before


@EVERY_GAN
def test_in_use_a_logit_depends_on_nothing_else_in_the_batch(name: str) -> None:
    gan = new(name).eval()
    images = gan.generator(gan.generator.latents(7, rng())).detach()
    before = state_hash(gan)
    alone = torch.cat([gan.discriminator(image[None]) for image in images])
    torch.testing.assert_close(alone, gan.discriminator(images), rtol=1e-4, atol=1e-5)
    assert state_hash(gan) == before


@EVERY_GAN
def test_different_latents_make_different_images(name: str) -> None:
    gan = new(name)
    images = gan.generator(gan.generator.latents(20, rng())).detach().flatten(1)
    assert float(torch.cdist(images, images).add(torch.eye(20)).min()) > 1e-3


def test_a_new_dcgan_is_neither_grey_nor_saturated() -> None:
    """The weights' deviations keep the signal's size through the layers."""
    gan = build_gan("dcgan", (1, 28, 28), 64, 32)
    images = gan.generator(gan.generator.latents(50, rng())).detach()
    assert 0.2 < float(images.std()) < 0.9
    assert float((images.abs() > 0.99).float().mean()) < 0.3


@EVERY_GAN
def test_the_average_starts_as_the_generator_and_is_a_network_of_its_own(name: str) -> None:
    gan = new(name)
    assert state_hash(gan.average) == state_hash(gan.generator)
    assert not gan.average.training
    assert not any(p.requires_grad for p in gan.average.parameters())
    assert all(p.requires_grad for p in gan.generator.parameters())
    assert not {p.data_ptr() for p in gan.average.parameters()} & {p.data_ptr() for p in gan.generator.parameters()}
    assert gan.moments == {}


@EVERY_GAN
def test_new_networks_are_drawn_from_torch_s_seed(name: str) -> None:
    assert state_hash(new(name)) == state_hash(new(name))
    assert state_hash(new(name)) != state_hash(new(name, 1))


@EVERY_GAN
def test_what_is_kept_can_be_restored(name: str) -> None:
    gan, other = new(name), new(name, 1)
    with torch.no_grad():
        next(gan.average.parameters()).add_(1)
    gan.moments = {"generator.x.exp_avg": torch.randn(3), "discriminator.y.step": torch.tensor(4.0)}
    kept = {name: tensor.clone() for name, tensor in gan.tensors().items()}
    assert {n for n in kept if n.startswith("moments.")} == {f"moments.{n}" for n in gan.moments}
    assert {n for n in kept if not n.startswith("moments.")} == set(gan.state_dict())
    other.moments = {"stale": torch.zeros(1)}
    other.restore(kept)
    assert state_hash(other) == state_hash(gan)
    assert other.moments.keys() == gan.moments.keys()
    assert all(torch.equal(other.moments[n], gan.moments[n]) for n in gan.moments)


def test_what_is_missing_is_an_error() -> None:
    gan = new("gan-toy")
    kept = gan.tensors()
    kept.popitem()
    with pytest.raises(RuntimeError, match=r"Missing key\(s\)"):
        gan.restore(kept)


@EVERY_GAN
def test_a_copy_shares_nothing(name: str) -> None:
    gan = new(name)
    gan.moments = {"generator.x.exp_avg": torch.zeros(3)}
    other, before = copy.deepcopy(gan), state_hash(gan)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
    other.moments["generator.x.exp_avg"].add_(1)
    assert state_hash(gan) == before
    assert not gan.moments["generator.x.exp_avg"].any()


@EVERY_GAN
def test_anchored_parameters_are_some_of_the_generator_s(name: str) -> None:
    generator = new(name).generator
    names = [n for n, _ in generator.named_parameters()]
    assert set(generator.anchored()) <= set(names)
    assert generator.anchored() == (names if name == "gan-toy" else [n for n in names if n.startswith("up")])


def test_convolutions_are_in_their_fastest_memory_format() -> None:
    gan = new("dcgan")
    weights = [p for p in gan.parameters() if p.dim() == 4]
    assert len(weights) == 6
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


@pytest.mark.parametrize(
    ("name", "shape", "width", "message"),
    [
        ("dcgan", (1, 10, 12), 16, "model dcgan makes images whose sides are multiples of 4, not 1x10x12"),
        ("dcgan", (1, 12, 10), 16, "multiples of 4, not 1x12x10"),
        ("dcgan", (2,), 16, "multiples of 4, not 2"),
        ("dcgan", (1, 8, 8), 12, "width of a dcgan must be a multiple of 8, not 12"),
        ("dcgan", (1, 8, 8), 0, "width of a dcgan must be a multiple of 8, not 0"),
        ("gan-toy", (1, 8, 8), 16, "model gan-toy makes points, not images of 1x8x8"),
        ("dcgam", (1, 8, 8), 16, "unknown GAN 'dcgam'; did you mean dcgan"),
    ],
)
def test_what_cannot_be_built_is_said(name: str, shape: tuple[int, ...], width: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_gan(name, shape, 6, width)


def test_every_gan_has_a_name() -> None:
    assert set(GANS) == {"gan-toy", "dcgan", "stylegan2"}
    gan = new("dcgan")
    assert isinstance(gan.generator, DcganGenerator)
    assert isinstance(gan.discriminator, DcganDiscriminator)


def test_fewer_large_images_are_made_at_once() -> None:
    def n(*shape: int) -> int:
        return at_once(torch.zeros(1, *shape))

    assert n(2) == n(1, 8, 8) == n(3, 32, 32) == 500
    assert n(3, 64, 64) == 125
    assert n(3, 256, 256) == 8  # 7 and a bit, but never fewer than 8
    assert n(3, 1024, 1024) == 8


def test_a_generator_of_one_s_own_needs_forward_alone() -> None:
    class Doubling(Generator):
        latent_dim = 2

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(2.0))

        def forward(self, z: Tensor) -> Tensor:
            return self.scale * z

    generator = Doubling()
    assert torch.equal(generator.sample(3, rng()), 2 * torch.randn(3, 2, generator=rng()))
    assert generator.anchored() == ["scale"]
    assert generator.path_length_penalty(3, rng()) is None


# Judges.


class Logits(nn.Module):
    """The mean over rows of a one-column image: logits (B, H)."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, :, 0]


def shown(*logits: float) -> Tensor:
    return torch.tensor(logits)[None, None, :, None]


def test_a_class_is_shown_just_where_it_is_predicted() -> None:
    judge = ClassJudge(Logits(), 1)
    assert float(judge(shown(0.1, 0.5, 0.2))) == pytest.approx(0.3)
    assert float(judge(shown(0.1, -0.5, 0.2))) == pytest.approx(-0.7)
    assert float(judge(shown(-0.1, -0.5, -0.2))) == pytest.approx(-0.4)
    images = torch.rand(300, 1, 5, 1, generator=rng()) * 2 - 1
    predicted = images[:, 0, :, 0].argmax(1)
    for undesired in range(5):
        found = ClassJudge(Logits(), undesired)(images)
        assert found.shape == (300,)
        assert torch.equal(found > 0, predicted == undesired)


def test_a_class_judge_cuts_pixels_off_and_can_be_differentiated() -> None:
    judge = ClassJudge(Logits(), 0)
    assert float(judge(shown(7.0, 0.5, -9.0))) == 0.5
    image = shown(0.3, 0.5, 0.2).requires_grad_()
    judge(image).sum().backward()
    assert image.grad is not None
    assert image.grad.flatten().tolist() == [1, -1, 0]


def plain(*colour: float) -> Tensor:
    return torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 4, 4)


@pytest.mark.parametrize("undesired", range(3))
def test_the_hue_that_is_nearest_is_shown(undesired: int) -> None:
    judge = HueJudge(undesired)
    grey = torch.randint(50, 256, (30, 1, 4, 4), generator=rng()).to(torch.uint8)
    index = torch.arange(30) % len(HUES)
    images = tinted(grey, index, rng()).float() / 127.5 - 1
    expected = torch.where(index == undesired, 1.0, -1.0)
    assert torch.equal(judge(images), expected)


def test_what_has_no_colour_shows_no_hue() -> None:
    """Grey is no red, though its hue is counted as 0 degrees."""
    judge = HueJudge(0)
    for grey in (-1.0, 0.0, 0.3, 1.0):
        assert judge(plain(grey, grey, grey)).tolist() == [-1]
    step = 2 / 255  # of 8 bits
    assert judge(plain(0.4 * step, 0, 0)).tolist() == [-1]
    assert judge(plain(0.6 * step, 0, 0)).tolist() == [1]
    assert judge(plain(-1 + step, -1, -1)).tolist() == [1]


def naive_nearest(points: Tensor, centres: Tensor, undesired: tuple[int, ...]) -> Tensor:
    found = []
    for point in points:
        distances = [float(((point - c) ** 2).sum()) for c in centres]
        gone = min(distances[k] for k in undesired)
        found.append(min(d for k, d in enumerate(distances) if k not in undesired) - gone)
    return torch.tensor(found)


@pytest.mark.parametrize("undesired", [(0,), (2, 3), (4, 0)])
def test_the_mode_that_is_nearest_is_shown(undesired: tuple[int, ...]) -> None:
    centres, points = torch.randn(5, 2, generator=rng()), 2 * torch.randn(100, 2, generator=rng(1))
    judge = NearestJudge(centres, undesired)
    found = judge(points)
    torch.testing.assert_close(found, naive_nearest(points, centres, undesired), rtol=1e-4, atol=1e-5)
    nearest = torch.cdist(points, centres).argmin(1)
    assert torch.equal(found > 0, torch.isin(nearest, torch.tensor(undesired)))
    assert set(judge.state_dict()) == {"centres"}


def test_a_nearest_judge_can_be_differentiated_also_at_a_centre() -> None:
    centres = torch.tensor([[0.0, 0.0], [4.0, 0.0]])
    points = torch.tensor([[1.0, 1.0], [0.0, 0.0]], requires_grad=True)
    NearestJudge(centres, (0,))(points).sum().backward()
    assert points.grad is not None
    torch.testing.assert_close(points.grad, torch.tensor([[-8.0, 0.0], [-8.0, 0.0]]))


def test_each_judge_gives_a_score_for_each_image() -> None:
    judges: list[tuple[Callable[[Tensor], Tensor], Tensor]] = [
        (ClassJudge(Logits(), 0), torch.zeros(4, 1, 3, 1)),
        (HueJudge(1), torch.zeros(4, 3, 2, 2)),
        (NearestJudge(torch.eye(3), (1,)), torch.zeros(4, 3)),
    ]
    for judge, images in judges:
        assert judge(images).shape == (4,)
        assert judge(images).dtype == torch.float32
