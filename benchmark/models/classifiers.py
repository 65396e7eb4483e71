"""Classifiers by name: small networks of our own, and everything that torchvision, timm and transformers build."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import compat
from benchmark.errors import InputError
from benchmark.models import MODELS, check_model
from benchmark.models.surgery import SplitClassifier, head

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


def resnet18_cifar(num_classes: int, shape: Shape) -> nn.Module:
    """ResNet-18 (He et al., 2016) for images of 32 x 32: torchvision's, with a 3x3 stem of stride 1 and no pooling."""
    model: nn.Module = compat.torchvision().models.resnet18(weights=None, num_classes=num_classes)
    model.conv1 = nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False)
    model.maxpool = nn.Identity()
    return model


def vgg11_cifar(num_classes: int, shape: Shape) -> nn.Module:
    """VGG-11 with batch norm for images of 32 x 32, as the class-forgetting paper has it (arXiv:2312.00761).

    The convolutions are torchvision's; what they leave, 512 numbers, goes through linear layers of 512, 512 and
    ``num_classes`` units with ReLU and dropout between. The last pooling keeps an odd row or column, so that images of
    16 x 16 or more will do; InputError for smaller ones.
    """
    if min(shape[1:]) < 16:
        raise InputError(f"model vgg11-cifar needs images of 16 x 16 or more, not {shape[1]} x {shape[2]}")
    model = compat.torchvision().models.vgg11_bn(weights=None, num_classes=num_classes)
    if shape[0] != 3:
        model.features[0] = nn.Conv2d(shape[0], 64, 3, padding=1)
    model.features[len(model.features) - 1] = nn.MaxPool2d(2, ceil_mode=True)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    hidden = [layer for _ in range(2) for layer in (nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.5))]
    model.classifier = nn.Sequential(*hidden, nn.Linear(512, num_classes))
    built: nn.Module = model
    return built


def vit_cifar(num_classes: int, shape: Shape) -> nn.Module:
    """A small vision transformer for small images: ViT-Tiny as timm builds it, with patches of 4 x 4 pixels.

    12 blocks of width 192 with 3 heads (Touvron et al., "Training data-efficient image transformers", 2021); theirs has
    patches of 16 x 16 and images of 224 x 224. An image of 32 x 32 is 64 patches.
    """
    size = {"img_size": tuple(shape[1:]), "patch_size": 4, "in_chans": shape[0]}
    model: nn.Module = compat.timm().create_model("vit_tiny_patch16_224", num_classes=num_classes, **size)
    return model


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


def cmnist_mlp(num_classes: int, shape: Shape) -> nn.Module:
    """Learning from Failure's network for coloured digits (arXiv:2007.02561): three hidden layers of width 100."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(shape)
    for _ in range(3):
        layers += [nn.Linear(width, 100), nn.ReLU()]
        width = 100
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def lenet(num_classes: int, shape: Shape) -> nn.Module:
    """LeNet-5 (LeCun et al., 1998) with ReLU, max pooling, and 16 and 32 channels; 84 features before its last."""
    channels, height, width = shape
    if min(height, width) < 16:
        raise InputError(f"model lenet needs images of 16 x 16 or more, not {height} x {width}")
    layers = [nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    layers += [nn.Linear(32 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2), 120), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, num_classes))


def build_classifier(name: str, num_classes: int, shape: Shape, pretrained: bool = False) -> nn.Module:
    """A newly initialised classifier of inputs (B, *shape) into (B, num_classes) logits, drawn from torch's seed.

    ``name`` is one of MODELS, ``timm:NAME``, ``torchvision:NAME`` or ``transformers:NAME``; InputError for a name that
    is none. ``pretrained``: with published weights of ImageNet and only the classification layer drawn; InputError
    where there are none or they cannot be had. Networks of transformers have published weights either way.
    """
    check_model(name)
    library, _, rest = name.partition(":")
    if library == "transformers":
        from benchmark.models.text import text_classifier

        return text_classifier(rest, num_classes, shape)
    if pretrained:
        model = _with_weights(name, num_classes, shape[0])
    elif name in MODELS:
        model = globals()[MODELS.get(name)](num_classes, shape)
    else:
        try:
            if library == "timm":
                model = compat.timm().create_model(rest, num_classes=num_classes, in_chans=shape[0])
            else:
                model = compat.torchvision().models.get_model(rest, weights=None, num_classes=num_classes)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"model {name!r}: {error}") from error
    return _channels_last(model, shape)


def published_classifier(name: str, num_classes: int, shape: Shape) -> nn.Module:
    """torchvision's or timm's network as it is published: a classifier of ImageNet, its classification layer included.

    Its logits (B, num_classes) are in the library's order of the classes, which is that of their WordNet numbers.
    InputError where there is none, it cannot be had, or it tells other than ``num_classes`` classes apart.
    """
    check_model(name)
    model = _with_weights(name, None, shape[0])
    last = head(model)
    if not isinstance(last, nn.Linear) or last.out_features != num_classes:
        raise InputError(f"model {name!r}: the published classifier does not tell {num_classes:,} classes apart")
    return _channels_last(model, shape)


def _channels_last(model: nn.Module, shape: Shape) -> nn.Module:
    """The network, its convolutions' weights laid out with the channels last where it takes images."""
    if len(shape) == 3:
        for parameter in model.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def _with_weights(name: str, num_classes: int | None, channels: int) -> nn.Module:
    """A network with published weights of ImageNet; InputError where it has none.

    Its classification layer is drawn for ``num_classes``; where that is None, it is the published one.
    """
    library, _, rest = name.partition(":")
    if name in MODELS or library == "transformers":
        raise InputError(f"model {name!r}: there are no published weights of it; leave pretrained out")
    if library == "torchvision":
        return _of_torchvision(name, num_classes, channels)
    timm = compat.timm()
    classes = {} if num_classes is None else {"num_classes": num_classes}
    try:
        model: nn.Module = timm.create_model(rest, pretrained=True, in_chans=channels, **classes)
    except Exception as error:  # the network, the Hub, the file: each has its own kinds
        raise _no_weights(name, error, "HF_HOME says where the Hub's files are kept") from error
    return model


def _of_torchvision(name: str, num_classes: int | None, channels: int) -> nn.Module:
    """One of torchvision's networks with its first weights of ImageNet, its last linear layer replaced if asked for."""
    models, own = compat.torchvision().models, name.partition(":")[2]
    try:
        weights = getattr(models.get_model_weights(own), "IMAGENET1K_V1", None)
    except ValueError as error:
        raise InputError(f"model {name!r}: {error}") from error
    if weights is None or channels != 3:
        what = "there are none" if weights is None else f"they are for images of 3 channels, not {channels}"
        raise InputError(f"model {name!r}: weights of ImageNet were asked for, but {what}")
    try:
        model: nn.Module = models.get_model(own, weights=weights)
    except Exception as error:  # the network, the file: each has its own kinds
        path = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        raise _no_weights(name, error, f"put them into {path}, or set TORCH_HOME") from error
    last = head(model)
    if not isinstance(last, nn.Linear) or last.out_features != len(weights.meta["categories"]):
        raise InputError(f"model {name!r}: its classification layer is not its last linear layer")
    if num_classes is None:
        return model
    position = next(position for position, module in model.named_modules() if module is last)
    model.set_submodule(position, nn.Linear(last.in_features, num_classes))
    return model


def _no_weights(name: str, error: Exception, advice: str) -> InputError:
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return InputError(f"model {name!r}: its weights of ImageNet cannot be had ({reason.rstrip('.')}); {advice}")
