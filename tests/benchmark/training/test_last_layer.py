"""The last layer: what enters it, and regressions that put their coefficients into it, against their optimality."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from benchmark.contracts import Access, Ledger
from benchmark.data.views import Samples, View
from benchmark.errors import AccessViolation
from benchmark.models.surgery import SplitClassifier
from benchmark.training import last_layer as module
from benchmark.training.last_layer import l1_regression, l2_regression, last_layer, outputs, refit


def view(n: int = 50, access: str = "x") -> View:
    """Points in the plane."""
    rng = torch.Generator().manual_seed(1)
    return View("train", Samples(torch.randn(n, 2, generator=rng), torch.arange(n) % 2), Access(train=access), Ledger())


def cloud(groups: list[int], classes: list[int], width: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, width), labels and groups; ``groups[g]`` samples of the group g, which is of ``classes[g]``."""
    rng = torch.Generator().manual_seed(7)
    group = torch.tensor([g for g, n in enumerate(groups) for _ in range(n)])
    centres = 1.5 * torch.randn(len(groups), width, generator=rng)
    spread = torch.rand(width, generator=rng) * 5
    x = (centres[group] + torch.randn(len(group), width, generator=rng)) * spread + 3
    return x, torch.tensor(classes)[group], group


def equally(group: Tensor) -> Tensor:
    """Weights with which all groups weigh the same, 1 at most."""
    n = group.bincount()[group].double()
    return n.min() / n


# What enters it.


def test_the_last_layer_gives_the_logits() -> None:
    layers = [nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softplus()]
    assert last_layer(nn.Sequential(*layers)) is layers[2]
    head = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3))
    assert last_layer(SplitClassifier(nn.Linear(2, 8), head)) is head[2]


def test_outputs_are_those_of_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3), nn.Dropout(0.5)]
    model, own = nn.Sequential(*layers).train(), view()
    x = own.everything().x
    monkeypatch.setattr(module, "BATCH", 15)
    logits, features = outputs(model, own)
    torch.testing.assert_close(logits, model.eval()(x))
    torch.testing.assert_close(features, model[:3](x))
    assert not logits.requires_grad
    assert layers[1].num_batches_tracked == 0


def test_outputs_read_images_alone() -> None:
    own = view()
    outputs(nn.Linear(2, 3), own)
    assert own.counts() == {"samples": 50, "passes": 50}
    with pytest.raises(AccessViolation):
        outputs(nn.Linear(2, 3), view(access="y"))


# Regressions.


@pytest.mark.parametrize("classes", [[0, 0, 1, 1], [0, 1, 2, 2]])
@pytest.mark.parametrize("reg", [0.01, 0.1])
def test_l1_regression_is_optimal(classes: list[int], reg: float) -> None:
    """The subgradient of weighted mean loss + reg ||W||_1 has a zero: that is what C stands for."""
    x, y, group = cloud([400, 20, 30, 150], classes)
    x = ((x - x.mean(0)) / x.std(0)).double()
    weights = equally(group)
    W, b = (t.requires_grad_() for t in l1_regression(x, y, weights, reg))
    loss = (weights * F.cross_entropy(x @ W.T + b, y, reduction="none")).sum() / weights.sum()
    by_weight, by_bias = torch.autograd.grad(loss, [W, b])
    own = W.detach()
    assert (by_weight[own != 0] + reg * own[own != 0].sign()).abs().max() < 0.02 * reg
    assert (by_weight[own == 0].abs() <= 1.02 * reg).all()
    assert by_bias.abs().max() < 1e-3
    assert (own != 0).any()


def test_groups_weigh_the_same_however_many_samples_they_have() -> None:
    x, y, group = cloud([60, 20, 30, 50], [0, 0, 1, 1])
    times = torch.where(group == 2, 10, 1)
    more = [t.repeat_interleave(times, 0) for t in (x.double() / 10, y, group)]
    one = l1_regression(x.double() / 10, y, equally(group), 0.01)
    other = l1_regression(more[0], more[1], equally(more[2]), 0.01)
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.01)
    plain = l1_regression(more[0], more[1], torch.ones(len(more[1])).double(), 0.01)
    assert (plain[1] - one[1]).abs().max() > 0.05


@pytest.mark.parametrize("classes", [[0, 0, 1, 1], [0, 1, 2, 2]])
def test_standardisation_is_folded_into_the_layer(classes: list[int]) -> None:
    x, y, group = cloud([80, 20, 30, 60], classes)
    x[:, 1] = 4.0  # a feature that is always the same
    layer = nn.Linear(5, len(set(classes)))
    refit(layer, x, y, equally(group), 0.05, l1_regression)
    scaler = StandardScaler().fit(x.double().numpy())
    weights = equally(group).numpy()
    model = LogisticRegression(
        C=1 / (0.05 * weights.sum()), l1_ratio=1.0, solver="saga", max_iter=1_000, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(scaler.transform(x.double().numpy()), y.numpy(), weights)
    expected = torch.from_numpy(model.decision_function(scaler.transform(x.double().numpy()))).float()
    logits = layer(x).detach()
    found = logits if logits.shape[1] > 2 else logits[:, 1] - logits[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_rows_of_classes_without_a_sample_are_kept() -> None:
    x, y, group = cloud([40, 20, 30], [0, 2, 2])
    layer = nn.Linear(5, 4)
    before = copy.deepcopy(layer)
    refit(layer, x, y, equally(group), 0.05, l1_regression)
    for row in (1, 3):
        assert torch.equal(layer.weight[row], before.weight[row])
        assert torch.equal(layer.bias[row], before.bias[row])
    assert not torch.equal(layer.weight[[0, 2]], before.weight[[0, 2]])
    refit(
        layer, x[y == 2], y[y == 2], torch.ones(int((y == 2).sum())).double(), 0.05, l1_regression
    )  # one class: nothing to be told apart
    assert torch.equal(layer.weight[[1, 3]], before.weight[[1, 3]])


@pytest.mark.parametrize("regression", [l1_regression, l2_regression])
def test_two_classes_have_a_row_each(regression: module.Regression) -> None:
    """scikit-learn gives one row for two classes."""
    x, y, group = cloud([80, 60], [0, 1])
    layer = nn.Linear(5, 2)
    refit(layer, x, y, equally(group), 0.05, regression)
    assert float((layer(x).argmax(1) == y).float().mean()) > 0.9
    torch.testing.assert_close(layer.weight[0], -layer.weight[1])
    assert bool(layer.weight.any())


@pytest.mark.parametrize("classes", [[0, 0, 1, 1], [0, 1, 2, 2]])
@pytest.mark.parametrize("reg", [0.1, 1.0])
def test_l2_regression_is_optimal(classes: list[int], reg: float) -> None:
    """The gradient of weighted mean loss + reg/2 ||W||^2 is zero."""
    x, y, group = cloud([80, 20, 30, 60], classes)
    x = ((x - x.mean(0)) / x.std(0)).double()
    weights = equally(group)
    W, b = (t.requires_grad_() for t in l2_regression(x, y, weights, reg))
    losses = F.cross_entropy(x @ W.T + b, y, reduction="none")
    total = (weights * losses).sum() / weights.sum() + reg / 2 * W.square().sum()
    for slope in torch.autograd.grad(total, [W, b]):
        assert slope.abs().max() < 2e-3
    assert W.abs().max() > 0.05
