"""RRR: right for the right reasons (Ross et al., 2017), with masks of where the artefact is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import training
from benchmark.concepts.correction import Corrector, class_weights, clipping, optimiser_of, trainable
from benchmark.contracts import Access, BiasProblem, method
from benchmark.data.views import Batch
from benchmark.errors import InputError

#: Added to probabilities before the logarithm, as in RR-ClArC's code.
EPSILON = 1e-5


def masked_share(gradient: Tensor, masks: Tensor) -> Tensor:
    """Mean over samples of the cosine of |input gradients summed over channels| and masks; a scalar.

    gradient: (B, C, H, W); masks: (B, H, W) bool. Where a mask is empty the cosine counts as 0.
    """
    return F.cosine_similarity(gradient.sum(1).abs().flatten(1), masks.flatten(1).to(gradient), dim=1).mean()


@method("rrr", tasks="bias-correction", paper="arXiv:1703.03717", access=Access(train="xym"))
def rrr(
    problem: BiasProblem, *, lam: float = 1.0, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """RRR (Ross et al., 2017): cross-entropy + lam times what the input gradient has in common with the mask.

    As RR-ClArC's code has it: the gradient of the sum over the batch of the mean log-probability, and the same layers
    frozen. It needs masks, and two passes back through the whole network a step.
    """
    if lam < 0:
        raise InputError(f"lam must be at least 0, not {lam}")
    model, weights = problem.model, class_weights(problem)
    corrector = Corrector(problem)
    parameters = trainable(model, corrector.head)

    def loss(batch: Batch) -> Tensor:
        x, y = batch.x.requires_grad_(), batch.y
        logits = corrector.head(corrector.body(x))
        explained = (logits.softmax(1) + EPSILON).log().mean(1).sum()
        (gradient,) = torch.autograd.grad(explained, x, create_graph=True)
        return F.cross_entropy(logits, y, weights) + lam * masked_share(gradient, batch.masks)

    batches = training.epochs(problem.train, batch_size, epochs, problem.generator("batches"))
    training.optimise(
        batches, loss, optimiser_of(problem, parameters, lr), before_step=clipping(parameters), only=parameters
    )
    return model.requires_grad_(True).eval()
