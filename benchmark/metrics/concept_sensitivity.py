"""What a network's logit does when activations move along a concept: TCAV (arXiv:2308.09437, appendix A.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmark.contracts import Measured

#: A derivative counts as zero under this share of the gradient's norm: what is left of it is rounding.
ZERO = 1e-5


def directional(head: nn.Module, a: Tensor, h: Tensor, target: int, batch: int = 500) -> Tensor:
    """(N, P): the derivative of logit ``target`` along h (C,) at each of the P positions of activations (N, C, H, W).

    Rounding errors are set to 0.
    """
    found = []
    for part in a.split(batch):
        part = part.detach().clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(head(part)[:, target].sum(), part)
        found.append(_along(gradient.flatten(2).double(), h.double()))
    return torch.cat(found).cpu()


def _along(gradient: Tensor, h: Tensor) -> Tensor:
    """Gradients (B, C, P) along h (C,), (B, P); 0 where the part along h is rounding only."""
    along = torch.einsum("bcp,c->bp", gradient, h)
    return along.where(~(along.abs() <= ZERO * gradient.norm(dim=1) * h.norm()), 0.0)  # what is no number stays


def tcav(derivatives: Tensor) -> Measured:
    """The share of samples whose derivative, summed over positions, is positive, of those where it is not 0.

    derivatives: (N, P). 0.5 is the aim: the concept is no evidence either way. Blank where all are 0.
    """
    whole = derivatives.sum(1)
    whole = whole.where(~(whole.abs() <= ZERO * derivatives.abs().sum(1)), 0.0)
    return _positive(whole)


def tcav_positions(derivatives: Tensor) -> Measured:
    """The same share over all positions of all samples, as in the paper's code."""
    return _positive(derivatives.flatten())


def sensitivity(derivatives: Tensor) -> Measured:
    """Mean over samples of |derivative| (eq. A.6), summed over positions: logits for a unit's shift at all of them."""
    return _mean(derivatives.sum(1).abs())


def sensitivity_positions(derivatives: Tensor) -> Measured:
    """Mean of |derivative| over samples and positions, as in the paper's code."""
    return _mean(derivatives.abs())


def _mean(values: Tensor) -> Measured:
    """Blank where one is not finite."""
    return Measured(float(values.mean()), values.numel()) if values.isfinite().all() else Measured(None, 0)


def _positive(values: Tensor) -> Measured:
    if not values.isfinite().all():
        return Measured(None, 0)
    some = values[values != 0]
    return Measured(float((some > 0).double().mean()) if len(some) else None, len(some))
