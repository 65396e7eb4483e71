"""Recovery by optimised inputs: the weights stay as they are, and the input is changed until the class comes back.

One perturbation for all inputs, trained on a few labelled samples, is adversarial reprogramming (Elsayed et al., 2019,
arXiv:1806.11146; Bahng et al., 2022, arXiv:2203.17274); that it is trained to bring back one forgotten class and spare
the others is ours. From noise, it is the search for any input that the network still takes for the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.contracts import Measured

#: Largest change of a pixel, in units of the range from black to white.
SIZE = 0.3
#: Steps of Adam for a perturbation and from noise at most, and its rate in units of what a pixel may change by.
STEPS, MOST, RATE = 50, 100, 0.1
#: The probability of the class that counts as having found an input.
FOUND = 0.5

#: Logits (N, C) of pixels (N, ...) in [0, 1].
Network = Callable[[Tensor], Tensor]


def universal_perturbation(
    network: Network, pixels: Tensor, labels: Tensor, classes: Sequence[int], *, size: float = SIZE, steps: int = STEPS
) -> Tensor | None:
    """The change (1, ...) of at most ``size`` in each pixel with which ``network`` knows forgotten ``classes`` again.

    pixels: (N, ...) in [0, 1], the attacker's labelled samples of all classes; labels: (N,). Adam from zero on the
    cross-entropy, forgotten and retained classes weighing the same; changed pixels are clipped to [0, 1]. None where
    the loss leaves the finite numbers. Raises ValueError unless there are samples of both.
    """
    gone = torch.isin(labels, torch.tensor(classes, device=labels.device))
    if not gone.any() or gone.all():
        raise ValueError("a perturbation is trained on samples of forgotten and of retained classes")
    weights = torch.where(gone, 1 / gone.sum(), 1 / (~gone).sum()) / 2
    change = torch.zeros_like(pixels[:1]).requires_grad_()
    optimiser = torch.optim.Adam([change], lr=RATE * size)
    for _ in range(steps):
        losses = F.cross_entropy(network((pixels + change).clamp(0, 1)), labels, reduction="none")
        loss = (weights * losses).sum()
        if not loss.isfinite():
            return None
        (change.grad,) = torch.autograd.grad(loss, [change])
        optimiser.step()
        with torch.no_grad():
            change.clamp_(-size, size)
    return change.detach()


def brought_back(chosen: Tensor, labels: Tensor, classes: Sequence[int]) -> Measured:
    """Points: share of forgotten classes' samples taken for their own class, less the share of others taken for one.

    chosen: (N,) the classes that a network gives perturbed test samples; labels: (N,). A perturbation that turns
    everything into the class brings nothing back: 0. None where there is no sample of either kind.
    """
    gone, taken = (torch.isin(t, torch.tensor(classes, device=t.device)) for t in (labels, chosen))
    if not gone.any() or gone.all():
        return Measured(None, len(labels))
    right = (chosen == labels)[gone].double().mean()
    return Measured(100.0 * float(right - taken[~gone].double().mean()), len(labels))


def inversion_steps(network: Network, noise: Tensor, wanted: Tensor, *, most: int = MOST) -> Measured:
    """Steps of Adam from noise until the network gives the wanted class a probability above one half; the median.

    noise: (S, ...) in [0, 1], where pixels are kept; wanted: (S,) a forgotten class each; every input is changed for
    itself. ``most``: so many were not enough for half of them. A retrained network has such inputs as well, which need
    not look like anything; how far away they are is what is compared.
    """
    pixels = noise.clone().requires_grad_()
    optimiser = torch.optim.Adam([pixels], lr=RATE)
    needed = torch.full(wanted.shape, float(most), device=wanted.device)
    for step in range(most):
        losses = F.cross_entropy(network(pixels), wanted, reduction="none")
        needed = torch.where((-losses).exp() > FOUND, needed.clamp(max=step), needed)
        if bool((needed <= step).all()):
            break
        (pixels.grad,) = torch.autograd.grad(losses.sum(), [pixels])
        optimiser.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
    return Measured(float(needed.quantile(0.5)), len(wanted))
