"""A network with some of its weights edited: the edit as parameters again, and how good it is before it is made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchmark.contracts import ForgetProblem
from benchmark.errors import InputError
from benchmark.models.layer_inputs import matrix_weight

#: Samples a forward pass.
BATCH = 250

#: New values of parameters, by name.
Weights = dict[str, Tensor]


def edited_weights(model: nn.Module, matrices: Mapping[str, Tensor]) -> Weights:
    """The inverse of ``weight_matrices``: new values of the model's parameters, in their shape and precision."""
    return {name: matrix_weight(matrix, model.get_parameter(name)) for name, matrix in matrices.items()}


class EditedAccuracies:
    """ACC_r and ACC_f, as fractions, of the problem's model with edited weights on the selection split.

    The split is read once, and the model keeps its weights. InputError for a split without retained or without
    forgotten classes.
    """

    def __init__(self, problem: ForgetProblem) -> None:
        self.model = problem.model
        parts = list(problem.selection.everything().split(BATCH))
        self.x, self.y = [part.x for part in parts], torch.cat([part.y for part in parts])
        self.forget = torch.isin(self.y, torch.tensor(problem.forget_classes, device=self.y.device))
        if self.forget.all() or not self.forget.any():
            raise InputError("a search needs retained and forgotten classes in the selection split")

    def __call__(self, weights: Weights) -> tuple[float, float]:
        predicted = torch.cat([functional_call(self.model, weights, (x,)).argmax(1) for x in self.x])
        right = (predicted == self.y).double()
        return float(right[~self.forget].mean()), float(right[self.forget].mean())
