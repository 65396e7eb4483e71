"""Rows that keep a board honest: do nothing, retrain without the forget set, and a cheat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Problem, method
from benchmark.training import train_classifier
from benchmark.training.stacking import train_stacked


@method(
    "original",
    tasks=("class-forget", "label-free-forget", "bias-correction", "gan-feature-removal"),
    kind="reference",
    paper="",
    access=Access(),
)
def original(problem: Problem) -> nn.Module:
    """The base model as it is: what happens when nothing is done."""
    return problem.model


def retrain_together(problems: Sequence[ForgetProblem]) -> list[nn.Module]:
    """What ``retrain`` gives for each problem; those whose retain sets are equally large are trained in one stack."""
    models = [problem.fresh_model() for problem in problems]
    for n in {len(problem.retain) for problem in problems}:
        chosen = [i for i, problem in enumerate(problems) if len(problem.retain) == n]
        views, generators = [problems[i].retain for i in chosen], [problems[i].generator("retrain") for i in chosen]
        train_stacked([models[i] for i in chosen], views, problems[0].recipe, generators)
    return models


@method(
    "retrain",
    tasks=("class-forget", "label-free-forget"),
    kind="reference",
    paper="",
    access=Access(retain="xy"),
    together="retrain_together",
)
@method(
    "retrain+few-labels",
    tasks="label-free-forget",
    kind="baseline",
    paper="",
    access=Access(retain="xy", few_labels=True),
)
def retrain(problem: ForgetProblem) -> nn.Module:
    """Training from scratch on the retain set by the base model's recipe: the reference of exact unlearning.

    With few labels it is no reference but a baseline: what can be had from the labelled samples alone.
    """
    model = problem.fresh_model()
    train_classifier(model, problem.retain, problem.recipe, problem.generator("retrain"))
    return model


class LogitMask(nn.Module):
    """A classifier whose logits of some classes are replaced by the lowest finite number."""

    def __init__(self, model: nn.Module, classes: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.classes = list(classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x).clone()
        logits[:, self.classes] = torch.finfo(torch.float16).min
        return logits


@method("logit-mask", tasks="class-forget", kind="cheat", paper="", access=Access())
def logit_mask(problem: ForgetProblem) -> nn.Module:
    """Hide the forgotten classes' logits and change nothing else: a cheat that good metrics must expose."""
    return LogitMask(problem.model, problem.forget_classes)
