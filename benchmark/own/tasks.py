"""The settings that each task has of its own, on a user's data."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmark.data.manifest import Manifest
from benchmark.errors import InputError, unknown
from benchmark.own.brought import Brought
from benchmark.suites.definition import methods_of

#: The layers whose output is corrected, by network, and whether that output comes out of a ReLU.
LAYERS = {
    "vgg-small": ("8", False),
    "resnet-small": ("5", True),
    "torchvision:vgg16": ("features.28", False),
    "torchvision:vgg16_bn": ("features.40", False),
    "torchvision:resnet18": ("layer4", True),
    "torchvision:resnet34": ("layer4", True),
    "torchvision:resnet50": ("layer4", True),
    "torchvision:efficientnet_b0": ("features.8", False),
    "torchvision:mobilenet_v2": ("features.18", False),
}


def settings_of(brought: Brought, network: str, data: Manifest) -> dict[str, Any]:
    """The settings that the task has of its own."""
    made: dict[str, Callable[[Brought, Manifest], dict[str, Any]]] = {
        "class-forget": _class_forget,
        "label-free-forget": _label_free,
        "debias-known": _debias,
        "debias-unknown": _debias,
        "bias-correction": partial(_bias_correction, network=network),
    }
    if brought.task not in made:
        raise InputError(f"task {brought.task} cannot be run on data of one's own yet; one of {', '.join(made)}")
    needs_attribute = brought.task in ("debias-known", "debias-unknown", "bias-correction")
    if needs_attribute != bool(brought.attribute):
        columns = ", ".join(data.attributes) or "none"
        raise InputError(
            f"task {brought.task} needs --attribute NAME, a column of --attributes FILE; known: {columns}"
            if needs_attribute
            else f"--attribute has no effect in task {brought.task}; leave it out"
        )
    if brought.forget and brought.task not in ("class-forget", "label-free-forget"):
        raise InputError(f"--forget-class has no effect in task {brought.task}; leave it out")
    settings: dict[str, Any] = made[brought.task](brought, data)
    return settings


def _recipe(brought: Brought) -> dict[str, Any]:
    usual = 0.01 if brought.pretrained else 0.05
    return {"epochs": brought.epochs, "lr": brought.lr or usual, "batch_size": brought.batch_size}


def _classes(brought: Brought, data: Manifest) -> list[int]:
    """The numbers of the classes that are to be forgotten."""
    if not brought.forget:
        raise InputError(f"task {brought.task} needs --forget-class NAME, one of {', '.join(data.classes)}")
    told = brought.forget
    chosen = [told] if told in data.classes else [name.strip() for name in told.split(",") if name.strip()]
    for name in chosen:
        if name not in data.classes:
            raise unknown("class", name, data.classes)
    if len(set(chosen)) < len(chosen):
        raise InputError(f"--forget-class {told!r} names a class twice")
    if len(chosen) > len(data.classes) - 2:
        raise InputError(f"--forget-class names {len(chosen)} of {len(data.classes)} classes; two or more have to stay")
    return [data.classes.index(name) for name in chosen]


def _class_forget(brought: Brought, data: Manifest) -> dict[str, Any]:
    chosen = _classes(brought, data)
    return {"training": _recipe(brought), "forget": chosen, "classes": len(chosen)}


def _label_free(brought: Brought, data: Manifest) -> dict[str, Any]:
    chosen = _classes(brought, data)
    if len(chosen) > 1:
        raise InputError(f"task label-free-forget forgets one class, not {len(chosen)}: --forget-class names one")
    return {"training": _recipe(brought), "kind": "class-removal", "forget_seed": chosen[0]}


def _debias(brought: Brought, data: Manifest) -> dict[str, Any]:
    """As many steps as the epochs have, looked at up to 20 times on the way; the best of the worst group is taken."""
    batch = brought.batch_size
    steps = max(20, brought.epochs * data.count("train") // batch)
    training = {
        "steps": steps,
        "per_class": max(2, batch // len(data.classes)),
        "lr": brought.lr or (1e-3 if brought.pretrained or brought.weights else 1e-2),
        "weight_decay": 1e-4,
        "checkpoints": min(20, steps),
    }
    unbiased = [name for name in methods_of(brought.task) if name != "unbiased"]
    return {"training": training, "selection": "worst-group", "rank_by": "worst-group", "methods": unbiased}


def _bias_correction(brought: Brought, data: Manifest, *, network: str) -> dict[str, Any]:
    """The class that the artefact goes with is found; methods that need masks are left out."""
    from benchmark.data.own import biased_class

    layer, rectified = (brought.layer, False) if brought.layer else LAYERS.get(network, ("", False))
    if not layer:
        known = ", ".join(LAYERS)
        raise InputError(
            f"task bias-correction needs --layer NAME, the module whose output is corrected, the last convolution's; "
            f"it is known for {known}, not for {network}"
        )
    without_masks = [name for name in methods_of(brought.task) if name != "rrr"]
    return {
        "training": _recipe(brought),
        "artefact": {"kind": "natural"},
        "biased_class": biased_class(data, brought.attribute),
        "layer": layer,
        "rectified": rectified,
        "methods": without_masks,
    }
