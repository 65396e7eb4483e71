"""Batched augmentation beside one image at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.errors import InputError
from benchmark.training.augmentation import AUGMENTATIONS, augmented


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_by_one(x: Tensor, seed: int) -> Tensor:
    """Pad, cut, mirror: each image on its own, by the same draws (one of 9 x 2 x 9: down, mirrored, across)."""
    made = []
    for image, drawn in zip(x, torch.randint(162, (len(x),), generator=seeded(seed)).tolist(), strict=True):
        down, mirrored, across = drawn // 18, drawn // 9 % 2, drawn % 9
        padded = F.pad(image[None].float(), (4, 4, 4, 4), mode="reflect")[0]
        window = padded[:, down : down + x.shape[2], across : across + x.shape[3]]
        made.append(window.flip(2) if mirrored else window)
    return torch.stack(made).to(x.dtype)


@pytest.mark.parametrize("shape", [(40, 1, 28, 28), (40, 3, 32, 32), (7, 3, 5, 9), (1, 2, 8, 8)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bfloat16], ids=str)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_batch_is_what_its_images_are(
    shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    x = torch.randint(0, 256, shape, generator=seeded(9)).to(dtype).to(memory_format=memory_format)
    kept = x.clone()
    found = augmented(x, "crop-flip", seeded(3))
    assert torch.equal(found, one_by_one(x, 3))
    assert (found.dtype, found.stride()) == (x.dtype, x.stride())
    assert torch.equal(x, kept)


def test_images_that_do_not_lie_together() -> None:
    x = torch.rand(6, 3, 20, 20, generator=seeded())[:, :, ::2, 1:]
    assert torch.equal(augmented(x, "crop-flip", seeded(1)), one_by_one(x, 1))


def coordinates(n: int, height: int, width: int) -> Tensor:
    """Every pixel says where it is: channel 0 its row, channel 1 its column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns]).expand(n, 2, height, width).contiguous()


def test_every_pixel_comes_from_where_the_formula_says() -> None:
    """Row i of an image moved by d is row |i + d|, counted back from the last one as far as it lies beyond it."""
    n, height, width = 3000, 11, 7
    found = augmented(coordinates(n, height, width), "crop-flip", seeded())
    rows, columns = found[:, 0, :, 0], found[:, 1, 0, :]
    assert torch.equal(found[:, 0], rows[:, :, None].expand(n, height, width))
    assert torch.equal(found[:, 1], columns[:, None, :].expand(n, height, width))
    allowed = {}
    for size, seen in ((height, rows), (width, columns)):
        moved = [[abs(i + d) if i + d < size else 2 * (size - 1) - i - d for i in range(size)] for d in range(-4, 5)]
        allowed[size] = moved
        told = {tuple(row) for row in seen.tolist()}
        expected = {tuple(row) for row in moved} | ({tuple(row[::-1]) for row in moved} if size == width else set())
        assert told == expected  # all of them, and no other


def test_all_moves_are_equally_likely() -> None:
    """81 moves, mirrored or not: a chi-squared statistic of 161 degrees of freedom is below 250 (p about 1e-5)."""
    n = 16_200
    found = augmented(coordinates(n, 16, 16), "crop-flip", seeded())
    corners = found[:, :, [4, 11], [4, 11]].flatten(1)  # these are never reflected on themselves: they tell the move
    counts = corners.unique(dim=0, return_counts=True)[1].double()
    assert len(counts) == 162
    assert float(((counts - n / 162) ** 2 / (n / 162)).sum()) < 250


def test_normalising_before_or_after_makes_no_difference() -> None:
    x = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8, generator=seeded())
    scaled = x.float().div(255).sub(0.4).div(0.3)
    after = augmented(x, "crop-flip", seeded(5)).float().div(255).sub(0.4).div(0.3)
    assert torch.equal(augmented(scaled, "crop-flip", seeded(5)), after)


def test_draws_are_seeded_and_one_for_each_image() -> None:
    x = torch.rand(30, 1, 8, 8, generator=seeded())
    rng, expected = seeded(2), seeded(2)
    first, second = augmented(x, "crop-flip", rng), augmented(x, "crop-flip", rng)
    torch.randint(162, (30,), generator=expected)
    torch.randint(162, (30,), generator=expected)
    assert torch.equal(rng.get_state(), expected.get_state())
    assert not torch.equal(first, second)
    assert torch.equal(first, augmented(x, "crop-flip", seeded(2)))


def test_gradients_go_back_to_the_pixels_that_were_chosen() -> None:
    x = torch.rand(8, 2, 9, 9, generator=seeded(), requires_grad=True)
    augmented(x, "crop-flip", seeded(4)).sum().backward()
    expected = x.detach().clone().requires_grad_()
    one_by_one(expected, 4).sum().backward()
    assert torch.equal(x.grad, expected.grad)  # type: ignore[arg-type]


def test_none_changes_and_draws_nothing() -> None:
    x, rng = torch.rand(3, 2), seeded()
    before = rng.get_state()
    assert augmented(x, "none", rng) is x
    assert torch.equal(rng.get_state(), before)
    assert AUGMENTATIONS == ("none", "crop-flip")


def test_an_empty_batch() -> None:
    assert augmented(torch.empty(0, 3, 8, 8), "crop-flip", seeded()).shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        (torch.rand(2, 1, 8, 8), "crop-flop", "unknown augmentation 'crop-flop'; did you mean crop-flip"),
        (torch.rand(2, 1, 4, 8), "crop-flip", r"needs images .* of at least 5 x 5 pixels, .* \(2, 1, 4, 8\)"),
        (torch.rand(2, 8), "crop-flip", r"needs images .* \(2, 8\)"),
    ],
)
def test_what_cannot_be_augmented(x: Tensor, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        augmented(x, kind, seeded())
