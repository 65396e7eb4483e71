"""Recovery by one number: what would a constant on a forgotten class's logit bring back?

The attack is our own. Who has the weights can add to the class's bias; no sample is needed for that. How much to add is
all that is open, so that the area under the curve over all constants is what the attack is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.contracts import Measured


def lifted_logit_auc(logits: Tensor, labels: Tensor, classes: Sequence[int]) -> Measured:
    """Percent: area under the ROC curve of a class's margin, its own samples against those of retained classes.

    logits: (N, C) without wrappers that hide some; labels: (N,); the margin is the forgotten class's logit less the
    largest one of a retained class. 50: the logit no longer says anything of the class; 100: there is a constant that
    brings all of its samples back and takes no other. Mean over the forgotten ``classes``; ties count one half. A
    network that never learnt the class need not be at 50: its samples look less like the others'. None where a logit is
    not finite, or a class or the rest has no samples.
    """
    from sklearn.metrics import roc_auc_score

    gone = torch.isin(labels, torch.tensor(classes))
    if gone.all() or not all((labels == c).any() for c in classes):
        return Measured(None, len(labels))
    margins = logits[:, list(classes)].double() - _largest_retained(logits, classes)
    if not margins.isfinite().all():
        return Measured(None, len(labels))
    areas = [
        roc_auc_score((labels[own | ~gone] == c).numpy(), margins[own | ~gone, i].numpy())
        for i, c in enumerate(classes)
        for own in (labels == c,)
    ]
    return Measured(100.0 * float(np.mean(areas)), len(labels))


def _largest_retained(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """(N, 1) float64: the largest logit of a class that is not among ``classes``."""
    others = [c for c in range(logits.shape[1]) if c not in classes]
    return logits[:, others].double().max(1, keepdim=True).values
