"""RR-ClArC (arXiv:2308.09437) with more of the network trained than its linear layers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.concepts.correction import Corrector, class_weights, clipping, optimiser_of
from benchmark.contracts import Access, BiasProblem, method
from benchmark.data.views import Batch
from benchmark.errors import InputError, unknown
from methods import rr_clarc

#: What trains: the head's linear layers, as in the paper; all of the head; what is below the layer, too.
DEPTHS = ("linear", "head", "all")


@method("rr-clarc+unfrozen", tasks="bias-correction", paper="arXiv:2308.09437", access=Access(train="xy", concept="xa"))
def rr_clarc_unfrozen(
    problem: BiasProblem,
    *,
    depth: str = "head",
    lam: float = 1e3,
    lr: float = 1e-3,
    epochs: int = 10,
    batch_size: int = 64,
) -> nn.Module:
    """RR-ClArC on all that follows the layer (``depth`` head), or on the whole network (all); linear is the paper's.

    Batch norm uses, and leaves alone, what it counted when the base model was trained. The concept vector is that of
    the base model, also where activations change under it.
    """
    if depth not in DEPTHS:
        raise unknown("depth", depth, DEPTHS)
    if lam < 0:
        raise InputError(f"lam must be at least 0, not {lam}")
    if depth == "linear":
        return rr_clarc.rr_clarc(problem, lam=lam, lr=lr, epochs=epochs, batch_size=batch_size)
    corrector = Corrector(problem, whole=True)
    h = corrector.concept("signal").h.to(problem.device)
    loss = _Loss(problem, corrector.head, h, lam)
    if depth == "head":
        corrector.train(lambda a, y: loss(a.detach().requires_grad_(), y), lr=lr, epochs=epochs, batch_size=batch_size)
    else:
        _train_all(problem, corrector.body, loss, lr=lr, epochs=epochs, batch_size=batch_size)
    return problem.model


class _Loss:
    """CE + lam L_RR of activations (B, C, H, W) that need a gradient, by which they may depend on parameters."""

    def __init__(self, problem: BiasProblem, head: nn.Module, h: Tensor, lam: float) -> None:
        self.head, self.h, self.lam = head, h, lam
        self.weights, self.biased = class_weights(problem), problem.biased_class
        self.generator = problem.generator("annotation")

    def __call__(self, a: Tensor, y: Tensor) -> Tensor:
        logits, L_RR = rr_clarc.right_for_the_right_reasons(self.head, a, y, self.h, self._weighed)
        return F.cross_entropy(logits, y, self.weights) + self.lam * L_RR

    def _weighed(self, logits: Tensor, y: Tensor) -> Tensor:
        return rr_clarc.annotated(logits, y, "signs", self.biased, self.generator)


def _train_all(problem: BiasProblem, body: nn.Module, loss: _Loss, *, lr: float, epochs: int, batch_size: int) -> None:
    """Train body and head together; leaves the model in evaluation mode."""
    parameters = list(problem.model.requires_grad_(True).parameters())

    def of_batch(batch: Batch) -> Tensor:
        return loss(body(batch.x), batch.y)

    batches = training.epochs(problem.train, batch_size, epochs, problem.generator("batches"))
    training.optimise(
        batches, of_batch, optimiser_of(problem, parameters, lr), before_step=clipping(parameters), only=parameters
    )
    problem.model.eval()
