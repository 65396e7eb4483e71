"""Scenarios on data and models that a user brought: they are added to the suite ``own``, so that each can be run again.

Nothing here needs torch but what takes in weights and decodes pictures, which is imported when it is needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.config import convert
from benchmark.data import OWN as PREFIX
from benchmark.data import manifest
from benchmark.data.folder import SUFFIXES, read_folder
from benchmark.data.manifest import Look, Manifest
from benchmark.errors import InputError, unknown
from benchmark.files import write_atomically
from benchmark.models import LIBRARIES, MODELS
from benchmark.suite import OWN, Suite, load_suite, methods_of, own_suite, select
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
#: Seconds of a cell, and threads: what a user's data and model take is not known.
TIMEOUT, THREADS = 86_400.0, 1


@dataclass(frozen=True)
class Brought:
    """What a user brought and asks for; empty or None where nothing was said.

    ``data``: a folder of pictures; ``attributes``: a CSV file; ``attribute``: the column that matters; ``weights``: a
    safetensors file. ``normalise``: imagenet, none, or means and deviations as m,m,m/s,s,s.
    """

    data: Path
    task: str
    model: str
    name: str = ""
    attributes: Path | None = None
    attribute: str = ""
    weights: Path | None = None
    pretrained: bool = False
    forget: Sequence[str] = ()
    layer: str = ""
    size: int | None = None
    fit: str = "crop"
    normalise: str = "imagenet"
    grey: bool = False
    epochs: int = 20
    lr: float | None = None
    batch_size: int = 64


def add(brought: Brought) -> Suite:
    """Take in what was brought, add its scenario to the suite ``own`` and give that suite with this scenario alone.

    InputError, and nothing is written, where something is wrong with it.
    """
    if brought.task not in TASKS:
        raise unknown("task", brought.task, TASKS)
    data = _data(brought)
    network = network_name(brought.model)
    told = f"{PREFIX}{data.name}" + (f"@{brought.attribute}" if brought.attribute else "")
    common = {"task": brought.task, "data": told, "model": network}
    settings = common | _start(brought, network, data) | _of_task(brought, network, data)
    manifest.keep(data)
    name = _scenario_name(brought)
    _check(settings)
    _write(name, settings)
    return select(load_suite(OWN), brought.task, [name], None)


# The data.


def _data(brought: Brought) -> Manifest:
    """The manifest of the data, with a name of its own."""
    from benchmark.data.own import with_pixels  # with torch

    name = slug(brought.name or brought.data.resolve().name)
    read = read_folder(brought.data, brought.attributes, name, look(brought), brought.attribute)
    if brought.attribute and brought.attribute not in read.attributes:
        hint = "" if brought.attributes else "; --attributes names the CSV file that has it"
        raise InputError(f"{unknown('attribute', brought.attribute, read.attributes)}{hint}")
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
    if len(mean) != channels or len(std) != channels or not all(0 < s < 100 for s in std):
        example = "/".join([",".join(["0.5"] * channels)] * 2)
        raise InputError(f"normalise must be imagenet, none, or means and deviations like {example}, not {told!r}")
    return mean, std


def _common_size(folder: Path) -> int:
    """The side of the pictures where all are squares of one small size; else LARGE."""
    from PIL import Image

    sizes = set()
    for path in folder.rglob("*") if folder.is_dir() else ():
        if path.suffix.lower() in SUFFIXES and path.name[0] != ".":
            try:
                with Image.open(path) as picture:
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
    library, _, rest = model.partition(":")
    if model in MODELS or (library in LIBRARIES and rest):
        return model
    from benchmark import compat

    known = compat.torchvision().models.list_models()
    if model in known:
        return f"torchvision:{model}"
    others = compat.timm().list_models()
    if model in others:
        return f"timm:{model}"
    raise unknown("model", model, [*MODELS, *known, *others])


def _start(brought: Brought, network: str, data: Manifest) -> dict[str, Any]:
    """Where the network's weights come from."""
    if brought.weights is None:
        return {"pretrained": True} if brought.pretrained else {}
    if brought.pretrained:
        raise InputError("--weights and --pretrained: the network starts from one of the two")
    from benchmark.models.classifiers import build_classifier
    from benchmark.models.own import take_in

    blank = build_classifier(network, len(data.classes), data.look.shape)
    return {"weights": take_in(brought.weights, blank)}


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
    for name in brought.forget:
        if name not in data.classes:
            raise unknown("class", name, data.classes)
    return [data.classes.index(name) for name in brought.forget]


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


def _scenario_name(brought: Brought) -> str:
    """What tells this scenario from others of the same task."""
    parts = [brought.name or brought.data.resolve().name, brought.model]
    parts += ["forget", *brought.forget] if brought.forget else []
    parts += ["by", brought.attribute] if brought.attribute else []
    return slug(" ".join(parts))


def slug(text: str) -> str:
    """Lower-case letters, digits and single hyphens; at most 60 of them."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].strip("-") or "data"


def _write(name: str, settings: Mapping[str, Any]) -> None:
    """Put the scenario into the suite's file, in the place of one of that name; what was tuned for it stays."""
    import tomlkit

    path = own_suite()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        document = tomlkit.parse(path.read_text("utf-8")) if path.is_file() else tomlkit.parse(_EMPTY)
        scenarios = document.setdefault("scenarios", tomlkit.table(is_super_table=True))
        if scenarios.get(name, settings) != settings:
            document.get("hyperparameters", {}).pop(name, None)  # it was another scenario
        scenarios[name] = dict(settings)
        write_atomically(path, tomlkit.dumps(document).encode())


_EMPTY = f"""name = "{OWN}"
summary = "Data and models of the user's own."
threads = {THREADS}
timeout = {TIMEOUT}
tuning = {{ seeds = [102, 105, 108], configurations = 12 }}
"""
