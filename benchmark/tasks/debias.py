"""debias-known and debias-unknown: train a classifier on data whose label and attribute go together.

The two tasks differ in whether a method may read the attributes of the training set (arXiv:2503.13236).
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from benchmark.contracts import Access, StepRecipe
from benchmark.data import DATA
from benchmark.data.bias import Bias
from benchmark.models import MODELS, check_model
from benchmark.tasks import Task, Values
from benchmark.tasks.class_forget import SHA256

#: How the state of a network that is the result is chosen among those on the way, on held-out samples.
Rule = Literal["worst-group", "group-balanced", "bias-conflicting", "worst-class", "last"]
RULES: tuple[Rule, ...] = get_args(Rule)
#: Rules that read the held-out samples' attributes.
BY_ATTRIBUTE: tuple[Rule, ...] = ("worst-group", "group-balanced", "bias-conflicting")
#: Points by which ERM must be better on bias-aligned than on bias-conflicting samples of the same class.
BIASED = 10.0
#: Accuracy in percent that ERM must reach on bias-aligned test samples.
ABLE = 50.0


class Debias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scenario: data and its bias, network, how it is trained, and the rule by which its state is selected.

    ``rank_by`` is the accuracy that rows are ranked by. ``pretrained``: the network starts from its library's published
    weights; ``weights``: from those of a file, its SHA-256, head and all. ``oracle``: every checkpoint is kept, so that
    the choice that looks at test data can be shown beside the others, for study.
    """

    task: Literal["debias-known", "debias-unknown"]
    data: str
    model: str
    training: StepRecipe
    selection: Rule
    rank_by: Literal["group-balanced", "worst-group", "bias-conflicting"] = "group-balanced"
    bias: Bias = Bias()
    pretrained: bool = False
    oracle: bool = False
    weights: str = ""


def _check(scenario: Debias) -> None:
    source = DATA.get(scenario.data)
    check_model(scenario.model)
    scenario.bias.check(scenario.data, source)
    text, takes_text = len(source.shape) == 2, scenario.model.startswith("transformers:")
    if text != takes_text or scenario.model == "mlp-toy":
        raise ValueError(f"model {scenario.model} does not take inputs of shape {source.shape} ({scenario.data})")
    if scenario.pretrained and scenario.model in MODELS:
        raise ValueError(f"pretrained: there are no published weights of {scenario.model}")
    if scenario.weights and not SHA256.fullmatch(scenario.weights):
        raise ValueError(f"weights must be the SHA-256 of a file, 64 hex digits, not {scenario.weights!r}")
    if scenario.task == "debias-known" and scenario.selection not in BY_ATTRIBUTE:
        raise ValueError(
            f"selection {scenario.selection!r} in task debias-known, where attributes are known; "
            f"one of {', '.join(BY_ATTRIBUTE)}"
        )


def track(scenario: Debias, access: Access) -> str:
    """Whether attributes of the training set and of the held-out split were used: ``yes/no`` and the like.

    ``access`` is what a method was granted; the scenario's selection rule counts as using the held-out split.
    """
    train = "a" in access.views.get("train", "")
    held_out = "a" in access.views.get("validation", "") or scenario.selection in BY_ATTRIBUTE
    return "/".join("yes" if used else "no" for used in (train, held_out))


def rank_by(scenario: Debias) -> str:
    """The metric that a scenario's rows are ranked by."""
    return f"accuracy.{scenario.rank_by}"


def _unit(scenario: Debias, seed: int) -> str:
    return scenario.bias.kind


def _base(scenario: Debias, seed: int) -> str:
    if scenario.weights:
        return f"{scenario.data}/{scenario.bias}/{scenario.model}/{scenario.weights}"
    weights = "pretrained" if scenario.pretrained else "new"
    return f"{scenario.data}/{scenario.bias}/{scenario.model}/{weights}/{seed}"


def _tunable(scenario: Debias) -> bool:
    """The rule ``last`` prefers nothing to anything."""
    return scenario.selection != "last" and (scenario.bias.holdout > 0 or DATA.get(scenario.data).selection)


def derive(own: Values, reference: Values) -> dict[str, float | None]:
    """What a method gains over ERM of the same seed, in points."""
    found: dict[str, float | None] = {}
    for name in ("group-balanced", "worst-group"):
        value, other = own.get(f"accuracy.{name}"), reference.get(f"accuracy.{name}")
        found[f"gain.{name}"] = None if value is None or other is None else value - other
    return found


def gates(original: Values | None, reference: Values | None) -> list[str]:
    """Reasons why one seed's rows say nothing."""
    values = original or {}
    gap, aligned = values.get("bias.difference"), values.get("accuracy.bias-aligned")
    reasons = []
    if gap is not None and gap < BIASED:
        reasons.append(f"there is next to no bias to correct: within a class, ERM's gap is {gap:.1f} points")
    if aligned is not None and aligned < ABLE:
        reasons.append(f"ERM is a poor classifier ({aligned:.1f} % of the bias-aligned test samples)")
    return reasons


_METRICS = (
    "accuracy.group-balanced",
    "accuracy.worst-group",
    "gain.group-balanced",
    "gain.worst-group",
    "accuracy.worst-group.lower",
    "accuracy.mean",
    "accuracy.mean.train-weighted",
    "accuracy.bias-aligned",
    "accuracy.bias-conflicting",
    "bias.difference",
    "attribute.decodability",
    "selection.score",
    "selection.standard-error",
    "selection.step",
)


def _task(name: Literal["debias-known", "debias-unknown"], summary: str, train: str) -> Task:
    return Task(
        name=name,
        summary=summary,
        version=1,
        scenario=Debias,
        views={"train": train, "validation": "xya", "unbiased": "xy"},
        metrics=_METRICS,
        headline=tuple(
            name for name in _METRICS if name not in ("gain.worst-group", "bias.difference", "selection.step")
        ),
        rank_by="accuracy.group-balanced",
        reference="erm",
        original="erm",
        implementation="benchmark.tasks.debiasing",
        unit=_unit,
        base=_base,
        requests=lambda scenario: 1,
        check=_check,
        derive=derive,
        gates=gates,
        selection_criterion="the scenario's selection rule on the held-out split",
        track=track,
        ranked_by=rank_by,
        ensembles=False,
        tunable=_tunable,
        reference_views=("unbiased",),
    )


TASKS = (
    _task("debias-known", "train on data whose attribute and label go together, the attributes being known", "xya"),
    _task(
        "debias-unknown",
        "train on data whose attribute and label go together, the attributes of the training set being unknown",
        "xy",
    ),
)
