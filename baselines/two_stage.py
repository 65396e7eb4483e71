"""Training in two stages: ERM first, and then its last layer (cRT, DFR) or a second network (JTT) anew."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.balancing import balanced
from benchmark.contracts import Access, DebiasProblem, method
from benchmark.data.views import View
from benchmark.errors import InputError
from benchmark.models.surgery import captured_inputs, head
from benchmark.training.sampling import Draw, GroupTable, fit, plain, uniformly, weighted_cross_entropy

#: Samples a forward pass.
BATCH = 1_000


def train_erm(
    problem: DebiasProblem, model: nn.Module, lr_scale: float, decay_scale: float, steps: int | None = None
) -> None:
    """The first stage: ``model`` trained in place on uniformly drawn samples, looked at by nobody."""
    items = plain(uniformly(problem, problem.generator("batches")))
    loss = weighted_cross_entropy(model, problem.train)
    fit(problem, model, items, loss, watch=None, steps=steps, lr_scale=lr_scale, decay_scale=decay_scale)


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


def last_layer(model: nn.Module) -> nn.Linear:
    """The linear layer that gives the logits."""
    return [module for module in head(model).modules() if isinstance(module, nn.Linear)][-1]


@torch.no_grad()
def outputs(model: nn.Module, view: View) -> tuple[Tensor, Tensor]:
    """Logits (N, K) of all samples of ``view``, and what enters the last layer (N, D), in evaluation mode."""
    model.eval()
    logits = []
    with captured_inputs(last_layer(model)) as features:
        for batch in view.everything().split(BATCH):
            logits.append(model(batch.x))
    return torch.cat(logits), torch.cat(features)


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


def l1_regression(features: Tensor, labels: Tensor, weights: Tensor, reg: float) -> tuple[Tensor, Tensor]:
    """W (C, D) and b (C,), float64, of the C classes among ``labels`` (N,), in ascending order; C at least 2.

    They minimise the weighted mean cross-entropy + reg ||W||_1. scikit-learn minimises C sum_i w_i CE_i + ||W||_1, so
    that its C is 1 / (reg sum_i w_i). Its solver's step size takes no weight into account, and with weights above 1 it
    may not converge: give none.
    """
    import sklearn
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    # The argument's name changed in scikit-learn 1.8; the old one will be removed.
    new = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) >= (1, 8)
    penalty: dict[str, Any] = {"l1_ratio": 1.0} if new else {"penalty": "l1"}
    solver = {"solver": "saga", "max_iter": 1_000, "random_state": 0}
    model = LogisticRegression(C=1 / (reg * float(weights.sum())), **solver, **penalty)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 1,000 passes are good enough
        model.fit(features.numpy(), labels.numpy(), weights.numpy())
    return rows_of(model)


def rows_of(model: Any) -> tuple[Tensor, Tensor]:
    """W (C, D) and b (C,) of a fitted logistic regression of scikit-learn.

    Of two classes it gives the difference: halves of it have the same softmax.
    """
    W, b = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    return (W, b) if len(W) > 1 else (torch.cat([-W, W]) / 2, torch.cat([-b, b]) / 2)


#: Features (N, D), labels (N,), weights (N,) and the penalty's strength -> W (C, D) and b (C,).
Regression = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


@torch.no_grad()
def refit(
    layer: nn.Linear,
    features: Tensor,
    labels: Tensor,
    weights: Tensor,
    reg: float,
    regression: Regression = l1_regression,
) -> None:
    """Fit ``layer`` to features (N, D), labels and float64 weights (N,); in place.

    It is fitted to standardised features, which its weights then undo. The rows of classes without a sample are left
    as they are, and so are all where there is one class only.
    """
    classes = labels.unique()
    if len(classes) < 2:
        return
    x = features.double().cpu()
    mean, deviation = x.mean(0), x.std(0, correction=0)
    deviation[deviation == 0] = 1.0
    W, b = regression((x - mean) / deviation, labels.cpu(), weights.cpu(), reg)
    W = W / deviation
    layer.weight[classes] = W.to(layer.weight)
    layer.bias[classes] = (b - W @ mean).to(layer.bias)


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
    refit(last_layer(model), outputs(model, problem.validation)[1], held_out.y, equal_groups(groups), reg)
    problem.watch.look(model)
    return model


def misclassified(problem: DebiasProblem, identify_for: float, lr_scale: float, decay_scale: float) -> Tensor:
    """(N,) bool: JTT's error set, what a network trained by ERM for a part of the recipe's steps gets wrong."""

    def identified() -> dict[str, Tensor]:
        model = problem.fresh_model("identification")
        train_erm(problem, model, lr_scale, decay_scale, max(1, round(identify_for * problem.recipe.steps)))
        return {"wrong": outputs(model, problem.train)[0].argmax(1) != problem.train.everything().y}

    depends = {"identify_for": identify_for, "lr_scale": lr_scale, "decay_scale": decay_scale}
    return problem.stage("error set", identified, **depends)["wrong"]


def upweighted(wrong: Tensor, upweight: float) -> Tensor:
    """(N,) float32 weights: what is ``wrong`` weighs ``upweight`` times the rest, and samples weigh 1 on average."""
    raw = torch.where(wrong, upweight, 1.0).double()
    return (raw / raw.mean()).float()


@method("jtt", tasks=("debias-known", "debias-unknown"), paper="arXiv:2107.09044", access=Access(train="xy"))
def jtt(
    problem: DebiasProblem,
    *,
    identify_for: float = 0.5,
    upweight: float = 10.0,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """JTT (Liu et al., 2021): a network trained on weighted samples, those weighing more that another gets wrong.

    The other is trained for ``identify_for`` of the recipe's steps (the paper's T). Weights instead of the paper's
    repeated samples: the expectation is the same, and the rate means what it means to the other methods.
    """
    if not (0 < identify_for <= 1 and upweight > 0):
        raise InputError(f"jtt: identify_for must be in (0, 1] and upweight above 0, not {identify_for} and {upweight}")
    weights = upweighted(misclassified(problem, identify_for, lr_scale, decay_scale), upweight)
    batches = uniformly(problem, problem.generator("batches"))
    items = (Draw(index, weights[index] / len(index)) for index in batches)
    loss = weighted_cross_entropy(problem.model, problem.train)
    fit(problem, problem.model, items, loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return problem.model
