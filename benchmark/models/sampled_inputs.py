"""What enters every weight of a network that sees samples to retain, and samples to forget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from benchmark.contracts import ForgetProblem
from benchmark.data.views import Batch
from benchmark.errors import InputError
from benchmark.models.layer_inputs import InputMatrix, input_matrices

#: Samples a forward pass.
BATCH = 250

#: Input matrices by parameter name.
Inputs = Mapping[str, InputMatrix]


class Sampling(NamedTuple):
    """How much is looked at: samples of every retained class, samples to forget, and what is kept of each layer.

    ``max_patches`` and ``window`` bound what is kept of a layer, as ``max_rows`` and ``window`` of ``input_matrices``.
    """

    retain_per_class: int = 100
    forget_samples: int = 900
    max_patches: int = 10000
    window: int = 0


def retain_and_forget_inputs(
    problem: ForgetProblem,
    sampling: Sampling,
    most: tuple[float, float],
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> tuple[Inputs, Inputs]:
    """Input matrices of samples to retain and of samples to forget, in at least the precision ``dtype``.

    ``generator`` draws samples and patches; the problem's model sees each sample once, in evaluation mode. Where a set
    has fewer samples, all are taken. InputError, before anything is read, where numbers are too small, or where more
    samples of the two kinds are asked for than ``most``.
    """
    retain_samples = sampling.retain_per_class * (problem.num_classes - len(problem.forget_classes))
    if min(retain_samples, sampling.forget_samples, sampling.max_patches) < 1 or sampling.window < 0:
        raise InputError("retain_per_class, forget_samples and max_patches must be at least 1, window at least 0")
    asked = (("retain", retain_samples, most[0]), ("forget", sampling.forget_samples, most[1]))
    for name, n, limit in asked:
        if n > limit:
            raise InputError(f"there can be at most {limit} {name} samples, not {n}")
    X_r = problem.retain.draw_per_class(sampling.retain_per_class, generator)
    X_f = problem.forget.draw(sampling.forget_samples, generator)

    def inputs(X: Batch) -> Inputs:
        x = (part.x for part in X.split(BATCH))
        kept = sampling.max_patches
        return input_matrices(problem.model, x, len(X), kept, generator, window=sampling.window, dtype=dtype)

    problem.model.eval()
    return inputs(X_r), inputs(X_f)
