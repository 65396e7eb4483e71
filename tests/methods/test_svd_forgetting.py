"""The edit against golden numbers and against the plain way: thin SVDs, explicit projectors, deep copies."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.references import LogitMask
from benchmark import compat
from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.views import Samples, View
from benchmark.errors import AccessViolation, InputError
from benchmark.models.classifiers import build_classifier
from benchmark.models.layer_inputs import InputMatrix, input_matrices
from benchmark.models.surgery import state_hash
from benchmark.training import train_classifier
from methods import svd_forgetting as module
from methods.svd_forgetting import ALPHA_F, ALPHA_R, Projector, needless, svd_forgetting, svd_forgetting_search

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "svd_forgetting.json").read_text())
FIXED = svd_forgetting.amendbench_methods["svd-forgetting"]
SEARCH = svd_forgetting_search.amendbench_methods["svd-forgetting+search"]
CLASSES = 4


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matrix(columns: Tensor) -> InputMatrix:
    """The input matrix of columns A (d, n) or (groups, d, n)."""
    found = InputMatrix()
    found.add(columns.mT if columns.dim() == 3 else columns.mT[None])
    return found


def projector(columns: Tensor, alpha: float) -> Tensor:
    """P(alpha) as the method has it: its product with the identity."""
    return Projector(matrix(columns), alpha)(torch.eye(columns.shape[-2], dtype=columns.dtype)[None])[0]


def plain_projector(A: Tensor, alpha: float) -> Tensor:
    """Steps 3 and 4 as the paper writes them: thin SVD, importances, U diag(lambda) U^T."""
    U, S, _ = torch.linalg.svd(A, full_matrices=False)
    r = S**2 / (S**2).sum().clamp_min(1e-300)
    scale = alpha * r / ((alpha - 1) * r + 1) if alpha else torch.zeros_like(r)
    return U @ torch.diag_embed(scale) @ U.mT


def plain_edit(W: Tensor, A_r: Tensor, A_f: Tensor, alpha_r: float, alpha_f: float) -> Tensor:
    P_r, P_f = plain_projector(A_r, alpha_r), plain_projector(A_f, alpha_f)
    P_dis = P_f - P_f @ P_r
    return W @ (torch.eye(len(A_r), dtype=A_r.dtype) - P_dis).T


def edited(W: Tensor, A_r: Tensor, A_f: Tensor, alpha_r: float, alpha_f: float) -> Tensor:
    W_free = needless({"": W[None]}, {"": Projector(matrix(A_r), alpha_r)})
    return W - Projector(matrix(A_f), alpha_f)(W_free[""])[0]


# The projectors and the update


def test_golden_linear() -> None:
    given, expected = (GOLDEN["svd-1"][key] for key in ("inputs", "expected"))
    A_r, A_f, W = double(given["A_r"]), double(given["A_f"]), double(given["W"])
    P_r, P_f = projector(A_r, given["alpha_r"]), projector(A_f, given["alpha_f"])
    for name, found in {
        "P_r": P_r,
        "P_f": P_f,
        "P_dis": P_f @ (torch.eye(3) - P_r),
        "W_new": edited(W, A_r, A_f, given["alpha_r"], given["alpha_f"]),
    }.items():
        torch.testing.assert_close(found, double(expected[name]), rtol=1e-9, atol=1e-12, msg=name)
    for letter, A, alpha in (("r", A_r, given["alpha_r"]), ("f", A_f, given["alpha_f"])):
        for name, scale in (("r", 1.0), ("lambda", alpha)):
            eigenvalues = torch.linalg.eigvalsh(projector(A, scale)).flip(0)
            torch.testing.assert_close(eigenvalues, double(expected[f"{name}_{letter}"]), rtol=1e-9, atol=1e-12)


def test_golden_convolution() -> None:
    given, expected = (GOLDEN["svd-2"][key] for key in ("inputs", "expected"))
    layer = nn.Conv2d(1, 1, given["kernel"], given["stride"], given["padding"], dtype=torch.float64)
    x = double(given["x"])
    found = input_matrices(layer, [x], 1, max_rows=10000, generator=torch.Generator())["weight"]
    P = Projector(found, given["alpha"])(torch.eye(4, dtype=torch.float64)[None])[0]
    assert found.n == expected["patches"]
    torch.testing.assert_close(P, double(expected["P"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 6, 7, 40])
@pytest.mark.parametrize("alpha", [0.25, 0.9, 1.0, 3.0, 100.0, 3000.0])
def test_closed_form_is_the_eigendecomposition_and_the_svd(n: int, alpha: float) -> None:
    torch.manual_seed(n)
    A = torch.randn(6, n, dtype=torch.float64) * torch.logspace(0, -3, 6, dtype=torch.float64)[:, None]
    P = projector(A, alpha)
    s, U = torch.linalg.eigh(A @ A.T)
    r = s.clamp_min(0) / s.sum()
    torch.testing.assert_close(P, U @ torch.diag(alpha * r / ((alpha - 1) * r + 1)) @ U.T)
    torch.testing.assert_close(P, plain_projector(A, alpha))
    torch.testing.assert_close(projector(A.float(), alpha), P.float(), rtol=0, atol=1e-6 * max(alpha, 10))
    torch.testing.assert_close(P, P.T)
    eigenvalues = torch.linalg.eigvalsh(P)
    assert eigenvalues.min() > -1e-12
    assert eigenvalues.max() < 1 + 1e-12


def test_importances_from_their_share_to_one() -> None:
    A = torch.diag(double([3.0, 2.0, 1.0]))
    share = double([9.0, 4.0, 1.0]) / 14
    torch.testing.assert_close(projector(A, 1.0), torch.diag(share))
    torch.testing.assert_close(projector(A, 1e12), torch.eye(3, dtype=torch.float64))
    assert (projector(A, 10.0).diagonal() > share).all()
    assert (projector(A, 0.25).diagonal() < share).all()


def test_alpha_f_of_zero_changes_no_bit_even_with_parallel_inputs() -> None:
    W = torch.randn(4, 3)
    for A_f in (torch.ones(3, 1), torch.ones(3, 8), torch.randn(3, 8)):
        assert torch.equal(edited(W, torch.randn(3, 9), A_f, 100.0, 0.0), W)
    tiny = projector(torch.ones(3, 8, dtype=torch.float64), 1e-6)
    torch.testing.assert_close(tiny, torch.full((3, 3), 1 / 3, dtype=torch.float64))


def test_a_full_retain_projector_changes_nothing() -> None:
    W, A = torch.randn(4, 3, dtype=torch.float64), torch.randn(3, 9, dtype=torch.float64)
    torch.testing.assert_close(edited(W, A, A, 1e12, 100.0), W, rtol=0, atol=1e-8)


def test_dead_inputs_project_on_nothing() -> None:
    for n in (2, 9):
        assert torch.equal(projector(torch.zeros(3, n), 100.0), torch.zeros(3, 3))
    one_dead_group = torch.stack([torch.zeros(3, 5), torch.eye(3, 5)])
    P = Projector(matrix(one_dead_group), 10.0)(torch.eye(3).expand(2, 3, 3))
    assert torch.equal(P[0], torch.zeros(3, 3))
    torch.testing.assert_close(P[1], plain_projector(torch.eye(3, 5), 10.0))


def test_the_order_of_the_projectors_matters() -> None:
    A_r, A_f = double([[1.0, 1.0], [0.0, 1.0]]), double([[1.0, 0.0], [2.0, 0.3]])
    W = double([[1.0, -2.0]])
    P_r, P_f = plain_projector(A_r, 10.0), plain_projector(A_f, 3.0)
    right, wrong = W @ (torch.eye(2) - P_f + P_f @ P_r).T, W @ (torch.eye(2) - P_f + P_r @ P_f).T
    assert (right - wrong).abs().max() > 0.05
    torch.testing.assert_close(edited(W, A_r, A_f, 10.0, 3.0), right)


# Whole networks


def images(n: int, channels: int = 1, size: int = 28, classes: int = CLASSES) -> Samples:
    """Noisy stripes, in a place and a direction of their class."""
    generator = torch.Generator().manual_seed(n)
    labels = torch.arange(n) % classes
    x = torch.randint(0, 110, (n, channels, size, size), generator=generator)
    for i, label in enumerate(labels.tolist()):
        stripe = x[i] if label % 2 else x[i].mT
        shift = int(torch.randint(0, 4, (), generator=generator))
        start = 3 + (label // 2) * (size // 2) + shift
        stripe[:, start : start + 4] += 140
    return Samples(x.to(torch.uint8), labels, (0.3,) * channels, (0.3,) * channels)


def forgetting(
    model: nn.Module,
    samples: Samples,
    classes: tuple[int, ...],
    access: Access = FIXED,
    seed: int = 0,
    **views: Samples,
) -> ForgetProblem:
    """A problem on a copy of ``model``; what is not of ``classes`` is retained."""
    gone = torch.isin(samples.labels, torch.tensor(classes))
    parts = {"retain": samples.subset((~gone).nonzero()[:, 0]), "forget": samples.subset(gone.nonzero()[:, 0])}
    parts = {"selection": images(40), **parts, **views}
    ledger = Ledger()
    return ForgetProblem(
        model=copy.deepcopy(model).eval(),
        **{name: View(name, part, access, ledger) for name, part in parts.items()},
        labelled=View("labelled", parts["retain"], access, ledger),
        forget_classes=classes,
        num_classes=CLASSES,
        recipe=Recipe(epochs=1, lr=0.1, batch_size=32),
        device=torch.device("cpu"),
        seed=seed,
        build_model=lambda: copy.deepcopy(model),
    )


@pytest.fixture(scope="module")
def data() -> Samples:
    return images(400)


@pytest.fixture(scope="module")
def vgg(data: Samples) -> nn.Module:
    torch.manual_seed(0)
    model = build_classifier("vgg-small", CLASSES, (1, 28, 28))
    view = View("retain", data, Access(retain="xy"), Ledger())
    train_classifier(model, view, Recipe(epochs=3, lr=0.05, batch_size=32), torch.Generator().manual_seed(0))
    return model


def inputs_of(model: nn.Module, x: Tensor) -> dict[str, list[Tensor]]:
    """What enters every layer, in float64."""
    seen: dict[str, list[Tensor]] = {}
    model = copy.deepcopy(model)
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_pre_hook(
                lambda _, args, name=name: seen.setdefault(name, []).append(args[0].double())
            )
    with torch.no_grad():
        model(x)
    return seen


def plain_columns(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """A of each group, columns ordered as ``weight.flatten(1)`` has them."""
    if isinstance(layer, nn.Linear):
        return [x.reshape(-1, x.shape[-1]).T]
    parts = x.chunk(layer.groups, 1)
    options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
    unfolded = [F.unfold(part, layer.kernel_size, **options) for part in parts]
    return [columns.permute(1, 0, 2).flatten(1) for columns in unfolded]


def plainly_forgotten(model: nn.Module, X_r: Tensor, X_f: Tensor, alpha_r: float, alpha_f: float) -> nn.Module:
    """The method as the paper writes it down, layer by layer, group by group, on a deep copy."""
    seen_r, seen_f = inputs_of(model, X_r), inputs_of(model, X_f)
    result = copy.deepcopy(model)
    for name in seen_r:
        layer = result.get_submodule(name)
        groups = getattr(layer, "groups", 1)
        columns = zip(plain_columns(layer, seen_r[name][0]), plain_columns(layer, seen_f[name][0]), strict=True)
        flat = layer.weight.detach().flatten(1).double().chunk(groups)
        new = [plain_edit(W, A_r, A_f, alpha_r, alpha_f) for W, (A_r, A_f) in zip(flat, columns, strict=True)]
        layer.weight.data = torch.cat(new).view_as(layer.weight).float()
    return result


def assert_same_model(found: nn.Module, expected: nn.Module, atol: float) -> None:
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(
            found.state_dict()[name], tensor, rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


def assert_edited(before: nn.Module, after: nn.Module, changed: set[str]) -> None:
    """Exactly the tensors named differ; shapes and everything finite."""
    old, new = before.state_dict(), after.state_dict()
    assert list(old) == list(new)
    assert {name for name in old if not torch.equal(old[name], new[name])} == changed
    assert all(new[name].shape == old[name].shape and new[name].isfinite().all() for name in old)


def weights_of(model: nn.Module) -> set[str]:
    return {f"{n}.weight" for n, layer in model.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))}


@pytest.mark.parametrize(("alpha_r", "alpha_f"), [(10.0, 1.0), (100.0, 3.0), (1000.0, 100.0)])
def test_vgg_small_agrees_with_the_plain_way(vgg: nn.Module, alpha_r: float, alpha_f: float) -> None:
    few = images(40)
    problem = forgetting(vgg, few, (1,))
    gone = few.labels == 1
    expected = plainly_forgotten(
        vgg, few.inputs((~gone).nonzero()[:, 0]), few.inputs(gone.nonzero()[:, 0]), alpha_r, alpha_f
    )
    found = svd_forgetting(problem, alpha_r=alpha_r, alpha_f=alpha_f, max_patches=10**6)
    assert_same_model(found, expected, 1e-4)
    assert_edited(vgg, found, weights_of(vgg))


def test_grouped_strided_and_depthwise_convolutions_agree_with_the_plain_way() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, dilation=2, groups=4),
        nn.Flatten(),
        nn.Linear(12 * 100, CLASSES),
    )
    few = images(24)
    gone = few.labels == 0
    expected = plainly_forgotten(
        model.eval(), few.inputs((~gone).nonzero()[:, 0]), few.inputs(gone.nonzero()[:, 0]), 100.0, 10.0
    )
    found = svd_forgetting(forgetting(model, few, (0,)), alpha_f=10.0, max_patches=10**6)
    assert_same_model(found, expected, 1e-5)
    assert_edited(model, found, weights_of(model))


def test_the_class_is_forgotten_and_the_rest_kept(vgg: nn.Module, data: Samples) -> None:
    problem = forgetting(vgg, data, (1,))
    model = svd_forgetting(problem, alpha_f=10.0)
    right = model(images(80).inputs()).argmax(1) == images(80).labels
    gone = images(80).labels == 1
    assert right[~gone].double().mean() > 0.9
    assert right[gone].double().mean() < 0.2
    assert not model.training
    assert problem.retain.counts() == {"samples": 300, "labels": 300, "passes": 300}
    assert problem.forget.counts() == {"samples": 100, "passes": 100}
    assert problem.selection.counts() == {"passes": 0}


def test_the_seed_decides_everything(vgg: nn.Module, data: Samples) -> None:
    def run(seed: int, window: int) -> str:
        problem = forgetting(vgg, data, (1,), seed=seed)
        return state_hash(
            svd_forgetting(problem, retain_per_class=20, forget_samples=30, max_patches=500, window=window)
        )

    for window in (0, 1):
        assert run(0, window) == run(0, window) != run(1, window)
    assert run(0, 0) != run(0, 1)


def test_every_forgotten_class_stays_out_of_the_retain_sample(vgg: nn.Module, data: Samples) -> None:
    problem = forgetting(vgg, data, (0, 2))
    passes: list[Tensor] = []
    problem.model.register_forward_pre_hook(lambda _, args: passes.append(args[0].flatten(1)))
    svd_forgetting(problem, retain_per_class=30, forget_samples=60)
    assert [len(x) for x in passes] == [60, 60]
    labels = [data.labels[torch.cdist(x, data.inputs().flatten(1)).argmin(1)] for x in passes]
    assert set(labels[0].tolist()) == {1, 3}
    assert set(labels[1].tolist()) == {0, 2}


def test_sequence_requests(vgg: nn.Module, data: Samples) -> None:
    first = svd_forgetting_search(forgetting(vgg, data, (0,), SEARCH))
    left = data.subset((data.labels != 0).nonzero()[:, 0])
    chosen = images(80)
    left_selection = chosen.subset((chosen.labels != 0).nonzero()[:, 0])
    second = svd_forgetting_search(forgetting(first, left, (1,), SEARCH, selection=left_selection))
    right = second(chosen.inputs()).argmax(1) == chosen.labels
    assert right[chosen.labels <= 1].double().mean() < 0.3
    assert right[chosen.labels >= 2].double().mean() > 0.8
    second(chosen.inputs()).sum().backward()  # what the search returns can be trained again
    assert all(p.grad is not None for p in second.parameters())


def test_settings_that_cannot_be_are_refused_before_anything_is_read(vgg: nn.Module, data: Samples) -> None:
    for settings, message in (
        ({"retain_per_class": 500}, "at most 1000 retain samples, not 1500"),
        ({"forget_samples": 901}, "at most 900 forget samples, not 901"),
        ({"max_patches": 0}, "max_patches"),
        ({"alpha_f": -1.0}, "alpha_f must be at least 0"),
    ):
        problem = forgetting(vgg, data, (1,))
        with pytest.raises(InputError, match=message):
            svd_forgetting(problem, **settings)
        assert problem.retain.counts() == {"passes": 0}
    with pytest.raises(AccessViolation):
        svd_forgetting_search(forgetting(vgg, data, (1,), FIXED))


@pytest.mark.parametrize("alpha", [1e-7, 1e7])
def test_extreme_factors_are_computed_in_float64(vgg: nn.Module, alpha: float) -> None:
    found = svd_forgetting(forgetting(vgg, images(24), (1,)), alpha_r=100.0, alpha_f=alpha)
    assert all(p.isfinite().all() and p.dtype == torch.float32 for p in found.parameters())


# Architectures of torchvision and timm


def test_resnet18_changes_its_21_weights_and_nothing_else() -> None:
    torch.manual_seed(0)
    model = compat.torchvision().models.resnet18(num_classes=CLASSES)
    found = svd_forgetting(forgetting(model, images(24, 3, 32), (1,)), max_patches=300)
    assert len(weights_of(model)) == 21
    assert_edited(model, found, weights_of(model))


def tokens(model: nn.Module, layer: str, samples: Samples, mask: Tensor) -> Tensor:
    """Columns of what ``layer`` yields."""
    seen: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2].detach()))
    with torch.no_grad():
        model.eval()(samples.inputs(mask.nonzero()[:, 0]))
    handle.remove()
    return seen[0].double().flatten(0, 1).T


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_vision_transformers(source: str) -> None:
    torch.manual_seed(0)
    if source == "timm":
        options = {"img_size": 32, "patch_size": 8, "depth": 2, "num_classes": CLASSES}
        model = compat.timm().create_model("vit_tiny_patch16_224", **options)
        norm, fused = "blocks.1.norm1", "blocks.1.attn.qkv.weight"
        changed = weights_of(model)
    else:
        model = compat.torchvision().models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=CLASSES)
        nn.init.normal_(model.heads.head.weight)  # zero at first
        block = "encoder.layers.encoder_layer_1"
        norm, fused = f"{block}.ln_1", f"{block}.self_attention.in_proj_weight"
        changed = weights_of(model) | {fused, fused.replace("layer_1", "layer_0")}
    samples = images(24, 3, 32)
    gone = samples.labels == 1
    found = svd_forgetting(forgetting(model, samples, (1,)), max_patches=10**5)
    assert_edited(model, found, changed)
    A_r, A_f = (tokens(model, norm, samples, mask) for mask in (~gone, gone))
    for part in range(3):  # query, key and value have one P: that of the normalised block input
        W, W_new = (m.get_parameter(fused).detach().double().chunk(3)[part] for m in (model, found))
        torch.testing.assert_close(W_new, plain_edit(W, A_r, A_f, 100.0, 3.0), rtol=0, atol=1e-5)


# The search


def scored(model: nn.Module, samples: Samples, classes: tuple[int, ...]) -> tuple[float, float]:
    with torch.no_grad():
        right = (model(samples.inputs()).argmax(1) == samples.labels).double()
    gone = torch.isin(samples.labels, torch.tensor(classes))
    return float(right[~gone].mean()), float(right[gone].mean())


def test_the_grid_equals_editing_a_copy_for_each_setting(
    vgg: nn.Module, data: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = data.subset(torch.arange(120))
    noisy = images(60)
    seen: list[tuple[float, float]] = []
    plain_call = module.EditedAccuracies.__call__

    def recorded(self: Any, weights: Any) -> tuple[float, float]:
        seen.append(plain_call(self, weights))
        return seen[-1]

    monkeypatch.setattr(module.EditedAccuracies, "__call__", recorded)
    problem = forgetting(vgg, few, (1,), SEARCH, selection=noisy)
    found = svd_forgetting_search(problem, max_patches=800, prune=False)
    expected, models = [scored(vgg, noisy, (1,))], [vgg]
    for alpha_r in ALPHA_R:
        for alpha_f in ALPHA_F:
            once = svd_forgetting(forgetting(vgg, few, (1,)), alpha_r=alpha_r, alpha_f=alpha_f, max_patches=800)
            models.append(once)
            expected.append(scored(once, noisy, (1,)))
    assert seen == expected
    best = max(range(26), key=lambda i: (expected[i][0] * (1 - expected[i][1]), -i))
    assert best > 0
    assert_same_model(found, models[best], 1e-6)
    assert problem.selection.counts() == {"samples": 60, "labels": 60, "passes": 60}
    assert problem.retain.counts()["passes"] == 90
    assert problem.forget.counts() == {"samples": 30, "passes": 30}


class Scripted:
    """A selection split on which the original has the first pair of accuracies and each setting the next."""

    def __init__(self, script: list[tuple[float, float]]) -> None:
        self.script, self.edits = script, []

    def __call__(self, weights: dict[str, Tensor]) -> tuple[float, float]:
        self.edits.append({name: weight.clone() for name, weight in weights.items()})
        return self.script[min(len(self.edits), len(self.script)) - 1]


@pytest.mark.parametrize(
    ("script", "runs", "best"),
    [
        ([(1.0, 1.0)] + [(0.9, 0.5)] * 24, 25, 1),  # nothing stops; alpha_f = 1 at alpha_r = 1000 is skipped; ties lose
        ([(1.0, 1.0)] + [(0.9, 0.0)] * 5, 6, 1),  # every first setting forgets all
        ([(1.0, 1.0), (0.9, 0.3), (0.9, 0.0), (0.5, 0.3), (0.9, 0.0)], 6 + 1, 2),
        ([(1.0, 0.0), (0.99, 0.0)], 6, 0),  # nothing beats the original
        ([(1.0, 1.0), (0.8, 0.0), (0.7, 0.3)], 6, 1),  # below the best score: stop
    ],
)
def test_score_and_pruning(
    vgg: nn.Module,
    data: Samples,
    monkeypatch: pytest.MonkeyPatch,
    script: list[tuple[float, float]],
    runs: int,
    best: int,
) -> None:
    selection = Scripted(script)
    monkeypatch.setattr(module, "EditedAccuracies", lambda problem: selection)
    few = data.subset(torch.arange(60))
    found = svd_forgetting_search(forgetting(vgg, few, (1,), SEARCH), max_patches=300)
    assert len(selection.edits) == runs
    for name, weight in selection.edits[best].items():
        assert torch.equal(found.get_parameter(name), weight)
    if best == 0:
        assert state_hash(found) == state_hash(vgg)


def test_wrapped_models_are_searched_and_a_perfect_original_returned(vgg: nn.Module, data: Samples) -> None:
    sure = data.subset((vgg(data.inputs()).argmax(1) == data.labels).nonzero()[:, 0])
    masked = LogitMask(vgg, (1,))
    found = svd_forgetting_search(forgetting(masked, sure, (1,), SEARCH, selection=sure), max_patches=500)
    assert state_hash(found) == state_hash(masked)
    edited_mask = svd_forgetting(forgetting(masked, data, (1,)))
    assert_edited(masked, edited_mask, weights_of(masked))


def test_a_selection_split_without_the_class_is_refused(vgg: nn.Module, data: Samples) -> None:
    left = data.subset((data.labels != 1).nonzero()[:, 0])
    with pytest.raises(InputError, match="selection split"):
        svd_forgetting_search(forgetting(vgg, data, (1,), SEARCH, selection=left))
