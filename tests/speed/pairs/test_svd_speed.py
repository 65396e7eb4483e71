"""SVD forgetting: patches that are read where they lie, Cholesky solves and a model that is edited by reference, beside
unfolded maps, decompositions and deep copies.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.data.views import Batch, View
from benchmark.models.classifiers import build_classifier
from benchmark.models.layer_inputs import sample_positions
from benchmark.models.sampled_inputs import BATCH
from benchmark.training.loop import train_classifier
from methods.svd_forgetting import ALPHA_F, ALPHA_R, svd_forgetting, svd_forgetting_search

GONE = 3
RECIPE = Recipe(epochs=3, lr=0.1, batch_size=64)
Columns = dict[str, Tensor]
#: Left vectors and importances of every layer.
Decompositions = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Size:
    """What is read: of which data, how many samples of a retained class and of the forgotten one, how many patches."""

    network: str
    data: str
    retain_per_class: int
    forget_samples: int
    max_patches: int


SMALL = Size("resnet-small", "digits", 10, 30, 80)


@functools.cache
@torch.enable_grad()
def trained(network: str, name: str, device: str) -> nn.Module:
    """A network that has learnt all classes."""
    data = load(name)
    torch.manual_seed(0)
    model = build_classifier(network, 10, data.shape).to(device)
    view = View("train", data.train.to(torch.device(device)), Access(train="xy"), Ledger())
    train_classifier(model, view, RECIPE, torch.Generator().manual_seed(0))
    return model


def problem_of(size: Size, device: str) -> ForgetProblem:
    """Class 3 of the data is to be forgotten, by a copy of the trained network."""
    data, on = load(size.data), torch.device(device)
    gone = data.train.labels == GONE
    parts = {"retain": data.train.subset((~gone).nonzero()[:, 0]), "forget": data.train.subset(gone.nonzero()[:, 0])}
    parts |= {"labelled": parts["retain"], "selection": data.selection}
    access, ledger = Access(retain="xy", forget="x", selection="xy"), Ledger()
    model = trained(size.network, size.data, device)
    return ForgetProblem(
        model=copy.deepcopy(model),
        **{part: View(part, samples.to(on), access, ledger) for part, samples in parts.items()},
        forget_classes=(GONE,),
        num_classes=10,
        recipe=RECIPE,
        device=on,
        seed=0,
        build_model=lambda: copy.deepcopy(model),
    )


# The plain way: the paper's steps one by one.


def unfolded(layer: nn.Module, x: Tensor) -> Tensor:
    """All that enters a layer, a row a patch or a vector."""
    if isinstance(layer, nn.Linear):
        return x
    assert isinstance(layer, nn.Conv2d)
    patches = F.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride)  # type: ignore[arg-type]
    return patches.transpose(1, 2).flatten(0, 1)


def columns_of(model: nn.Module, batch: Batch, max_patches: int, generator: torch.Generator) -> Columns:
    """A of every layer: patches unfolded, at most ``max_patches`` of them kept."""
    rows: dict[str, list[Tensor]] = {}
    names = {layer: name for name, layer in model.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))}
    quota = 0

    def keep(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        found = unfolded(layer, args[0])
        if len(found) > quota or isinstance(layer, nn.Conv2d):
            found = found[sample_positions(len(found), quota, generator).to(found.device)]
        rows.setdefault(names[layer], []).append(found)

    handles = [layer.register_forward_hook(keep) for layer in names]
    done = 0
    for part in batch.split(BATCH):
        quota = max_patches * (done + len(part)) // len(batch) - max_patches * done // len(batch)
        done += len(part)
        model(part.x)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts).T for name, parts in rows.items()}


def both_columns(problem: ForgetProblem, size: Size) -> tuple[Columns, Columns]:
    """A_r and A_f."""
    generator = problem.generator("svd-forgetting")
    X_r = problem.retain.draw_per_class(size.retain_per_class, generator)
    X_f = problem.forget.draw(size.forget_samples, generator)
    return tuple(columns_of(problem.model, X, size.max_patches, generator) for X in (X_r, X_f))  # type: ignore[return-value]


def decomposed(columns: Columns) -> Decompositions:
    """U and r_i = sigma_i^2 / sum_j sigma_j^2 of every layer."""
    found = {}
    for name, A in columns.items():
        U, sigma, _ = torch.linalg.svd(A, full_matrices=False)
        found[name] = U, sigma**2 / (sigma**2).sum()
    return found


def projection(U: Tensor, r: Tensor, alpha: float) -> Tensor:
    """P = U diag(lambda) U^T."""
    return U * (alpha * r / ((alpha - 1) * r + 1)) @ U.T


def edited(model: nn.Module, D_r: Decompositions, D_f: Decompositions, alpha_r: float, alpha_f: float) -> nn.Module:
    """A copy of the model, every layer's W times (I - P_dis)^T."""
    model = copy.deepcopy(model)
    for name in D_r:
        weight = model.get_submodule(name).weight
        P_r, P_f = projection(*D_r[name], alpha_r), projection(*D_f[name], alpha_f)
        P_dis = P_f - P_f @ P_r
        keep = torch.eye(len(P_dis), device=P_dis.device) - P_dis
        weight.copy_((weight.flatten(1) @ keep.T).view_as(weight))  # type: ignore[operator, union-attr]
    return model


def accuracies(model: nn.Module, problem: ForgetProblem) -> tuple[float, float]:
    """ACC_r and ACC_f on the selection split."""
    parts = list(problem.selection.everything().split(BATCH))
    right = torch.cat([model(part.x).argmax(1) == part.y for part in parts]).double()
    gone = problem.selection.everything().y == GONE
    return float(right[~gone].mean()), float(right[gone].mean())


def score(model: nn.Module, problem: ForgetProblem) -> float:
    """ACC_r (1 - ACC_f)."""
    acc_r, acc_f = accuracies(model, problem)
    return acc_r * (1 - acc_f)


@torch.no_grad()
def searched(problem: ForgetProblem, size: Size, prune: bool, once: bool) -> tuple[nn.Module, tuple[float, float]]:
    """The best model of the grid and its alphas; ``once``: decompositions are kept for all settings."""
    A_r, A_f = both_columns(problem, size)
    kept = (decomposed(A_r), decomposed(A_f)) if once else None
    best, best_score, chosen = problem.model, score(problem.model, problem), (0.0, 0.0)
    for alpha_r in ALPHA_R:
        for alpha_f in ALPHA_F:
            if prune and alpha_f <= alpha_r / 1000:
                continue
            D_r, D_f = kept or (decomposed(A_r), decomposed(A_f))
            model = edited(problem.model, D_r, D_f, alpha_r, alpha_f)
            acc_r, acc_f = accuracies(model, problem)
            if acc_r * (1 - acc_f) > best_score:
                best, best_score, chosen = model, acc_r * (1 - acc_f), (alpha_r, alpha_f)
            if prune and (acc_r < best_score or acc_f < 1 / problem.num_classes):
                break
    return best, chosen


def settings_of(size: Size) -> dict[str, int]:
    return {"retain_per_class": size.retain_per_class, "forget_samples": size.forget_samples} | {
        "max_patches": size.max_patches
    }


def assert_close(found: nn.Module, expected: nn.Module) -> None:
    """Every weight within 1e-3 of its layer's largest: both ways round in single precision."""
    own = found.state_dict()
    for name, tensor in expected.state_dict().items():
        atol = 1e-3 * float(tensor.abs().max())
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


#: Pruned, decompositions kept, and the bar; all at the method's default of 10,000 patches.
GRIDS: list[tuple[bool, bool, float | None]] = [(True, False, 20.0), (True, True, None), (False, True, None)]


@pytest.mark.parametrize(("prune", "once", "bar"), GRIDS, ids=["pruned-each", "pruned-once", "whole-once"])
def test_grid(  # type: ignore[no-untyped-def]
    beside, device: str, full: bool, prune: bool, once: bool, bar: float | None
) -> None:
    """The search: the edit of the plain way's best setting is ours, and ours scores as well on the selection split.

    Both visit the same settings. Which is best may hang on one sample, so that the models need not be of one setting.
    """
    size = Size("resnet-small", "mnist-5k", 100, 900, 10_000) if full else SMALL
    visited = f"SVD forgetting: the grid, {'pruned' if prune else 'whole'}, {size.max_patches:,} patches"
    way = "decomposed once, a deep copy for each setting" if once else "decomposed and copied for each setting"

    def ours() -> nn.Module:
        return svd_forgetting_search(problem_of(size, device), prune=prune, **settings_of(size))

    def plain() -> tuple[nn.Module, tuple[float, float]]:
        return searched(problem_of(size, device), size, prune, once)

    found, (expected, (alpha_r, alpha_f)) = beside(ours, plain, visited, way, bar=bar)
    problem = problem_of(size, device)
    assert alpha_r
    assert abs(score(found, problem) - score(expected, problem)) < 0.01
    assert_close(svd_forgetting(problem, alpha_r=alpha_r, alpha_f=alpha_f, **settings_of(size)), expected)


@pytest.mark.parametrize("network", ["resnet-small", "vgg-small"])
def test_one_setting(beside, device: str, full: bool, network: str) -> None:  # type: ignore[no-untyped-def]
    """A single edit at the method's defaults."""
    size = Size(network, "mnist-5k", 100, 900, 10_000) if full else replace(SMALL, network=network)

    @torch.no_grad()
    def plain() -> nn.Module:
        problem = problem_of(size, device)
        A_r, A_f = both_columns(problem, size)
        return edited(problem.model, decomposed(A_r), decomposed(A_f), 100.0, 3.0)

    def ours() -> nn.Module:
        return svd_forgetting(problem_of(size, device), alpha_r=100.0, alpha_f=3.0, **settings_of(size))

    way = "patches unfolded, every layer decomposed"
    found, expected = beside(ours, plain, f"SVD forgetting: one setting, {network}", way, bar=5.0)
    assert_close(found, expected)
