"""Layers of StyleGAN2 against plain formulas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.models.stylegan2_layers import (
    Blur,
    EqualConv2d,
    EqualLinear,
    ModulatedConv2d,
    PixelNorm,
    ResBlock,
    Upsample,
    fir_kernel,
    with_deviation,
)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(before)


def one_by_one(layer: ModulatedConv2d, x: Tensor, styles: Tensor) -> Tensor:
    """Modulated, demodulated weights for each image in turn; zeros between the pixels to make it larger."""
    out = []
    for image, scales in zip(x, layer.modulation(styles), strict=True):
        weight = layer.weight * layer.scale * scales[None, :, None, None]
        if layer.demodulate:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if layer.blur is None:
            out.append(F.conv2d(image[None], weight, padding=weight.shape[-1] // 2))
            continue
        side = image.shape[-1]
        spread = torch.zeros(1, len(image), 2 * side - 1, 2 * side - 1)
        spread[:, :, ::2, ::2] = image
        large = F.conv2d(spread, weight.flip(2, 3), padding=2)
        blur = fir_kernel(gain=4.0)[None, None]
        out.append(F.conv2d(large.transpose(0, 1), blur, padding=1).transpose(0, 1))
    return torch.cat(out)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("size", "upsample"), [(1, False), (3, False), (3, True)])
def test_modulated_convolution_is_that_of_modulated_weights(size: int, upsample: bool, demodulate: bool) -> None:
    layer = ModulatedConv2d(4, 5, size, latent_dim=6, demodulate=demodulate, upsample=upsample)
    x, styles = torch.randn(3, 4, 8, 8), torch.randn(3, 6)
    out = layer(x, styles)
    assert out.shape == (3, 5, 16, 16) if upsample else (3, 5, 8, 8)
    torch.testing.assert_close(out, one_by_one(layer, x, styles), rtol=1e-4, atol=1e-5)


def test_demodulation_gives_unit_deviation() -> None:
    layer = ModulatedConv2d(16, 8, 3, latent_dim=6)
    with torch.no_grad():
        out = layer(torch.randn(200, 16, 12, 12), 3 * torch.randn(1, 6).expand(200, -1))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(out.std((0, 2, 3)), torch.ones(8), rtol=0.05, atol=0.0)


def test_upsampling_convolution_of_one_tap_is_the_filter() -> None:
    layer = ModulatedConv2d(2, 2, 3, latent_dim=6, demodulate=False, upsample=True)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:, :, 1, 1] = torch.eye(2) / layer.scale
        layer.modulation.weight.zero_()
    x = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(layer(x, torch.randn(1, 6)), Upsample()(x))


def test_blur_keeps_a_constant_inside() -> None:
    constant = torch.full((2, 3, 8, 8), 0.7)
    for out in (Blur(padding=1, stride=2)(constant), Blur(padding=2)(constant), Upsample()(constant)):
        torch.testing.assert_close(out[..., 2:-2, 2:-2], torch.full_like(out[..., 2:-2, 2:-2], 0.7))
    assert Blur(padding=1, stride=2)(constant).shape[-1] == 4
    assert fir_kernel(gain=4.0).sum() == 4


def test_upsampling_interpolates_a_ramp_without_a_shift() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    out = Upsample()(ramp)[0, 0, 2:-2, 2:-2]
    torch.testing.assert_close(out, ((torch.arange(16.0) - 0.5) / 2)[2:-2].expand(12, 12))


def test_a_rate_scales_steps_and_not_outputs() -> None:
    layer = EqualLinear(256, 256, bias=1.0, rate=0.01)
    x = torch.randn(512, 256)
    assert layer(x).std().item() == pytest.approx(1.0, rel=0.05)
    assert torch.equal(layer(torch.zeros(1, 256)), torch.ones(1, 256))
    before = layer(x[:1])
    with torch.no_grad():
        layer.weight += 1.0
    torch.testing.assert_close(layer(x[:1]) - before, (0.01 / 16 * x[:1].sum()).expand(1, 256), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(PixelNorm()(x).square().mean(1), torch.ones(512))


def test_convolution_keeps_the_deviation() -> None:
    out = EqualConv2d(32, 32, 3)(torch.randn(32, 32, 8, 8))
    assert out.std().item() == pytest.approx(1.0, rel=0.05)


def test_residual_block_adds_half_the_variance_of_each_branch() -> None:
    block = ResBlock(4, 5)
    x = torch.randn(2, 4, 16, 16)
    skip, branch = block.skip(x), block.conv2(block.conv1(x))
    assert skip.shape == branch.shape == (2, 5, 8, 8)
    torch.testing.assert_close(block(x), (skip + branch) / 2**0.5)


@pytest.mark.parametrize(("batch", "size"), [(8, 4), (6, 3), (2, 2), (5, 1), (1, 1)])
def test_minibatch_deviation(batch: int, size: int) -> None:
    x = torch.randn(batch, 3, 4, 4)
    out = with_deviation(x)
    assert torch.equal(out[:, :3], x)
    groups = batch // size
    for i in range(batch):
        members = x[i % groups :: groups]
        assert len(members) == size
        spread = members.var(0, unbiased=False).add(1e-8).sqrt().mean()
        torch.testing.assert_close(out[i, 3], spread.expand(4, 4))
