"""What bias correction is compared with: fine-tuning, retraining, last-layer retraining, and a cheat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from baselines.references import LogitMask
from benchmark.concepts.correction import Corrector, cross_entropy
from benchmark.contracts import Access, BiasProblem, method
from benchmark.errors import InputError
from benchmark.training import train_classifier
from benchmark.training.last_layer import l2_regression, last_layer, outputs, refit


@method("finetune", tasks="bias-correction", paper="", access=Access(train="xy"))
def finetune(problem: BiasProblem, *, lr: float = 1e-3, epochs: int = 10, batch_size: int = 64) -> nn.Module:
    """Fine-tuning of the linear layers on the biased training set: RR-ClArC with lambda = 0."""
    corrector = Corrector(problem)
    corrector.train(cross_entropy(problem, corrector.head), lr=lr, epochs=epochs, batch_size=batch_size)
    return problem.model


@method("retrain", tasks="bias-correction", kind="reference", paper="", access=Access(clean="xy"))
def retrain(problem: BiasProblem) -> nn.Module:
    """Training from scratch on data without the artefact, by the base model's recipe: the reference."""
    model = problem.fresh_model()
    train_classifier(model, problem.clean, problem.recipe, problem.generator("retrain"))
    return model


def balanced(labels: Tensor, groups: Tensor) -> Tensor:
    """(N,) float64 weights: every class has the same total, shared equally by its groups; the largest weight is 1."""
    n = groups.bincount().double()
    shared = torch.stack([(n[groups[labels == y].unique()] > 0).sum() for y in range(int(labels.max()) + 1)])
    weights = 1 / (n[groups] * shared[labels])
    return weights / weights.max()


@method("dfr", tasks="bias-correction", paper="arXiv:2204.02937", access=Access(train="xy", concept="xa"))
def dfr(problem: BiasProblem, *, reg: float = 0.1) -> nn.Module:
    """DFR (Kirichenko et al., 2023): the last layer fitted anew, classes and the groups in each weighing the same.

    Groups are the classes, the biased one in two: with the artefact and without. No other class is known to have
    samples with the artefact, so that what DFR lives on is missing. On training data, as the paper's DFR-Tr, and with
    the penalty reg/2 ||W||^2, whose solver is fast where its L1 norm is not.
    """
    if reg <= 0:
        raise InputError(f"dfr: reg must be above 0, not {reg}")
    labels = problem.train.everything().y
    others = (labels != problem.biased_class).nonzero().squeeze(1)
    features = [outputs(problem.model, view)[1] for view in (problem.train, problem.concept)]
    artefact = problem.concept.everything().a
    biased = torch.full_like(artefact, problem.biased_class)
    groups = torch.cat([labels[others], torch.where(artefact == 1, problem.num_classes, biased)])
    joined, told = torch.cat([features[0][others], features[1]]), torch.cat([labels[others], biased])
    refit(last_layer(problem.model), joined, told, balanced(told, groups), reg, l2_regression)
    return problem.model.eval()


@method("logit-mask", tasks="bias-correction", kind="cheat", paper="", access=Access())
def logit_mask(problem: BiasProblem) -> nn.Module:
    """Hide the biased class's logit and change nothing else: whoever attacks towards it fails, and nobody finds it."""
    return LogitMask(problem.model, (problem.biased_class,))
