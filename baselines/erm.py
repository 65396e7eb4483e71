"""Training that corrects nothing: ERM, what it would be without the bias, and a cheat that amplifies the bias."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, method
from benchmark.training import Step
from benchmark.training.sampling import Draw, fit, plain, train_on_draws, uniformly, weighted_cross_entropy


def train_erm(
    problem: DebiasProblem, model: nn.Module, lr_scale: float, decay_scale: float, steps: int | None = None
) -> None:
    """ERM as the first stage of others: ``model`` is trained in place, and looked at by nobody."""
    items = plain(uniformly(problem, problem.generator("batches")))
    loss = weighted_cross_entropy(model, problem.train)
    fit(problem, model, items, loss, watch=None, steps=steps, lr_scale=lr_scale, decay_scale=decay_scale)


@method("erm", tasks=("debias-known", "debias-unknown"), paper="", access=Access(train="xy"), kind="reference")
def erm(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """Empirical risk minimisation: cross-entropy on uniformly drawn samples."""
    draws = plain(uniformly(problem, problem.generator("batches")))
    return train_on_draws(problem, draws, lr_scale, decay_scale)


@method(
    "unbiased",
    tasks=("debias-known", "debias-unknown"),
    paper="",
    access=Access(unbiased="xy"),
    kind="reference",
)
def unbiased(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """ERM on the training set drawn anew without its bias: what there is to gain."""
    items = plain(uniformly(problem, problem.generator("batches")))
    loss = weighted_cross_entropy(problem.model, problem.unbiased)
    fit(problem, problem.model, items, loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return problem.model


def generalised_cross_entropy(logits: Tensor, labels: Tensor, q: float) -> Tensor:
    """(1 - p_y^q) / q of each sample, (B,) (Zhang and Sabuncu, 2018): the easier a sample, the more it counts."""
    p = F.softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return (1 - p.clamp_min(1e-8) ** q) / q


@method(
    "bias-amplified",
    tasks=("debias-known", "debias-unknown"),
    paper="",
    access=Access(train="xy"),
    kind="cheat",
)
def bias_amplified(problem: DebiasProblem, *, q: float = 0.7) -> nn.Module:
    """Learn the shortcut on purpose, by generalised cross-entropy: good wherever the bias holds, and nowhere else."""
    model, view = problem.model, problem.train

    def loss(draw: Draw) -> Tensor:
        batch = view.batch(draw.index)
        return (draw.weight * generalised_cross_entropy(model(batch.x), batch.y, q)).sum()

    step: Step[Draw] = loss
    fit(problem, model, plain(uniformly(problem, problem.generator("batches"))), step, watch=problem.watch)
    return model
