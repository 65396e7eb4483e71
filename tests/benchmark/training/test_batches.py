"""Shuffled batches of rows and of two views: what an epoch holds, in which order, and what is read of it when."""

from __future__ import annotations

import pytest
import torch

from benchmark.contracts import Access, Ledger
from benchmark.data.views import Samples, View
from benchmark.training.batches import Joined, joined, pairs, shuffled


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def view(n: int, name: str = "retain") -> View:
    """n samples (n, 2), the first column of which is the position."""
    samples = Samples(torch.arange(n)[:, None] * torch.tensor([1.0, 0.5]), torch.zeros(n).long())
    return View(name, samples, Access(retain="x", forget="x"), Ledger())


@pytest.mark.parametrize(("n", "size", "sizes"), [(10, 4, [4, 4, 2]), (9, 8, [8, 1]), (3, 8, [3]), (8, 4, [4, 4])])
def test_every_row_is_in_an_epoch_once(n: int, size: int, sizes: list[int]) -> None:
    rows = torch.arange(3 * n).view(n, 3)
    found = list(shuffled(rows, size, rng()))
    assert [len(batch) for batch in found] == sizes
    assert torch.equal(torch.cat(found), rows[torch.randperm(n, generator=rng())])


def test_epochs_of_rows_differ() -> None:
    generator = rng()
    first, second = (torch.cat(list(shuffled(torch.arange(50), 8, generator))) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)


@pytest.mark.parametrize(
    ("n", "m", "size", "sizes"),
    [(20, 10, 4, [(4, 4), (4, 4), (4, 2)]), (5, 20, 4, [(4, 4), (1, 4)]), (20, 3, 8, [(8, 3)]), (8, 8, 8, [(8, 8)])],
)
def test_an_epoch_of_pairs_is_as_long_as_the_shorter_view(
    n: int, m: int, size: int, sizes: list[tuple[int, int]]
) -> None:
    one, other = view(n), view(m, "forget")
    found = list(pairs(one, other, size, rng()))
    assert [(len(a), len(b)) for a, b in found] == sizes
    generator = rng()
    for own, whole in ((0, n), (1, m)):  # the first view's order is drawn first
        order = torch.randperm(whole, generator=generator)
        index = torch.cat([pair[own].index for pair in found])
        assert torch.equal(index, order[: len(index)])
    assert one.counts() == other.counts() == {"passes": 0}


def test_joined_batches_are_read_once_and_part_again() -> None:
    one, other = view(6), view(5, "forget")
    first, second = one.batch(torch.tensor([4, 0, 2])), other.batch(torch.tensor([1, 3]))
    both = Joined.of(first, second)
    assert both.x[:, 0].tolist() == [4, 0, 2, 1, 3]
    a, b = both.parts(both.x * 2)
    assert a[:, 0].tolist() == [8, 0, 4]
    assert b[:, 0].tolist() == [2, 6]
    assert one.counts() == {"samples": 3, "passes": 3}
    assert other.counts() == {"samples": 2, "passes": 2}


def test_pairs_are_read_when_their_turn_comes() -> None:
    """Numbers that somebody draws within an epoch come between the orders of two epochs."""
    one, other, generator, expected = view(6), view(4, "forget"), rng(), rng()
    for number, epoch in enumerate(joined(one, other, 2, 2, generator)):
        orders = [torch.randperm(n, generator=expected) for n in (6, 4)]
        for k, both in enumerate(epoch):
            assert torch.equal(both.x[:, 0], torch.cat([order[2 * k : 2 * k + 2] for order in orders]).float())
            assert other.counts()["passes"] == 4 * number + 2 * (k + 1)
            assert torch.equal(torch.randn(3, generator=generator), torch.randn(3, generator=expected))
    assert one.counts()["passes"] == other.counts()["passes"] == 8
