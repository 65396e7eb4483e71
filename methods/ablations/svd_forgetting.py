"""Deep unlearning (Kodge, Saha and Roy, arXiv:2312.00761) with a part of it changed or left out.

What is changed: how many samples it may read, and the scaling of directions by their importance. All else is that of
``methods/svd_forgetting.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.errors import InputError
from benchmark.models.layer_inputs import InputMatrix, weight_matrices
from benchmark.models.sampled_inputs import Inputs, Sampling
from methods.svd_forgetting import Projector, collect, needless, projectors, updated

#: A scaling factor beyond what float32 is precise enough for: inputs are then kept in float64.
PRECISE = 1e5
#: Squared singular values below this share of the largest are rounding and no direction.
ROUNDING = 1e-12


def edited(model: nn.Module, A_r: Inputs, P_r: Mapping[str, Projector], P_f: Mapping[str, Projector]) -> nn.Module:
    """``model`` with W - W (I - P_r) P_f in place of W in the layers that the inputs ``A_r`` enter."""
    W = weight_matrices(model, A_r)
    model.load_state_dict(updated(model, W, needless(W, P_r), P_f), strict=False)
    return model


@method(
    "svd-forgetting+samples",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x"),
)
@torch.no_grad()
def samples(
    problem: ForgetProblem,
    *,
    alpha_r: float = 100.0,
    alpha_f: float = 3.0,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning with as many samples as one likes, where the paper's method takes 1,000 and 900 at most."""
    sampling = Sampling(retain_per_class, forget_samples, max_patches, window)
    A_r, A_f = collect(problem, sampling, alpha_r, alpha_f, most=(inf, inf))
    return edited(problem.model, A_r, projectors(A_r, alpha_r), projectors(A_f, alpha_f))


class Subspace(Projector):
    """U_k U_k^T: the fewest leading directions of one layer's inputs that hold a share ``energy`` of it, unscaled.

    ``energy`` 0: none; 1: all of them, up to rounding.
    """

    def __init__(self, A: InputMatrix, energy: float) -> None:
        squares, V = torch.linalg.eigh(A.gram.double())  # sigma_i^2, ascending
        squares = squares.clamp(min=0)
        total = squares.sum(-1, keepdim=True)
        descending = squares.flip(-1)
        before = (descending.cumsum(-1) - descending).flip(-1)  # what greater ones hold: exactly 0 of the first
        kept = (before < energy * total) & (squares > ROUNDING * squares.amax(-1, keepdim=True))
        U = V if A.rows is None else A.rows.mT.double() @ V / squares.sqrt().where(kept, 1)[:, None]
        self.basis: Tensor = (U * kept[:, None]).to(A.dtype)

    def __call__(self, X: Tensor) -> Tensor:
        """X P, for the rows X (groups, out, d)."""
        return X @ self.basis @ self.basis.mT


@method(
    "svd-forgetting+no-scaling",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", max_samples={"retain": 1000, "forget": 900}),
)
@torch.no_grad()
def no_scaling(
    problem: ForgetProblem,
    *,
    energy_r: float = 0.99,
    energy_f: float = 0.99,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning without importance scaling: Lambda is 1 for the directions that hold a share of the energy."""
    for name, energy in (("energy_r", energy_r), ("energy_f", energy_f)):
        if not 0 <= energy <= 1:
            raise InputError(f"svd-forgetting+no-scaling: {name} must be 0 to 1, not {energy}")
    A_r, A_f = collect(problem, Sampling(retain_per_class, forget_samples, max_patches, window), PRECISE)
    P_r, P_f = ({name: Subspace(A, share) for name, A in X.items()} for X, share in ((A_r, energy_r), (A_f, energy_f)))
    return edited(problem.model, A_r, P_r, P_f)
