"""bias-correction: a trained classifier takes an artefact for one class; it must stop (arXiv:2308.09437)."""

from __future__ import annotations

from typing import Literal

import msgspec

from benchmark.contracts import Recipe
from benchmark.data import DATA
from benchmark.data.artefact import Artefact
from benchmark.models import MODELS, check_model
from benchmark.tasks import Task, Values
from benchmark.tasks.class_forget import SHA256

#: Points of accuracy that the attack must cost the original model, and points by which it must succeed better.
ATTACKED = 10.0
#: Accuracy in percent that a base model must reach on clean test samples.
ABLE = 50.0
#: The same on samples of classes that the artefact is evidence for; 50 without it.
EVIDENT = 75.0


class BiasCorrection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario: data and the artefact in it, network, and how the base model is trained.

    ``layer`` names the module whose output are the activations that methods work on: the last convolution's;
    ``rectified`` where that output has been through a ReLU (``benchmark.models.split.rectify_again``). Seed i biases
    class i (modulo the number of classes) unless ``biased_class`` says which. ``holdout`` training samples are held
    out for selection where the data set has no such split. ``floor``: points of clean accuracy on the selection split
    that hyper-parameters may cost. ``pretrained``: the base model starts from published weights of ImageNet.
    ``weights``: it is one that somebody else trained, as in class-forget. ``examples``: pictures of some test samples
    and of what the networks see in them are kept.
    """

    data: str
    model: str
    layer: str
    artefact: Artefact
    training: Recipe
    rectified: bool = False
    task: Literal["bias-correction"] = "bias-correction"
    biased_class: int | None = None
    holdout: int = 0
    floor: float = 1.0
    pretrained: bool = False
    examples: bool = False
    weights: str = ""

    def biased(self, seed: int) -> int:
        """The class that the artefact is a shortcut for."""
        return seed % DATA.get(self.data).num_classes if self.biased_class is None else self.biased_class


def _check(scenario: BiasCorrection) -> None:
    source = DATA.get(scenario.data)
    check_model(scenario.model)
    scenario.artefact.check(scenario.data, source)
    if scenario.training.stacked > 1:
        raise ValueError("training: stacked must be 1 here: every seed has training data of its own")
    if not scenario.layer:
        raise ValueError("layer must name the module whose output are the activations")
    if scenario.model in ("mlp-toy", "cmnist-mlp") or scenario.model.startswith("transformers:"):
        raise ValueError(f"model {scenario.model} has no convolution whose activations could be corrected")
    if scenario.pretrained and scenario.model in MODELS:
        raise ValueError(f"pretrained: there are no published weights of {scenario.model}")
    if scenario.weights and not SHA256.fullmatch(scenario.weights):
        raise ValueError(f"weights must be the SHA-256 of a file, 64 hex digits, not {scenario.weights!r}")
    if scenario.biased_class is not None and scenario.biased_class not in range(source.num_classes):
        raise ValueError(f"biased_class must be 0 to {source.num_classes - 1}, not {scenario.biased_class}")
    if scenario.artefact.kind == "natural" and scenario.biased_class is None:
        raise ValueError(f"biased_class must be given: {scenario.data} brings its artefact")
    if (scenario.holdout > 0) == source.selection or scenario.holdout < 0:
        has = "has" if source.selection else "has no"
        raise ValueError(f"holdout is {scenario.holdout}, but {scenario.data} {has} selection split of its own")
    if scenario.floor < 0:
        raise ValueError(f"floor must be at least 0, not {scenario.floor}")


def _unit(scenario: BiasCorrection, seed: int) -> str:
    return f"class-{scenario.biased(seed)}"


def _base(scenario: BiasCorrection, seed: int) -> str:
    network = (scenario.model, scenario.layer, scenario.rectified, scenario.pretrained, scenario.training)
    if scenario.weights:
        return f"{scenario.data}/{scenario.model}/{scenario.layer}/{scenario.weights}"
    parts = (scenario.data, scenario.holdout, scenario.artefact, scenario.biased(seed), *network, seed)
    return "/".join(map(str, parts))


def derive(own: Values, reference: Values) -> dict[str, float | None]:
    """Differences to the network that never saw the artefact, of the same seed."""
    found: dict[str, float | None] = {}
    for name in ("accuracy.clean", "accuracy.attacked", "accuracy.legitimate"):
        value, other = own.get(name), reference.get(name)
        found[f"{name}.gap"] = None if value is None or other is None else value - other
    return found


def gates(original: Values | None, reference: Values | None) -> list[str]:
    """Reasons why one seed's rows say nothing."""
    values, others = original or {}, reference or {}
    able, lost, legitimate = (values.get(name) for name in ("accuracy.clean", "attack.cost", "accuracy.legitimate"))
    pulled, without = values.get("attack.success"), others.get("attack.success")
    reasons = []
    if able is not None and able < ABLE:
        reasons.append(f"the base model is a poor one ({able:.1f} % of the clean test samples)")
    if lost is not None and lost < ATTACKED:
        reasons.append(f"there is next to nothing to correct: the attack costs the base model {lost:.1f} points")
    elif pulled is not None and without is not None and pulled - without < ATTACKED:
        reasons.append(
            f"the attack makes {pulled:.1f} % of other classes' samples the biased class, and {without:.1f} % where no "
            "shortcut was learnt"
        )
    if legitimate is not None and legitimate < EVIDENT:
        reasons.append(f"the base model does not use the artefact where it is evidence ({legitimate:.1f} %)")
    return reasons


TASK = Task(
    name="bias-correction",
    summary="make a trained classifier insensitive to an artefact that it has learnt to take for one class",
    version=1,
    scenario=BiasCorrection,
    views={"train": "xym", "concept": "xa", "clean": "xy"},
    metrics=(
        "accuracy.clean",
        "accuracy.attacked",
        "f1.clean",
        "f1.attacked",
        "accuracy.legitimate",
        "attack.cost",
        "attack.success",
        "tcav",
        "tcav.positions",
        "tcav.sensitivity",
        "tcav.sensitivity.positions",
        "relevance.in-mask",
        "cav.alignment",
        "cav.alignment.individual",
        "cav.seconds",
    ),
    headline=(
        "accuracy.clean",
        "accuracy.attacked",
        "accuracy.attacked.gap",
        "f1.clean",
        "f1.attacked",
        "attack.success",
        "accuracy.legitimate",
        "tcav",
        "tcav.sensitivity",
        "relevance.in-mask",
        "cav.alignment",
        "cav.alignment.individual",
        "cav.seconds",
    ),
    rank_by="accuracy.attacked",
    reference="retrain",
    original="original",
    implementation="benchmark.tasks.correcting",
    unit=_unit,
    base=_base,
    requests=lambda scenario: 1,
    check=_check,
    derive=derive,
    gates=gates,
    selection_criterion="accuracy on the attacked selection split, clean accuracy not below the scenario's floor",
    ensembles=False,
    tunable=lambda scenario: scenario.holdout > 0 or DATA.get(scenario.data).selection,
    reference_views=("clean",),
)
