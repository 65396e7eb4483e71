"""Bias correction: how problems are made and how corrected classifiers are evaluated."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.concepts import Concept, concept_vector, pooled
from benchmark.contracts import Access, BiasProblem, Ledger, Measured
from benchmark.data.attacked import Attacked, Pair, load_attacked
from benchmark.data.packaged import load
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.metrics import alignment, concept_sensitivity, relevance
from benchmark.metrics.accuracy import accuracy, rounded
from benchmark.metrics.f1 import macro_f1
from benchmark.models.classifiers import build_classifier
from benchmark.models.own import load_weights
from benchmark.models.split import Split, rectify_again, split_at
from benchmark.models.surgery import logits_and_features, underlying
from benchmark.seeding import derive
from benchmark.tasks import Evaluation, Guarded, Selected, base_models
from benchmark.tasks.bias_correction import BiasCorrection

if TYPE_CHECKING:
    from benchmark.running.context import Context

#: Samples a forward pass.
BATCH = 500
#: Attacked test samples at most whose relevance is computed.
EXPLAINED = 200
#: Pictures that are kept of a scenario with examples.
PICTURES = 5


@lru_cache(maxsize=2)
def _on_device(scenario: BiasCorrection, seed: int, device: torch.device) -> Attacked:
    return load_attacked(scenario.data, scenario.artefact, scenario.biased(seed), seed, scenario.holdout).to(device)


def data_of(scenario: BiasCorrection, seed: int, device: torch.device) -> Attacked:
    """A seed's data on ``device``; kept, because a worker serves many cells."""
    found = _on_device(scenario, seed, device)
    if found.biased != scenario.biased(seed):
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


def layer_of(scenario: BiasCorrection) -> str:
    """What the scenario's layer is called in its networks."""
    return f"{scenario.layer}.layer" if scenario.rectified else scenario.layer


def build(
    scenario: BiasCorrection,
    seed: int,
    request: int,
    model: nn.Module,
    access: Access,
    ledger: Ledger,
    context: Context,
) -> Guarded:
    """The problem of one seed: of the artefact it tells which of the biased class's training samples have it."""
    data = data_of(scenario, seed, context.device)
    if data.train.masks is None and "m" in access.views.get("train", ""):
        raise InputError(f"data set {scenario.data} has no masks of where the artefact is: leave the method out")
    parts = {"train": replace(data.train, attributes=None), "concept": _told(data), "clean": data.clean}
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


def _told(data: Attacked) -> Samples:
    """The training samples that are labelled as the biased class, with attributes."""
    return replace(_of(data.train, data.biased), masks=None)


def _of(samples: Samples, label: int) -> Samples:
    return samples.subset((samples.labels == label).nonzero().squeeze(1))


def outputs(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor]:
    """Rounded logits (N, C) and labels (N,), on the CPU; infinite logits become NaN."""
    logits, _ = logits_and_features(model, samples.inputs, len(samples), BATCH)
    return rounded(logits.where(logits.isfinite(), torch.nan)), samples.labels.cpu()


@torch.no_grad()
def _activations(body: nn.Module, samples: Samples) -> Tensor:
    """(N, C, H, W)."""
    everything = torch.arange(len(samples), device=samples.images.device)
    return torch.cat([body(samples.inputs(index)) for index in everything.split(BATCH)])


def selection_score(scenario: BiasCorrection, seed: int, amended: nn.Module, context: Context) -> Selected:
    """Accuracy on the attacked selection split, as a fraction.

    The margin: points by which clean accuracy there is above the floor, the base model's less the scenario's ``floor``.
    """
    data = data_of(scenario, seed, context.device)
    base = base_model(scenario, seed, context)
    before = accuracy(*outputs(base, data.selection.clean)).value or 0.0
    found = _accuracies(amended, data.selection, data.legitimate)
    found |= _sensitivity(_bare(amended, base, scenario), scenario, data, data.selection)
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
    metrics = scores(logits, labels, attacked, attacked_labels, data)
    bare = _bare(amended, base, scenario)
    metrics |= _sensitivity(bare, scenario, data, data.test)
    metrics |= _alignment(getattr(bare, "concept", None), scenario, data, base)
    metrics["relevance.in-mask"] = _relevance(bare, scenario, data)
    arrays = {
        "clean.logits": logits.half().numpy(),
        "clean.labels": labels.numpy().astype(np.int16),
        "attacked.logits": attacked.half().numpy(),
        "attacked.labels": attacked_labels.numpy().astype(np.int16),
        "biased": np.array(data.biased, dtype=np.int16),
    }
    if scenario.examples and relevance.available():
        arrays |= _examples(bare, scenario, data)
    finite = bool(logits.isfinite().all() and attacked.isfinite().all())
    return Evaluation(metrics, arrays, [] if finite else ["the amended model's outputs are not finite"])


def scores(
    logits: Tensor, labels: Tensor, attacked: Tensor, attacked_labels: Tensor, data: Attacked
) -> dict[str, Measured]:
    """The metrics that need logits and labels only."""
    legitimate = torch.isin(labels, torch.tensor(data.legitimate, dtype=torch.int64))
    found = {
        "accuracy.clean": accuracy(logits, labels),
        "accuracy.attacked": accuracy(attacked, attacked_labels),
        "f1.clean": macro_f1(logits, labels),
        "f1.attacked": macro_f1(attacked, attacked_labels),
        "accuracy.legitimate": accuracy(logits[legitimate], labels[legitimate]),
    }
    same, under = accuracy(logits[~legitimate], labels[~legitimate]), found["accuracy.attacked"]
    if same.value is None or under.value is None or not data.paired:  # other samples: a difference says nothing
        return {**found, **dict.fromkeys(("attack.cost", "attack.success"), Measured(None, 0))}
    others = attacked_labels != data.biased
    pulled = accuracy(attacked[others], torch.full_like(attacked_labels[others], data.biased))
    return {**found, "attack.cost": Measured(same.value - under.value, under.n), "attack.success": pulled}


def _bare(amended: nn.Module, base: nn.Module, scenario: BiasCorrection) -> nn.Module:
    """The network that has the layer, without wrappers that hide its logits."""
    return amended if layer_of(scenario) in dict(amended.named_modules()) else underlying(amended, base)


def _parts(model: nn.Module, scenario: BiasCorrection, *, behind_shift: bool = False) -> Split | None:
    """The network in two parts; None where it is one that cannot be taken apart."""
    try:
        return split_at(model.eval(), layer_of(scenario), behind_shift=behind_shift)
    except InputError:
        return None


def _sensitivity(model: nn.Module, scenario: BiasCorrection, data: Attacked, pair: Pair) -> dict[str, Measured]:
    """TCAV of the biased class's logit on attacked samples; h is the signal vector of this network's activations.

    A method that shifts activations is judged by what comes after the shift, along the h of what comes before it, as
    in the paper's code. Blank where the network cannot be taken apart or its activations have no such direction.
    """
    names = ("tcav", "tcav.positions", "tcav.sensitivity", "tcav.sensitivity.positions")
    before, behind = _parts(model, scenario), _parts(model, scenario, behind_shift=True)
    h = None if before is None else _signal(before.body, data)
    if behind is None or h is None:
        return dict.fromkeys(names, Measured(None, 0))
    derivatives = concept_sensitivity.directional(behind.head, _activations(behind.body, pair.attacked), h, data.biased)
    kinds = (
        concept_sensitivity.tcav,
        concept_sensitivity.tcav_positions,
        concept_sensitivity.sensitivity,
        concept_sensitivity.sensitivity_positions,
    )
    return {name: kind(derivatives) for name, kind in zip(names, kinds, strict=True)}


def _signal(body: nn.Module, data: Attacked) -> Tensor | None:
    told = _told(data)
    assert told.attributes is not None
    try:
        return concept_vector("signal", pooled(_activations(body, told)), told.attributes).h.to(told.device)
    except InputError:
        return None


def _alignment(concept: object, scenario: BiasCorrection, data: Attacked, base: nn.Module) -> dict[str, Measured]:
    """How the method's own concept vector fits what the artefact does to the base model's activations."""
    names = ("cav.alignment", "cav.alignment.individual", "cav.seconds")
    if not isinstance(concept, Concept):
        return dict.fromkeys(names, Measured(None, 0))
    seconds = Measured(concept.seconds, 0)
    parts = _parts(base, scenario)
    if parts is None or not data.paired:
        return {**dict.fromkeys(names, Measured(None, 0)), "cav.seconds": seconds}
    a, b = (pooled(_activations(parts.body, _of(s, data.biased))) for s in (data.test.clean, data.test.attacked))
    shifts = (b - a).cpu()
    found = (alignment.overall(concept.h, shifts), alignment.individual(concept.h, shifts), seconds)
    return dict(zip(names, found, strict=True))


def _relevance(model: nn.Module, scenario: BiasCorrection, data: Attacked) -> Measured:
    """Relevance of their label in the mask, over attacked test samples of the biased class.

    Blank without masks, without zennit, and where its rules cannot be applied to the network.
    """
    if not scenario.artefact.localised or data.test.attacked.masks is None or not relevance.available():
        return Measured(None, 0)
    samples = _of(data.test.attacked, data.biased)
    samples = samples.subset(_spread(len(samples), EXPLAINED, data.train.images.device))
    assert samples.masks is not None
    try:
        found = relevance.relevances(model, samples.inputs(), samples.labels)
    except ValueError:
        return Measured(None, 0)
    return relevance.relevance_in_mask(found, relevance.smoothed(samples.masks.cpu()))


def _spread(n: int, most: int, device: torch.device) -> Tensor:
    """At most ``most`` of ``n`` positions, evenly spread."""
    return torch.linspace(0, n - 1, min(n, most), device=device).round().long()


def _examples(model: nn.Module, scenario: BiasCorrection, data: Attacked) -> dict[str, np.ndarray]:
    """Pictures of some test samples of other classes, clean and attacked, and what the network sees in the latter.

    ``example.clean`` and ``example.attacked``: (N, C, H, W) uint8; ``example.relevance``: (N, H, W) of the logit that
    the network gives the attacked picture's largest; ``example.concept``: of a . h; ``example.labels`` and
    ``example.predictions``: (N,).
    """
    parts = _parts(model, scenario)
    h = None if parts is None else _signal(parts.body, data)
    if parts is None or h is None or not data.paired:
        return {}
    others = (data.test.attacked.labels != data.biased).nonzero().squeeze(1)
    attacked = data.test.attacked.subset(others[_spread(len(others), PICTURES, others.device)])
    clean = _counterparts(data.test, others)
    shown = clean.subset(_spread(len(others), PICTURES, others.device))
    inputs = attacked.inputs()
    with torch.no_grad():
        predictions = model(inputs).argmax(1)
    try:
        explained = relevance.relevances(model, inputs, predictions)
        concept = relevance.concept_relevances(parts.body, inputs, h)
    except ValueError:  # the rules do not fit the network
        return {}
    return {
        "example.clean": shown.images.cpu().numpy(),
        "example.attacked": attacked.images.cpu().numpy(),
        "example.labels": attacked.labels.cpu().numpy().astype(np.int16),
        "example.predictions": predictions.cpu().numpy().astype(np.int16),
        "example.relevance": explained.half().numpy(),
        "example.concept": concept.half().numpy(),
    }


def _counterparts(pair: Pair, others: Tensor) -> Samples:
    """The clean samples of the attacked ones at ``others``; legitimate classes have none."""
    attackable = torch.isin(pair.clean.labels, pair.attacked.labels.unique()).nonzero().squeeze(1)
    return pair.clean.subset(attackable[others])


def members(scenario: BiasCorrection, seed: int, amended: nn.Module, context: Context) -> dict[str, np.ndarray]:
    raise InputError(f"task {scenario.task} has no forget set: there is no ensemble to compare with")
