"""label-free-forget: forget samples, a class or noisy labels; the paper's method reads no label (arXiv:2404.00506)."""

from __future__ import annotations

from typing import Literal

import msgspec

from benchmark.contracts import Recipe
from benchmark.data import DATA
from benchmark.tasks import Task, Values
from benchmark.tasks.class_forget import (
    ATTACKS,
    BY_CLASS,
    base_of,
    check_attacks,
    check_base,
    gaps,
    has_selection,
    opted,
)

#: Accuracy in percent of the test samples under which a base model has learnt too little to be amended.
ABLE_BEFORE = 50.0
#: Share of the forget set, in percent, that a base model must have learnt as it is labelled.
LEARNT_BEFORE = 20.0
#: Points of forget-set accuracy that the forget set must be worth: the original's above the retrained model's.
WORTH = 0.5

Kind = Literal["data-removal", "class-removal", "noisy-labels"]


class LabelFreeForget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario: data, network, how the base model is trained, and what kind of forget set is made.

    ``data-removal``: ``share`` (0.4) of the training samples of each class of the upper half (5 to 9 of ten), rounded
    down. ``class-removal``: all of class i for seed i (modulo the number of classes). ``noisy-labels``: ``share``
    (0.6) of each class of the lower half get a wrong label, uniform over all other classes; the base model learns the
    wrong ones, and these samples must be forgotten. Which samples are drawn depends on the seed; ``forget_seed`` makes
    every seed forget what that one does. ``labelled_share`` of the training samples have labels for the methods that
    get few. ``attack_fit_samples`` caps what the SVC attack is fitted on. ``holdout``, ``pretrained`` and ``weights``
    are those of class-forget, and so are ``by_class`` and, with class-removal, ``attacks``. ``classes``: class-removal
    takes the classes i, i + 1, ... (modulo the number of classes), so many. ``requests``: so many amendments are asked
    for, one after the other. Each asks for its part of the forget set: one of the ``classes``, or samples, dealt out at
    random within every affected class. What earlier requests forgot is in no view any more.
    """

    data: str
    model: str
    training: Recipe
    kind: Kind
    task: Literal["label-free-forget"] = "label-free-forget"
    share: float | None = None
    forget_seed: int | None = None
    labelled_share: float = 0.1
    attack_fit_samples: int = 10_000
    holdout: int = 0
    pretrained: bool = False
    weights: str = ""
    classes: int = 1
    requests: int = 1
    attacks: bool = False
    by_class: bool = False

    @property
    def num_classes(self) -> int:
        return DATA.get(self.data).num_classes

    @property
    def removed(self) -> float:
        """The share of each affected class that is in the forget set."""
        default = {"data-removal": 0.4, "class-removal": 1.0, "noisy-labels": 0.6}[self.kind]
        return default if self.share is None else self.share

    def drawn_by(self, seed: int) -> int:
        """The seed that decides what a cell of ``seed`` forgets."""
        return seed if self.forget_seed is None else self.forget_seed

    def affected(self, seed: int) -> tuple[int, ...]:
        """The classes that the forget set is taken from."""
        half = self.num_classes // 2
        upper, lower = range(half, self.num_classes), range(half)
        whole = tuple((self.drawn_by(seed) + k) % self.num_classes for k in range(self.classes))
        return {"data-removal": tuple(upper), "class-removal": whole, "noisy-labels": tuple(lower)}[self.kind]

    def request(self, seed: int, number: int) -> tuple[int, ...]:
        """The classes that the given request (from 0) asks to forget; none where it asks for samples."""
        if self.kind != "class-removal":
            return ()
        classes = self.affected(seed)
        return classes if self.requests == 1 else (classes[number],)


def _check(scenario: LabelFreeForget) -> None:
    check_base(scenario)
    shape = DATA.get(scenario.data).shape
    if (scenario.model == "mlp-toy") != (len(shape) == 1):
        raise ValueError(f"model {scenario.model} does not take inputs of shape {shape} ({scenario.data})")
    if scenario.kind == "noisy-labels" and scenario.weights:
        raise ValueError("weights cannot be given with noisy-labels: the base model has to learn the wrong ones")
    if scenario.kind == "noisy-labels" and scenario.training.stacked > 1:
        raise ValueError("training: stacked must be 1 with noisy-labels: every seed has wrong labels of its own")
    if scenario.kind == "class-removal" and scenario.share is not None:
        raise ValueError("share cannot be chosen with kind class-removal, which takes a whole class")
    if not 0 < scenario.removed <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {scenario.removed}")
    if not 0 < scenario.labelled_share <= 1:
        raise ValueError(f"labelled_share must be above 0 and at most 1, not {scenario.labelled_share}")
    if scenario.forget_seed is not None and scenario.forget_seed < 0:
        raise ValueError(f"forget_seed must be at least 0, not {scenario.forget_seed}")
    if scenario.attack_fit_samples < 10:
        raise ValueError(f"attack_fit_samples must be at least 10, not {scenario.attack_fit_samples}")
    _check_requests(scenario)
    check_attacks(scenario)
    if scenario.attacks and scenario.kind != "class-removal":
        raise ValueError(f"attacks bring a class back, but kind {scenario.kind} removes none")


def _check_requests(scenario: LabelFreeForget) -> None:
    most = scenario.num_classes - 2 if scenario.kind == "class-removal" else 1
    if not 1 <= scenario.classes <= most:
        allowed = f"1 to {most}" if scenario.kind == "class-removal" else f"1 with kind {scenario.kind}"
        raise ValueError(f"classes must be {allowed}, not {scenario.classes}")
    if scenario.requests < 1:
        raise ValueError(f"requests must be at least 1, not {scenario.requests}")
    if scenario.kind == "class-removal" and scenario.requests not in (1, scenario.classes):
        raise ValueError(
            f"requests must be 1 or as many as classes, {scenario.classes}, with kind class-removal, of which each "
            f"request takes a whole class, not {scenario.requests}"
        )


def _unit(scenario: LabelFreeForget, seed: int) -> str:
    if scenario.kind == "class-removal":
        return "class-" + "-".join(str(c) for c in scenario.affected(seed))
    return f"draw-{scenario.drawn_by(seed)}"


def _base(scenario: LabelFreeForget, seed: int) -> str:
    wrong = f"/{scenario.removed}/{scenario.drawn_by(seed)}" if scenario.kind == "noisy-labels" else ""
    return f"{base_of(scenario, seed)}{wrong}"


_ASR = "mia.softmax.xgboost"
_GAPS = (
    "accuracy.train.retain",
    "accuracy.train.forget",
    "accuracy.test.all",
    "accuracy.test.retain",
    "accuracy.test.forget",
    _ASR,
    "mia.softmax.xgboost-balanced",
    "mia.true-class-probability.svc",
    "mia.loss.auc",
    "mia.loss.tpr@1fpr",
    "recovery.linear-probe",
    "recovery.linear-probe@10",
    "relearn.steps",
)


def derive(own: Values, reference: Values) -> dict[str, float | None]:
    """Gaps to the retrained model of the same seed, and their average over the paper's columns.

    Averaged are the absolute gaps of Train_r, Train_f, ASR, and of Test, or of Test_r and Test_f where a class goes.
    """
    found = gaps((*_GAPS, *opted(own)), own, reference)
    by_class = found["accuracy.test.forget.gap"] is not None
    tests = ("accuracy.test.retain", "accuracy.test.forget") if by_class else ("accuracy.test.all",)
    averaged = [found[f"{name}.gap"] for name in ("accuracy.train.retain", "accuracy.train.forget", *tests, _ASR)]
    known = [abs(gap) for gap in averaged if gap is not None]
    found["gap.average"] = sum(known) / len(known) if len(known) == len(averaged) else None
    return found


def gates(original: Values | None, reference: Values | None) -> list[str]:
    """Reasons why one seed's rows say nothing."""
    original, reference = original or {}, reference or {}
    reasons = []
    able = original.get("accuracy.test.all")
    # What noisy labels cost the base model in accuracy is the flaw itself, not a poor model: there retraining tells.
    able = max((a for a in (able, reference.get("accuracy.test.all")) if a is not None), default=None)
    if able is not None and able < ABLE_BEFORE:
        reasons.append(f"base and retrained model are poor ones ({able:.1f} % of the test samples)")
    learnt, unseen = original.get("accuracy.train.forget"), reference.get("accuracy.train.forget")
    if learnt is not None and learnt < LEARNT_BEFORE:
        reasons.append(f"the base model has hardly learnt the forget set ({learnt:.1f} %)")
    if learnt is not None and unseen is not None and learnt - unseen < WORTH:
        worth = f"{learnt:.1f} % of it right, retrained {unseen:.1f} %"
        reasons.append(f"there is next to nothing to forget: the original has {worth}")
    return reasons


TASK = Task(
    name="label-free-forget",
    summary="forget samples, a class or noisy labels from a classifier, with or without labels",
    version=1,
    scenario=LabelFreeForget,
    views={"retain": "xy", "forget": "xy", "selection": "xy", "labelled": "xy"},
    metrics=(
        "gap.average",
        "accuracy.train.retain",
        "accuracy.train.forget",
        "accuracy.test.all",
        "accuracy.test.retain",
        "accuracy.test.forget",
        _ASR,
        "mia.softmax.xgboost-balanced",
        "mia.true-class-probability.svc",
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
        "gap.average",
        "accuracy.train.retain",
        "accuracy.train.forget",
        "accuracy.test.all",
        "accuracy.test.retain",
        "accuracy.test.forget",
        _ASR,
        "mia.softmax.xgboost-balanced",
        "mia.loss.auc",
        "recovery.linear-probe",
        "recovery.linear-probe@10",
        "relearn.steps",
    ),
    with_gaps=True,
    rank_by="gap.average",
    reference="retrain",
    original="original",
    implementation="benchmark.tasks.forgetting",
    unit=_unit,
    base=_base,
    requests=lambda scenario: scenario.requests,
    check=_check,
    derive=derive,
    gates=gates,
    selection_criterion="ACC_r (1 - ACC_f), or for samples ACC (1 - |a_f - a_unseen|), on the selection split",
    tunable=has_selection,
)
