"""Mean ranks over the scenarios of a task, and which of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

from benchmark.boards.board import KIND_ORDER, Row
from benchmark.boards.comparisons import losses, ties
from benchmark.reporting.selection import ranked_by
from benchmark.stats import Interval, ranks, t_interval

if TYPE_CHECKING:
    import pandas as pd

#: Blocks from which on a critical-difference diagram is drawn.
FEWEST_BLOCKS = 6


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of the methods of one task and track on one device, from the best on.

    A block is a seed: the methods' mean rank over ``scenarios``, in all of which every ranked method ran, on base
    models that differ between blocks. ``blocks[seed][method]``. ``left_out``: methods that did not run in all of the
    scenarios, and scenarios with fewer seeds than others, with the reason.
    """

    task: str
    track: str
    device: str
    scenarios: tuple[str, ...]
    means: Mapping[str, Interval]
    blocks: Mapping[int, Mapping[str, float]]
    left_out: Mapping[str, str]

    @cached_property
    def leaders(self) -> set[str]:
        """The method with the best mean rank, and those that a paired comparison of blocks does not tell from it.

        By the rule of a board's columns; empty under five blocks: nothing is told there.
        """
        return ties({method: {seed: block[method] for seed, block in self.blocks.items()} for method in self.means})

    @property
    def drawable(self) -> bool:
        """Whether there are enough blocks and methods for a critical-difference diagram."""
        return len(self.blocks) >= FEWEST_BLOCKS and len(self.means) >= 3


def rankings(rows: Sequence[Row]) -> list[Ranking]:
    """One ranking a task, track and device of one suite's rows; without those of fewer than two methods."""

    def field(row: Row) -> tuple[str, str, str]:
        return row.task, row.track, row.device

    own = [row for row in rows if KIND_ORDER.get(row.kind, 1) == 1]
    found = [_ranking(*name, list(block)) for name, block in groupby(sorted(own, key=field), key=field)]
    return [ranking for ranking in found if ranking is not None]


def _ranking(task: str, track: str, device: str, rows: list[Row]) -> Ranking | None:
    by_scenario: dict[str, list[Row]] = {}
    for row in rows:
        by_scenario.setdefault(row.scenario, []).append(row)
    # A row of another time may be ranked by another metric: it does not compare, and is missing.
    by_scenario = {s: [row for row in own if row.rank_by == ranked_by(own)] for s, own in by_scenario.items()}
    seeds = {scenario: {seed for row in own for seed in clusters(row)} for scenario, own in by_scenario.items()}
    most = max(seeds.values(), key=len)
    left_out = {scenario: f"{len(own)} of {len(most)} seeds" for scenario, own in seeds.items() if not own >= most}
    kept = {scenario: own for scenario, own in by_scenario.items() if scenario not in left_out}
    methods, missing = _everywhere(kept, most)
    if len(methods) < 2:
        return None
    blocks = {seed: _block(kept, methods, seed) for seed in sorted(most)}
    means = {method: t_interval([block[method] for block in blocks.values()]) for method in methods}
    ordered = dict(sorted(means.items(), key=lambda item: (item[1].mean, item[0])))
    return Ranking(task, track, device, tuple(kept), ordered, blocks, {**left_out, **missing})


def clusters(row: Row) -> set[int]:
    """What a row's cells are clustered by: their seeds, each with a base model of its own, or the one base model."""
    return {0} if row.one_base else set(row.origin.seeds)


def _everywhere(kept: Mapping[str, list[Row]], seeds: set[int]) -> tuple[list[str], dict[str, str]]:
    """Methods that ran in all scenarios with all seeds, and why the others are left out."""
    ran: dict[str, int] = {}
    for rows in kept.values():
        for row in rows:
            ran[row.method] = ran.get(row.method, 0) + (clusters(row) >= seeds)
    missing = {method: f"in {n} of {len(kept)} scenarios" for method, n in sorted(ran.items()) if n < len(kept)}
    return sorted(set(ran) - set(missing)), missing


def _block(kept: Mapping[str, list[Row]], methods: Sequence[str], seed: int) -> dict[str, float]:
    """Mean rank of each method over the scenarios; a cell without a result is behind all that have one."""
    total = dict.fromkeys(methods, 0.0)
    for rows in kept.values():
        own = {row.method: losses(row, row.rank_by).get(seed, float("inf")) for row in rows if row.method in total}
        for method, rank in zip(own, ranks(list(own.values())), strict=True):
            total[method] += rank / len(kept)
    return total


def ranking_of(found: Sequence[Ranking], task: str, track: str, device: str) -> Ranking | None:
    """That of a task, track and device among ``found``."""
    return next((one for one in found if (one.task, one.track, one.device) == (task, track, device)), None)


def differences(ranking: Ranking) -> pd.DataFrame:
    """Nemenyi's p value of each pair of methods, as a square table: the test that the diagram shows.

    Each block is one seed's mean ranks, ranked once more (Demšar, 2006, section 3.2).
    """
    import pandas as pd
    import scikit_posthocs

    table = pd.DataFrame.from_dict(ranking.blocks, orient="index")
    found: pd.DataFrame = scikit_posthocs.posthoc_nemenyi_friedman(table)
    return found
