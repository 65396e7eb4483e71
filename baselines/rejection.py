"""Rejection: a generator that draws again what the feedback's network refuses; a cheat, for nothing is unlearnt."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, GanProblem, method
from benchmark.models.gan import Generator


class Rejecting(Generator):
    """A generator that draws again, at most ``tries`` times, what a judge says shows what must go.

    New latents are drawn from a generator that the first one seeds: each image is a function of its latent alone.
    """

    def __init__(self, generator: Generator, judge: nn.Module, tries: int) -> None:
        super().__init__()
        self.latent_dim = generator.latent_dim
        self.generator = generator
        self.judge = judge
        self.tries = tries

    @torch.no_grad()
    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.generator(z)
        wrong = (self.judge(images) > 0).nonzero().squeeze(1)
        seeded = {row: _seeded(z[row]) for row in wrong.tolist()}
        for _ in range(self.tries):
            if not len(wrong):
                break
            again = torch.stack([torch.randn(self.latent_dim, generator=seeded[row]) for row in wrong.tolist()])
            images[wrong] = self.generator(again.to(z))
            wrong = wrong[self.judge(images[wrong]) > 0]
        return images


def _seeded(z: Tensor) -> torch.Generator:
    """A generator that depends on the latent z (D,) alone."""
    digest = hashlib.sha256(z.float().cpu().numpy().tobytes()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@method("rejection", tasks="gan-feature-removal", kind="cheat", paper="", access=Access(feedback="w"))
def rejection(problem: GanProblem, *, tries: int = 20) -> nn.Module:
    """Images that the feedback's network, shipped along, refuses are drawn again; no parameter changes: a cheat."""
    return Rejecting(problem.model, problem.feedback.network(), tries)
