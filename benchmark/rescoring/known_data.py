"""Data that is at hand: what records say of it can be checked without a download or a minute of preparation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmark.data import DATA
from benchmark.data.biased import Biased, load_biased
from benchmark.data.packaged import Dataset, load
from benchmark.tasks.debias import Debias


def at_hand(scenario: Any) -> bool:
    """Whether the scenario's data comes with packages or is generated.

    All else is local or may be downloaded. A user's own data is not at hand either: its checksum takes all its pixels,
    which are decoded first where the cache does not have them; ``amendbench data check`` looks at it.
    """
    return DATA.get(scenario.data).loader.startswith("packaged.")


def plain(scenario: Any) -> Dataset | None:
    """The scenario's data as it is before anything is inserted; None where it is not at hand."""
    return load(scenario.data) if at_hand(scenario) else None


def biased(scenario: Debias) -> Biased | None:
    """The scenario's data with its bias; None where it is not at hand."""
    return load_biased(scenario.data, scenario.bias) if at_hand(scenario) else None


def checksum(scenario: Any) -> str | None:
    """The data checksum that a record of the scenario has today; None where the data is not at hand."""
    found = biased(scenario) if isinstance(scenario, Debias) else plain(scenario)
    return None if found is None else found.checksum


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and entries."""
    return one.shape == other.shape and bool((one == other).all())
