"""Images that stay on the host: a view gives, counts and refuses the same as if they were on the device."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.contracts import Access, Ledger
from benchmark.data import rows, views
from benchmark.data.attacked import Attacked, Pair
from benchmark.data.rows import Rows, fits, free_memory
from benchmark.data.views import Batch, Samples, View
from benchmark.errors import AccessViolation

N = 40
CPU = torch.device("cpu")
DEVICES = [CPU, *([torch.device("cuda", 0)] if torch.cuda.is_available() else [])]


def samples(channels: int = 3, side: int = 6) -> Samples:
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (N, channels, side, side), dtype=torch.uint8, generator=rng)
    masks = torch.rand(N, side, side, generator=rng) < 0.5
    mean, std = (0.3, 0.5, 0.7)[:channels], (0.2, 0.3, 0.4)[:channels]
    return Samples(images, torch.arange(N) % 4, mean, std, torch.arange(N) % 3, masks)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def both(data: Samples, device: torch.device, fields: str = "xyam", limit: int | None = None) -> list[View]:
    """The same view twice: images on the device, and streamed to it."""
    access = Access(train=fields, max_samples={"train": limit} if limit else None)
    return [View("train", told, access, Ledger()) for told in (data.to(device), data.streamed(device))]


READ: dict[str, Callable[[View], list[Batch]]] = {
    "an epoch": lambda view: list(view.batches(7, seeded())),
    "in order": lambda view: list(view.batches(7)),
    "split": lambda view: [part for batch in view.batches(16, seeded()) for part in batch.split(5)],
    "drawn": lambda view: [view.draw(9, seeded())],
    "by class": lambda view: [view.draw_per_class(3, seeded())],
    "everything": lambda view: [view.everything()],
    "positions on the device": lambda view: [view.batch(torch.tensor([5, 1, 5], device=view.device))],
    "positions on the host": lambda view: [view.batch(torch.tensor([5, 1, 5]))],
    "made by hand": lambda view: [Batch(view, view.draw(9, seeded()).index)],
    "nothing": lambda view: [view.batch(torch.empty(0, dtype=torch.int64))],
}


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("how", READ)
@pytest.mark.parametrize("channels", [1, 3])
def test_streamed_batches_are_the_same_bit_for_bit(device: torch.device, how: str, channels: int) -> None:
    there, streamed = both(samples(channels), device)
    pairs = list(zip(READ[how](there), READ[how](streamed), strict=True))
    assert pairs
    for one, other in pairs:
        assert one.x.device == other.x.device == one.index.device == other.index.device == streamed.device == device
        assert one.x.stride() == other.x.stride()
        for field in ("index", "x", "y", "a", "masks"):
            assert torch.equal(getattr(one, field), getattr(other, field))
    assert there.counts() == streamed.counts()
    assert streamed.counts()["passes"] == 2 * sum(len(batch) for batch, _ in pairs) + sum(len(b) for b, _ in pairs)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_streamed_views_refuse_the_same(device: torch.device) -> None:
    there, streamed = both(samples(), device, "x", limit=10)
    for view in (there, streamed):
        _ = view.batch(torch.arange(10)).x
        for read in (lambda v: v.batch(torch.tensor([10])).x, lambda v: v.everything().y, lambda v: v.everything().x):
            with pytest.raises(AccessViolation):
                read(view)
        view.close()
        with pytest.raises(AccessViolation, match="after the method's call"):
            _ = view.batch(torch.tensor([0])).x
    assert there._ledger.violations == streamed._ledger.violations
    assert there.counts() == streamed.counts() == {"samples": 10, "passes": 10}


def test_what_is_gathered_is_what_is_counted() -> None:
    """Whoever makes a batch of positions that do not belong together gains nothing."""
    _, streamed = both(samples(), CPU)
    batch = Batch(streamed, torch.tensor([0]), torch.tensor([1, 2, 3]))
    assert torch.equal(batch.x, samples().inputs(torch.tensor([1, 2, 3])))
    assert streamed.counts() == {"samples": 3, "passes": 3}
    _, limited = both(samples(), CPU, limit=1)
    assert len(Batch(limited, torch.tensor([0]), torch.tensor([1, 2, 3])).x) == 1
    assert limited.counts() == {"samples": 1, "passes": 1}


def test_tallies_pass_between_streamed_views_and_others() -> None:
    there, streamed = both(samples(), CPU)
    _ = streamed.draw(5, seeded()).x, streamed.draw(3, seeded()).x, streamed.draw(2, seeded()).y
    there.count(streamed.tally())
    assert there.counts() == streamed.counts() == {"samples": 5, "labels": 2, "passes": 8}


def test_streamed_subsets_copy_no_image() -> None:
    data = samples()
    streamed, chosen = data.streamed(CPU), torch.tensor([9, 3, 30, 4])
    part, expected = streamed.subset(chosen).subset(torch.tensor([2, 0])), data.subset(torch.tensor([30, 9]))
    assert part.rows is not None
    assert part.rows.stored.data_ptr() == data.images.data_ptr()
    assert torch.equal(part.images[:], expected.images)
    assert torch.equal(part.inputs(), expected.inputs())
    assert torch.equal(part.inputs(slice(1, None)), expected.inputs(slice(1, None)))
    assert part.labels.tolist() == expected.labels.tolist()
    assert len(part) == 2
    assert len(streamed.subset(chosen[:0])) == len(streamed.subset(chosen[:0]).inputs()) == 0


def test_streamed_samples_stay_streamed() -> None:
    streamed = samples().streamed(CPU)
    assert streamed.to(CPU).rows is streamed.rows
    assert replace(streamed, attributes=None).rows is streamed.rows
    empty = streamed.subset(torch.empty(0, dtype=torch.int64))
    assert empty.to(CPU).rows is empty.rows


def test_rows_read_like_the_tensor_they_stand_for() -> None:
    stored = torch.arange(24).view(8, 3)
    rows, chosen = Rows(stored, torch.tensor([7, 0, 2])), stored[[7, 0, 2]]
    assert (rows.shape, rows.dtype, rows.device, len(rows)) == (chosen.shape, chosen.dtype, CPU, 3)
    for index in (slice(None), slice(1), torch.tensor([2, 2, 0]), torch.tensor([True, False, True])):
        assert torch.equal(rows[index], chosen[index])
    assert torch.equal(rows.cpu(), chosen)
    assert torch.equal(Rows(stored).cpu(), stored)
    with pytest.raises(IndexError):
        rows[torch.tensor([3])]


# What stays on the host.


@pytest.mark.parametrize(("free", "resident"), [(2 * N * 108, True), (2 * N * 108 - 1, False)])
def test_images_stay_on_the_host_unless_they_take_at_most_half_of_what_is_free(
    free: float, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that is not the CPU, without one: nothing of the images is read."""
    elsewhere = torch.device("meta")
    monkeypatch.setattr(views, "free_memory", lambda device: free if device == elsewhere else free_memory(device))
    data = samples()
    assert data.images.nbytes == N * 108
    moved = data.to(elsewhere)
    assert (moved.rows is None) == resident
    assert moved.images.device == (elsewhere if resident else CPU)
    assert moved.labels.device == moved.masks.device == moved.device == elsewhere  # type: ignore[union-attr]
    assert data.to(CPU).images is data.images  # nothing is moved there
    monkeypatch.setattr(views, "free_memory", lambda device: 0.0)
    assert moved.to(elsewhere).images is moved.images  # nor is it taken away from where it found room


def test_a_cpu_always_has_room() -> None:
    assert free_memory(CPU) == math.inf
    assert fits(10**18, free_memory(CPU))
    assert fits(5, 10)
    assert not fits(6, 10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_free_memory_counts_what_the_allocator_keeps() -> None:
    device = torch.device("cuda", 0)
    before = free_memory(device)
    block = torch.empty(64 << 20, dtype=torch.uint8, device=device)
    assert before - free_memory(device) == pytest.approx(block.nbytes, abs=8 << 20)
    del block
    assert free_memory(device) == pytest.approx(before, abs=8 << 20)


def test_a_training_set_without_a_backdoor_is_moved_once() -> None:
    data, other = samples(), samples(1)
    whole = Attacked(data, data, other, Pair(other, other), Pair(other, other), ("0",), 0, (), "sum")
    moved = whole.to(CPU)
    assert moved.learnt is moved.train
    struck = replace(whole, learnt=other).to(CPU)
    assert struck.learnt.images is other.images
    assert struck.train.images is data.images


# Mapped rows.


@pytest.fixture
def mapped(tmp_path: Path) -> torch.Tensor:
    """Rows of two pages and a bit, mapped."""
    size = 2 * mmap.PAGESIZE + 100
    np.random.default_rng(0).integers(0, 256, (20, size), dtype=np.uint8).tofile(tmp_path / "rows")
    return torch.from_numpy(np.memmap(tmp_path / "rows", np.uint8, "c", shape=(20, size)))


def test_mapped_rows_are_announced_page_by_page(mapped: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(rows, "_madvise", lambda *call: told.append(call))
    index = torch.tensor([7, 0, 19])
    assert torch.equal(Rows(mapped)[index], mapped[index])
    for (address, length, advice), row in zip(told, index.tolist(), strict=True):
        start = mapped[row].data_ptr()
        assert advice == mmap.MADV_WILLNEED
        assert address % mmap.PAGESIZE == 0
        assert 0 <= start - address < mmap.PAGESIZE
        assert address + length == start + mapped.shape[1]


def test_small_rows_and_rows_apart_are_not_announced(mapped: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, ...]] = []
    monkeypatch.setattr(rows, "_madvise", lambda *call: told.append(call))
    index = torch.tensor([1, 2])
    assert torch.equal(Rows(mapped[:, :100].contiguous())[index], mapped[index, :100])
    assert torch.equal(Rows(mapped[:, ::2])[index], mapped[index, ::2])
    monkeypatch.setattr(rows, "_madvise", None)
    assert torch.equal(Rows(mapped)[index], mapped[index])
    assert not told


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="the system takes no advice")
def test_the_system_takes_the_advice(mapped: torch.Tensor) -> None:
    assert rows._madvise is not None
    page = mapped.data_ptr() - mapped.data_ptr() % mmap.PAGESIZE
    assert rows._madvise(page, mmap.PAGESIZE, mmap.MADV_WILLNEED) == 0
    assert rows._madvise(page + 1, mmap.PAGESIZE, mmap.MADV_WILLNEED) == -1  # it looks at what it is told
