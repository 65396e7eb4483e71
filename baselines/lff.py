"""Learning from failure: what a network that learns the shortcut finds difficult counts (Nam et al., 2020).

arXiv:2007.02561, algorithm 1. The relative difficulty is computed as the authors' code does: from moving averages of
each sample's losses, each divided by the largest of its class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.erm import generalised_cross_entropy
from benchmark.contracts import Access, DebiasProblem, Watch, method
from benchmark.errors import InputError
from benchmark.training.sampling import fit, uniformly

#: What keeps quotients of losses finite.
EPSILON = 1e-8


class RelativeDifficulty:
    """W = CE_b / (CE_b + CE_d) of training samples with ``labels`` (N,), from moving averages of both losses."""

    def __init__(self, labels: Tensor, num_classes: int, decay: float) -> None:
        self._labels = labels
        self._members = labels == torch.arange(num_classes, device=labels.device)[:, None]
        self._decay = decay
        self._average = torch.zeros(2, len(labels), device=labels.device)
        self._seen = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)

    def update(self, index: Tensor, losses: Tensor) -> None:
        """Take the ``losses`` (2, B), of the biased and the debiased network, into the averages at ``index`` (B,).

        A sample's first loss is its average; where a sample is in the batch several times its mean loss counts once.
        """
        own, inverse, times = index.unique(return_inverse=True, return_counts=True)
        new = losses.new_zeros(2, len(own)).index_add(1, inverse, losses) / times
        moved = self._decay * self._average[:, own] + (1 - self._decay) * new
        self._average[:, own] = torch.where(self._seen[own], moved, new)
        self._seen[own] = True

    def weights(self, index: Tensor) -> Tensor:
        """W (B,) in [0, 1] of the samples at ``index``: 1/2 where both networks find a sample equally difficult."""
        largest = torch.where(self._members, self._average[:, None], 0.0).amax(2)
        relative = self._average[:, index] / largest[:, self._labels[index]].clamp_min(EPSILON)
        biased, debiased = relative.unbind()
        return (biased + EPSILON) / (biased + debiased + 2 * EPSILON)


@dataclass(frozen=True)
class OneOf:
    """A watch that looks at ``network`` whenever the pair that it is part of is to be looked at."""

    watch: Watch
    network: nn.Module

    def look(self, model: nn.Module) -> None:
        self.watch.look(self.network)

    def restore(self, model: nn.Module) -> None:
        self.watch.restore(self.network)


@method("lff", tasks=("debias-known", "debias-unknown"), paper="arXiv:2007.02561", access=Access(train="xy"))
def lff(
    problem: DebiasProblem,
    *,
    q: float = 0.7,
    decay: float = 0.7,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """Learning from failure (Nam et al., 2020): two networks trained at once on the same uniform batches.

    The biased one is trained by generalised cross-entropy, as the paper has it; its authors' code has q times that
    gradient. ``decay`` is that of the moving averages. Neither loss has a gradient in the other's network, so that
    one optimiser for both is an optimiser for each.
    """
    if not (0 < q <= 1 and 0 <= decay < 1):
        raise InputError(f"lff: q must be in (0, 1] and decay in [0, 1), not {q} and {decay}")
    view, model, biased = problem.train, problem.model, problem.fresh_model("biased")
    difficulty = RelativeDifficulty(view.everything().y, problem.num_classes, decay)

    def loss(index: Tensor) -> Tensor:
        batch = view.batch(index)
        x, y = batch.x, batch.y
        logits = biased(x), model(x)
        losses = torch.stack([F.cross_entropy(own, y, reduction="none") for own in logits])
        difficulty.update(index, losses.detach())
        return (generalised_cross_entropy(logits[0], y, q) + difficulty.weights(index) * losses[1]).mean()

    items, watch = uniformly(problem, problem.generator("batches")), OneOf(problem.watch, model)
    pair = nn.ModuleList([model, biased])
    fit(problem, pair, items, loss, watch=watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return model
