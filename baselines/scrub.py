"""SCRUB: a student that disobeys its teacher on the forget set and follows it elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.distillation import frozen_copy, kl_to_teacher
from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch


def random_in_training(model: nn.Module) -> bool:
    """Whether dropout or batch statistics part training mode from evaluation mode."""
    kinds = (nn.Dropout, nn.Dropout2d, nn.BatchNorm1d, nn.BatchNorm2d)
    return any(isinstance(module, kinds) for module in model.modules())


@method(
    "scrub",
    tasks=("class-forget", "label-free-forget"),
    paper="Kurmanji et al. 2023, arXiv:2302.09880",
    access=Access(retain="xy", forget="x"),
)
@method(
    "scrub+few-labels",
    tasks="label-free-forget",
    paper="Kurmanji et al. 2023, arXiv:2302.09880",
    access=Access(retain="xy", forget="x", few_labels=True),
)
def scrub(
    problem: ForgetProblem,
    *,
    lr: float = 0.003,
    epochs: int = 2,
    max_epochs: int = 1,
    alpha: float = 0.001,
    gamma: float = 0.99,
    temperature: float = 4.0,
    batch_size: int = 64,
    forget_batch_size: int = 128,
) -> nn.Module:
    """SCRUB: away from the teacher on the forget set, close to it on the retain set (Kurmanji et al. 2023).

    arXiv:2302.09880. The teacher is the original model. Each of the first ``max_epochs``
    epochs begins with a max phase, one pass that maximises KL(teacher || student) on the forget set; every epoch has
    a min phase, one pass over the retain set that minimises gamma CE + alpha KL. Loss weights and temperature are
    those of Kodge et al.'s comparison (arXiv:2312.00761), which has 3 epochs, 2 with a max phase, forget batches
    of 512 of 5,000 samples, and falls to a tenth of the rate only after the last of them. A network without dropout
    and batch norm has one more min phase, ahead of all: its student starts as its teacher's equal, where KL is at its
    minimum and the first max phase would have no gradient to follow.
    """
    model = problem.model
    teacher = frozen_copy(model)
    optimiser = training.sgd(model, lr)
    generator = problem.generator("scrub")

    def distance(batch: Batch) -> tuple[Tensor, Tensor]:
        x = batch.x
        with torch.no_grad():
            target = teacher(x)
        logits = model(x)
        return logits, kl_to_teacher(logits, target, temperature)

    def disobey(batch: Batch) -> Tensor:
        return -distance(batch)[1]

    def obey(batch: Batch) -> Tensor:
        logits, kl = distance(batch)
        return gamma * F.cross_entropy(logits, batch.y) + alpha * kl

    # Training mode in the max phase too: dropout and batch statistics part the student from its equal, the teacher.
    model.train()
    if max_epochs > 0 and not random_in_training(model):
        training.optimise(problem.retain.batches(batch_size, generator), obey, optimiser)
    for epoch in range(epochs):
        if epoch < max_epochs:
            training.optimise(problem.forget.batches(forget_batch_size, generator), disobey, optimiser)
        training.optimise(problem.retain.batches(batch_size, generator), obey, optimiser)
    return model.eval()
