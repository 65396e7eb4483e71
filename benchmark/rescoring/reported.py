"""What is claimed of predictions that are scored again: by a record of ours, or by a submission."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.running.records import Count, Record, Value


@dataclass(frozen=True)
class Claim:
    """Of one cell. ``groups``: test samples by group, and with them what selection rules saw of each state.

    None for predictions from elsewhere, which come without either.
    """

    seed: int
    metrics: Mapping[str, Value]
    groups: Mapping[str, Count] | None
    flags: Sequence[str] = ()


def claim_of(record: Record) -> Claim:
    """What a record claims."""
    return Claim(record.cell.seed, record.metrics, record.groups, record.flags)
