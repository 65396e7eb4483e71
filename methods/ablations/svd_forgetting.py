"""Deep unlearning (Kodge, Saha and Roy, arXiv:2312.00761) with a part of it changed or left out.

What is changed: how many samples it may read, the scaling of directions by their importance, and the layers that are
edited. All else is that of ``methods/svd_forgetting.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.data.views import Batch
from benchmark.errors import InputError, unknown
from benchmark.models.layer_inputs import InputMatrix, input_matrices, weight_matrices
from methods.svd_forgetting import BATCH, Inputs, Projector, Weights, collect, needless, projectors, updated

#: A scaling factor beyond what float32 is precise enough for: inputs are then kept in float64.
PRECISE = 1e5
#: Squared singular values below this share of the largest are rounding and no direction.
ROUNDING = 1e-12
#: Which layers may be edited, in the order in which inputs reach them.
LAYERS = ("all", "convolutions", "linear", "first-half", "last-half", "first", "last", "all-but-last")


def edit(model: nn.Module, W: Weights, P_r: Mapping[str, Projector], P_f: Mapping[str, Projector]) -> nn.Module:
    """``model`` with W - W (I - P_r) P_f in place of the weights W."""
    model.load_state_dict(updated(model, W, needless(W, P_r), P_f), strict=False)
    return model


def collect_any(
    problem: ForgetProblem, retain_per_class: int, forget_samples: int, max_patches: int, window: int, *alphas: float
) -> tuple[Inputs, Inputs]:
    """``methods.svd_forgetting.collect``, the same samples and patches, without its limits."""
    least = {"retain_per_class": retain_per_class, "forget_samples": forget_samples, "max_patches": max_patches}
    for name, value in least.items():
        if value < 1:
            raise InputError(f"svd-forgetting+samples: {name} must be at least 1, not {value}")
    if window < 0 or min(alphas) < 0:
        raise InputError("svd-forgetting+samples: window, alpha_r and alpha_f must be at least 0")
    dtype = torch.float32 if all(1e-4 <= alpha <= 1e4 or alpha == 0 for alpha in alphas) else torch.float64
    generator = problem.generator("svd-forgetting")
    X_r = problem.retain.draw_per_class(retain_per_class, generator)
    X_f = problem.forget.draw(forget_samples, generator)

    def inputs(X: Batch) -> Inputs:
        x = (part.x for part in X.split(BATCH))
        return input_matrices(problem.model, x, len(X), max_patches, generator, window=window, dtype=dtype)

    problem.model.eval()
    return inputs(X_r), inputs(X_f)


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
    A_r, A_f = collect_any(problem, retain_per_class, forget_samples, max_patches, window, alpha_r, alpha_f)
    W = weight_matrices(problem.model, A_r)
    return edit(problem.model, W, projectors(A_r, alpha_r), projectors(A_f, alpha_f))


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
        self.basis = (U * kept[:, None]).to(A.dtype)

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
    A_r, A_f = collect(problem, retain_per_class, forget_samples, max_patches, window, PRECISE)
    P_r, P_f = ({name: Subspace(A, share) for name, A in X.items()} for X, share in ((A_r, energy_r), (A_f, energy_f)))
    return edit(problem.model, weight_matrices(problem.model, A_r), P_r, P_f)


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
    A_r, A_f = collect(problem, retain_per_class, forget_samples, max_patches, window, alpha_r, alpha_f)
    chosen = some_layers(problem.model, list(A_r), layers)
    A_r, A_f = ({name: A[name] for name in chosen} for A in (A_r, A_f))
    W = weight_matrices(problem.model, A_r)
    return edit(problem.model, W, projectors(A_r, alpha_r), projectors(A_f, alpha_f))
