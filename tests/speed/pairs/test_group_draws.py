"""Batches by group: positions drawn at once beside a loop over groups."""

from __future__ import annotations

import pytest
import torch

from benchmark.training.sampling import GroupTable


@pytest.mark.usefixtures("on_cpu")
def test_group_draws(beside, full) -> None:  # type: ignore[no-untyped-def]
    """A thousand batches of ten classes and two attributes; both have the shares that were asked for."""
    n, per_class, draws = 50_000, 50, 1_000 if full else 20
    y = torch.randint(10, (n,), generator=torch.Generator().manual_seed(0))
    a = (torch.rand(n, generator=torch.Generator().manual_seed(1)) < 0.05).long()
    table = GroupTable(y * 2 + a, (10, 2))
    p = torch.full((10, 2), 0.5, dtype=torch.float64)
    rng = torch.Generator().manual_seed(2)

    def ours() -> torch.Tensor:
        return torch.stack([table.draw(p, per_class, rng) for _ in range(draws)])

    def plain() -> torch.Tensor:
        batches = []
        for _ in range(draws):
            parts = []
            for c in range(10):
                for b in range(2):
                    members = ((y == c) & (a == b)).nonzero().squeeze(1)
                    parts.append(members[torch.randint(len(members), (per_class // 2,), generator=rng)])
            batches.append(torch.cat(parts))
        return torch.stack(batches)

    way = "a search for each group's members in every step"
    found, expected = beside(ours, plain, "GERNE: a thousand batches by group", way)
    for batches in (found, expected):
        assert batches.shape == (draws, 10 * per_class)
        assert (y[batches].view(draws, 10, per_class) == torch.arange(10)[:, None]).all()
        assert a[batches].float().mean() == 0.5
