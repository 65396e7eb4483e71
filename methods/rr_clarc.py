"""RR-ClArC (Dreyer et al., AAAI 2024, arXiv:2308.09437): the head loses its gradient along a concept's direction.

An artefact is one direction h in the activations a(x) of a convolutional layer (eq. 2). The head f~, f = f~ o a, is
fine-tuned with CE + lambda L_RR, where L_RR = ((grad_a m . f~(a(x))) . h)^2 (eq. 5) and m weighs the logits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.concepts.correction import Corrector, class_weights
from benchmark.contracts import Access, BiasProblem, method
from benchmark.errors import InputError, unknown


def annotated(logits: Tensor, y: Tensor, annotation: str, biased: int, generator: torch.Generator) -> Tensor:
    """m . f~(a) of each sample, (B,), for logits (B, k) and labels y (B,).

    ``annotation``: the vector m of section 3.3. ``signs``: each entry -1 or 1 at random, anew for every sample and
    class (the paper's default); ``ones``: all logits; ``class``: the biased class's logit alone; ``target``: that of
    the sample's label; ``predicted``: the largest; ``log-probabilities``: the mean over classes of log(p + 1e-5).
    """
    if annotation == "log-probabilities":
        return (logits.softmax(1) + 1e-5).log().mean(1)
    if annotation == "signs":
        m = torch.randint(2, logits.shape, generator=generator).to(logits) * 2 - 1
    elif annotation == "ones":
        m = torch.ones_like(logits)
    elif annotation in ("class", "target", "predicted"):
        chosen = {"class": torch.full_like(y, biased), "target": y, "predicted": logits.argmax(1)}[annotation]
        m = F.one_hot(chosen, logits.shape[1]).to(logits)
    else:
        raise unknown("annotation", annotation, ("signs", "ones", "class", "target", "predicted", "log-probabilities"))
    return (m * logits).sum(1)


def penalty(gradient: Tensor, h: Tensor, norm: str, mean_positions: bool) -> Tensor:
    """L_RR (eq. 5), a scalar, of gradients (B, C, H, W) of the annotated logits and the concept's direction h (C,).

    ``norm``: ``l2`` squares gbar . h, ``l1`` takes its absolute value, ``cosine`` that of the angle's cosine.
    ``mean_positions``: gbar is the mean over positions (the paper's choice); otherwise every position has its own.
    """
    g = gradient.mean((2, 3)) if mean_positions else gradient.permute(0, 2, 3, 1).reshape(-1, len(h))
    if norm == "cosine":
        return F.cosine_similarity(g, h[None, :], dim=1).abs().mean()
    along = g @ h
    if norm not in ("l1", "l2"):
        raise unknown("norm", norm, ("l1", "l2", "cosine"))
    return along.abs().mean() if norm == "l1" else along.square().mean()


def right_for_the_right_reasons(
    head: nn.Module,
    a: Tensor,
    y: Tensor,
    h: Tensor,
    weighed: Callable[[Tensor, Tensor], Tensor],
    norm: str = "l2",
    mean_positions: bool = True,
) -> tuple[Tensor, Tensor]:
    """The logits f~(a) and L_RR (eq. 5) of activations a, which need a gradient; both can be differentiated.

    ``weighed`` gives m . f~(a) of each sample, (B,), from the logits (B, k) and labels y (B,).
    """
    logits = head(a)
    (gradient,) = torch.autograd.grad(weighed(logits, y).sum(), a, create_graph=True)
    return logits, penalty(gradient, h, norm, mean_positions)


@method("rr-clarc", tasks="bias-correction", paper="arXiv:2308.09437", access=Access(train="xy", concept="xa"))
def rr_clarc(
    problem: BiasProblem,
    *,
    lam: float = 1e3,
    concept: str = "signal",
    annotation: str = "signs",
    norm: str = "l2",
    mean_positions: bool = True,
    intercept: bool = True,
    lr: float = 1e-3,
    epochs: int = 10,
    batch_size: int = 64,
) -> nn.Module:
    """RR-ClArC (Dreyer et al., AAAI 2024): CE + lam L_RR on the head, the artefact a signal concept vector."""
    if lam < 0:
        raise InputError(f"lam must be at least 0, not {lam}")
    corrector = Corrector(problem)
    h = corrector.concept(concept, intercept).h.to(problem.device)
    weights, generator = class_weights(problem), problem.generator("annotation")

    def weighed(logits: Tensor, y: Tensor) -> Tensor:
        return annotated(logits, y, annotation, problem.biased_class, generator)

    def loss(a: Tensor, y: Tensor) -> Tensor:
        a = a.detach().requires_grad_()
        logits, L_RR = right_for_the_right_reasons(corrector.head, a, y, h, weighed, norm, mean_positions)
        return F.cross_entropy(logits, y, weights) + lam * L_RR

    corrector.train(loss, lr=lr, epochs=epochs, batch_size=batch_size)
    return problem.model


@method("rr-clarc+svm", tasks="bias-correction", paper="arXiv:2308.09437", access=Access(train="xy", concept="xa"))
def rr_clarc_svm(
    problem: BiasProblem, *, lam: float = 1e3, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """RR-ClArC with the concept vector of a linear support vector machine."""
    return rr_clarc(problem, lam=lam, concept="svm", lr=lr, epochs=epochs, batch_size=batch_size)


@method("rr-clarc+ridge", tasks="bias-correction", paper="arXiv:2308.09437", access=Access(train="xy", concept="xa"))
def rr_clarc_ridge(
    problem: BiasProblem, *, lam: float = 1e3, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """RR-ClArC with the concept vector of ridge regression."""
    return rr_clarc(problem, lam=lam, concept="ridge", lr=lr, epochs=epochs, batch_size=batch_size)


@method("rr-clarc+lasso", tasks="bias-correction", paper="arXiv:2308.09437", access=Access(train="xy", concept="xa"))
def rr_clarc_lasso(
    problem: BiasProblem, *, lam: float = 1e3, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """RR-ClArC with the concept vector of lasso regression."""
    return rr_clarc(problem, lam=lam, concept="lasso", lr=lr, epochs=epochs, batch_size=batch_size)


@method("rr-clarc+logistic", tasks="bias-correction", paper="arXiv:2308.09437", access=Access(train="xy", concept="xa"))
def rr_clarc_logistic(
    problem: BiasProblem, *, lam: float = 1e3, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """RR-ClArC with the concept vector of logistic regression."""
    return rr_clarc(problem, lam=lam, concept="logistic", lr=lr, epochs=epochs, batch_size=batch_size)


@method(
    "rr-clarc+class-specific",
    tasks="bias-correction",
    paper="arXiv:2308.09437",
    access=Access(train="xy", concept="xa"),
)
def rr_clarc_class_specific(
    problem: BiasProblem, *, lam: float = 1e3, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """RR-ClArC with m = the biased class alone (section 4.4): other classes may go on using the artefact."""
    return rr_clarc(problem, lam=lam, concept="signal", annotation="class", lr=lr, epochs=epochs, batch_size=batch_size)
