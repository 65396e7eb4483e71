"""Bias correction: how problems are made and how corrected classifiers are evaluated."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, BiasProblem, Ledger, Measured
from benchmark.data import DATA
from benchmark.data.attacked import Attacked, Pair, load_attacked, load_two
from benchmark.data.packaged import load
from benchmark.data.told import told
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.metrics import relevance
from benchmark.metrics.accuracy import accuracy, rounded
from benchmark.metrics.f1 import macro_f1
from benchmark.models.classifiers import build_classifier
from benchmark.models.own import load_weights
from benchmark.models.split import rectify_again, split_at
from benchmark.models.surgery import logits_and_features
from benchmark.seeding import derive
from benchmark.tasks import Evaluation, Guarded, Selected, base_models
from benchmark.tasks.bias_correction import BiasCorrection, layer_of
from benchmark.tasks.concept_metrics import (
    BATCH,
    bare,
    class_direction,
    concept_alignment,
    examples,
    relevance_in_mask,
    sensitivity,
)

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context

#: What is measured of a second artefact as of the first.
OF_SECOND = ("accuracy.attacked", "attack.cost", "attack.success", "tcav", "tcav.sensitivity")


@lru_cache(maxsize=2)
def _on_device(scenario: BiasCorrection, seed: int, device: torch.device) -> tuple[Attacked, ...]:
    biased, second = scenario.biased(seed), scenario.second
    if second is None:
        return (load_attacked(scenario.data, scenario.artefact, biased, seed, scenario.holdout).to(device),)
    classes = biased, (biased + scenario.second_shift) % DATA.get(scenario.data).num_classes
    both = load_two(scenario.data, (scenario.artefact, second), classes, seed, scenario.holdout)
    return tuple(one.to(device) for one in both)


def data_of(scenario: BiasCorrection, seed: int, device: torch.device, number: int = 0) -> Attacked:
    """A seed's data on ``device``; kept, because a worker serves many cells. ``number``: 1 for the second artefact."""
    found = _on_device(scenario, seed, device)[number]
    if number == 0 and found.biased != scenario.biased(seed):
        raise InputError(f"biased_class: the artefact of {scenario.data} is one of class {found.biased}")
    return found


def data_checksum(scenario: BiasCorrection) -> str:
    """That of the data set as it is without what a seed inserts."""
    if scenario.artefact.kind == "natural":
        return data_of(scenario, 0, torch.device("cpu")).checksum
    return load(scenario.data).checksum


def base_model(scenario: BiasCorrection, seed: int, context: Context) -> nn.Module:
    """The classifier that learnt from the artefact, in evaluation mode."""
    data = data_of(scenario, seed, context.device)
    key = {
        "data": scenario.data,
        "checksum": data.checksum,
        "artefact": scenario.artefact,
        "rectified": scenario.rectified and scenario.layer,
        "pretrained": scenario.pretrained,
    }
    build = partial(_network, scenario, len(data.classes), _shape(data))
    _check_layer(build().eval(), scenario, data)
    if scenario.weights:
        return _given(scenario, data).to(context.device).eval()
    recipe = scenario.training
    return base_models.trained(data.learnt, len(data.classes), scenario.model, recipe, seed, context, key, build)


def _given(scenario: BiasCorrection, data: Attacked) -> nn.Module:
    """The network with the weights that the scenario names, which are called as without a second ReLU."""
    plain = build_classifier(scenario.model, len(data.classes), _shape(data))
    load_weights(plain, scenario.weights)
    if scenario.rectified:
        rectify_again(plain, scenario.layer)
    return plain


def _network(scenario: BiasCorrection, num_classes: int, shape: tuple[int, ...]) -> nn.Module:
    model = build_classifier(scenario.model, num_classes, shape, pretrained=scenario.pretrained)
    if scenario.rectified:
        rectify_again(model, scenario.layer)
    return model


def _check_layer(network: nn.Module, scenario: BiasCorrection, data: Attacked) -> None:
    """InputError for a layer that cannot be corrected at, before anything is trained."""
    body = split_at(network, layer_of(scenario)).body
    with torch.no_grad():
        shape = tuple(body(data.train.inputs(torch.arange(2)).cpu()).shape)
    if len(shape) != 4:
        raise InputError(f"layer {scenario.layer!r}: its output must be (B, C, H, W), not {shape}")


def build(
    scenario: BiasCorrection,
    seed: int,
    request: int,
    model: nn.Module,
    access: Access,
    ledger: Ledger,
    context: Context,
) -> Guarded:
    """The problem of one request: of its artefact it tells which of the biased class's training samples have it."""
    data = data_of(scenario, seed, context.device, scenario.corrected[request])
    concept = told(data.concept, scenario.concept_samples, scenario.concept_noise, seed)
    if data.train.masks is None and "m" in access.views.get("train", ""):
        raise InputError(f"data set {scenario.data} has no masks of where the artefact is: leave the method out")
    parts = {"train": replace(data.train, attributes=None), "concept": concept, "clean": data.clean}
    views = {name: View(name, samples, access, ledger) for name, samples in parts.items()}
    problem = BiasProblem(
        model=copy.deepcopy(model).eval(),
        num_classes=len(data.classes),
        device=context.device,
        seed=derive(seed, "problem", request),
        build_model=partial(_network, scenario, len(data.classes), _shape(data)),
        train=views["train"],
        concept=views["concept"],
        clean=views["clean"],
        biased_class=data.biased,
        layer=layer_of(scenario),
        recipe=scenario.training,
    )
    return Guarded(problem, tuple(views.values()))


def _shape(data: Attacked) -> tuple[int, ...]:
    return tuple(data.train.images.shape[1:])


def outputs(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """Rounded logits (N, C) and labels (N,), on the CPU; infinite logits become NaN."""
    logits, _ = logits_and_features(model, samples.inputs, len(samples), BATCH)
    return rounded(logits.where(logits.isfinite(), torch.nan)), samples.labels.cpu()


def selection_score(scenario: BiasCorrection, seed: int, amended: nn.Module, context: Context) -> Selected:
    """Accuracy on the attacked selection split, as a fraction.

    The margin: points by which clean accuracy there is above the floor, the base model's less the scenario's ``floor``.
    """
    data = data_of(scenario, seed, context.device)
    base = base_model(scenario, seed, context)
    before = accuracy(*outputs(base, data.selection.clean)).value or 0.0
    found = _accuracies(amended, data.selection, data.legitimate)
    found |= sensitivity(bare(amended, base, scenario), scenario, data, data.selection)
    values = {name: measured.value for name, measured in found.items() if measured.value is not None}
    margin = values["accuracy.clean"] - (before - scenario.floor)
    return Selected(values["accuracy.attacked"] / 100, values, margin)


def _accuracies(model: nn.Module, pair: Pair, legitimate: tuple[int, ...]) -> dict[str, Measured]:
    logits, labels = outputs(model, pair.clean)
    theirs = torch.isin(labels, torch.tensor(legitimate, dtype=torch.int64))
    return {
        "accuracy.clean": accuracy(logits, labels),
        "accuracy.attacked": accuracy(*outputs(model, pair.attacked)),
        "accuracy.legitimate": accuracy(logits[theirs], labels[theirs]),
    }


def evaluate(scenario: BiasCorrection, seed: int, base: nn.Module, amended: nn.Module, context: Context) -> Evaluation:
    """Every metric of one corrected classifier."""
    data = data_of(scenario, seed, context.device)
    logits, labels = outputs(amended, data.test.clean)
    attacked, attacked_labels = outputs(amended, data.test.attacked)
    metrics = scores(logits, labels, attacked, attacked_labels, data.biased, data.legitimate, paired=data.paired)
    network = bare(amended, base, scenario)
    metrics |= sensitivity(network, scenario, data, data.test)
    last = data_of(scenario, seed, context.device, scenario.corrected[-1])
    metrics |= concept_alignment(getattr(network, "concept", None), scenario, last, base)
    metrics["relevance.in-mask"] = relevance_in_mask(network, scenario, data)
    metrics |= _wanted(scenario, seed, base, amended, logits, labels, context)
    arrays = {
        "clean.logits": logits.half().numpy(),
        "clean.labels": labels.numpy().astype(np.int16),
        "attacked.logits": attacked.half().numpy(),
        "attacked.labels": attacked_labels.numpy().astype(np.int16),
        "biased": np.array(data.biased, dtype=np.int16),
    }
    if scenario.examples and relevance.available():
        arrays |= examples(network, scenario, data)
    finite = bool(logits.isfinite().all() and attacked.isfinite().all())
    return Evaluation(metrics, arrays, [] if finite else ["the amended model's outputs are not finite"])


def _wanted(
    scenario: BiasCorrection,
    seed: int,
    base: nn.Module,
    amended: nn.Module,
    logits: Tensor,
    labels: Tensor,
    context: Context,
) -> dict[str, Measured]:
    """What only some scenarios ask for: metrics of a second artefact, and of how entangled the first is."""
    found: dict[str, Measured] = {}
    if scenario.second is not None:
        data = data_of(scenario, seed, context.device, 1)
        attacked = outputs(amended, data.test.attacked)
        own = scores(logits, labels, *attacked, data.biased, data.legitimate, paired=data.paired)
        own |= sensitivity(bare(amended, base, scenario), scenario, data, data.test)
        found = {f"{name}@second": own[name] for name in OF_SECOND}
    if scenario.entanglement:
        data = data_of(scenario, seed, context.device)
        own_class = labels == data.biased
        found["accuracy.clean@biased"] = accuracy(logits[own_class], labels[own_class])
        found["cav.alignment@class"] = class_direction(scenario, data, base)
    return found


def scores(
    logits: Tensor,
    labels: Tensor,
    attacked: Tensor,
    attacked_labels: Tensor,
    biased: int,
    theirs: Sequence[int],
    *,
    paired: bool,
) -> dict[str, Measured]:
    """The metrics that need logits (N, C) and labels (N,) only, clean and attacked; ``theirs``: legitimate classes."""
    legitimate = torch.isin(labels, torch.tensor(theirs, dtype=torch.int64))
    found = {
        "accuracy.clean": accuracy(logits, labels),
        "accuracy.attacked": accuracy(attacked, attacked_labels),
        "f1.clean": macro_f1(logits, labels),
        "f1.attacked": macro_f1(attacked, attacked_labels),
        "accuracy.legitimate": accuracy(logits[legitimate], labels[legitimate]),
    }
    same, under = accuracy(logits[~legitimate], labels[~legitimate]), found["accuracy.attacked"]
    if same.value is None or under.value is None or not paired:  # other samples: a difference says nothing
        return {**found, **dict.fromkeys(("attack.cost", "attack.success"), Measured(None, 0))}
    others = attacked_labels != biased
    pulled = accuracy(attacked[others], torch.full_like(attacked_labels[others], biased))
    return {**found, "attack.cost": Measured(same.value - under.value, under.n), "attack.success": pulled}


def members(scenario: BiasCorrection, seed: int, amended: nn.Module, context: Context) -> dict[str, np.ndarray]:
    raise InputError(f"task {scenario.task} has no forget set: there is no ensemble to compare with")
