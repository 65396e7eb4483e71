"""Selective synaptic dampening: shrink the weights that matter more for the forget set than elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import View


def importance(model: nn.Module, view: View, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Mean over shuffled batches of the squared gradient of the batch's mean loss, one tensor a parameter.

    With ``batch_size`` 1 it is the diagonal of the empirical Fisher matrix; larger batches average gradients of
    opposite signs away before they are squared.
    """
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    count = 0
    for batch in view.batches(batch_size, generator):
        loss = F.cross_entropy(model(batch.x), batch.y)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        for t, g in zip(total, gradients, strict=True):
            t.addcmul_(g, g)
        count += 1
    return [t / count for t in total]


@torch.no_grad()
def dampen(theta: Tensor, f_forget: Tensor, f_all: Tensor, alpha: float, lam: float) -> None:
    """In place: theta *= min(1, lam F_D / F_f) where F_f > alpha F_D (Foster et al. 2023)."""
    chosen = f_forget > alpha * f_all
    beta = (lam * f_all / f_forget).clamp(max=1)
    theta.copy_(torch.where(chosen, theta * beta, theta))


@method(
    "ssd", tasks="class-forget", paper="Foster et al. 2023, arXiv:2308.07707", access=Access(retain="xy", forget="xy")
)
def ssd(problem: ForgetProblem, *, alpha: float = 3.0, lam: float = 1.0, batch_size: int = 8) -> nn.Module:
    """SSD: dampen the weights that the forget set needs most (Foster et al. 2023, arXiv:2308.07707).

    No training: two importances, one multiplication. F_D is the importance of all training data, which holds the
    forget set: where a share p of the data is forgotten, F_f / F_D is at most 1 / p, and an alpha above that (the
    authors' 10, chosen for a hundred classes, with a class of ten) changes nothing; hence the lower default. Lambda
    is theirs. Importances are mean squared gradients of small batches of ``batch_size``; 1 gives single samples'.
    F_D is put together from those of retain-set and forget-set batches by their shares, where the authors mix the two
    in one batch; with single samples that is the same.
    """
    model = problem.model
    parameters = list(model.parameters())
    f_retain = importance(model, problem.retain, batch_size, problem.generator("ssd retain"))
    f_forget = importance(model, problem.forget, batch_size, problem.generator("ssd forget"))
    share = len(problem.forget) / (len(problem.forget) + len(problem.retain))
    for theta, forget, retain in zip(parameters, f_forget, f_retain, strict=True):
        dampen(theta, forget, share * forget + (1 - share) * retain, alpha, lam)
    return model
