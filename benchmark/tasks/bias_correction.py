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

    ``concept_samples``: methods are told of so many samples of the biased class that they have the artefact, and of as
    many that they do not, 0 for all; of those labels the share ``concept_noise`` is wrong. No metric is touched by
    that. ``second``: another artefact, a shortcut for the class ``second_shift`` further on, which the base model
    learns as well; ``corrections`` says which of the two are corrected, both in two requests one after the other, and
    ``both-again`` in four. Metrics of the second end in ``@second``; concept vectors are judged by the artefact that
    was corrected last. ``entanglement``: how well the biased class fares and how much the artefact's direction is its
    own is measured, too.
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
    concept_noise: float = 0.0
    concept_samples: int = 0
    second: Artefact | None = None
    second_shift: int = 1
    corrections: Literal["first", "second", "both", "both-again"] = "both"
    entanglement: bool = False

    def biased(self, seed: int) -> int:
        """The class that the artefact is a shortcut for."""
        return seed % DATA.get(self.data).num_classes if self.biased_class is None else self.biased_class

    @property
    def corrected(self) -> tuple[int, ...]:
        """Which artefact each request is about: 0 for the first, 1 for the second."""
        if self.second is None:
            return (0,)
        return {"first": (0,), "second": (1,), "both": (0, 1), "both-again": (0, 1, 0, 1)}[self.corrections]


def layer_of(scenario: BiasCorrection) -> str:
    """What the scenario's layer is called in its networks."""
    return f"{scenario.layer}.layer" if scenario.rectified else scenario.layer


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
    if not 0 <= scenario.concept_noise < 0.5:
        raise ValueError(f"concept_noise must be at least 0 and below 0.5, not {scenario.concept_noise}")
    if scenario.concept_samples < 0:
        raise ValueError(f"concept_samples must be at least 0, not {scenario.concept_samples}")
    _check_second(scenario)


def _check_second(scenario: BiasCorrection) -> None:
    first, second, classes = scenario.artefact, scenario.second, DATA.get(scenario.data).num_classes
    if second is None:
        if (scenario.second_shift, scenario.corrections) != (1, "both"):
            raise ValueError("second_shift and corrections need a second artefact: give second")
        return
    if first.kind in ("natural", second.kind) or first.legitimate or second.legitimate:
        raise ValueError("second must be an artefact of another kind than the first, both inserted, none legitimate")
    if not 0 <= scenario.second_shift < classes:
        raise ValueError(f"second_shift must be 0 to {classes - 1}, not {scenario.second_shift}")
    try:
        second.check(scenario.data, DATA.get(scenario.data))
    except ValueError as error:
        raise ValueError(f"second: {error}") from error


def _unit(scenario: BiasCorrection, seed: int) -> str:
    return f"class-{scenario.biased(seed)}"


def _base(scenario: BiasCorrection, seed: int) -> str:
    network = (scenario.model, scenario.layer, scenario.rectified, scenario.pretrained, scenario.training)
    if scenario.weights:
        return f"{scenario.data}/{scenario.model}/{scenario.layer}/{scenario.weights}"
    second = () if scenario.second is None else (scenario.second, scenario.second_shift)
    parts = (scenario.data, scenario.holdout, scenario.artefact, scenario.biased(seed), *second, *network, seed)
    return "/".join(map(str, parts))


def _tunable(scenario: BiasCorrection) -> bool:
    """With two artefacts there is no one criterion: parameters are those of the scenario without the second."""
    return scenario.second is None and (scenario.holdout > 0 or DATA.get(scenario.data).selection)


def _for_references(scenario: BiasCorrection) -> BiasCorrection:
    """One request: whoever trains anew on clean data has corrected both artefacts at once."""
    return scenario if scenario.second is None else msgspec.structs.replace(scenario, corrections="first")


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
    requests=lambda scenario: len(scenario.corrected),
    check=_check,
    derive=derive,
    gates=gates,
    selection_criterion="accuracy on the attacked selection split, clean accuracy not below the scenario's floor",
    ensembles=False,
    tunable=_tunable,
    reference_views=("clean",),
    for_references=_for_references,
)
