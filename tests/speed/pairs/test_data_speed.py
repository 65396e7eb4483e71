"""What a training loop gets its batches from: all of a batch at once on the device beside one image at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmark.contracts import Access, Ledger
from benchmark.data.artefact import Artefact
from benchmark.data.artefacts import insert
from benchmark.data.colours import MEAN_COLOURS, SPREAD, colour
from benchmark.data.rows import Rows
from benchmark.data.views import Samples, View
from benchmark.training.augmentation import augmented

BATCH = 64
#: Images (N, C, H, H) of the table, and what they are called.
DIGITS, PHOTOGRAPHS = (5000, 1, 28), (10_000, 3, 32)
#: How many times as fast an epoch must be: what is done to every pixel is done either way.
SIZES = [
    pytest.param(DIGITS, "5,000 digits", 5, id="digits"),
    pytest.param(PHOTOGRAPHS, "10,000 photographs", 2, id="photographs"),
]
LARGE = 224


def drawn(n: int, channels: int, side: int) -> Samples:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, channels, side, side), dtype=torch.uint8, generator=rng)
    return Samples(images, torch.arange(n) % 10, (0.48, 0.45, 0.41)[:channels], (0.23, 0.22, 0.23)[:channels])


def guarded(samples: Samples) -> View:
    return View("train", samples, Access(train="xy"), Ledger())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class PerSample(Dataset[tuple[Tensor, int]]):
    """Images as everybody's tutorial prepares them: to a float, normalised, changed at random, one by one."""

    def __init__(self, samples: Samples, change: Callable[[Tensor], Tensor] | None = None) -> None:
        self.images, self.labels, self.change = samples.images, samples.labels.tolist(), change
        self.mean, self.std = (torch.tensor(told).view(-1, 1, 1) for told in (samples.mean, samples.std))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = self.images[i].float().div(255).sub(self.mean).div(self.std)
        return (image if self.change is None else self.change(image)), self.labels[i]


def loaded(dataset: PerSample, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of the loader, in the order of the view's."""
    sampler = RandomSampler(dataset, generator=seeded(1))
    for x, y in DataLoader(dataset, BATCH, sampler=sampler, drop_last=True, pin_memory=device == "cuda"):
        yield x.to(device, non_blocking=True), y.to(device, non_blocking=True)


def last(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The last batch; all before it are made, too."""
    return deque(batches, maxlen=1).pop()


def check_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], device: str) -> None:
    """Batches are the same bit for bit; what a GPU has normalised is rounded its own way."""
    assert len(found[0]) == BATCH
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=0 if device == "cpu" else 1e-6)
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize(("size", "what", "bar"), SIZES)
def test_an_epoch_of_batches(
    beside: Any, full: bool, device: str, size: tuple[int, ...], what: str, bar: float
) -> None:
    """Shuffled, normalised batches; the same on a CPU bit for bit."""
    samples = drawn(size[0] if full else 200, size[1], size[2])
    view, dataset = guarded(samples.to(torch.device(device))), PerSample(samples)

    def ours() -> tuple[Tensor, Tensor]:
        return last((batch.x, batch.y) for batch in view.batches(BATCH, seeded(1)))

    way = "a DataLoader over a Dataset that prepares one image at a time"
    title = f"An epoch of {what}, counted and normalised"
    kept = beside(
        ours, lambda: last(loaded(dataset, device)), title, way, bar=bar, amount=len(samples), unit="images/s"
    )
    check_same(*kept, device)


@pytest.mark.parametrize(("size", "what", "bar"), SIZES)
def test_an_augmented_epoch(beside: Any, full: bool, device: str, size: tuple[int, ...], what: str, bar: float) -> None:
    """The same draws, so the same images."""
    samples = drawn(size[0] if full else 200, size[1], size[2])
    view = guarded(samples.to(torch.device(device)))

    def ours() -> tuple[Tensor, Tensor]:
        rng = seeded(2)
        return last((augmented(batch.x, "crop-flip", rng), batch.y) for batch in view.batches(BATCH, seeded(1)))

    def plain() -> tuple[Tensor, Tensor]:
        rng, side = seeded(2), size[2]

        def change(image: Tensor) -> Tensor:
            choice = int(torch.randint(9 * 2 * 9, (), generator=rng))
            top, mirrored, left = choice // 18, choice // 9 % 2, choice % 9
            padded = F.pad(image, (4, 4, 4, 4), mode="reflect")
            window = padded[:, top : top + side, left : left + side]
            return window.flip(2) if mirrored else window

        return last(loaded(PerSample(samples, change), device))

    way = "a DataLoader over a Dataset that prepares and changes one image at a time"
    title = f"An epoch of {what}, cropped and mirrored at random"
    check_same(*beside(ours, plain, title, way, bar=bar, amount=len(samples), unit="images/s"), device)


def test_a_streamed_epoch(beside: Any, full: bool, device: str, tmp_path: Path) -> None:
    """Large photographs that stay in a mapped file; the same batches."""
    samples = drawn(1280 if full else 70, 3, LARGE if full else 40)
    samples.images.numpy().tofile(tmp_path / "rows")
    mapped = torch.from_numpy(np.memmap(tmp_path / "rows", np.uint8, "c", shape=tuple(samples.images.shape)))
    stored = Samples(mapped, samples.labels, samples.mean, samples.std)
    view = guarded(stored.streamed(torch.device(device)))
    assert isinstance(stored.streamed(torch.device(device)).images, Rows)

    def ours() -> tuple[Tensor, Tensor]:
        return last((batch.x, batch.y) for batch in view.batches(BATCH, seeded(1)))

    way = "a DataLoader over a Dataset that prepares one image of the mapped file at a time"
    kept = beside(
        ours,
        lambda: last(loaded(PerSample(stored), device)),
        "An epoch of 1,280 photographs of 224 x 224, streamed from a mapped file",
        way,
        amount=len(samples),
        unit="images/s",
    )
    check_same(*kept, device)


@pytest.mark.usefixtures("on_cpu")
def test_colouring(beside: Any, full: bool) -> None:
    """Coloured digits, made when data are loaded; the same bit for bit."""
    samples = drawn(DIGITS[0] if full else 100, *DIGITS[1:])

    def plain() -> Tensor:
        spread = SPREAD[4] * torch.randn(len(samples), 3, generator=seeded(3))
        made = []
        for image, label, shift in zip(samples.images, samples.labels.tolist(), spread, strict=True):
            tint = (torch.tensor(MEAN_COLOURS[label]) + shift).clamp(0, 1)
            made.append((image.float() * tint.view(3, 1, 1)).to(torch.uint8))
        return torch.stack(made)

    kept = beside(
        lambda: colour(samples.images, samples.labels, 4, seeded(3)),
        plain,
        "5,000 digits in colour",
        "a loop over images",
        amount=len(samples),
        unit="images/s",
    )
    assert torch.equal(*kept)


@pytest.mark.usefixtures("on_cpu")
def test_a_blend_with_white(beside: Any, full: bool) -> None:
    """An artefact all over the image, inserted when data are loaded, and its masks; the same bit for bit."""
    samples = drawn(PHOTOGRAPHS[0] if full else 100, *PHOTOGRAPHS[1:])
    artefact, keys = Artefact("brightness", 0.5, strength=0.3), torch.arange(len(samples))

    def plain() -> tuple[Tensor, Tensor]:
        images, masks = [], []
        for image in samples.images.numpy():
            blended = np.round(0.7 * image + 0.3 * 255).astype(np.uint8)
            images.append(blended)
            masks.append((blended != image).any(0))
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(masks))

    found, expected = beside(
        lambda: insert(samples.images, artefact, keys),
        plain,
        "An artefact all over 10,000 photographs, and its masks",
        "a loop over images in NumPy",
        amount=len(samples),
        unit="images/s",
    )
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
