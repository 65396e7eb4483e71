"""A user's network: its name in the registry, and where its weights come from."""

from __future__ import annotations

from typing import Any

from benchmark.data.manifest import Manifest
from benchmark.errors import InputError, unknown
from benchmark.models import MODELS
from benchmark.own.brought import Brought


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


def start_of(brought: Brought, network: str, data: Manifest) -> dict[str, Any]:
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
