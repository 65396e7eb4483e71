"""Balanced softmax: cross-entropy that expects the classes in the training set's proportions (Ren et al., 2020)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.training.sampling import fit, uniformly


def balanced_softmax_loss(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, K) + log n_y, where counts (K,) are the n_y (arXiv:2007.10740, eq. 4)."""
    return F.cross_entropy(logits + counts.to(logits).log(), labels)


@method(
    "balanced-softmax", tasks=("debias-known", "debias-unknown"), paper="arXiv:2007.10740", access=Access(train="xy")
)
def balanced_softmax(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """Balanced softmax (Ren et al., 2020): the logits alone, without log n_y, are for classes that are equally likely.

    It knows of classes only: where they are equally frequent it is ERM.
    """
    model, view = problem.model, problem.train
    counts = view.everything().y.bincount(minlength=problem.num_classes)

    def loss(index: Tensor) -> Tensor:
        batch = view.batch(index)
        return balanced_softmax_loss(model(batch.x), batch.y, counts)

    items = uniformly(problem, problem.generator("batches"))
    fit(problem, model, items, loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return model
