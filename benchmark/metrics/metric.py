"""What is said of a metric: its name, what tables call it, its unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower", "zero", "half", "reference", "none"]


@dataclass(frozen=True)
class Metric:
    """``better``: higher, lower, zero (gaps), half: 0.5, reference: what retraining has, or none."""

    name: str
    label: str
    unit: str
    better: Better
    summary: str
