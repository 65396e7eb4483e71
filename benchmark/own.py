"""Scenarios on data and models that a user brought: they are added to the suite ``own``, so that each can be run again.

Nothing here needs torch but what takes in weights and decodes pictures, which is imported when it is needed.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.config import convert
from benchmark.data import OWN as PREFIX
from benchmark.data import manifest
from benchmark.data.folder import pictures, read_folder
from benchmark.data.manifest import Look, Manifest
from benchmark.errors import InputError, unknown
from benchmark.files import key_hash, write_atomically
from benchmark.models import MODELS
from benchmark.suite import OWN, Suite, SuiteFile, methods_of, own_suite, suite_of
from benchmark.tasks import TASKS

#: Pictures of one size that is at most this are left as they are; others become squares of LARGE pixels.
SMALL, LARGE = 64, 224
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
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
#: What pictures come as.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
#: Seconds of a cell, and threads: what a user's data and model take is not known.
TIMEOUT, THREADS = 86_400.0, 1


@dataclass(frozen=True)
class Brought:
    """What a user brought and asks for; empty or None where nothing was said.

    ``data``: a folder of pictures; ``attributes``: a CSV file; ``attribute``: the column that matters; ``weights``: a
    safetensors file; ``forget``: a class, or several with commas.
    ``normalise``: imagenet, none, or means and deviations as m,m,m/s,s,s.
    """

    data: Path
    task: str
    model: str
    name: str = ""
    attributes: Path | None = None
    attribute: str = ""
    weights: Path | None = None
    pretrained: bool = False
    forget: str = ""
    layer: str = ""
    size: int | None = None
    fit: str = "crop"
    normalise: str = "imagenet"
    grey: bool = False
    epochs: int = 20
    lr: float | None = None
    batch_size: int = 64


def add(brought: Brought, *, keep: bool = True) -> Suite:
    """Take in what was brought, and give the suite ``own`` with its scenario alone, which is added to that if ``keep``.

    InputError, and no scenario is written, where something is wrong with it.
    """
    if brought.task not in TASKS:
        raise unknown("task", brought.task, TASKS)
    network = network_name(brought.model)
    if brought.grey and network.startswith("torchvision:"):
        raise InputError(
            f"--grey: {network} takes pictures in colour; leave it out, or take timm's network of that name"
        )
    if brought.layer and brought.task != "bias-correction":
        raise InputError(f"--layer has no effect in task {brought.task}; leave it out")
    data = _data(brought)
    told = f"{PREFIX}{data.name}" + (f"@{brought.attribute}" if brought.attribute else "")
    common = {"task": brought.task, "data": told, "model": network}
    settings = common | _start(brought, network, data) | _of_task(brought, network, data)
    manifest.keep(data)
    _check(settings)
    name = _scenario_name(brought, settings)
    if keep:
        _write(name, settings)
    return suite_of(_alone(name, settings), own_suite())


def _alone(name: str, settings: Mapping[str, Any]) -> SuiteFile:
    """The suite's file with this scenario alone, and what was tuned for it."""
    written = tomllib.loads(_written())
    same = written.get("scenarios", {}).get(name) == settings
    tuned = written.get("hyperparameters", {}).get(name, {}) if same else {}
    only = {"scenarios": {name: dict(settings)}, "hyperparameters": {name: tuned}}
    return convert({**written, **only}, SuiteFile, "suite.toml")


# The data.


def _data(brought: Brought) -> Manifest:
    """The manifest of the data, with a name of its own."""
    from benchmark.data.own import with_pixels  # with torch

    name = slug(brought.name or brought.data.resolve().name)
    read = read_folder(brought.data, brought.attributes, name, look(brought), brought.attribute)
    return manifest.named(with_pixels(read))


def look(brought: Brought) -> Look:
    """How the pictures become inputs."""
    if brought.fit not in ("crop", "squeeze"):
        raise unknown("fit", brought.fit, ("crop", "squeeze"))
    size = _common_size(brought.data) if brought.size is None else brought.size
    if not 8 <= size <= 1024:
        raise InputError(f"size must be 8 to 1024, not {size}")
    mean, std = _statistics(brought.normalise, 1 if brought.grey else 3)
    return Look(size, "squeeze" if brought.fit == "squeeze" else "crop", brought.grey, mean, std)


def _statistics(told: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if told == "none" or (told == "imagenet" and channels == 1):
        return (0.0,) * channels, (1.0,) * channels
    if told == "imagenet":
        return IMAGENET
    try:
        mean, std = (tuple(float(part) for part in half.split(",")) for half in told.split("/"))
    except ValueError:
        mean, std = (), ()
    finite = all(math.isfinite(m) for m in mean) and all(0 < s < 100 for s in std)
    if len(mean) != channels or len(std) != channels or not finite:
        example = "/".join([",".join(["0.5"] * channels)] * 2)
        raise InputError(f"normalise must be imagenet, none, or means and deviations like {example}, not {told!r}")
    return mean, std


def _common_size(folder: Path) -> int:
    """The side of the pictures where all are squares of one small size; else LARGE."""
    from PIL import Image

    sizes = set()
    for path in (folder / file for file in pictures(folder)):
        try:
            with Image.open(path, formats=FORMATS) as picture:
                sizes.add(picture.size)
        except (OSError, ValueError) as error:
            raise InputError(f"picture {path} cannot be used: {error}") from error
        if len(sizes) > 1:
            return LARGE
    width, height = next(iter(sizes), (LARGE, LARGE))
    return width if width == height <= SMALL else LARGE


# The network.


def network_name(model: str) -> str:
    """``model`` as the registry has it: a network without a library is our own, torchvision's, or timm's."""
    if model in MODELS:
        return model
    from benchmark import compat

    library, colon, rest = model.rpartition(":")
    models = compat.torchvision().models
    known = {"torchvision": models.list_models(module=models), "timm": compat.timm().list_models()}
    if colon and library not in known:
        raise unknown("library", library, known)
    for name, those in known.items():
        if library in ("", name) and rest in those:
            return f"{name}:{rest}"
    near = {name for those in known.values() for name in those}
    raise unknown("model", rest, known[library] if colon else near | set(MODELS))


def _start(brought: Brought, network: str, data: Manifest) -> dict[str, Any]:
    """Where the network's weights come from."""
    start = {"pretrained": True} if brought.pretrained else {}
    if brought.weights is None:
        return start
    if brought.pretrained and brought.task in ("debias-known", "debias-unknown"):
        raise InputError(f"--weights and --pretrained: in task {brought.task} the network starts from one of the two")
    from benchmark.models.classifiers import build_classifier
    from benchmark.models.own import take_in

    blank = build_classifier(network, len(data.classes), data.look.shape)
    return {**start, "weights": take_in(brought.weights, blank)}


# The scenario.


def _of_task(brought: Brought, network: str, data: Manifest) -> dict[str, Any]:
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
    """Five steps an epoch's worth of looks, chosen by the worst group: what a user would be hurt by."""
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


def _check(settings: Mapping[str, Any]) -> None:
    """InputError for settings that are no scenario: the suite's file must stay one that can be read."""
    task = TASKS.get(settings["task"])
    own = {name: value for name, value in settings.items() if name != "methods"}
    try:
        task.check(convert(own, task.scenario, "scenario"))
    except ValueError as error:
        raise InputError(str(error)) from error


def _scenario_name(brought: Brought, settings: Mapping[str, Any]) -> str:
    """What it is, readable, and 8 hex digits of everything but the recipe: with another one it is the same question."""
    parts = [brought.name or brought.data.resolve().name, brought.model]
    parts += ["forget", brought.forget] if brought.forget else []
    parts += ["by", brought.attribute] if brought.attribute else []
    question = {name: value for name, value in settings.items() if name not in ("training", "methods")}
    return f"{slug(' '.join(parts))}-{key_hash(question)[:8]}"


def slug(text: str) -> str:
    """Lower-case letters, digits and single hyphens; at most 60 of them, ``data`` where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "data"


def _write(name: str, settings: Mapping[str, Any]) -> None:
    """Put the scenario into the suite's file, in the place of one of that name; what was tuned for it stays."""
    import tomlkit

    path = own_suite()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        document = tomlkit.parse(_written())
        scenarios = document.setdefault("scenarios", tomlkit.table(is_super_table=True))
        if scenarios.get(name, settings) != settings:
            document.get("hyperparameters", {}).pop(name, None)  # it was another scenario
        scenarios[name] = dict(settings)
        write_atomically(path, tomlkit.dumps(document).encode())


def _written() -> str:
    """What the suite's file says so far."""
    return own_suite().read_text("utf-8") if own_suite().is_file() else _EMPTY


_EMPTY = f"""name = "{OWN}"
summary = "Data and models of the user's own."
threads = {THREADS}
timeout = {TIMEOUT}
tuning = {{ seeds = [102, 105, 108], configurations = 12 }}
"""
