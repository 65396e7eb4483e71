"""The variance of GERNE's stochastic loss and of its gradient at a fixed network (arXiv:2503.13236, appendix B).

Draws are those that training makes. Each is a weighting w of the N training samples, its loss w.l and its gradient
G'w, so that all of them need only the samples' losses l (N,) and the inner products of their gradients, (N, N).
Variances are in units of Var(L_A), that of the mean over one batch of majority samples; of a gradient it is the trace
of the covariance.

Where two attributes are there, the majority is nearly everything and the minority is fitted (its loss is 0), appendix
B has ((1 + beta) sqrt(1 - c/2) - beta)^2 for a lower bound, whatever the batches share; it is none for beta < 0, where
both batches have positive weights. Independent batches give (1 + beta)^2 (1 - c/2) + beta^2, those that overlap as far
as they can 1 - c/2 + c/2 beta^2. Without any of that the variance is a sum over groups of coefficients times their own
variance, which is ``*.exact`` here (but for the rounding of p * per_class to whole samples).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import InputError, unknown
from benchmark.seeding import generator
from benchmark.studies.measuring.debias_problems import posed
from benchmark.training.sampling import Draw, GroupTable, fit, known_groups, weighted_cross_entropy
from methods.ablations.gerne import Steps, overlapping, reweighted
from methods.gerne import draws, extrapolated, less_biased

#: How batches are drawn, and what that makes of the variance: (p_b, p_lb, beta, p_ext) -> coefficients of the groups.
Coefficients = Callable[[Tensor, Tensor, float, Tensor], Tensor]
BATCHES: dict[str, tuple[Steps, Coefficients]] = {
    "independent": (draws, lambda b, lb, beta, ext: (1 + beta) ** 2 * lb + beta**2 * b),
    "overlapping": (
        overlapping,
        lambda b, lb, beta, ext: (1 + beta) ** 2 * lb + beta**2 * b - 2 * beta * (1 + beta) * torch.minimum(b, lb),
    ),
    "weighted": (reweighted, lambda b, lb, beta, ext: torch.where(lb > 0, ext**2 / lb, 0.0)),
}
#: What the network has been trained by, for as many steps as the recipe says: (c, beta) of GERNE.
TRAINED = {"erm": (1.0, -1.0), "resampling": (1.0, 0.0)}
FIELDS = ("beta", "c", "batches", "trained", "draws", "suite", "scenario", "decay_scale")


@dataclass(frozen=True)
class State:
    """A network's view of its training set: groups, losses (N,) float64, inner products of gradients (N, N)."""

    table: GroupTable
    per_class: int
    losses: Tensor
    products: Tensor


def measure(point: dict[str, Any], seed: int) -> dict[str, float]:
    """What ``draws`` draws (1,000) give for ``beta`` and ``c``, beside the closed forms.

    ``batches`` is independent (GERNE's own), overlapping or weighted, ``trained`` erm or resampling (whose minority is
    fitted). ``loss`` and ``gradient`` are measured, ``loss.exact`` and ``gradient.exact`` follow from the variance of
    the groups, ``formula`` and ``bound`` are appendix B's; ``majority`` is the share in percent of the exact variance
    of the gradient that comes of each class's largest group. InputError for a field that is none, or has no such value.
    """
    beta, c, batches, n = _asked(point)
    own = state(
        point.get("suite", "embedded"),
        point.get("scenario", "cmnist5k-halves"),
        point.get("trained", "resampling"),
        float(point.get("decay_scale", 0.1)),
        seed,
    )
    steps, coefficients = BATCHES[batches]
    drawn = list(islice(steps(own.table, c, beta, own.per_class, generator(seed, "measured")), n))
    alpha = own.table.alpha
    shares = coefficients(alpha, less_biased(alpha, c), beta, extrapolated(alpha, c, beta))
    found = {"formula": formula(batches, c, beta), "bound": bound(c, beta)}
    largest = F.one_hot(alpha.argmax(1), alpha.shape[1]).double()
    measured = variances(drawn, own.losses, own.products)
    for name, value, of_sample in zip(("loss", "gradient"), measured, within(own), strict=True):
        unit = float((largest * of_sample).sum())  # Var(L_A) times K^2 B
        found[name] = value * alpha.shape[0] ** 2 * own.per_class / unit
        found[f"{name}.exact"] = float((shares * of_sample).sum()) / unit
    found["majority"] = 100 / found["gradient.exact"] * float((shares * of_sample * largest).sum()) / unit
    return found


def _asked(point: dict[str, Any]) -> tuple[float, float, str, int]:
    """beta, c, how batches are drawn, and how many draws; InputError for what is none of it."""
    for name in point:
        if name not in FIELDS:
            raise unknown("field of gradient_variance", name, FIELDS)
    missing = {"beta", "c"} - point.keys()
    if missing:
        raise InputError(f"gradient_variance: a point needs beta and c, {point} has no {min(missing)}")
    c, batches, n = float(point["c"]), point.get("batches", "independent"), int(point.get("draws", 1_000))
    if batches not in BATCHES:
        raise unknown("kind of batches", batches, BATCHES)
    if not 0 < c <= 1 or n < 2:
        raise InputError(f"gradient_variance: c must be above 0 and at most 1, draws at least 2, not {c} and {n}")
    return float(point["beta"]), c, batches, n


def formula(batches: str, c: float, beta: float) -> float:
    """Var(L_ext) / Var(L_A) in appendix B's setting: two attributes, nearly all majority, the minority fitted."""
    kept = 1 - c / 2
    if batches == "independent":
        return (1 + beta) ** 2 * kept + beta**2
    if batches == "overlapping":
        return kept + c / 2 * beta**2
    return (1 - c * (1 + beta) / 2) ** 2 / kept


def bound(c: float, beta: float) -> float:
    """((1 + beta) sqrt(1 - c/2) - beta)^2, appendix B's lower bound of Var(L_ext) / Var(L_A) for beta >= 0."""
    return ((1 + beta) * math.sqrt(1 - c / 2) - beta) ** 2


@lru_cache(maxsize=3)
def state(suite: str, scenario: str, trained: str, decay_scale: float, seed: int) -> State:
    """The training set as a network sees it that was trained in ``scenario`` by its recipe, without being looked at."""
    if trained not in TRAINED:
        raise unknown("way of training", trained, TRAINED)
    problem = posed(suite, scenario, "gerne", seed).problem
    if not problem.attributes_known:
        raise InputError(f"gradient_variance: in scenario {scenario} attributes are not known")
    table, model, per_class = known_groups(problem), problem.model, problem.recipe.per_class
    items = draws(table, *TRAINED[trained], per_class, problem.generator("batches"))
    fit(problem, model, items, weighted_cross_entropy(model, problem.train), watch=None, decay_scale=decay_scale)
    everything = problem.train.everything()
    losses, products = gradient_products(model, everything.x, everything.y)
    return State(table, per_class, losses, products)


def gradient_products(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropies (N,) float64 and the inner products (N, N) of their gradients in all parameters.

    The gradient of a linear layer's weight is delta h', with h its input and delta the gradient of its output, so that
    two of them have the product (delta_i.delta_j)(h_i.h_j). InputError for parameters that are no linear layer's.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if sum(p.numel() for layer in layers for p in layer.parameters()) < sum(p.numel() for p in model.parameters()):
        raise InputError("gradient_variance: the network has parameters that are no linear layer's")
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor], output: Tensor) -> None:
        inputs.append(given[0].detach())
        outputs.append(output)

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    losses = F.cross_entropy(model(x), y, reduction="none")
    for hook in hooks:
        hook.remove()
    deltas = torch.autograd.grad(losses.sum(), outputs)
    products = torch.zeros(len(x), len(x), dtype=x.dtype)
    for layer, h, delta in zip(layers, inputs, deltas, strict=True):
        products += (delta @ delta.T) * (h @ h.T + (layer.bias is not None))
    return losses.detach().double(), products


def variances(drawn: list[Draw], losses: Tensor, products: Tensor) -> tuple[float, float]:
    """Unbiased variance of the draws' losses, and trace of the covariance of their gradients."""
    none = torch.zeros(len(losses), dtype=products.dtype)
    w = torch.stack([none.index_add(0, draw.index, draw.weight.to(none)) for draw in drawn])
    apart = w - w.mean(0)
    squares = ((apart @ products) * apart).sum(dtype=torch.float64)
    return float((w.double() @ losses).var()), float(squares) / (len(drawn) - 1)


def within(own: State) -> tuple[Tensor, Tensor]:
    """(K, A) variance of one sample's loss within each group, and the same of its gradient (trace); 0 for none."""
    k, a = own.table.shape
    of_loss, of_gradient = torch.zeros(k, a, dtype=torch.float64), torch.zeros(k, a, dtype=torch.float64)
    for y in range(k):
        for b in range(a):
            members = own.table.members(y, b)
            if len(members):
                block = own.products[members][:, members].double()
                of_loss[y, b] = own.losses[members].var(unbiased=False)
                of_gradient[y, b] = block.diagonal().mean() - block.mean()
    return of_loss, of_gradient
