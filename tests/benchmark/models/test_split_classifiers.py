"""Networks that name their extractor and head, and what is reached in them and in others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.references import LogitMask
from baselines.sisa import ShardEnsemble
from benchmark.errors import InputError
from benchmark.models.classifiers import REPRESENTATION, build_classifier
from benchmark.models.surgery import SplitClassifier, captured_inputs, head, logits_and_features, representation
from benchmark.models.surgery import underlying as underlying_of

NAMES = ["laf-cnn", "laf-resnet18"]


def network(name: str, classes: int = 10, shape: tuple[int, ...] = (1, 8, 8)) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(name, classes, shape).eval()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("laf-cnn", (1, 28, 28)), ("laf-cnn", (3, 32, 32)), ("laf-cnn", (1, 8, 8)), ("laf-resnet18", (3, 32, 32))],
)
def test_shapes(name: str, shape: tuple[int, ...]) -> None:
    model = network(name, 7, shape)
    x = torch.randn(2, *shape)
    with torch.no_grad():
        assert model(x).shape == (2, 7)
        assert representation(model, x).shape == (2, REPRESENTATION) == (2, 256)
    assert isinstance(model, SplitClassifier)
    assert head(model) is model.head


def test_the_cnn_is_the_papers() -> None:
    """5x5 convolutions of 16 and 32 channels; a head of two linear layers without anything between."""
    model = network("laf-cnn", shape=(1, 28, 28))
    sizes = [tuple(p.shape) for p in model.parameters() if p.dim() > 1]
    assert sizes == [(16, 1, 5, 5), (32, 16, 5, 5), (256, 32 * 7 * 7), (128, 256), (10, 128)]
    assert [type(part).__name__ for part in head(model).children()] == ["Linear", "Linear"]
    activations = [m for m in model.modules() if not isinstance(m, (nn.Sequential, SplitClassifier))]
    assert [type(m).__name__ for m in activations[-3:]] == ["Linear", "Linear", "Linear"]


def test_the_resnet_enlarges_its_images_and_ends_in_one_layer() -> None:
    model = network("laf-resnet18", shape=(3, 32, 32))
    assert isinstance(head(model), nn.Linear)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad(), captured_inputs(convolutions[0]) as seen:
        model(torch.zeros(1, 3, 32, 32))
    assert seen[0].shape == (1, 3, 224, 224)
    assert len(convolutions) == 20


@pytest.mark.parametrize("name", ["laf-cnn", "resnet-small", "vgg-small"])
def test_the_representation_is_what_enters_the_head(name: str) -> None:
    model, x = network(name), torch.randn(3, 1, 8, 8)
    logits, features = logits_and_features(model, x.__getitem__, 3)
    with torch.no_grad():
        e = representation(model, x)
        assert torch.allclose(e, features, atol=1e-6)
        assert torch.allclose(head(model)(e), logits, atol=1e-5)


@pytest.mark.parametrize("name", ["laf-cnn", "resnet-small"])
def test_the_representation_has_gradients_for_the_extractor_alone(name: str) -> None:
    model = network(name)
    representation(model, torch.randn(3, 1, 8, 8)).square().sum().backward()
    of_head = set(head(model).parameters())
    for parameter in model.parameters():
        assert (parameter.grad is None) == (parameter in of_head)


def test_a_split_head_is_not_run_for_a_representation() -> None:
    class Refuses(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("the head was run")

    model = SplitClassifier(nn.Flatten(), Refuses())
    assert representation(model, torch.ones(2, 3, 4)).shape == (2, 12)


def test_the_head_of_a_wrapped_network_is_the_networks() -> None:
    model = network("laf-cnn")
    wrapped = LogitMask(model, (0,))
    assert head(wrapped) is head(model)
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(representation(wrapped, x), representation(model, x), atol=1e-6)


def test_a_network_without_linear_layers_has_no_head() -> None:
    with pytest.raises(ValueError, match="Conv2d has no linear layer to be its head"):
        head(nn.Conv2d(1, 2, 3))


def test_an_ensemble_of_equal_parts_is_not_taken_apart() -> None:
    members = [network("laf-cnn"), network("laf-cnn")]
    ensemble = ShardEnsemble(members)
    assert underlying_of(ensemble, network("laf-cnn")) is ensemble
    both = nn.ModuleList(members)
    assert underlying_of(both, members[0]) is both


@pytest.mark.parametrize("name", ["laf-cnn", "mlp-toy"])
def test_one_wrapped_network_is(name: str) -> None:
    shape = (2,) if name == "mlp-toy" else (1, 8, 8)
    model = network(name, 4, shape)
    assert underlying_of(LogitMask(model, (1,)), network(name, 4, shape)) is model


def test_resnet18_for_small_images_keeps_their_size() -> None:
    """The stem neither strides nor pools: 32 x 32 positions enter the first stage, 4 x 4 leave the last."""
    model = network("resnet18-cifar", 10, (3, 32, 32))
    sizes: dict[str, torch.Size] = {}
    for stage in ("layer1", "layer4"):
        model.get_submodule(stage).register_forward_hook(lambda _, __, y, stage=stage: sizes.update({stage: y.shape}))
    with torch.no_grad():
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert sizes == {"layer1": (2, 64, 32, 32), "layer4": (2, 512, 4, 4)}
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    assert network("resnet18-cifar", 3, (1, 28, 28))(torch.randn(1, 1, 28, 28)).shape == (1, 3)


def test_vgg11_for_small_images_is_the_papers() -> None:
    """torchvision's convolutions, 512 numbers, and linear layers 512-512-512-C with ReLU and dropout."""
    model: Any = network("vgg11-cifar", 100, (3, 32, 32))
    linear = [(layer.in_features, layer.out_features) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert linear == [(512, 512), (512, 512), (512, 100)]
    assert [type(layer).__name__ for layer in model.classifier] == [*["Linear", "ReLU", "Dropout"] * 2, "Linear"]
    channels = [layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert channels == [64, 128, 256, 256, 512, 512, 512, 512]
    assert len([layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]) == 8
    with torch.no_grad():
        assert model.features(torch.randn(2, 3, 32, 32)).shape == (2, 512, 1, 1)
        assert network("vgg11-cifar", 5, (1, 16, 16))(torch.randn(2, 1, 16, 16)).shape == (2, 5)
    with pytest.raises(InputError, match="vgg11-cifar needs images of 16 x 16 or more, not 8 x 8"):
        network("vgg11-cifar", 10, (1, 8, 8))


def test_the_small_transformer_has_patches_of_four() -> None:
    model: Any = network("vit-cifar", 10, (3, 32, 32))
    assert (model.patch_embed.num_patches, model.embed_dim, len(model.blocks)) == (64, 192, 12)
    assert representation(model, torch.randn(2, 3, 32, 32)).shape == (2, 192)
