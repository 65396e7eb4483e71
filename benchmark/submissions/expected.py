"""Which predictions a cell of a submission has to bring, and what the benchmark knows beside them.

Labels, forget sets, groups and biased classes are the benchmark's own, drawn from the scenario and the seed: no
submission brings any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.biased import load_biased
from benchmark.data.packaged import load
from benchmark.errors import InputError, unknown
from benchmark.metrics.accuracy import HALF
from benchmark.tasks import TASKS
from benchmark.tasks.forget_sets import forget_sets

#: What of a submission's predictions is a claim itself, by task: shown wherever they are called verified.
CLAIMED = {
    "gan-feature-removal": "the judge's scores are the submitter's: what is verified is what follows from them",
}


@dataclass(frozen=True)
class Prediction:
    """An array that must be there: its shape, ``logical`` for truth values (else floating point), and its samples."""

    shape: tuple[int, ...]
    samples: str
    logical: bool = False

    @property
    def text(self) -> str:
        kind = "bool" if self.logical else "float16"
        return f"{kind} of shape {self.shape}: {self.samples}"


@dataclass(frozen=True)
class Expected:
    """``predictions`` by name are what a cell brings; ``truth``, by the names that records keep it by, is ours."""

    predictions: dict[str, Prediction]
    truth: dict[str, np.ndarray] = field(default_factory=dict)


def expected(scenario: Any, seed: int) -> Expected:
    """What belongs to a scenario (its settings) and a seed; InputError where the scenario's data cannot be had."""
    return _BY_TASK[scenario.task](scenario, seed)


def checksum(scenario: Any) -> str:
    """The checksum that records of the scenario have today; InputError where its data cannot be had."""
    return TASKS.get(scenario.task).load().data_checksum(scenario)


def _forgetting(scenario: Any, seed: int) -> Expected:
    dataset = load(scenario.data, scenario.holdout)
    sets = forget_sets(scenario, seed, dataset)
    classes = dataset.num_classes
    where = f"one row a {{}} sample of {scenario.data}, in the order of the data set, one column a class"
    return Expected(
        {
            "train.logits": Prediction((len(dataset.train), classes), where.format("training")),
            "test.logits": Prediction((len(dataset.test), classes), where.format("test")),
        },
        {
            "train.labels": _whole(sets.labels),
            "train.forget": sets.forget.numpy(),
            "test.labels": _whole(dataset.test.labels),
            "forgotten": np.array(sets.classes, dtype=np.int16),
        },
    )


def _debiasing(scenario: Any, seed: int) -> Expected:
    data = load_biased(scenario.data, scenario.bias)
    assert data.test.attributes is not None
    samples = f"one row a test sample of {scenario.data} with its bias, in their order, one column a class"
    return Expected(
        {"test.logits": Prediction((len(data.test), len(data.classes)), samples)},
        {"test.labels": _whole(data.test.labels), "test.attributes": _whole(data.test.attributes)},
    )


def _correcting(scenario: Any, seed: int) -> Expected:
    from benchmark.tasks.correcting import data_of

    data = data_of(scenario, seed, torch.device("cpu"))
    clean, attacked, classes = data.test.clean, data.test.attacked, len(data.classes)
    what = "one row a test sample {}, in their order, one column a class"
    return Expected(
        {
            "clean.logits": Prediction((len(clean), classes), what.format("without the artefact")),
            "attacked.logits": Prediction((len(attacked), classes), what.format("with the artefact")),
        },
        {
            "clean.labels": _whole(clean.labels),
            "attacked.labels": _whole(attacked.labels),
            "biased": np.array(data.biased, dtype=np.int16),
        },
    )


def _generating(scenario: Any, seed: int) -> Expected:
    judged = "the judge's score of the image of each latent, above 0 for undesired"
    before = "whether the original generator's image of the same latent is undesired"
    shape = (scenario.samples,)
    return Expected({"scores": Prediction(shape, judged), "before": Prediction(shape, before, logical=True)})


def _whole(labels: Tensor) -> np.ndarray:
    return labels.cpu().numpy().astype(np.int16)


_BY_TASK: dict[str, Callable[[Any, int], Expected]] = {
    "class-forget": _forgetting,
    "label-free-forget": _forgetting,
    "debias-known": _debiasing,
    "debias-unknown": _debiasing,
    "bias-correction": _correcting,
    "gan-feature-removal": _generating,
}


def check_predictions(arrays: Mapping[str, np.ndarray], needed: Expected, where: str) -> None:
    """InputError unless ``arrays`` are exactly the predictions that are needed, in floating point of any width."""
    for name in arrays:
        if name in needed.truth:
            raise InputError(f"{where}: array {name}: the benchmark has its own; leave it out")
        if name not in needed.predictions:
            raise InputError(f"{where}: {unknown('array', name, needed.predictions)}")
    for name, told in needed.predictions.items():
        if name not in arrays:
            raise InputError(f"{where}: array {name} is missing: {told.text}")
        found = arrays[name]
        if found.shape != told.shape or found.dtype.kind != ("b" if told.logical else "f"):
            raise InputError(f"{where}: array {name} is {found.dtype} of shape {found.shape}, not {told.text}")


def halved(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same as they are kept beside records: float16, clipped to its range; what is not finite is no number."""
    return {name: _halved(array) if array.dtype.kind == "f" else array for name, array in arrays.items()}


def _halved(array: np.ndarray) -> np.ndarray:
    finite = np.where(np.isfinite(array), array, np.nan)
    return np.clip(finite, HALF.min, HALF.max).astype(np.float16)
