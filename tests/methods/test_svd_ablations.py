"""Deep unlearning with parts changed: closed forms on small matrices, and what must stay as it was."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.models.edited import EditedAccuracies
from benchmark.models.layer_inputs import InputMatrix
from benchmark.models.sampled_inputs import Sampling
from benchmark.models.surgery import state_hash
from benchmark.training import train_classifier
from methods.ablations import svd_search
from methods.ablations.svd_forgetting import Subspace, no_scaling, samples
from methods.ablations.svd_layers import LAYERS, only_layers, some_layers
from methods.ablations.svd_search import ALPHAS, Edits, bayesian, grid, random_search
from methods.svd_forgetting import ALPHA_F, ALPHA_R, collect, svd_forgetting

CLASSES = 4
EVERYTHING = Access(retain="xy", forget="xy", selection="xy")
LIMITED = Access(retain="xy", forget="x", selection="xy", max_samples={"retain": 1000, "forget": 900})


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def matrix(rows: Tensor) -> InputMatrix:
    """The input matrix of rows (n, d) or (groups, n, d)."""
    found = InputMatrix()
    found.add(rows if rows.dim() == 3 else rows[None])
    return found


def applied(rows: Tensor, energy: float) -> Tensor:
    """U_k U_k^T of rows (n, d)."""
    return Subspace(matrix(rows), energy)(torch.eye(rows.shape[1], dtype=rows.dtype)[None])[0]


# Directions without scaling


@pytest.mark.parametrize("n", [3, 6, 40])
def test_unscaled_directions_are_an_orthogonal_projector_on_the_fewest_that_hold_the_share(n: int) -> None:
    rows = torch.randn(n, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    squares = torch.linalg.svdvals(rows) ** 2
    for energy in (0.3, 0.8, 0.99):
        P = applied(rows, energy)
        torch.testing.assert_close(P @ P, P)
        torch.testing.assert_close(P, P.T)
        k = round(float(P.trace()))
        assert squares[:k].sum() >= energy * squares.sum() > squares[: k - 1].sum()
        _, _, V = torch.linalg.svd(rows, full_matrices=False)
        torch.testing.assert_close(P, V[:k].T @ V[:k])


def test_shares_of_nothing_and_everything() -> None:
    rows = double([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for repeated in (rows, rows.repeat(5, 1)):  # fewer and more rows than coordinates
        assert torch.equal(applied(repeated, 0.0), torch.zeros(3, 3, dtype=torch.float64))
        torch.testing.assert_close(applied(repeated, 0.9), torch.diag(double([1.0, 0.0, 0.0])))
        torch.testing.assert_close(applied(repeated, 0.91), torch.diag(double([1.0, 1.0, 0.0])))
        torch.testing.assert_close(applied(repeated, 1.0), torch.diag(double([1.0, 1.0, 0.0])))
    assert torch.equal(applied(torch.zeros(4, 3), 1.0), torch.zeros(3, 3))


def test_each_group_has_directions_of_its_own() -> None:
    groups = torch.stack([double([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), double([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])])
    P = Subspace(matrix(groups), 0.6)(torch.eye(2, dtype=torch.float64).expand(2, 2, 2))
    torch.testing.assert_close(P, torch.stack([torch.diag(double([1.0, 0.0])), torch.diag(double([0.0, 1.0]))]))


# Whole networks


def images(n: int) -> Samples:
    """Noisy stripes of 12 x 12 pixels in a place of their class."""
    generator = torch.Generator().manual_seed(n)
    labels = torch.arange(n) % CLASSES
    x = torch.randint(0, 110, (n, 1, 12, 12), generator=generator)
    for i, label in enumerate(labels.tolist()):
        x[i, :, 3 * label : 3 * label + 3] += 140
    return Samples(x.to(torch.uint8), labels, (0.3,), (0.3,))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3)]
    found = nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    view = View("retain", images(240), Access(retain="xy"), Ledger())
    train_classifier(found, view, Recipe(epochs=4, lr=0.05, batch_size=32), torch.Generator().manual_seed(0))
    return found.eval()


def problem(model: nn.Module, access: Access = LIMITED, n: int = 240, seed: int = 0) -> ForgetProblem:
    """Class 1 must go."""
    data, ledger = images(n), Ledger()
    gone = data.labels == 1
    parts = {"retain": data.subset((~gone).nonzero()[:, 0]), "forget": data.subset(gone.nonzero()[:, 0])}
    views = {name: View(name, part, access, ledger) for name, part in {**parts, "selection": images(60)}.items()}
    return ForgetProblem(
        model=copy.deepcopy(model),
        **views,
        labelled=views["retain"],
        forget_classes=(1,),
        num_classes=CLASSES,
        recipe=Recipe(epochs=1, lr=0.1, batch_size=32),
        device=torch.device("cpu"),
        seed=seed,
        build_model=lambda: copy.deepcopy(model),
    )


def weights(model: nn.Module) -> list[str]:
    return [name for name, tensor in model.named_parameters() if tensor.dim() > 1 and not name.startswith("1.")]


def changed(before: nn.Module, after: nn.Module) -> list[str]:
    old, new = before.state_dict(), after.state_dict()
    return [name for name in old if not torch.equal(old[name], new[name])]


def test_ablations_belong_to_the_task_and_no_suite() -> None:
    for name in ("samples", "no-scaling", "layers", "grid", "random-search", "optuna"):
        info = METHODS.get(f"svd-forgetting+{name}", "class-forget")
        assert (info.kind, info.paper) == ("ablation", "arXiv:2312.00761")


def test_with_the_papers_numbers_of_samples_nothing_changes(model: nn.Module) -> None:
    for settings in ({}, {"alpha_r": 30.0, "retain_per_class": 20, "forget_samples": 11, "max_patches": 300}):
        expected = svd_forgetting(problem(model), **settings)
        assert state_hash(samples(problem(model), **settings)) == state_hash(expected) != state_hash(model)


def test_more_samples_than_the_paper_takes_are_read(model: nn.Module) -> None:
    with pytest.raises(InputError, match="at most 1000 retain samples, not 1200"):
        svd_forgetting(problem(model), retain_per_class=400)
    own = problem(model, EVERYTHING, n=1500)
    samples(own, retain_per_class=400, forget_samples=2000, max_patches=200)
    assert own.retain.counts()["samples"] == 3 * 375
    assert own.forget.counts()["samples"] == 375


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retain_per_class": 0}, "must be at least 1"),
        ({"forget_samples": -3}, "must be at least 1"),
        ({"max_patches": 0}, "must be at least 1"),
        ({"alpha_f": -1.0}, "alpha_f must be at least 0"),
    ],
)
def test_wrong_numbers_of_samples_are_refused(model: nn.Module, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        samples(problem(model), **settings)


@torch.no_grad()
def test_without_scaling_the_edit_is_the_formula(model: nn.Module) -> None:
    own = problem(model)
    A_r, A_f = collect(own, Sampling(30, 40, 500), 1e5)
    expected = {}
    for name in weights(model):
        P_r, P_f = (torch.cat([Subspace(A[name], s).basis for s in (0.9,)]) for A in (A_r, A_f))
        P_r, P_f = P_r[0] @ P_r[0].T, P_f[0] @ P_f[0].T
        W = model.get_parameter(name)
        flat = (W.permute(0, 2, 3, 1) if W.dim() == 4 else W).flatten(1).double()
        expected[name] = flat @ (torch.eye(len(P_r)) - (P_f - P_f @ P_r)).T
    found = no_scaling(
        problem(model), energy_r=0.9, energy_f=0.9, retain_per_class=30, forget_samples=40, max_patches=500
    )
    for name, matrix_ in expected.items():
        W = found.get_parameter(name)
        flat = (W.permute(0, 2, 3, 1) if W.dim() == 4 else W).flatten(1)
        torch.testing.assert_close(flat, matrix_.float(), rtol=1e-4, atol=1e-5)
    assert changed(model, found) == weights(model)


def test_without_scaling_a_class_is_forgotten_too(model: nn.Module) -> None:
    test = images(80)
    found = no_scaling(problem(model), energy_r=0.9, energy_f=0.5)
    right = found(test.inputs()).argmax(1) == test.labels
    assert right[test.labels != 1].double().mean() > 0.9
    assert right[test.labels == 1].double().mean() < 0.1


def test_nothing_of_the_forgotten_class_or_all_of_the_others_changes_nothing(model: nn.Module) -> None:
    untouched = no_scaling(problem(model), energy_f=0.0)
    assert changed(model, untouched) == []
    full = no_scaling(problem(model), energy_r=1.0)
    for name in ("4.weight", "9.weight"):  # every direction of their inputs is used by some retained sample
        torch.testing.assert_close(full.get_parameter(name), model.get_parameter(name), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["energy_r", "energy_f"])
@pytest.mark.parametrize("energy", [-0.1, 1.1, math.nan])
def test_a_share_is_a_share(model: nn.Module, name: str, energy: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be 0 to 1"):
        no_scaling(problem(model), **{name: energy})


# Layers


EXPECTED = {
    "all": ["0", "4", "7", "9"],
    "convolutions": ["0", "4"],
    "linear": ["7", "9"],
    "first-half": ["0", "4"],
    "last-half": ["7", "9"],
    "first": ["0"],
    "last": ["9"],
    "all-but-last": ["0", "4", "7"],
}


def test_the_other_layers_keep_every_bit(model: nn.Module) -> None:
    whole = svd_forgetting(problem(model))
    assert set(EXPECTED) == set(LAYERS)
    for layers, names in EXPECTED.items():
        found = only_layers(problem(model), layers=layers)
        assert changed(model, found) == [f"{name}.weight" for name in names]
        for name in names:  # and those that are edited are as in the whole edit
            assert torch.equal(found.get_parameter(f"{name}.weight"), whole.get_parameter(f"{name}.weight"))


def test_halves_of_an_odd_number_of_layers_are_all_of_them(model: nn.Module) -> None:
    names = ["0.weight", "4.weight", "7.weight"]
    assert some_layers(model, names, "first-half") == ["0.weight"]
    assert some_layers(model, names, "last-half") == ["4.weight", "7.weight"]


def test_layers_that_are_none_are_refused(model: nn.Module) -> None:
    with pytest.raises(InputError, match="unknown layers 'convolution'; did you mean convolutions"):
        only_layers(problem(model), layers="convolution")
    with pytest.raises(InputError, match="no layers that are 'linear'"):
        some_layers(model, ["0.weight"], "linear")


# Searches


def score_of(model: nn.Module) -> float:
    own = problem(model)
    acc_r, acc_f = EditedAccuracies(own)(dict(model.named_parameters()))
    return acc_r * (1 - acc_f)


def searches() -> list[Any]:
    try:
        import optuna  # noqa: F401
    except ImportError:
        return [grid, random_search]
    return [grid, random_search, bayesian]


@pytest.mark.parametrize("search", searches())
def test_a_search_finds_no_less_than_the_model_as_it_was_and_says_what_it_tried(model: nn.Module, search: Any) -> None:
    found = search(problem(model), evaluations=9)
    scores = found.curves["search"]
    assert len(scores) == 9
    assert score_of(found) == pytest.approx(max([*scores, score_of(model)]))
    assert max(scores) > score_of(model) + 0.5
    assert state_hash(search(problem(model), evaluations=9)) == state_hash(found)


def test_where_nothing_is_better_the_model_stays(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        svd_search, "ALPHAS", {"alpha_r": (5.0, 5.0), "alpha_f": (-9.0, -9.0)}
    )  # hardly anything is removed
    found = grid(problem(model), evaluations=4)
    assert max(found.curves["search"]) <= score_of(model)
    assert changed(model, found) == []


def test_the_grid_of_25_is_the_papers_but_for_rounding(model: nn.Module) -> None:
    tried: list[tuple[float, float]] = []
    call = Edits.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Edits, "__call__", lambda own, r, f: tried.append((r, f)) or call(own, r, f))
        grid(problem(model), evaluations=25)
        random_search(problem(model), evaluations=5)
    for found, expected in zip(tried, [(r, f) for r in ALPHA_R for f in ALPHA_F], strict=False):
        assert found == pytest.approx(expected, rel=0.06)
    bounds = [(10**low, 10**high) for low, high in ALPHAS.values()]
    assert len(set(tried[25:])) == 5
    assert all(low <= alpha <= high for pair in tried for alpha, (low, high) in zip(pair, bounds, strict=True))


def test_bad_searches_are_refused_before_anything_is_read(model: nn.Module) -> None:
    for search, settings, message in (
        (grid, {"evaluations": 10}, "must be a square number, not 10"),
        (grid, {"evaluations": 0}, "evaluations must be at least 1, not 0"),
        (random_search, {"evaluations": 0}, "evaluations must be at least 1, not 0"),
        (bayesian, {"evaluations": 0}, "evaluations must be at least 1, not 0"),
        (bayesian, {"sampler": "tp"}, "unknown sampler 'tp'; did you mean tpe"),
    ):
        own = problem(model)
        with pytest.raises(InputError, match=message):
            search(own, **settings)
        assert own.retain.counts() == {"passes": 0}
