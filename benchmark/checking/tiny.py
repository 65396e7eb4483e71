"""A tiny real problem of each task, on 8x8 digits or points in the plane: what contracts of methods are checked on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, GanProblem, Ledger
from benchmark.determinism import seed_cell
from benchmark.errors import InputError
from benchmark.seeding import generator
from benchmark.tasks import TASKS, Task

#: A seed that no suite reports and none tunes on.
SEED = 1_001
#: Samples that outputs are looked at on.
LOOKED_AT = 64

_DIGITS: dict[str, Any] = {"data": "digits", "model": "resnet-small"}
_SHORT = {"epochs": 2, "batch_size": 64, "lr": 0.1}
_STEPS = {"steps": 12, "per_class": 20, "lr": 0.1, "weight_decay": 0.01, "checkpoints": 3}
_COLOURED: dict[str, Any] = {
    "data": "digits",
    "model": "cmnist-mlp",
    "bias": {"kind": "colour", "conflicting": 0.05, "halves": True},
    "training": _STEPS,
}
_SETTINGS: Mapping[str, dict[str, Any]] = {
    "class-forget": {**_DIGITS, "training": _SHORT},
    "label-free-forget": {**_DIGITS, "kind": "data-removal", "training": _SHORT},
    "debias-known": {**_COLOURED, "selection": "worst-group", "oracle": True},
    "debias-unknown": {**_COLOURED, "selection": "bias-conflicting"},
    "bias-correction": {
        **_DIGITS,
        "layer": "5",
        "rectified": True,
        "artefact": {"kind": "patch", "rate": 0.5, "backdoor": 0.05},
        "training": _SHORT,
    },
    "gan-feature-removal": {
        "data": "eight-gaussians",
        "model": "gan-toy",
        "feature": "modes",
        "features": "coordinates",
        "latent_dim": 8,
        "width": 32,
        "samples": 500,
        "training": {"steps": 200, "batch_size": 128, "lr_generator": 1e-3, "lr_discriminator": 1e-3},
    },
}


@dataclass(frozen=True)
class Tiny:
    """A task's tiny problem: the base model, inputs (B, ...) that outputs are looked at on, and the outputs' shape."""

    task: Task
    scenario: Any
    base: nn.Module
    inputs: Tensor
    shape: torch.Size


def tiny(task: str, cache_folder: Path) -> Tiny:
    """The tiny problem of a task; its base model is kept below ``cache_folder``. InputError where there is none."""
    if task not in _SETTINGS:
        raise InputError(f"there is no small problem of task {task} to check methods on")
    return _tiny(task, cache_folder)


@cache
def _tiny(name: str, folder: Path) -> Tiny:
    task = TASKS.get(name)
    scenario: Any = msgspec.convert({"task": name, **_SETTINGS[name]}, task.scenario)
    task.check(scenario)
    context, implementation = context_at(folder), task.load()
    seed_cell(SEED, "base")
    base = implementation.base_model(scenario, SEED, context)
    images: dict[str, Any] = {view: "x" for view, fields in task.views.items() if "x" in fields}
    problem = implementation.build(scenario, SEED, 0, base, Access(**images), Ledger(), context).problem
    inputs = _inputs(problem, tuple(images))
    with torch.no_grad():
        return Tiny(task, scenario, base, inputs, problem.model.eval()(inputs).shape)


def context_at(folder: Path) -> Context:
    """What cells run in, on the CPU with one thread; what is trained once is kept below ``folder``."""
    return Context(torch.device("cpu"), 1, ArtifactStore(folder / "artifacts"))


def _inputs(problem: Any, views: tuple[str, ...]) -> Tensor:
    if isinstance(problem, GanProblem):
        return problem.model.latents(LOOKED_AT, generator(SEED, "contract"))
    view = max((getattr(problem, name) for name in views), key=len)
    found: Tensor = view.draw(LOOKED_AT, generator(SEED, "contract")).x
    return found
