"""Forgetting classes without gradients: "Deep Unlearning" (Kodge, Saha and Roy, TMLR 2024, arXiv:2312.00761).

For every weight W of a convolution or linear layer, A_r and A_f (d x n, a column a patch, vector or token) are what
enters it for samples to retain and to forget. With A = U S V^T, the steps of the paper are

    r_i = sigma_i^2 / sum_j sigma_j^2        lambda_i = alpha r_i / ((alpha - 1) r_i + 1)        (importance)
    P = U diag(lambda) U^T                   P_dis = P_f - P_f P_r = P_f (I - P_r)               (projectors)
    W <- W (I - P_dis)^T = W - W (I - P_r) P_f                                                   (update)

No decomposition is needed. The r_i are the eigenvalues of R = A A^T / tr(A A^T), so

    P = alpha R ((alpha - 1) R + I)^-1 = alpha / t A ((alpha - 1) / t A^T A + I)^-1 A^T,      t = tr(A A^T),

the second form for n < d. The matrix that is inverted is symmetric and, since 0 <= r_i <= 1, has its eigenvalues
between 1 and alpha: positive definite, of condition number max(alpha, 1 / alpha) at most. A Cholesky solve in float32
is enough where that is at most 10^4; beyond it the input matrices are kept in float64. At alpha = 0 the inverse may
not exist (r = 1: all inputs parallel) but P = 0; inputs that are all zero have P = 0 too.

Taken from the official code where the paper leaves it open: evaluation mode; all inputs from the original model, one
pass a set; all layers edited together, the head too; biases, normalisation, class token and positions untouched.
Different on purpose: no augmentation; seeded random samples; patches of whole maps (``window=0``; 3 is the official
random window, here cut after padding and on the layer's stride); every forgotten class stays out of the retain sample;
``max_patches`` columns bound every layer, where the official code bounds convolutions and attention but keeps the
200,000 tokens of a transformer's MLPs (r_i are shares, so a uniform sample estimates the same ones for a bounded
cost); the search scores on a held-out split.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, method
from benchmark.errors import InputError
from benchmark.models.edited import EditedAccuracies, Weights, edited_weights
from benchmark.models.layer_inputs import InputMatrix, weight_matrices
from benchmark.models.sampled_inputs import Inputs, Sampling, retain_and_forget_inputs

ALPHA_R = (10.0, 30.0, 100.0, 300.0, 1000.0)
ALPHA_F = (1.0, 3.0, 10.0, 30.0, 100.0)


class Projector:
    """P(alpha) of one layer's inputs, applied from the right."""

    def __init__(self, A: InputMatrix, alpha: float) -> None:
        self.gram, self.rows = A.gram, A.rows  # A A^T and None, or for n < d A^T A and A^T
        trace = self.gram.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]  # of both: sum_j sigma_j^2
        trace = trace.where(trace != 0, 1)
        identity = torch.eye(self.gram.shape[-1], dtype=A.dtype, device=trace.device).expand_as(self.gram)
        self.factor = torch.linalg.cholesky((alpha - 1) / trace * self.gram + identity if alpha else identity)
        self.scale = alpha / trace

    def __call__(self, X: Tensor) -> Tensor:
        """X P, for the rows X (groups, out, d)."""
        Y = X @ (self.gram if self.rows is None else self.rows.mT)
        Y = self.scale * torch.cholesky_solve(Y.mT, self.factor).mT
        return Y if self.rows is None else Y @ self.rows


def projectors(A: Inputs, alpha: float) -> dict[str, Projector]:
    return {layer: Projector(A[layer], alpha) for layer in A}


def needless(W: Weights, P_r: Mapping[str, Projector]) -> Weights:
    """W (I - P_r) of every layer: what the retained classes do not need."""
    return {layer: W[layer] - P_r[layer](W[layer]) for layer in W}


def updated(model: nn.Module, W: Weights, W_free: Weights, P_f: Mapping[str, Projector]) -> Weights:
    """W - W (I - P_r) P_f of every layer as new values of the model's parameters; ``W_free`` is W (I - P_r)."""
    return edited_weights(model, {layer: W[layer] - P_f[layer](W_free[layer]) for layer in W})


def collect(
    problem: ForgetProblem, sampling: Sampling, *alphas: float, most: tuple[float, float] = (1000, 900)
) -> tuple[Inputs, Inputs]:
    """A_r and A_f of every layer, of at most so many samples, precise enough for P at any of ``alphas``."""
    if min(alphas) < 0:
        raise InputError("svd-forgetting: alpha_r and alpha_f must be at least 0")
    well_conditioned = all(1e-4 <= alpha <= 1e4 or alpha == 0 for alpha in alphas)
    dtype = torch.float32 if well_conditioned else torch.float64
    return retain_and_forget_inputs(problem, sampling, most, problem.generator("svd-forgetting"), dtype)


@method(
    "svd-forgetting",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", max_samples={"retain": 1000, "forget": 900}),
)
@torch.no_grad()
def svd_forgetting(
    problem: ForgetProblem,
    *,
    alpha_r: float = 100.0,
    alpha_f: float = 3.0,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
) -> nn.Module:
    """Deep unlearning at fixed scaling factors (Kodge et al., TMLR 2024): one edit of every weight, no gradients."""
    A_r, A_f = collect(problem, Sampling(retain_per_class, forget_samples, max_patches, window), alpha_r, alpha_f)
    W = weight_matrices(problem.model, A_r)
    W_free = needless(W, projectors(A_r, alpha_r))
    problem.model.load_state_dict(updated(problem.model, W, W_free, projectors(A_f, alpha_f)), strict=False)
    return problem.model


@method(
    "svd-forgetting+search",
    tasks="class-forget",
    paper="arXiv:2312.00761",
    access=Access(retain="xy", forget="x", selection="xy", max_samples={"retain": 1000, "forget": 900}),
)
@torch.inference_mode()
def svd_forgetting_search(
    problem: ForgetProblem,
    *,
    retain_per_class: int = 100,
    forget_samples: int = 900,
    max_patches: int = 10000,
    window: int = 0,
    prune: bool = True,
) -> nn.Module:
    """Deep unlearning with the paper's Algorithm 1: the scaling factors by a grid search on the selection split."""
    A_r, A_f = collect(problem, Sampling(retain_per_class, forget_samples, max_patches, window), *ALPHA_R, *ALPHA_F)
    W = weight_matrices(problem.model, A_r)
    P_f = cache(lambda alpha_f: projectors(A_f, alpha_f))
    accuracies = EditedAccuracies(problem)
    best, (acc_r, acc_f) = {}, accuracies({})
    best_score = acc_r * (1 - acc_f)
    for alpha_r in ALPHA_R:
        W_free = needless(W, projectors(A_r, alpha_r))
        for alpha_f in ALPHA_F:
            if prune and alpha_f <= alpha_r / 1000:
                continue
            edit = updated(problem.model, W, W_free, P_f(alpha_f))
            acc_r, acc_f = accuracies(edit)
            if acc_r * (1 - acc_f) > best_score:
                best, best_score = edit, acc_r * (1 - acc_f)
            if prune and (acc_r < best_score or acc_f < 1 / problem.num_classes):
                break
    problem.model.load_state_dict(best, strict=False)
    return problem.model
