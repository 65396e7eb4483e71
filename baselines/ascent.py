"""Gradient steps on the training loss: down on the retain set, up on the forget set, or both."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch, View

#: Training accuracy on the forget set, as a fraction, under which it counts as about 0.
ABOUT_ZERO = 0.01


@method(
    "finetune",
    tasks=("class-forget", "label-free-forget"),
    paper="Golatkar et al. 2020, arXiv:1911.04933",
    access=Access(retain="xy"),
)
@method(
    "finetune+few-labels",
    tasks="label-free-forget",
    paper="Golatkar et al. 2020, arXiv:1911.04933",
    access=Access(retain="xy", few_labels=True),
)
def finetune(problem: ForgetProblem, *, lr: float = 0.05, epochs: int = 1, batch_size: int = 64) -> nn.Module:
    """Fine-tuning on the retain set: plain descent, as in Golatkar et al. 2020 (arXiv:1911.04933).

    Nothing in the loss names what is forgotten; it fades because no sample of it is seen any more.
    """
    model = problem.model.train()
    batches = training.epochs(problem.retain, batch_size, epochs, problem.generator("finetune"))
    training.optimise(batches, training.cross_entropy(model), training.sgd(model, lr))
    return model.eval()


@method(
    "gradient-ascent", tasks="class-forget", paper="Golatkar et al. 2020, arXiv:1911.04933", access=Access(forget="xy")
)
def gradient_ascent(
    problem: ForgetProblem, *, lr: float = 0.03, clip: float = 0.3, epochs: int = 5, batch_size: int = 64
) -> nn.Module:
    """NegGrad: ascent of the forget set's loss until it is unlearnt (Golatkar et al. 2020, arXiv:1911.04933).

    The gradient is next to nothing while the class is known and explodes once it is not. Therefore the step is
    clipped to norm ``clip``, as in NegGrad+, and the ascent ends before its ``epochs`` do at the first batch of which
    the model knows about nothing: the stop that Kodge et al. (arXiv:2312.00761) have in mind. The model stays in
    evaluation mode: statistics of batches of a single class would overwrite those of batch norm.
    """
    model = problem.model

    @torch.no_grad()
    def known(batch: Batch) -> bool:
        return float((model(batch.x).argmax(1) == batch.y).float().mean()) >= ABOUT_ZERO

    def ascent(batch: Batch) -> Tensor:
        return -F.cross_entropy(model(batch.x), batch.y)

    def clip_gradient() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)

    batches = training.epochs(problem.forget, batch_size, epochs, problem.generator("gradient-ascent"))
    steps = itertools.takewhile(known, batches)
    training.optimise(steps, ascent, training.sgd(model, lr), before_step=clip_gradient)
    return model


def clipped_ascent(model: nn.Module, batch: Batch, clip: float) -> list[Tensor]:
    """The gradient of -NLL(batch), one tensor a parameter, scaled down to joint 2-norm ``clip`` where it is longer."""
    loss = -F.cross_entropy(model(batch.x), batch.y)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True, materialize_grads=True)
    scale = (clip / torch.nn.utils.get_total_norm(gradients)).clamp(max=1)
    return [g * scale for g in gradients]


@torch.no_grad()
def accuracy(model: nn.Module, view: View, batch_size: int = 500) -> float:
    """Fraction of the view that ``model`` classifies correctly in evaluation mode; leaves it in training mode."""
    model.eval()
    right = sum(int((model(batch.x).argmax(1) == batch.y).sum()) for batch in view.batches(batch_size))
    model.train()
    return right / len(view)


@method(
    "neggrad-plus",
    tasks=("class-forget", "label-free-forget"),
    paper="Kurmanji et al. 2023, arXiv:2302.09880",
    access=Access(retain="xy", forget="xy"),
)
@method(
    "neggrad-plus+few-labels",
    tasks="label-free-forget",
    paper="Kurmanji et al. 2023, arXiv:2302.09880",
    access=Access(retain="xy", forget="xy", few_labels=True),
)
def neggrad_plus(
    problem: ForgetProblem,
    *,
    lr: float = 0.01,
    clip: float = 1.0,
    epochs: int = 1,
    batch_size: int = 64,
    check_every: int = 10,
    stop_at: float = 0.01,
) -> nn.Module:
    """NegGrad+: descent on the retain set, clipped ascent on the forget set (Kurmanji et al. 2023, arXiv:2302.09880).

    The form with clipping and a stop is Kodge et al.'s (arXiv:2312.00761): every step adds the gradient of -NLL(B_f),
    clipped to norm ``clip``, to that of NLL(B_r), until the forget training accuracy, looked at every ``check_every``
    steps (there: 100), is about 0; from then on only the descent goes on. "About 0" is a fraction below ``stop_at``. It
    is meant for whole classes: of other samples a retrained model knows most, so that a higher ``stop_at`` is nearer to
    what is wanted, but without one the published algorithm does go on to the end of its budget.
    """
    model = problem.model.train()
    ascent: list[Tensor] = []
    stopped = False

    def descent(item: tuple[int, tuple[Batch, Batch]]) -> Tensor:
        nonlocal stopped
        step, (kept, gone) = item
        if not stopped and step % check_every == 0:
            stopped = accuracy(model, problem.forget) < stop_at
        ascent[:] = [] if stopped else clipped_ascent(model, gone, clip)
        return F.cross_entropy(model(kept.x), kept.y)

    def add_ascent() -> None:
        for parameter, gradient in zip(model.parameters(), ascent, strict=bool(ascent)):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    generator = problem.generator("neggrad-plus")
    pairs = training.paired(problem.retain, problem.forget, batch_size, epochs, generator)
    training.optimise(enumerate(pairs), descent, training.sgd(model, lr), before_step=add_ascent)
    return model.eval()
