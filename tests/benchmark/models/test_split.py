"""A network in two parts is the network, whatever its head does; shifted activations land where they should."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import compat
from benchmark.concepts.vectors import pooled
from benchmark.errors import InputError
from benchmark.models.classifiers import build_classifier
from benchmark.models.split import (
    ShiftedLayer,
    Split,
    named_layer,
    rectify_again,
    shift_layer,
    shifted,
    split_at,
)
from benchmark.models.surgery import captured_inputs, state_hash

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "rrclarc.json").read_text())

needs_vision = pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision is not installed")
OWN = [("vgg-small", "8", (3, 16, 16)), ("resnet-small", "5", (3, 16, 16)), ("laf-cnn", "extractor.3", (1, 8, 8))]
NETWORKS = [
    *OWN,
    pytest.param("torchvision:vgg11_bn", "features.26", (3, 32, 32), marks=needs_vision),
    pytest.param("torchvision:resnet18", "layer4", (3, 32, 32), marks=needs_vision),
    pytest.param("torchvision:mobilenet_v2", "features.18", (3, 32, 32), marks=needs_vision),
]


def network(name: str, shape: tuple[int, ...]) -> nn.Module:
    """A network whose batch norm has seen something, in evaluation mode."""
    torch.manual_seed(0)
    model = narrow_vgg() if name == "torchvision:vgg11_bn" else build_classifier(name, 3, shape)
    with torch.no_grad():
        model.train()(torch.randn(4, *shape))
    return model.eval()


def narrow_vgg() -> nn.Module:
    """torchvision's VGG-11, whose fully connected layers have 512 MB otherwise."""
    with torch.device("meta"):
        model = compat.torchvision().models.vgg11_bn(init_weights=False)
    model.classifier[0], model.classifier[3] = nn.Linear(25_088, 8), nn.Linear(8, 8)
    model.classifier[6] = nn.Linear(8, 3)
    model.to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.Linear)):
            module.reset_parameters()
    return model


def small(name: str = "vgg-small") -> tuple[nn.Module, str, Tensor]:
    """One of our own networks, its layer, and inputs."""
    layer, shape = next((layer, shape) for own, layer, shape in OWN if own == name)
    return network(name, shape), layer, torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


# In two parts.


@pytest.mark.parametrize(("name", "layer", "shape"), NETWORKS)
def test_head_after_body_is_the_network(name: str, layer: str, shape: tuple[int, ...]) -> None:
    model, x = network(name, shape), torch.randn(4, *shape)
    seen: list[Tensor] = []
    handle = named_layer(model, layer).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    body, head = split_at(model, layer)
    with torch.no_grad():
        logits = model(x)
        a = body(x)
        handle.remove()
        assert a.dim() == 4
        same(a, seen[0])
        before = a.clone()
        same(head(a), logits)
        assert torch.equal(a, before)  # whatever works in place behind the layer
        assert not torch.allclose(head(a + 1), logits, atol=1e-6)
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(head(a).sum(), a)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", [name for name, *_ in OWN])
def test_parts_hold_the_network_s_own_parameters(name: str) -> None:
    model, layer, x = small(name)
    body, head = split_at(model, layer)
    below, behind = ({id(p) for p in part.parameters()} for part in (body, head))
    assert not below & behind
    assert below | behind == {id(p) for p in model.parameters()}
    with torch.no_grad():
        a, before = body(x), model(x)
    optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
    head(a).square().sum().backward()
    optimiser.step()
    with torch.no_grad():
        assert (model(x) - before).abs().max() > 1e-3
        same(head(body(x)), model(x))
        same(body(x), a)


def test_in_place_behind_the_layer_leaves_kept_activations_alone() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 4, 3))
    body, head = split_at(model, "0")
    kept = body(torch.randn(2, 1, 4, 4)).detach()
    before = kept.clone()
    assert kept.min() < 0  # which the ReLU would have made 0
    head(kept)
    assert torch.equal(kept, before)
    leaf = kept.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head(leaf).sum(), leaf)  # in place on a leaf is an error
    assert torch.equal(gradient[before < 0], torch.zeros(int((before < 0).sum())))


class Functional(nn.Module):
    """Dropout that is told by the module it is in whether it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(F.dropout(self.conv(x).flatten(1), 0.5, self.training))
        return out


def test_the_mode_is_that_at_the_time_of_the_split() -> None:
    model, x = Functional(), torch.randn(2, 1, 4, 4)
    heads = [split_at(model.train(mode), "conv").head.train(not mode) for mode in (True, False)]
    a = model.conv(x)
    assert not torch.equal(heads[0](a), heads[0](a))
    assert torch.equal(heads[1](a), heads[1](a))


def test_modules_of_the_head_have_modes_of_their_own() -> None:
    model, layer, x = small()
    body, head = split_at(model.train(), layer)
    body.eval()
    with torch.no_grad():
        a = body(x)
        assert torch.equal(a, body(x))
        assert not torch.equal(head(a), head(a))  # dropout
        same(head.eval()(a), model.eval()(x))


# What cannot be taken apart.


class Around(nn.Module):
    """The layer ``conv`` has a way around it; ``twice`` is called twice and ``unused`` not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.twice, self.unused = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(3))
        self.out = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.out((self.twice(self.twice(self.conv(x))) + x).flatten(1))
        return logits


class Undecided(nn.Module):
    """What comes next depends on the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(x)
        logits: Tensor = self.out((a if a.sum() > 0 else -a).flatten(1))
        return logits


@pytest.mark.parametrize(
    ("build", "layer", "reason"),
    [
        (Around, "conv", "'conv': 'x' leads around it to the logits"),
        (Around, "twice", "passed 2 times"),
        (Around, "unused", "passed 0 times"),
        (Undecided, "conv", "cannot be taken apart"),
    ],
)
def test_networks_that_cannot_be_taken_apart_there(build: Callable[[], nn.Module], layer: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        split_at(build(), layer)


def test_shortcuts_lead_around_what_is_in_a_block() -> None:
    model, _, _ = small("resnet-small")
    for layer in ("4.conv1", "5.bn2"):
        with pytest.raises(InputError, match="leads around"):
            split_at(model, layer)
    split_at(model, "4")


@pytest.mark.parametrize("use", [split_at, named_layer, rectify_again])
def test_unknown_layers_have_near_misses(use: Callable[[nn.Module, str], Any]) -> None:
    model, _, _ = small("laf-cnn")
    with pytest.raises(InputError, match=r"unknown layer 'extractor\.33'; did you mean .*extractor\.3"):
        use(model, "extractor.33")
    with pytest.raises(InputError, match="unknown layer ''"):
        use(model, "")


# Shifts.


def test_projection_golden() -> None:
    case = GOLDEN["rrclarc-3"]
    given, expected = case["inputs"], case["expected"]
    a, h = (torch.tensor(given[name], dtype=torch.float64) for name in ("a", "h"))
    close: dict[str, float] = {"rtol": case["rtol"], "atol": 1e-12}
    assert float(pooled(a[None]) @ h) == pytest.approx(expected["length"], rel=case["rtol"])
    moved = ShiftedLayer(nn.Identity(), h, given["z"])(a[None])[0]
    torch.testing.assert_close(moved, torch.tensor(expected["shifted"], dtype=torch.float64), **close)
    gamma = torch.full_like(a[0], expected["gamma"])
    torch.testing.assert_close(torch.einsum("chw,c->hw", moved - a, h), gamma, **close)


@pytest.mark.parametrize("target", [-2.0, 0.0, 3.7])
def test_shifted_activations_hit_the_target(target: float) -> None:
    rng = torch.Generator().manual_seed(0)
    for _ in range(20):
        a = torch.randn(5, 7, 3, 2, generator=rng, dtype=torch.float64)
        h = F.normalize(torch.randn(7, generator=rng, dtype=torch.float64), dim=0)
        moved = shifted(a, h, target)
        torch.testing.assert_close(pooled(moved) @ h, torch.full((5,), target, dtype=torch.float64))
        torch.testing.assert_close(shifted(moved, h, target), moved)
        along = torch.einsum("bchw,c->bhw", moved - a, h)
        torch.testing.assert_close(moved - a, along[:, None] * h[:, None, None])  # along h and nowhere else
        torch.testing.assert_close(along, along[:, :1, :1].expand_as(along))  # the same at all positions


@pytest.mark.parametrize("name", [name for name, *_ in OWN])
def test_shifting_and_back(name: str) -> None:
    model, layer, x = small(name)
    inner, before, names = named_layer(model, layer), model(x), list(model.state_dict())
    bits = state_hash(model)
    a = split_at(model, layer).body(x)
    h = F.normalize(torch.randn(a.shape[1], generator=torch.Generator().manual_seed(0)), dim=0)
    shift_layer(model, layer, h, 5.0)
    h.zero_()  # the layer has its own
    shift = named_layer(model, layer)
    assert isinstance(shift, ShiftedLayer)
    torch.testing.assert_close(pooled(named_layer(copy.deepcopy(model), layer)(*entering(model, layer, x))) @ shift.h,
                               torch.full((4,), 5.0), rtol=1e-5, atol=1e-5)  # fmt: skip
    assert (model(x) - before).abs().max() > 1e-3
    model.set_submodule(layer, shift.layer)
    assert named_layer(model, layer) is inner
    assert list(model.state_dict()) == names
    assert state_hash(model) == bits
    assert torch.equal(model(x), before)


def entering(model: nn.Module, layer: str, x: Tensor) -> list[Tensor]:
    """What the layer is called with."""
    with captured_inputs(named_layer(model, layer)) as seen:
        model(x)
    return seen


@pytest.mark.parametrize("name", [name for name, *_ in OWN])
def test_a_shift_belongs_to_the_head(name: str) -> None:
    model, layer, x = small(name)
    plain = split_at(copy.deepcopy(model), layer)
    with torch.no_grad():
        a = plain.body(x)
        h = F.normalize(torch.ones(a.shape[1]), dim=0)
        shift_layer(model, layer, h, 4.0)
        body, head = split_at(model, layer)
        same(body(x), a)
        same(head(a), model(x))
        same(head(a), plain.head(shifted(a, h, 4.0)))
        assert not torch.allclose(head(a), plain.head(a), atol=1e-3)
        # Unless it is asked for: then what comes out of it is what the head starts from.
        body, head = split_at(model, layer, behind_shift=True)
        same(body(x), shifted(a, h, 4.0))
        same(head(body(x)), model(x))
        same(head(a), plain.head(a))


def test_behind_a_shift_that_is_none() -> None:
    model, layer, x = small()
    with torch.no_grad():
        one, other = split_at(model, layer), split_at(model, layer, behind_shift=True)
        same(one.body(x), other.body(x))
        same(other.head(other.body(x)), model(x))


# A second ReLU.


def rectified(x: Tensor, model: nn.Module, layer: str) -> tuple[Split, Tensor]:
    parts = split_at(model, layer)
    with torch.no_grad():
        return parts, parts.body(x)


def test_another_relu_changes_no_value_but_the_gradient_where_nothing_is_active() -> None:
    model, layer, x = small("resnet-small")
    before = model(x)
    plain, a = rectified(x, copy.deepcopy(model), layer)
    again = rectify_again(model, layer)
    assert again == f"{layer}.layer"
    assert torch.equal(model(x), before)
    parts, own = rectified(x, model, again)
    assert torch.equal(own, a)
    zero = a == 0
    assert 0 < int(zero.sum()) < a.numel()
    found = []
    for part in (plain, parts):
        leaf = a.clone().requires_grad_()
        found.append(torch.autograd.grad(part.head(leaf)[:, 0].sum(), leaf)[0])
    assert bool((found[0][zero] != 0).all())
    assert torch.equal(found[1][zero], torch.zeros_like(found[1][zero]))
    assert torch.equal(found[1][~zero], found[0][~zero])


def test_another_relu_clips_a_shift() -> None:
    model, layer, x = small("resnet-small")
    again = rectify_again(model, layer)
    a = split_at(model, again).body(x)
    h = F.normalize(torch.ones(a.shape[1]), dim=0)
    shift_layer(model, again, h, -1.0)
    moved = named_layer(model, again)(*entering(model, again, x))
    torch.testing.assert_close(pooled(moved) @ h, torch.full((4,), -1.0), rtol=1e-4, atol=1e-5)
    (clipped,) = entering(model, "6", x)
    assert moved.min() < 0
    assert torch.equal(clipped, moved.clamp(min=0))
    same(split_at(model, again).head(a), model(x))
