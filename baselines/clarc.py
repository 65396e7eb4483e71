"""Class artefact compensation (ClArC, Anders et al., 2022): activations are moved along a concept's direction."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.concepts.correction import Corrector, class_weights, cross_entropy
from benchmark.contracts import Access, BiasProblem, method
from benchmark.models.split import shift_layer, shifted


@method("a-clarc", tasks="bias-correction", paper="arXiv:1912.11425", access=Access(train="xy", concept="xa"))
def a_clarc(
    problem: BiasProblem, *, concept: str = "signal", lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """A-ClArC (Anders et al., 2022): fine-tuning with the artefact added to the activations of every sample.

    Each is moved along h to where samples with the artefact are on average, so that the artefact tells nothing any
    more; at test time nothing is moved.
    """
    corrector = Corrector(problem)
    found, weights = corrector.concept(concept), class_weights(problem)
    h = found.h.to(problem.device)

    def loss(a: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(corrector.head(shifted(a, h, found.with_artefact)), y, weights)

    corrector.train(loss, lr=lr, epochs=epochs, batch_size=batch_size)
    return problem.model


@method("p-clarc", tasks="bias-correction", paper="arXiv:1912.11425", access=Access(concept="xa"))
def p_clarc(problem: BiasProblem, *, concept: str = "signal") -> nn.Module:
    """P-ClArC (Anders et al., 2022), not trained: at test time activations are projected to where the artefact is not.

    Each is moved along h to where samples without the artefact are on average.
    """
    found = Corrector(problem).concept(concept)
    problem.model.requires_grad_(True).eval()
    shift_layer(problem.model, problem.layer, found.h.to(problem.device), found.without)
    return problem.model


@method("p-clarc-finetuned", tasks="bias-correction", paper="arXiv:1912.11425", access=Access(train="xy", concept="xa"))
def p_clarc_finetuned(
    problem: BiasProblem, *, concept: str = "signal", lr: float = 1e-3, epochs: int = 10, batch_size: int = 64
) -> nn.Module:
    """P-ClArC as in RR-ClArC's code: the head is fine-tuned first, without the projection."""
    corrector = Corrector(problem)
    corrector.train(cross_entropy(problem, corrector.head), lr=lr, epochs=epochs, batch_size=batch_size)
    return p_clarc(problem, concept=concept)
