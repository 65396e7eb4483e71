"""StyleGAN2 (Karras et al., 2020, arXiv:1912.04958): generator with skip connections, residual discriminator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.models.gan import Gan, Generator
from benchmark.models.stylegan2_layers import (
    Activation,
    EqualConv2d,
    EqualLinear,
    PixelNorm,
    ResBlock,
    StyledConv,
    ToRGB,
    with_deviation,
)

_SIDES = tuple(2**k for k in range(3, 11))


def channels(side: int, width: int) -> int:
    """Feature maps at a resolution: ``width`` up to 64 x 64, half as many at 128, a quarter at 256 and so on."""
    return max(1, width * 64 // max(side, 64))


class StyleGan2Generator(Generator):
    """Latents (B, latent_dim) to images (B, C, H, H), in [-1, 1] only as far as it was trained to: nothing clamps them.

    A mapping network turns a latent into a style; every layer takes a style of its own, so that two latents can be
    mixed. Noise is new in every pass in training mode and fixed in evaluation mode.
    """

    mean_path_length: Tensor

    def __init__(self, colours: int, side: int, latent_dim: int, width: int) -> None:
        super().__init__()
        self.latent_dim, self.side, self.mixing = latent_dim, side, 0.9
        mapping = [EqualLinear(latent_dim, latent_dim, rate=0.01, activate=True) for _ in range(8)]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        wide = channels(4, width)
        self.input = nn.Parameter(torch.randn(1, wide, 4, 4))
        self.conv1 = StyledConv(wide, wide, latent_dim, 4)
        self.to_rgb1 = ToRGB(wide, colours, latent_dim)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for resolution in (r for r in _SIDES if r <= side):
            self._grow(resolution, colours, width)
        self.layers = len(self.convs) + 2
        self.register_buffer("mean_path_length", torch.zeros(()))

    def _grow(self, side: int, colours: int, width: int) -> None:
        inputs, outputs = channels(side // 2, width), channels(side, width)
        self.convs.append(StyledConv(inputs, outputs, self.latent_dim, side, upsample=True))
        self.convs.append(StyledConv(outputs, outputs, self.latent_dim, side))
        self.to_rgbs.append(ToRGB(outputs, colours, self.latent_dim))

    def forward(self, latents: Tensor) -> Tensor:
        """Images of latents, each with one style in all layers."""
        styles: Tensor = self.style(latents)
        return self.synthesise(styles[:, None].expand(-1, self.layers, -1))

    def synthesise(self, styles: Tensor) -> Tensor:
        """Images (B, C, H, H) of styles (B, layers, latent_dim).

        An image of one resolution and the first convolution of the next have their style in common, as in the
        authors' code.
        """
        x = self.conv1(self.input.expand(len(styles), -1, -1, -1), styles[:, 0])
        image: Tensor = self.to_rgb1(x, styles[:, 1])
        for k, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * k](x, styles[:, 2 * k + 1])
            x = self.convs[2 * k + 1](x, styles[:, 2 * k + 2])
            image = to_rgb(x, styles[:, 2 * k + 3], image)
        return image

    def mixed_styles(self, n: int, rng: torch.Generator) -> Tensor:
        """Styles (n, layers, latent_dim) as training draws them: with probability 0.9 those of two latents.

        The layers from a crossover on, drawn for every image from 1 to layers - 1, have the second latent's style.
        """
        first, second = self.style(self.latents(2 * n, rng)).chunk(2)
        crossover = torch.randint(1, self.layers, (n,), generator=rng)
        crossover[torch.rand(n, generator=rng) >= self.mixing] = self.layers
        late = torch.arange(self.layers) >= crossover[:, None]
        return torch.where(late[:, :, None].to(first.device), second[:, None], first[:, None])

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Images of ``n`` new latents, or mixtures of two: style mixing as in training."""
        return self.synthesise(self.mixed_styles(n, rng))

    def path_length_penalty(self, n: int, rng: torch.Generator) -> Tensor:
        """E (||J^T y|| - a)^2 over n / 2 images, at least 1 (Karras et al., 2020, eq. 4); a scalar with its graph.

        J is the images' derivative by the styles, y normal noise divided by sqrt(H W), and the squared norm is the
        mean over layers. a is the running mean ``mean_path_length``, which each call moves by a hundredth towards the
        mean of its lengths; no gradient goes through it.
        """
        lengths = self._path_lengths(self.mixed_styles(max(1, n // 2), rng), rng)
        mean = self.mean_path_length.lerp(lengths.detach().mean(), 0.01)
        self.mean_path_length.copy_(mean)
        return (lengths - mean).square().mean()

    def _path_lengths(self, styles: Tensor, rng: torch.Generator) -> Tensor:
        """The lengths (B,) of one draw of y."""
        images = self.synthesise(styles)
        y = torch.randn(images.shape, generator=rng).to(images) / math.sqrt(images[0, 0].numel())
        (gradient,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
        return gradient.square().sum(2).mean(1).sqrt()

    def anchored(self) -> list[str]:
        """All parameters of the styled convolutions above 4 x 4; not the mapping network nor what makes colours."""
        return [name for name, _ in self.named_parameters() if name.startswith("convs.")]


class StyleGan2Discriminator(nn.Module):
    """Images (B, C, H, H) to logits (B,) of being real; any B. Images of one batch are compared with each other."""

    def __init__(self, colours: int, side: int, width: int) -> None:
        super().__init__()
        first, last = channels(side, width), channels(4, width)
        sides = [r for r in reversed(_SIDES) if r <= side]
        blocks = [ResBlock(channels(r, width), channels(r // 2, width)) for r in sides]
        self.convs = nn.Sequential(EqualConv2d(colours, first, 1), Activation(first), *blocks)
        self.final_conv = nn.Sequential(EqualConv2d(last + 1, last, 3, padding=1), Activation(last))
        self.final_linear = nn.Sequential(EqualLinear(last * 16, last, activate=True), EqualLinear(last, 1))

    def forward(self, images: Tensor) -> Tensor:
        features = self.final_conv(with_deviation(self.convs(images)))
        logits: Tensor = self.final_linear(features.flatten(1))
        return logits[:, 0]


def stylegan2(shape: tuple[int, ...], latent_dim: int, width: int) -> Gan:
    """A newly initialised StyleGAN2 of images (C, H, H), H a power of 2 from 8 to 1024; drawn from torch's seed.

    ``width``: feature maps at 64 x 64 and below, 512 in the paper; above they halve with every doubling of the side.
    Styles have ``latent_dim`` dimensions too. InputError for another shape, or sizes below 1.
    """
    _check_shape(shape)
    for name, value in (("latent_dim", latent_dim), ("width", width)):
        if value < 1:
            raise InputError(f"stylegan2: {name} must be at least 1, not {value}")
    colours, side, _ = shape
    return Gan(StyleGan2Generator(colours, side, latent_dim, width), StyleGan2Discriminator(colours, side, width))


def _check_shape(shape: tuple[int, ...]) -> None:
    rule = f"shape: stylegan2 makes square images (C, H, H), H a power of 2 from 8 to 1024, not {tuple(shape)}"
    if len(shape) != 3 or shape[0] < 1:
        raise InputError(rule)
    if shape[1] != shape[2] or shape[1] not in _SIDES:
        near = min(_SIDES, key=lambda side: abs(side - max(shape[1:])))
        raise InputError(f"{rule}; nearest: {(shape[0], near, near)}")
