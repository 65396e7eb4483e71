"""Screening: which images of the original generator show what must go, and which do not, as the feedback says."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.contracts import GanProblem
from benchmark.errors import InputError
from benchmark.models.gan import images_in_batches

#: Images that are screened at a time where a number of negatives is asked for, and at most.
ROUND, MOST = 100, 100_000


@torch.no_grad()
def screened(problem: GanProblem, images: int, role: str) -> tuple[Tensor, Tensor]:
    """S_n and S_p, (N_n, ...) and (N_p, ...): ``images`` new images of the generator in use, parted by the feedback.

    They are drawn with averaged weights and without style mixing: what users see is what is to be kept. ``role`` names
    the latents: the same for every method on the same problem. InputError for fewer than 1.
    """
    if images < 1:
        raise InputError(f"images to be screened must be at least 1, not {images}")
    return _parted(problem, problem.model.latents(images, problem.generator(role)))


def _parted(problem: GanProblem, latents: Tensor) -> tuple[Tensor, Tensor]:
    batches = list(images_in_batches(problem.model, latents))
    drawn, undesired = torch.cat(batches), torch.cat([problem.feedback.undesired(x) for x in batches])
    return drawn[undesired], drawn[~undesired]


def negatives(problem: GanProblem, images: int, role: str = "negatives") -> Tensor:
    """S_n alone; InputError where nothing undesired was among the images."""
    found, _ = screened(problem, images, role)
    if not len(found):
        raise InputError(f"none of {images} generated images was judged undesired: screen more")
    return found


@torch.no_grad()
def so_many_negatives(problem: GanProblem, count: int, role: str = "negatives") -> Tensor:
    """Just ``count`` images of S_n, (count, ...): new images are screened ROUND at a time until there are as many.

    InputError for fewer than 1, and where MOST images had too few.
    """
    if count < 1:
        raise InputError(f"negatives must be at least 1, not {count}")
    rng, found, screened_images = problem.generator(role), list[Tensor](), 0
    while sum(map(len, found)) < count:
        if screened_images >= MOST:
            raise InputError(
                f"{sum(map(len, found))} of {MOST:,} images were judged undesired: take fewer than {count}"
            )
        found.append(_parted(problem, problem.model.latents(ROUND, rng))[0])
        screened_images += ROUND
    return torch.cat(found)[:count]


def positives(problem: GanProblem, images: int) -> Tensor:
    """S_p alone; InputError where nothing else was among the images."""
    _, found = screened(problem, images, "positives")
    if not len(found):
        raise InputError(f"all of {images} generated images were judged undesired: screen more")
    return found
