"""Deep unlearning (Kodge, Saha and Roy, arXiv:2312.00761) in some of a network's layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.errors import InputError, unknown
from benchmark.models.sampled_inputs import Sampling
from methods.ablations.svd_forgetting import edited
from methods.svd_forgetting import collect, projectors

#: Which layers may be edited, in the order in which inputs reach them.
LAYERS = ("all", "convolutions", "linear", "first-half", "last-half", "first", "last", "all-but-last")


def some_layers(model: nn.Module, names: Sequence[str], layers: str) -> list[str]:
    """Those of the weights ``names``, which are in the order of the forward pass, that ``layers`` means.

    InputError for a word that is not in LAYERS, and where no weight is meant.
    """
    if layers not in LAYERS:
        raise unknown("layers", layers, LAYERS)
    convolutions = [name for name in names if model.get_parameter(name).dim() == 4]
    half = len(names) // 2
    found = {
        "all": list(names),
        "convolutions": convolutions,
        "linear": [name for name in names if name not in convolutions],
        "first-half": list(names[:half]),
        "last-half": list(names[half:]),
        "first": list(names[:1]),
        "last": list(names[-1:]),
        "all-but-last": list(names[:-1]),
    }[layers]
    if not found:
        raise InputError(f"svd-forgetting+layers: this network has no layers that are {layers!r}")
    return found


@method(
    "svd-forgetting+layers",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", max_samples={"retain": 1000, "forget": 900}),
)
@torch.no_grad()
def only_layers(
    problem: ForgetProblem,
    *,
    layers: str = "all",
    alpha_r: float = 100.0,
    alpha_f: float = 3.0,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning in some of the layers: the others keep their weights bit for bit."""
    A_r, A_f = collect(problem, Sampling(retain_per_class, forget_samples, max_patches, window), alpha_r, alpha_f)
    chosen = some_layers(problem.model, list(A_r), layers)
    A_r, A_f = ({name: A[name] for name in chosen} for A in (A_r, A_f))
    return edited(problem.model, A_r, projectors(A_r, alpha_r), projectors(A_f, alpha_f))
