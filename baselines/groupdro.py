"""GroupDRO: the loss of the worst group, followed by weights of groups that move towards it (Sagawa et al., 2020).

arXiv:1911.08731, algorithm 1. Groups are class x attribute where the attributes of the training set are known, and
classes where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.balancing import balanced
from benchmark.contracts import Access, DebiasProblem, method
from benchmark.data.views import View
from benchmark.errors import InputError
from benchmark.training.sampling import Draw, GroupTable, fit, known_groups, merged, plain, sees_samples_apart


class RobustLoss:
    """sum_g q_g L_g over the groups of a draw; every call first moves q, once, towards those whose loss is higher.

    q_g <- q_g exp(eta (L_g + adjustment / sqrt(n_g))), normalised: groups that are not in the draw keep their share
    relative to each other. q starts equal over all groups that have samples, and no gradient goes through it.
    """

    def __init__(self, model: nn.Module, view: View, table: GroupTable, eta: float, adjustment: float) -> None:
        counts = table.counts.flatten().to(table.device)
        self._model, self._view, self._eta = model, view, eta
        self._apart = sees_samples_apart(model)
        self._groups = table.groups.to(table.device)
        self._adjustment = adjustment / counts.clamp_min(1).sqrt()
        self._log_q = torch.where(counts > 0, 0.0, -torch.inf).log_softmax(0)

    @property
    def q(self) -> Tensor:
        """(G,) float32: the groups' weights, which sum to 1."""
        return self._log_q.exp()

    def __call__(self, draw: Draw) -> Tensor:
        draw = merged(draw) if self._apart else draw
        batch = self._view.batch(draw.index)
        losses, present = self._group_losses(F.cross_entropy(self._model(batch.x), batch.y, reduction="none"), draw)
        raised = torch.where(present, losses.detach() + self._adjustment, 0.0)
        # As logarithms, because exp(eta L) overflows where eta is large.
        self._log_q = (self._log_q + self._eta * raised).log_softmax(0)
        return (self.q * losses).sum()

    def _group_losses(self, losses: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """L_g (G,), the weighted mean over a group's samples, 0 where there are none; and which groups have any."""
        groups = self._groups[draw.index]
        empty = torch.zeros_like(self._log_q)
        mass = empty.index_add(0, groups, draw.weight)
        return empty.index_add(0, groups, draw.weight * losses) / mass.clamp_min(1e-12), mass > 0


@method(
    "groupdro",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:1911.08731",
    access=Access(train="xy", optional={"train": "a"}),
)
def groupdro(
    problem: DebiasProblem,
    *,
    eta: float = 0.01,
    adjustment: float = 0.0,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """GroupDRO (Sagawa et al., 2020) on batches in which all groups are equally frequent, as in its authors' code.

    ``eta`` is the step size of the groups' weights, ``adjustment`` the paper's C, which counts small groups' losses
    for more. The paper adds strong weight decay: ``decay_scale``.
    """
    if eta < 0:
        raise InputError(f"groupdro: eta must be at least 0, not {eta}")
    table, generator = known_groups(problem), problem.generator("batches")

    def indices() -> Iterator[Tensor]:
        while True:
            yield table.draw(balanced(table), problem.recipe.per_class, generator)

    loss = RobustLoss(problem.model, problem.train, table, eta, adjustment)
    fit(
        problem,
        problem.model,
        plain(indices()),
        loss,
        watch=problem.watch,
        lr_scale=lr_scale,
        decay_scale=decay_scale,
    )
    return problem.model
