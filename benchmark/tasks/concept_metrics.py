"""What metrics of bias correction see inside a classifier: where the artefact is a direction, and what it looks at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.concepts.vectors import Concept, concept_vector, pooled
from benchmark.contracts import Measured
from benchmark.data.attacked import Attacked, Pair, of_class
from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.metrics import alignment, concept_sensitivity, relevance
from benchmark.models.split import Split, split_at
from benchmark.models.surgery import underlying
from benchmark.tasks.bias_correction import BiasCorrection, layer_of

#: Samples a forward pass.
BATCH = 500
#: Attacked test samples at most whose relevance is computed.
EXPLAINED = 200
#: Pictures that are kept of a scenario with examples.
PICTURES = 5


def bare(amended: nn.Module, base: nn.Module, scenario: BiasCorrection) -> nn.Module:
    """The network that has the layer, without wrappers that hide its logits."""
    return amended if layer_of(scenario) in dict(amended.named_modules()) else underlying(amended, base)


def _parts(model: nn.Module, scenario: BiasCorrection, *, behind_shift: bool = False) -> Split | None:
    """The network in two parts; None where it is one that cannot be taken apart."""
    try:
        return split_at(model.eval(), layer_of(scenario), behind_shift=behind_shift)
    except InputError:
        return None


def sensitivity(model: nn.Module, scenario: BiasCorrection, data: Attacked, pair: Pair) -> dict[str, Measured]:
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
    told = data.concept
    assert told.attributes is not None
    try:
        return concept_vector("signal", pooled(_activations(body, told)), told.attributes).h.to(told.device)
    except InputError:
        return None


def concept_alignment(
    concept: object, scenario: BiasCorrection, data: Attacked, base: nn.Module
) -> dict[str, Measured]:
    """How the method's own concept vector fits what the artefact does to the base model's activations."""
    names = ("cav.alignment", "cav.alignment.individual", "cav.seconds")
    if not isinstance(concept, Concept):
        return dict.fromkeys(names, Measured(None, 0))
    seconds = Measured(concept.seconds, 0)
    parts = _parts(base, scenario)
    if parts is None or not data.paired:
        return {**dict.fromkeys(names, Measured(None, 0)), "cav.seconds": seconds}
    a, b = (pooled(_activations(parts.body, of_class(s, data.biased))) for s in (data.test.clean, data.test.attacked))
    shifts = (b - a).cpu()
    found = (alignment.overall(concept.h, shifts), alignment.individual(concept.h, shifts), seconds)
    return dict(zip(names, found, strict=True))


def class_direction(scenario: BiasCorrection, data: Attacked, base: nn.Module) -> Measured:
    """100 cos(h, d) of the artefact's signal vector h and the biased class's own direction d in the base model.

    d: mean of pooled activations of the biased class's training samples without the artefact less that of the others'.
    """
    parts = _parts(base, scenario)
    h = None if parts is None else _signal(parts.body, data)
    if parts is None or h is None:
        return Measured(None, 0)
    a, own = pooled(_activations(parts.body, data.clean)), data.clean.labels == data.biased
    return alignment.overall(h.cpu(), (a[own] - a[~own].mean(0)).cpu())


def relevance_in_mask(model: nn.Module, scenario: BiasCorrection, data: Attacked) -> Measured:
    """Relevance of their label in the mask, over attacked test samples of the biased class.

    Blank without masks, without zennit, and where its rules cannot be applied to the network.
    """
    if not scenario.artefact.localised or data.test.attacked.masks is None or not relevance.available():
        return Measured(None, 0)
    samples = of_class(data.test.attacked, data.biased)
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


def examples(model: nn.Module, scenario: BiasCorrection, data: Attacked) -> dict[str, np.ndarray]:
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


@torch.no_grad()
def _activations(body: nn.Module, samples: Samples) -> Tensor:
    """(N, C, H, W)."""
    everything = torch.arange(len(samples), device=samples.images.device)
    return torch.cat([body(samples.inputs(index)) for index in everything.split(BATCH)])
