"""Networks by name, and ways to reach into them: heads, features, layers. Nothing is imported to list the names."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.errors import unknown
from benchmark.registry import Registry

LIBRARIES = ("timm", "torchvision", "transformers")
#: What a scenario calls the weights of a library's own classifier of ImageNet, classification layer and all.
PUBLISHED = "published"
#: Its classes.
IMAGENET_CLASSES = 1000


def _own() -> Iterator[tuple[str, str]]:
    for name in (
        "vgg-small",
        "resnet-small",
        "resnet18-cifar",
        "vgg11-cifar",
        "vit-cifar",
        "mlp-toy",
        "laf-cnn",
        "laf-resnet18",
        "cmnist-mlp",
        "lenet",
    ):
        yield name, name.replace("-", "_")


#: Our own small networks: name -> function in benchmark.models.classifiers.
MODELS: Registry[str] = Registry("model", _own)


def check_model(name: str) -> None:
    """Raise InputError unless ``name`` is one of MODELS, or ``timm:NAME`` and the like with one of LIBRARIES."""
    library, _, rest = name.partition(":")
    if name not in MODELS and not (library in LIBRARIES and rest):
        raise unknown("model", name, [*MODELS, *(f"{library}:NAME" for library in LIBRARIES)])


def _gans() -> Iterator[tuple[str, str]]:
    yield "gan-toy", "toy_gan.toy_gan"
    yield "dcgan", "dcgan.dcgan"
    yield "stylegan2", "stylegan2.stylegan2"


#: GANs by name: a module of benchmark.models and a function ``(shape, latent_dim, width) -> Gan`` of it.
GANS: Registry[str] = Registry("GAN", _gans)
