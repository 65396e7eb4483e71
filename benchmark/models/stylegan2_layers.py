"""Layers of StyleGAN2 (Karras et al., 2020, arXiv:1912.04958) in plain PyTorch, all of them twice differentiable.

Weights are drawn from N(0, 1) and scaled where they are used (equalised learning rate; Karras et al., 2018,
arXiv:1710.10196), so that one learning rate suits every layer.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2 times sqrt 2, which keeps the second moment about as it was."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def fir_kernel(gain: float = 1.0) -> Tensor:
    """The 4 x 4 low-pass filter, [1, 3, 3, 1] both ways; its entries sum to ``gain``."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) * (gain / 64)


class Blur(nn.Module):
    """The filter over every channel: (B, C, H, W), ``padding`` zeros around, every ``stride``-th pixel kept.

    After zeros went between the pixels a ``gain`` of 4 makes up for them. A side of H becomes
    floor((H + 2 padding - 4) / stride) + 1.
    """

    kernel: Tensor

    def __init__(self, padding: int, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.padding, self.stride = padding, stride
        self.register_buffer("kernel", fir_kernel(gain), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.expand(x.shape[1], 1, 4, 4)
        return F.conv2d(x, kernel, stride=self.stride, padding=self.padding, groups=x.shape[1])


class Upsample(nn.Module):
    """Twice as large by the filter: (B, C, H, W) to (B, C, 2 H, 2 W)."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(gain=4.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.expand(x.shape[1], 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


class PixelNorm(nn.Module):
    """(B, D) with every row divided by the root of its mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class EqualLinear(nn.Module):
    """(B, inputs) to (B, outputs), equalised, with ``rate`` times the learning rate of the rest."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.scale, self.rate, self.activate = rate / math.sqrt(inputs), rate, activate

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight * self.scale, self.bias * self.rate)
        return leaky(out) if self.activate else out


class EqualConv2d(nn.Module):
    """A convolution without bias, equalised: (B, inputs, H, W) to (B, outputs, H', W')."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.scale = 1 / math.sqrt(inputs * size**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class Activation(nn.Module):
    """A learned bias for every channel of (B, C, H, W), then ``leaky``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return leaky(x + self.bias[:, None, None])


class ModulatedConv2d(nn.Module):
    """A convolution whose weights a style scales for every image (Karras et al., 2020, eq. 1 to 3).

    (B, inputs, H, W) and styles (B, latent_dim) to (B, outputs, H, W), or (B, outputs, 2 H, 2 W) with ``upsample``.
    Scaling the input's and the output's channels gives what scaling the weights gives, with one convolution for the
    batch in place of one for each image. ``size`` is odd, and 3 with ``upsample``.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, latent_dim: int, demodulate: bool = True, upsample: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.modulation = EqualLinear(latent_dim, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * size**2)
        self.demodulate = demodulate
        self.blur = Blur(padding=1, gain=4.0) if upsample else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight = self.weight * self.scale
        scales = self.modulation(style)
        out = self._convolve(x * scales[:, :, None, None], weight)
        if not self.demodulate:
            return out
        squares = scales.square() @ weight.square().sum((2, 3)).T
        return out * torch.rsqrt(squares + 1e-8)[:, :, None, None]

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.blur is None:
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        blurred: Tensor = self.blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        return blurred


class Noise(nn.Module):
    """Adds noise of learned strength, the same to every channel of an image (B, C, side, side).

    New noise of torch's global generator in training mode; in evaluation mode always the noise in ``fixed``.
    """

    fixed: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("fixed", torch.randn(1, 1, side, side))

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn_like(x[:, :1]) if self.training else self.fixed
        return x + self.weight * noise


class StyledConv(nn.Module):
    """A modulated 3 x 3 convolution, noise, bias and leaky ReLU; ``side`` is that of the images that it gives."""

    def __init__(self, inputs: int, outputs: int, latent_dim: int, side: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, latent_dim, upsample=upsample)
        self.noise = Noise(side)
        self.activate = Activation(outputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        out: Tensor = self.activate(self.noise(self.conv(x, style)))
        return out


class ToRGB(nn.Module):
    """(B, inputs, H, W) to an image (B, colours, H, W), added to the image of half the side where there is one."""

    def __init__(self, inputs: int, colours: int, latent_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, colours, 1, latent_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(colours))
        self.upsample = Upsample()

    def forward(self, x: Tensor, style: Tensor, skip: Tensor | None = None) -> Tensor:
        image: Tensor = self.conv(x, style) + self.bias[:, None, None]
        return image if skip is None else image + self.upsample(skip)


class ResBlock(nn.Module):
    """The discriminator's block: (B, inputs, H, W) to (B, outputs, H / 2, W / 2), filtered before every other pixel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(EqualConv2d(inputs, inputs, 3, padding=1), Activation(inputs))
        self.conv2 = nn.Sequential(Blur(padding=2), EqualConv2d(inputs, outputs, 3, stride=2), Activation(outputs))
        self.skip = nn.Sequential(Blur(padding=1, stride=2), EqualConv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)
        return out


def with_deviation(x: Tensor) -> Tensor:
    """(B, C, H, W) and one channel more: the minibatch standard deviation (Karras et al., 2018, section 3).

    Groups are of 4 images, or of the largest divisor of B below; image i is in group i mod (B / size). A group's value
    is the mean over C, H and W of its standard deviations.
    """
    size = next(g for g in (4, 3, 2, 1) if len(x) % g == 0)
    groups = x.reshape(size, len(x) // size, *x.shape[1:])
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return torch.cat([x, deviation.repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)
