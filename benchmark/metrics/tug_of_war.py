"""Tug-of-war: one number for utility and forgetting, relative to retraining (Zhao et al., 2024, arXiv:2406.01257)."""

from __future__ import annotations

from collections.abc import Iterable


def tug_of_war(pairs: Iterable[tuple[float, float]]) -> float:
    """Product over (accuracy, accuracy of the retrained model), in percent, of 1 - |gap| / 100; in [0, 1]."""
    product = 1.0
    for value, reference in pairs:
        product *= 1.0 - abs(value - reference) / 100.0
    return product
