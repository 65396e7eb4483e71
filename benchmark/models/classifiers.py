"""Classifiers by name: small networks of our own, and everything that torchvision and timm build."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import compat
from benchmark.errors import InputError
from benchmark.models import MODELS, check_model
from benchmark.models.surgery import SplitClassifier

Shape = tuple[int, ...]


def conv_bn(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
    return [conv, nn.BatchNorm2d(out_channels), nn.ReLU()]


def vgg_small(num_classes: int, shape: Shape) -> nn.Module:
    """Plain network of VGG's kind: 3x3 convolutions with batch norm, pooling, and wide fully connected layers."""
    channels, height, width = shape
    layers = [*conv_bn(channels, 32, stride=2), *conv_bn(32, 64), nn.MaxPool2d(2)]
    layers += [*conv_bn(64, 128), nn.MaxPool2d(2), nn.Flatten()]
    flat = 128 * ((height + 1) // 2 // 4) * ((width + 1) // 2 // 4)
    layers += [nn.Linear(flat, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes)]
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al., 2016), 1x1 where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def resnet_small(num_classes: int, shape: Shape) -> nn.Module:
    """Narrow residual network: 16, 32 and 64 channels, global average pooling, one linear layer."""
    stem = nn.Conv2d(shape[0], 16, 3, 2, 1, bias=False)
    blocks = [ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes)]
    return nn.Sequential(stem, nn.BatchNorm2d(16), nn.ReLU(), *blocks, *head)


def mlp_toy(num_classes: int, shape: Shape) -> nn.Module:
    """The class-forgetting paper's demonstration network: five linear layers of width 5 with batch norm."""
    layers: list[nn.Module] = []
    width = shape[0]
    for _ in range(4):
        layers += [nn.Linear(width, 5), nn.BatchNorm1d(5), nn.ReLU()]
        width = 5
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


#: Width of the representation in the label-agnostic forgetting paper's networks.
REPRESENTATION = 256


def laf_cnn(num_classes: int, shape: Shape) -> nn.Module:
    """The label-agnostic forgetting paper's CNN (arXiv:2404.00506): 5x5 convolutions, representation of 256, head.

    Pooling comes before ReLU here: the two commute, and on a quarter of the entries ReLU costs a quarter. Neither the
    representation nor what lies between the head's two linear layers has an activation.
    """
    channels, height, width = shape
    layers = [nn.Conv2d(channels, 16, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()]
    layers += [nn.Conv2d(16, 32, 5, padding=2), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    extractor = nn.Sequential(*layers, nn.Linear(32 * (height // 4) * (width // 4), REPRESENTATION))
    return SplitClassifier(extractor, nn.Sequential(nn.Linear(REPRESENTATION, 128), nn.Linear(128, num_classes)))


def laf_resnet18(num_classes: int, shape: Shape) -> nn.Module:
    """The same paper's ResNet-18: torchvision's, untrained, on images enlarged to 224 x 224, 512 to 256, a head."""
    backbone = compat.torchvision().models.resnet18(weights=None)
    if shape[0] != 3:
        backbone.conv1 = nn.Conv2d(shape[0], 64, 7, 2, 3, bias=False)
    backbone.fc = nn.Linear(backbone.fc.in_features, REPRESENTATION)
    enlarge = nn.Upsample(size=(224, 224), mode="bilinear", align_corners=False)
    return SplitClassifier(nn.Sequential(enlarge, backbone), nn.Linear(REPRESENTATION, num_classes))


def build_classifier(name: str, num_classes: int, shape: Shape) -> nn.Module:
    """A newly initialised classifier of inputs (B, *shape) into (B, num_classes) logits, drawn from torch's seed.

    ``name`` is one of MODELS, ``timm:NAME`` or ``torchvision:NAME``; InputError for a name that is none.
    """
    check_model(name)
    if name in MODELS:
        model = globals()[MODELS.get(name)](num_classes, shape)
    else:
        source, _, rest = name.partition(":")
        try:
            if source == "timm":
                model = compat.timm().create_model(rest, num_classes=num_classes, in_chans=shape[0])
            else:
                model = compat.torchvision().models.get_model(rest, weights=None, num_classes=num_classes)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"model {name!r}: {error}") from error
    if len(shape) == 3:
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
