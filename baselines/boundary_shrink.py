"""Boundary shrink: give every forget sample the label of the nearest other class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.distillation import frozen_copy
from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch


def nearest_wrong_class(model: nn.Module, x: Tensor, y: Tensor, excluded: Tensor, bound: float) -> Tensor:
    """(B,) the class that each input x (B, ...) of class y (B,) falls into when pushed out of its own.

    One step of FGSM on the frozen ``model``, x + bound sign(grad_x CE), then the highest logit of a class that is
    neither y nor in ``excluded`` (Chen et al. 2023).
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
    with torch.no_grad():
        logits: Tensor = model(x + bound * gradient.sign())
        logits[:, excluded] = -torch.inf
        return logits.scatter(1, y[:, None], -torch.inf).argmax(1)


@method(
    "boundary-shrink",
    tasks=("class-forget", "label-free-forget"),
    paper="Chen et al. 2023, arXiv:2303.11570",
    access=Access(forget="xy"),
)
@method(
    "boundary-shrink+few-labels",
    tasks="label-free-forget",
    paper="Chen et al. 2023, arXiv:2303.11570",
    access=Access(forget="xy", few_labels=True),
)
def boundary_shrink(
    problem: ForgetProblem, *, lr: float = 3e-4, epochs: int = 3, bound: float = 0.1, batch_size: int = 64
) -> nn.Module:
    """Boundary shrink: fine-tune on forget samples relabelled as the nearest wrong class (Chen et al. 2023).

    arXiv:2303.11570. ``bound`` is the FGSM step in units of the network's normalised inputs; the authors' code has
    0.1 too, of unnormalised MNIST pixels, and 10 epochs. With several classes forgotten at once none of them counts
    as a neighbour: else they would only change places. Where samples and not classes are forgotten, every class but a
    sample's own (that of its label, right or wrong) is one. No retain sample is used, and the model stays in evaluation
    mode, since batches of one class would overwrite batch norm's statistics.
    """
    model = problem.model
    original = frozen_copy(model)
    excluded = torch.tensor(problem.forget_classes, dtype=torch.int64, device=problem.forget.device)

    parts = [nearest_wrong_class(original, b.x, b.y, excluded, bound) for b in problem.forget.batches(500)]
    labels = torch.cat(parts)

    def loss(batch: Batch) -> Tensor:
        return F.cross_entropy(model(batch.x), labels[batch.index])

    batches = training.epochs(problem.forget, batch_size, epochs, problem.generator("boundary-shrink"))
    training.optimise(batches, loss, training.sgd(model, lr))
    return model
