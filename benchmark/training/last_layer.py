"""A network's last layer: what enters it, and its weights from a logistic regression in place of gradient steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data.views import View
from benchmark.models.surgery import captured_inputs, head

#: Samples a forward pass.
BATCH = 1_000
#: Features (N, D), labels (N,), weights (N,) and the penalty's strength -> W (C, D) and b (C,).
Regression = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


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


@torch.no_grad()
def refit(
    layer: nn.Linear, features: Tensor, labels: Tensor, weights: Tensor, reg: float, regression: Regression
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
    return _rows_of(model)


def _rows_of(model: Any) -> tuple[Tensor, Tensor]:
    """W (C, D) and b (C,) of a fitted logistic regression of scikit-learn.

    Of two classes it gives the difference: halves of it have the same softmax.
    """
    W, b = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    return (W, b) if len(W) > 1 else (torch.cat([-W, W]) / 2, torch.cat([-b, b]) / 2)


def l2_regression(features: Tensor, labels: Tensor, weights: Tensor, reg: float) -> tuple[Tensor, Tensor]:
    """W (C, D) and b (C,), float64, that minimise the weighted mean cross-entropy + reg/2 ||W||^2."""
    from sklearn.linear_model import LogisticRegression

    halved = 2 if len(labels.unique()) == 2 else 1  # two rows of half the length have half the squared norm
    model = LogisticRegression(C=halved / (reg * float(weights.sum())), max_iter=1_000)
    return _rows_of(model.fit(features.numpy(), labels.numpy(), weights.numpy()))
