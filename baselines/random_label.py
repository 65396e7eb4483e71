"""Random labels for the forget set, and SalUn, which lets only the most salient weights learn them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.mixing import mixed
from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch, View


def random_labels(n: int, num_classes: int, generator: torch.Generator) -> Tensor:
    """(n,) labels drawn uniformly over all classes, the true one and other forgotten ones included."""
    return torch.randint(num_classes, (n,), generator=generator)


def learn_random_labels(
    problem: ForgetProblem, lr: float, epochs: int, batch_size: int, before_step: Callable[[], None] | None = None
) -> nn.Module:
    """Train the problem's model on retain set and relabelled forget set together; labels are drawn once a sample."""
    model = problem.model.train()
    drawn = random_labels(len(problem.forget), problem.num_classes, problem.generator("random labels"))
    labels = drawn.to(problem.forget.device)

    def loss(batch: tuple[Batch, Batch]) -> Tensor:
        kept, gone = batch
        return F.cross_entropy(model(torch.cat([kept.x, gone.x])), torch.cat([kept.y, labels[gone.index]]))

    generator = problem.generator("random-label batches")
    batches = mixed(problem.retain.everything(), problem.forget.everything(), batch_size, epochs, generator)
    # No weight decay: it is added after the mask and would move weights that SalUn must leave alone.
    training.optimise(batches, loss, training.sgd(model, lr, weight_decay=0.0), before_step=before_step)
    return model.eval()


@method(
    "random-label",
    tasks="class-forget",
    paper="Graves et al. 2020, arXiv:2010.10981",
    access=Access(retain="xy", forget="x"),
)
def random_label(problem: ForgetProblem, *, lr: float = 0.01, epochs: int = 1, batch_size: int = 64) -> nn.Module:
    """RL: train on with uniformly random labels for the forget set (Graves et al. 2020, arXiv:2010.10981).

    Uniform over all classes as in Kodge et al.'s comparison (arXiv:2312.00761); the true label is among them.
    """
    return learn_random_labels(problem, lr, epochs, batch_size)


def saliency_mask(model: nn.Module, forget: View, share: float, batch_size: int) -> list[Tensor]:
    """One 0/1 tensor a parameter: 1 for the top ``share`` of all entries by abs(summed forget gradient).

    The model is as it is before unlearning, in evaluation mode (Fan et al. 2023, with the threshold given as a
    share).
    """
    parameters = list(model.parameters())
    total = [torch.zeros_like(p) for p in parameters]
    for batch in forget.batches(batch_size):
        loss = F.cross_entropy(model(batch.x), batch.y, reduction="sum")
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
        total = [t + g for t, g in zip(total, gradients, strict=True)]
    flat = torch.cat([t.abs().flatten() for t in total])
    mask = torch.zeros_like(flat)
    mask[flat.topk(round(share * len(flat))).indices] = 1
    pieces = mask.split([p.numel() for p in parameters])
    return [piece.view_as(p) for piece, p in zip(pieces, parameters, strict=True)]


@method(
    "salun", tasks="class-forget", paper="Fan et al. 2023, arXiv:2310.12508", access=Access(retain="xy", forget="xy")
)
def salun(
    problem: ForgetProblem, *, lr: float = 0.01, share: float = 0.1, epochs: int = 1, batch_size: int = 64
) -> nn.Module:
    """SalUn: random labels learnt by the most salient weights only (Fan et al. 2023, arXiv:2310.12508).

    ``share`` of the weights may move; 0.1 is the share in Kodge et al.'s comparison (arXiv:2312.00761). Running
    statistics of batch norm are no weights and follow the training batches.
    """
    masks = saliency_mask(problem.model, problem.forget, share, batch_size)

    def apply_mask() -> None:
        for parameter, mask in zip(problem.model.parameters(), masks, strict=True):
            if parameter.grad is not None:
                parameter.grad *= mask

    return learn_random_labels(problem, lr, epochs, batch_size, before_step=apply_mask)
