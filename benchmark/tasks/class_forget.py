"""class-forget: remove one class, several at once, or several in sequence from a classifier."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from benchmark.contracts import Recipe
from benchmark.data import DATA
from benchmark.metrics.tug_of_war import tug_of_war
from benchmark.models import IMAGENET_CLASSES, MODELS, PUBLISHED, check_model
from benchmark.tasks import Task, Values

#: Accuracy in percent above which a retrained model still knows a forgotten class.
KNOWN_AFTER_RETRAINING = 5.0
#: Accuracy in percent under which a base model never knew the classes.
KNOWN_BEFORE = 50.0
#: Points by which a retrained model may be worse on the other classes than the base model.
WORSE = 10.0
SHA256 = re.compile(r"[0-9a-f]{64}")


class ClassForget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario: data, network, how the base model is trained, and which classes are forgotten.

    Seed i forgets the ``classes`` classes i, i + 1, ... (modulo the number of classes), in one request or one after
    the other; with ``class_step`` s it begins with class s i. ``forget_seed`` makes every seed forget what that one
    does, and ``forget`` names the classes themselves. ``holdout`` training samples are held out for selection where the
    data set has no such split. ``pretrained``: networks start from published weights of ImageNet. ``weights``: the base
    model is one that somebody else trained, the same for every seed: the SHA-256 of its file
    (``benchmark.models.own``), or ``published`` for the library's own classifier of ImageNet; ``training`` is then for
    retraining. ``attack_fit_samples`` caps what the SVC attack is fitted on. ``samples_per_class``: every method but
    the references sees no more than that many random training samples of each class (0: all of them), the same for
    all methods; fewer of them are a part of more. ``attacks``: adaptive attacks are measured, too; ``by_class``: and
    what each class that stays loses.
    """

    data: str
    model: str
    training: Recipe
    task: Literal["class-forget"] = "class-forget"
    classes: int = 1
    requests: Literal["at-once", "in-sequence"] = "at-once"
    forget_seed: int | None = None
    attack_fit_samples: int = 10_000
    draw_regions: bool = False
    holdout: int = 0
    pretrained: bool = False
    weights: str = ""
    forget: tuple[int, ...] = ()
    class_step: int = 1
    samples_per_class: int = 0
    attacks: bool = False
    by_class: bool = False

    @property
    def num_classes(self) -> int:
        return DATA.get(self.data).num_classes

    def forgotten(self, seed: int) -> tuple[int, ...]:
        """The classes that a seed forgets, in the order of the requests."""
        if self.forget:
            return self.forget
        first = self.class_step * (seed if self.forget_seed is None else self.forget_seed)
        return tuple((first + k) % self.num_classes for k in range(self.classes))

    def request(self, seed: int, number: int) -> tuple[int, ...]:
        """The classes that the given request (from 0) asks to forget."""
        classes = self.forgotten(seed)
        return classes if self.requests == "at-once" else (classes[number],)


def check_base(scenario: Any) -> None:
    """ValueError or InputError unless a base model can be made from the data, network and weights of a scenario.

    ``scenario`` has the fields data, model, training, holdout, pretrained and weights.
    """
    source = DATA.get(scenario.data)
    check_model(scenario.model)
    if scenario.holdout < 0 or (scenario.holdout and source.selection):
        raise ValueError(f"holdout is {scenario.holdout}, but {scenario.data} has a selection split of its own")
    if scenario.pretrained and scenario.model in MODELS:
        raise ValueError(f"pretrained: there are no published weights of {scenario.model}")
    if scenario.weights == PUBLISHED:
        _check_published(scenario.model, scenario.data, source.num_classes)
    elif scenario.weights and not SHA256.fullmatch(scenario.weights):
        raise ValueError(
            f"weights must be the SHA-256 of a file, 64 hex digits, or {PUBLISHED!r}, not {scenario.weights!r}"
        )
    if scenario.weights and scenario.training.stacked > 1:
        raise ValueError("training: stacked must be 1 where weights are given: all seeds share one base model")


def _check_published(model: str, data: str, num_classes: int) -> None:
    """ValueError where a library cannot have a published classifier of these classes."""
    if model.partition(":")[0] not in ("timm", "torchvision"):
        raise ValueError(f"weights: there is no published classifier {model}; timm and torchvision have some")
    if num_classes != IMAGENET_CLASSES:
        raise ValueError(f"weights: published classifiers are of ImageNet's 1,000 classes, {data} has {num_classes}")


def has_selection(scenario: Any) -> bool:
    """Whether there are held-out samples to choose hyper-parameters on."""
    return scenario.holdout > 0 or DATA.get(scenario.data).selection


def base_of(scenario: Any, seed: int) -> str:
    """The base model's name; with weights of somebody else it is the same for all seeds."""
    data = f"{scenario.data}/{scenario.holdout}" if scenario.holdout else scenario.data
    if scenario.weights:
        return f"{data}/{scenario.model}/{scenario.weights}"
    start = "/pretrained" if scenario.pretrained else ""
    return f"{data}/{scenario.model}{start}/{scenario.training}/{seed}"


def _check(scenario: ClassForget) -> None:
    check_base(scenario)
    shape = DATA.get(scenario.data).shape
    if (scenario.model == "mlp-toy") != (len(shape) == 1):
        raise ValueError(f"model {scenario.model} does not take inputs of shape {shape} ({scenario.data})")
    if scenario.draw_regions and shape != (2,):
        raise ValueError(f"draw_regions needs data in the plane, not {scenario.data}")
    if scenario.attack_fit_samples < 10:
        raise ValueError(f"attack_fit_samples must be at least 10, not {scenario.attack_fit_samples}")
    if not 1 <= scenario.classes <= scenario.num_classes - 2:
        raise ValueError(f"classes must be 1 to {scenario.num_classes - 2}, not {scenario.classes}")
    if scenario.forget_seed is not None and scenario.forget_seed < 0:
        raise ValueError(f"forget_seed must be at least 0, not {scenario.forget_seed}")
    if not 1 <= scenario.class_step < scenario.num_classes:
        raise ValueError(f"class_step must be 1 to {scenario.num_classes - 1}, not {scenario.class_step}")
    if scenario.samples_per_class < 0:
        raise ValueError(f"samples_per_class must be at least 0, not {scenario.samples_per_class}")
    check_attacks(scenario)
    if scenario.forget:
        _check_forget(scenario)


def check_attacks(scenario: Any) -> None:
    """ValueError where attacks are asked for that change pixels, and there are none."""
    shape = DATA.get(scenario.data).shape
    if scenario.attacks and len(shape) != 3:
        raise ValueError(f"attacks need images, not inputs of shape {shape} ({scenario.data})")


def _check_forget(scenario: ClassForget) -> None:
    known, named = range(scenario.num_classes), scenario.forget
    if len(set(named)) < len(named) or not set(named) <= set(known):
        raise ValueError(f"forget must be distinct classes from 0 to {known[-1]}, not {list(named)}")
    if scenario.classes != len(named) or scenario.forget_seed is not None or scenario.class_step != 1:
        n = len(named)
        raise ValueError(f"forget names {n} classes: classes must be {n}, forget_seed and class_step left out")


def _unit(scenario: ClassForget, seed: int) -> str:
    return "class-" + "-".join(str(c) for c in scenario.forgotten(seed))


def number_of_requests(scenario: ClassForget) -> int:
    """How many amendments are asked for, one after the other."""
    return scenario.classes if scenario.requests == "in-sequence" else 1


def _for_references(scenario: ClassForget) -> ClassForget:
    return msgspec.structs.replace(scenario, samples_per_class=0)


_GAPS = (
    "accuracy.test.retain",
    "accuracy.test.forget",
    "mia.true-class-probability.svc",
    "mia.softmax.xgboost",
    "mia.softmax.xgboost-balanced",
    "mia.loss.auc",
    "mia.loss.tpr@1fpr",
    "recovery.linear-probe",
    "recovery.linear-probe@10",
    "relearn.steps",
)


#: What is measured only where a scenario asks for it.
ATTACKS = (
    "recovery.nearest-class",
    "recovery.nearest-class.outputs",
    "recovery.lifted-logit",
    "recovery.perturbation",
    "inversion.steps",
)
BY_CLASS = ("accuracy.test.worst-class", "drop.worst-class", "drop.nearest-class", "drop.other-classes")


def opted(own: Values) -> tuple[str, ...]:
    """The metrics among ``own`` that somebody asked for."""
    return tuple(name for name in (*ATTACKS, *BY_CLASS) if name in own)


def gaps(names: tuple[str, ...], own: Values, reference: Values) -> dict[str, float | None]:
    """``<name>.gap`` of each metric: its difference to the reference's, None where either is blank."""
    found: dict[str, float | None] = {}
    for name in names:
        value, other = own.get(name), reference.get(name)
        found[f"{name}.gap"] = None if value is None or other is None else value - other
    return found


def derive(own: Values, reference: Values) -> dict[str, float | None]:
    """Gaps to retraining and tug-of-war, from one cell's metrics and those of the same seed's retrained model."""
    derived = gaps((*_GAPS, *opted(own)), own, reference)
    tugs = []
    for name in ("accuracy.train.retain", "accuracy.train.forget", "accuracy.test.all"):
        value, other = own.get(name), reference.get(name)
        if value is None or other is None:
            return derived
        tugs.append((value, other))
    derived["tow"] = tug_of_war(tugs)
    return derived


def gates(original: Values | None, reference: Values | None) -> list[str]:
    """Reasons why one seed's rows say nothing."""
    reasons = []
    able = (original or {}).get("accuracy.test.retain")
    if able is not None and able < KNOWN_BEFORE:
        reasons.append(f"the base model is a poor one ({able:.1f} % of the other classes' test samples)")
    known = (original or {}).get("accuracy.test.forget")
    if known is not None and known < KNOWN_BEFORE:
        reasons.append(f"the base model hardly knows the forgotten class ({known:.1f} % of its test samples)")
    again = (reference or {}).get("accuracy.test.retain")
    if able is not None and again is not None and able - again > WORSE:
        reasons.append(
            f"the retrained model is a poor one ({again:.1f} % where the base model has {able:.1f} %): its recipe does "
            "not make what that one is, and gaps to it say little"
        )
    still = (reference or {}).get("accuracy.test.forget")
    if still is not None and still > KNOWN_AFTER_RETRAINING:
        reasons.append(f"the retrained model still knows the forgotten class ({still:.1f} %)")
    return reasons


TASK = Task(
    name="class-forget",
    summary="remove one class, several at once, or several in sequence from a classifier",
    version=1,
    scenario=ClassForget,
    views={"retain": "xy", "forget": "xy", "selection": "xy"},
    metrics=(
        "accuracy.test.retain",
        "accuracy.test.forget",
        "accuracy.test.all",
        "accuracy.train.retain",
        "accuracy.train.forget",
        "tow",
        "mia.true-class-probability.svc",
        "mia.softmax.xgboost",
        "mia.softmax.xgboost-balanced",
        "mia.loss.auc",
        "mia.loss.tpr@1fpr",
        "recovery.linear-probe",
        "recovery.linear-probe@10",
        "relearn.steps",
        "change.parameters",
        "change.features",
        *ATTACKS,
        *BY_CLASS,
    ),
    headline=(
        "accuracy.test.retain",
        "accuracy.test.forget",
        "tow",
        "mia.true-class-probability.svc",
        "mia.loss.auc.gap",
        "recovery.linear-probe.gap",
        "recovery.linear-probe@10.gap",
        "relearn.steps.gap",
        "change.parameters",
        "change.features",
    ),
    rank_by="tow",
    reference="retrain",
    original="original",
    implementation="benchmark.tasks.forgetting",
    unit=_unit,
    base=base_of,
    requests=number_of_requests,
    check=_check,
    derive=derive,
    gates=gates,
    selection_criterion="ACC_r (1 - ACC_f) on the selection split",
    tunable=has_selection,
    for_references=_for_references,
)
