"""A generator that was moved along a line makes the images of its new place, and remembers the line."""

from __future__ import annotations

import copy

import pytest
import torch

from benchmark.models.extrapolation import Extrapolated
from benchmark.models.gan import Generator, build_gan


def generator() -> Generator:
    torch.manual_seed(0)
    return build_gan("gan-toy", (2,), 3, 4).average


@pytest.mark.parametrize("s", [0.0, -0.5, 1.0])
def test_parameters_are_moved_in_place(s: float) -> None:
    original, given = generator(), generator()
    direction = {name: torch.full_like(p, 0.25) for name, p in given.named_parameters()}
    found = Extrapolated(given, direction, s)
    assert found.moved is given
    for name, theta in original.named_parameters():
        torch.testing.assert_close(given.get_parameter(name).detach(), theta + s * 0.25)


def test_images_are_those_of_the_moved_generator() -> None:
    given = generator()
    direction = {name: torch.ones_like(p) for name, p in given.named_parameters()}
    found = Extrapolated(given, direction, -0.7)
    z = found.latents(5, torch.Generator().manual_seed(1))
    assert z.shape == (5, given.latent_dim)
    assert torch.equal(found(z), given(z))
    assert not torch.equal(found(z), generator()(z))


def test_the_line_is_remembered_and_is_no_part_of_the_state() -> None:
    given = generator()
    direction = {name: torch.ones_like(p) for name, p in given.named_parameters()}
    found = Extrapolated(given, direction, 2.0)
    assert {name.removeprefix("moved.") for name in found.state_dict()} == set(given.state_dict())
    again = copy.deepcopy(found)
    assert again.direction.keys() == direction.keys()
    assert all(torch.equal(again.direction[name], direction[name]) for name in direction)
    direction.clear()
    assert found.direction
