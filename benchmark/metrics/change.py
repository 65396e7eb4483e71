"""Did anything change at all? Relative distances of parameters and of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.contracts import Measured


def relative_distance(new: Tensor, old: Tensor) -> float:
    """100 * ||new - old|| / ||old|| (L2, over all entries)."""
    old, new = old.double(), new.double()
    return 100.0 * float((new - old).norm() / old.norm().clamp_min(1e-12))


def parameter_change(model: nn.Module, original: nn.Module) -> Measured:
    """Relative L2 change in percent of all parameters together; None if their names or shapes differ.

    Buffers are left out: running variances are of another scale than weights. What changes them changes the features.
    """
    new, old = (dict(m.named_parameters()) for m in (model, original))
    if {k: t.shape for k, t in new.items()} != {k: t.shape for k, t in old.items()}:
        return Measured(None, 0)
    vectors = [torch.cat([state[name].detach().flatten().cpu() for name in old]) for state in (new, old)]
    return Measured(relative_distance(*vectors), len(vectors[1]))


def feature_change(features: Tensor, original: Tensor) -> Measured:
    """Relative L2 change in percent of features (N, D) of the same samples; None if the shapes differ."""
    if features.shape != original.shape or not features.isfinite().all():
        return Measured(None, len(features))
    return Measured(relative_distance(features, original), len(features))
