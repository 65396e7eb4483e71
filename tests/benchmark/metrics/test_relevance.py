"""Relevance is conserved, shared among branches in proportion, and found where the network looks; masks by hand."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor, fx, nn

from benchmark import compat
from benchmark.contracts import Measured
from benchmark.metrics import relevance
from benchmark.metrics.relevance import concept_relevances, relevance_in_mask, relevances, smoothed
from benchmark.models.classifiers import ResidualBlock, build_classifier
from benchmark.models.surgery import state_hash

if find_spec("zennit") is None:  # asked apart from the code: a wrong answer of it must not skip its tests
    pytest.skip("zennit is not installed", allow_module_level=True)

NETWORKS = {
    "vgg-small": (1, 28, 28),
    "resnet-small": (1, 28, 28),
    "laf-cnn": (1, 28, 28),
    "torchvision:vgg11_bn": (3, 32, 32),
    "torchvision:resnet18": (3, 32, 32),
    "torchvision:mobilenet_v2": (3, 32, 32),
}


def trained(name: str) -> tuple[nn.Module, Tensor]:
    """A network with weights drawn and batch norm of random scale and shift that knows its statistics; five inputs."""
    torch.manual_seed(0)
    model, x = build_classifier(name, 4, NETWORKS[name]), torch.rand(16, *NETWORKS[name])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.1)
    with torch.no_grad():
        model.train()(x)
    return model.eval(), x[:5]


def plain_conv(width: int = 6) -> nn.Sequential:
    """Every kind of layer that conserves relevance, without biases."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(2, width, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU6(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, False))


def plain_mlp() -> nn.Module:
    torch.manual_seed(2)
    layers = [nn.Flatten(), nn.Linear(2 * 64, 30, bias=False), nn.ReLU(), nn.Linear(30, 10, bias=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(10, 3, bias=False))


def three_to_one(kind: str = "ours") -> nn.Module:
    """A block that adds three times its input, by two convolutions, to its input."""
    models = compat.torchvision().models
    builders = {"ours": ResidualBlock, "resnet": models.resnet.BasicBlock}
    block: nn.Module = builders[kind](1, 1, 1) if kind in builders else models.mobilenetv2.InvertedResidual(1, 1, 1, 1)
    convs = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    for conv, factor in zip(convs, (1.0, 3.0), strict=True):
        nn.init.dirac_(conv.weight)
        conv.weight.data *= factor
    return block.eval()


class Plus(nn.Module):
    """The same, as a plain network of which only a graph knows the sum."""

    def __init__(self) -> None:
        super().__init__()
        block = three_to_one()
        self.conv1, self.relu, self.conv2 = block.conv1, nn.ReLU(), block.conv2

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.relu(self.conv1(x))) + x


class Shifted(nn.Module):
    """Subtracts ``strength`` times the activation along a direction (C,)."""

    def __init__(self, strength: float, direction: Tensor) -> None:
        super().__init__()
        self.strength = strength
        self.register_buffer("direction", direction / direction.norm())

    def forward(self, a: Tensor) -> Tensor:
        h = self.direction.view(1, -1, 1, 1)
        return a - self.strength * (a * h).sum(1, keepdim=True) * h


class Between(nn.Module):
    """A batch norm behind an activation, or before its convolution: neither can be merged."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(2 if first else 4)
        nn.init.constant_(self.norm.bias, -1.0)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(self.norm(x)) if self.first else self.norm(torch.relu(self.conv(x)))
        return out.mean((2, 3))


def pixel(size: int) -> Tensor:
    """(1, 1, size, size): one in the middle, zero elsewhere."""
    x = torch.zeros(1, 1, size, size)
    x[0, 0, size // 2, size // 2] = 1.0
    return x


def test_asking_whether_there_is_zennit_does_not_import_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "zennit"]:
        monkeypatch.delitem(sys.modules, name)
    assert relevance.available()
    assert "zennit" not in sys.modules
    monkeypatch.setattr(relevance, "find_spec", lambda name: None if name == "torchvision" else name)
    assert not relevance.available()


@pytest.mark.parametrize("build", [plain_conv, plain_mlp])
def test_relevance_is_conserved_without_biases(build: Callable[[], nn.Module]) -> None:
    model, x, targets = build(), torch.rand(6, 2, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
    found = relevances(model, x, targets)
    assert found.shape == (6, 8, 8)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(6), atol=1e-2, rtol=0)


def test_each_sample_is_explained_for_its_own_target() -> None:
    model, x = plain_conv(), torch.rand(1, 2, 8, 8).expand(3, -1, -1, -1)
    found = relevances(model, x, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(found[0], found[2])
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_relevance_is_where_the_network_looks() -> None:
    torch.manual_seed(3)
    last = nn.Linear(5 * 36, 2)
    last.weight.data.view(2, 5, 6, 6)[..., 3:] = 0.0
    found = relevances(
        nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.Flatten(), last), torch.rand(4, 3, 6, 6), torch.arange(4) % 2
    )
    assert (found[:, :, 3:] == 0).all()
    assert (found[:, :, :3].abs().sum((1, 2)) > 0.1).all()


@pytest.mark.parametrize("kind", ["ours", "resnet", "mobilenet"])
def test_a_residual_sum_shares_relevance_in_proportion(kind: str) -> None:
    found = concept_relevances(three_to_one(kind), pixel(5), torch.ones(1))[0]
    # Of 4, 1 comes by the shortcut; 3 by the convolutions, of which the first spreads them over its 3 x 3 pixels.
    expected = torch.zeros(5, 5)
    expected[1:4, 1:4] = 3 / 9
    expected[2, 2] += 1
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_plain_sum_would_give_all_relevance_to_both_branches() -> None:
    relevance._composite()  # makes zennit importable
    from zennit.composites import EpsilonPlusFlat

    block, x = three_to_one(), pixel(5).requires_grad_()
    with EpsilonPlusFlat().context(block):
        out = block(x)
        (wrong,) = torch.autograd.grad(out, x, out.detach())
    assert float(wrong.detach().sum()) == pytest.approx(8, abs=1e-3)


def test_a_graph_shares_relevance_and_stays_as_it_is() -> None:
    traced = fx.symbolic_trace(Plus())
    code = traced.code
    found = concept_relevances(traced, pixel(5), torch.ones(1))[0]
    torch.testing.assert_close(found, concept_relevances(three_to_one(), pixel(5), torch.ones(1))[0], atol=1e-3, rtol=0)
    assert traced.code == code
    assert [name for name, _ in traced.named_children()] == ["conv1", "relu", "conv2"]


def test_a_traced_body_with_blocks_as_leaves_is_as_the_network_itself() -> None:
    class Tracer(fx.Tracer):
        def is_leaf_module(self, module: nn.Module, name: str) -> bool:
            return isinstance(module, ResidualBlock) or super().is_leaf_module(module, name)

    model, x = trained("resnet-small")
    body = nn.Sequential(*list(model)[:-3])
    traced = fx.GraphModule(body, Tracer().trace(body))
    h = torch.randn(64)
    torch.testing.assert_close(concept_relevances(traced, x, h), concept_relevances(body, x, h))


def test_torchvisions_blocks_share_relevance_whether_traced_or_not() -> None:
    model, x = trained("torchvision:resnet18")
    targets = torch.arange(len(x)) % 4
    traced = fx.symbolic_trace(model)
    torch.testing.assert_close(relevances(traced, x, targets), relevances(model, x, targets), rtol=1e-3, atol=1e-5)
    assert (relevances(model, x, targets).sum((1, 2)) < 1.5).all()  # a plain sum doubles it in each of eight blocks


def test_mobilenets_pooling_shares_relevance_as_a_module_does() -> None:
    model, x, targets = trained("torchvision:mobilenet_v2")[0], torch.rand(3, 3, 96, 96), torch.arange(3)
    modules = nn.Sequential(model.features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.classifier)
    torch.testing.assert_close(relevances(model, x, targets), relevances(modules, x, targets))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_runs_and_is_left_as_it_was(name: str) -> None:
    model, x = trained(name)
    model.train()
    before, hooks = state_hash(model), count_hooks(model)
    with torch.no_grad():
        found = relevances(model, x, torch.arange(len(x)) % 4)
    assert found.shape == (len(x), *NETWORKS[name][1:])
    assert found.isfinite().all()
    assert (found.abs().sum((1, 2)) > 1e-4).all()
    assert state_hash(model) == before
    assert count_hooks(model) == hooks == 0
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any("forward" in vars(module) or hasattr(module, "canonizer_sum") for module in model.modules())
    assert not x.requires_grad


def count_hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_batch_norm_is_merged_without_changing_the_network(name: str) -> None:
    model, x = trained(name)
    canonical = copy.deepcopy(model)
    with torch.no_grad(), relevance._composite().context(canonical):
        torch.testing.assert_close(canonical(x), model(x), rtol=1e-4, atol=1e-4)
        for module in canonical.modules():
            if isinstance(module, nn.BatchNorm2d):
                a = torch.randn(2, module.num_features, 3, 3)
                torch.testing.assert_close(module(a), a, rtol=1e-6, atol=0)


@pytest.mark.parametrize("first", [True, False])
def test_a_batch_norm_that_cannot_be_merged_is_an_error(first: bool) -> None:
    with pytest.raises(ValueError, match="each batch norm"):
        relevances(Between(first), torch.rand(3, 2, 8, 8), torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("name", ["vgg-small", "resnet-small"])
def test_the_batch_size_does_not_matter_and_runs_repeat(name: str) -> None:
    model, x = trained(name)
    targets = torch.tensor([0, 1, 2, 3, 0])
    whole = relevances(model, x, targets)
    assert torch.equal(whole, relevances(model, x, targets))
    for batch in (1, 2, 5):
        torch.testing.assert_close(relevances(model, x, targets, batch), whole, rtol=1e-3, atol=1e-5)
    assert relevances(model, x[:0], targets[:0]).shape == (0, 28, 28)


def test_a_layer_may_shift_what_it_gives() -> None:
    model, x = trained("resnet-small")
    targets = torch.tensor([0, 1, 2, 3, 0])
    plain, found = relevances(model, x, targets), []
    for strength in (0.0, 1.0):
        wrapped = copy.deepcopy(model)
        wrapped.set_submodule("4", nn.Sequential(wrapped[4], Shifted(strength, torch.arange(32.0))))
        found.append(relevances(wrapped, x, targets))
    torch.testing.assert_close(found[0], plain)
    assert found[1].isfinite().all()
    assert (found[1] - plain).abs().max() > 1e-3


def test_the_relevance_of_a_concept_adds_up_to_its_activation() -> None:
    body, h, x = plain_conv()[:5], torch.randn(6), torch.rand(4, 2, 8, 8)
    found = concept_relevances(body, x, h, batch=3)
    with torch.no_grad():
        activation = (body(x) * h.view(1, -1, 1, 1)).sum((1, 2, 3))
    torch.testing.assert_close(found.sum((1, 2)), activation, rtol=1e-3, atol=1e-3)
    flat = nn.Sequential(body, nn.Flatten())
    torch.testing.assert_close(concept_relevances(flat, x, h.repeat_interleave(16)), found)


def test_a_concept_of_no_channel_has_no_relevance_and_one_of_another_channel_another() -> None:
    body, x = plain_conv()[:5], torch.rand(2, 2, 8, 8)
    assert (concept_relevances(body, x, torch.zeros(6)) == 0).all()
    one, two = (concept_relevances(body, x, torch.eye(6)[c]) for c in range(2))
    assert (one - two).abs().max() > 1e-3


def test_the_share_of_relevance_in_the_mask() -> None:
    r = torch.tensor([[[1.0, -2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, -5.0]]])
    masks = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 1]]]).bool()
    assert relevance_in_mask(r[:1], masks[:1]) == Measured(pytest.approx(30.0), 1)
    assert relevance_in_mask(r, masks) == Measured(pytest.approx(65.0), 2)
    assert relevance_in_mask(-3 * r, masks) == Measured(pytest.approx(65.0), 2)
    assert relevance_in_mask(r, torch.ones(2, 2, 2).bool()) == Measured(pytest.approx(100.0), 2)


def test_samples_without_mask_or_relevance_are_left_out() -> None:
    r = torch.tensor([[[1.0, -2.0], [3.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    masks = torch.tensor([[[0, 0], [0, 1]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]]).bool()
    assert relevance_in_mask(r, masks) == Measured(pytest.approx(40.0), 1)
    assert relevance_in_mask(r[1:], masks[1:]) == Measured(None, 0)
    assert relevance_in_mask(r[:0], masks[:0]) == Measured(None, 0)
    assert relevance_in_mask(r.index_fill(0, torch.tensor([1]), float("nan")), masks) == Measured(None, 0)
    with pytest.raises(ValueError, match="differ in shape"):
        relevance_in_mask(r, masks[:1])


def test_a_dot_is_widened_by_a_pixel_and_kept() -> None:
    masks = torch.zeros(3, 28, 28, dtype=torch.bool)
    masks[0, 10, 14] = masks[2, 0, 0] = True
    wide = smoothed(masks)
    expected = torch.zeros_like(masks)
    expected[0, 9:12, 13:16] = True
    assert wide.dtype == torch.bool
    assert torch.equal(wide[:2], expected[:2])
    assert wide[2, 0, 0]
    assert not wide[2, 3:, 3:].any()


def test_masks_are_widened_as_the_papers_code_does_it() -> None:
    compat.torchvision()
    from torchvision.transforms import GaussianBlur

    masks = torch.zeros(2, 224, 224, dtype=torch.bool)
    masks[0, 100:130, 0:40] = masks[1, 215:, 200:] = True
    blurred = GaussianBlur(41, 8.0)(masks.float())
    assert torch.equal(smoothed(masks), blurred / blurred.amax((1, 2), keepdim=True) > 0.3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (28, 28), (32, 64)])
def test_full_masks_stay_full_and_empty_ones_empty(shape: tuple[int, int]) -> None:
    assert smoothed(torch.ones(2, *shape).bool()).all()
    assert not smoothed(torch.zeros(2, *shape).bool()).any()
    assert smoothed(torch.zeros(0, *shape).bool()).shape == (0, *shape)
