"""Training in two stages: ERM, and then its last layer anew, on balanced batches (cRT) or held-out samples (DFR)."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from baselines.balancing import balanced
from baselines.erm import train_erm
from benchmark.contracts import Access, DebiasProblem, method
from benchmark.errors import InputError
from benchmark.training.last_layer import l1_regression, last_layer, outputs, refit
from benchmark.training.sampling import GroupTable, fit


def erm_trained(problem: DebiasProblem, lr_scale: float, decay_scale: float) -> nn.Module:
    """The problem's network after ERM for the recipe's steps, in its last state; a stage that cRT and DFR share.

    No held-out sample takes part in it, because the two do not have the same ones left for selection.
    """

    def trained() -> dict[str, Tensor]:
        model = copy.deepcopy(problem.model)
        train_erm(problem, model, lr_scale, decay_scale)
        return model.state_dict()

    problem.model.load_state_dict(problem.stage("erm", trained, lr_scale=lr_scale, decay_scale=decay_scale))
    return problem.model


@method(
    "crt",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:1910.09217",
    access=Access(train="xy"),
    shares="erm",
)
def crt(problem: DebiasProblem, *, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """cRT (Kang et al., 2020): ERM, then a new last layer trained on class-balanced batches, by the recipe as well.

    The features below are computed once, in evaluation mode: what normalises them stays as ERM has left it.
    """
    model = erm_trained(problem, lr_scale, decay_scale)
    layer, labels = last_layer(model), problem.train.everything().y
    layer.load_state_dict(last_layer(problem.fresh_model("head")).state_dict())
    _, features = outputs(model, problem.train)
    table, generator = GroupTable(labels, (problem.num_classes, 1)), problem.generator("balanced batches")

    def batches() -> Iterator[Tensor]:
        while True:
            yield table.draw(balanced(table), problem.recipe.per_class, generator)

    def loss(index: Tensor) -> Tensor:
        # Only the last layer is part of the loss: parameters without a gradient are left alone by the optimiser.
        return F.cross_entropy(layer(features[index]), labels[index])

    fit(problem, model, batches(), loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return model


def equal_groups(groups: Tensor) -> Tensor:
    """(N,) float64 weights with which every group that has samples has the same total; the largest weight is 1."""
    n = groups.bincount()[groups].double()
    return n.min() / n


@method(
    "dfr",
    tasks=("debias-known", "debias-unknown"),
    paper="arXiv:2204.02937",
    access=Access(train="xy", validation="xya"),
    shares="erm",
)
def dfr(problem: DebiasProblem, *, reg: float = 0.1, lr_scale: float = 1.0, decay_scale: float = 1.0) -> nn.Module:
    """DFR (Kirichenko et al., 2023): ERM, then the last layer fitted to the validation view with all groups equal.

    It is fitted by logistic regression with the penalty reg ||W||_1 beside the mean loss, as in SubpopBench
    (arXiv:2302.12254), to features in evaluation mode. Where the paper leaves out samples until all groups are of the
    same size, all samples are kept here, and weighted.
    """
    if reg <= 0:
        raise InputError(f"dfr: reg must be above 0, not {reg}")
    model = erm_trained(problem, lr_scale, decay_scale)
    held_out = problem.validation.everything()
    groups = held_out.y * problem.num_attributes + held_out.a
    _, features = outputs(model, problem.validation)
    refit(last_layer(model), features, held_out.y, equal_groups(groups), reg, l1_regression)
    problem.watch.look(model)
    return model
