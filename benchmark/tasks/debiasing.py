"""Debiasing: how problems are made and how the classifiers that come of them are evaluated."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.contracts import Access, DebiasProblem, Ledger, Measured
from benchmark.data import DATA
from benchmark.data.bias import Bias
from benchmark.data.biased import Biased, group_counts, load_biased
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.metrics import groups
from benchmark.metrics.accuracy import rounded
from benchmark.metrics.decodability import attribute_decodability
from benchmark.metrics.groups import GroupCounts, count_groups
from benchmark.models.classifiers import build_classifier
from benchmark.models.own import load_weights
from benchmark.models.surgery import logits_and_features
from benchmark.seeding import derive
from benchmark.tasks import Evaluation, Guarded, Selected
from benchmark.tasks.debias import BY_ATTRIBUTE, Debias, rank_by
from benchmark.tasks.selection import Face, Selector

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context


#: Networks that flatten their input at once: another memory format would only cost them copies.
FLATTENING = ("cmnist-mlp",)


@lru_cache(maxsize=2)
def _on_device(data: str, bias: Bias, device: torch.device, channels_last: bool) -> Biased:
    biased = load_biased(data, bias).to(device)

    def formatted(samples: Samples) -> Samples:
        return replace(samples, channels_last=channels_last)

    return replace(
        biased,
        train=formatted(biased.train),
        selection=formatted(biased.selection),
        test=formatted(biased.test),
        unbiased=None if biased.unbiased is None else formatted(biased.unbiased),
    )


def on_device(scenario: Debias, device: torch.device) -> Biased:
    """The scenario's data on ``device``; kept, because a worker serves many cells."""
    return _on_device(scenario.data, scenario.bias, device, scenario.model not in FLATTENING)


def data_checksum(scenario: Debias) -> str:
    return load_biased(scenario.data, scenario.bias).checksum


def base_model(scenario: Debias, seed: int, context: Context) -> nn.Module:
    """The network before training: newly initialised from the seed, or pretrained with a new head."""
    with torch.random.fork_rng(devices=[context.device] if context.device.type == "cuda" else []):
        torch.manual_seed(derive(seed, "debias", "init"))
        network = _network(scenario)
        return (load_weights(network, scenario.weights) if scenario.weights else network).to(context.device)


def _network(scenario: Debias) -> nn.Module:
    source = DATA.get(scenario.data)
    shape = (3, *source.shape[1:]) if scenario.bias.kind == "colour" else source.shape
    classes = 2 if scenario.bias.halves else source.num_classes
    return build_classifier(scenario.model, classes, shape, pretrained=scenario.pretrained)


def build(
    scenario: Debias,
    seed: int,
    request: int,
    model: nn.Module,
    access: Access,
    ledger: Ledger,
    context: Context,
) -> Guarded:
    """The problem of one seed, and the harness's watch over what the method trains."""
    data = on_device(scenario, context.device)
    judged, lent = data.selection, data.selection.subset(torch.empty(0, dtype=torch.int64))
    if "validation" in access.views:
        lent, judged = _halves(data)
    hidden = scenario.task == "debias-unknown"
    parts = {
        "train": replace(data.train, attributes=None) if hidden else data.train,
        "validation": lent if scenario.selection in BY_ATTRIBUTE else replace(lent, attributes=None),
        "unbiased": lent if data.unbiased is None else data.unbiased,
    }
    if data.unbiased is None and "unbiased" in access.views:
        raise InputError(f"data set {scenario.data} cannot be drawn without its bias: leave the method out")
    views = {name: View(name, samples, access, ledger) for name, samples in parts.items()}
    read = "xya" if scenario.selection in BY_ATTRIBUTE else "xy"
    seen = View("selection", judged, Access(selection=read), ledger)
    watch = partial(
        Selector,
        view=seen,
        truth=judged.to(torch.device("cpu")),
        shape=(len(data.classes), len(data.attributes)),
        aligned=aligned(data),
        most=scenario.training.checkpoints,
    )
    selector = watch(rule=scenario.selection, keep=scenario.oracle)
    _check_rule(scenario, judged, selector.aligned)
    problem = DebiasProblem(
        model=copy.deepcopy(model).train(),
        num_classes=len(data.classes),
        device=context.device,
        seed=derive(seed, "problem", request),
        build_model=partial(_network, scenario),
        train=views["train"],
        validation=views["validation"],
        unbiased=views["unbiased"],
        num_attributes=len(data.attributes),
        attributes_known="a" in access.views.get("train", ""),
        recipe=scenario.training,
        watch=Face(selector),
        auxiliary=lambda: Face(watch(rule="class-balanced", rules=())),
    )
    return Guarded(problem, (*views.values(), seen), partial(_selected, selector))


def _check_rule(scenario: Debias, judged: Samples, mask: Tensor) -> None:
    """InputError where there is nothing that the rule could go by."""
    assert judged.attributes is not None
    conflicting = ~mask[judged.labels.cpu(), judged.attributes.cpu()]
    if not len(judged) or (scenario.selection == "bias-conflicting" and not conflicting.any()):
        raise InputError(f"selection {scenario.selection!r}: no such held-out sample of {scenario.data} to go by")


def aligned(data: Biased) -> Tensor:
    """(K, A) bool: the groups that the training set has more of than if label and attribute were independent."""
    return groups.aligned(group_counts(data.train, len(data.classes), len(data.attributes)))


def _halves(data: Biased) -> tuple[Samples, Samples]:
    """Two halves of the held-out split, every other sample of each group: to train on, and to select on."""
    held = data.selection
    assert held.attributes is not None
    order = (held.labels * len(data.attributes) + held.attributes).argsort(stable=True)
    return held.subset(order[::2].sort().values), held.subset(order[1::2].sort().values)


def _selected(selector: Selector, model: nn.Module) -> nn.Module:
    """The network in the state that the scenario's rule has chosen; its last state counts, looked at or not."""
    if not selector.history:
        selector.look(model)
    selector.restore(model)
    model.selection = selector  # type: ignore[assignment]
    return model


def selection_of(model: nn.Module) -> Selector:
    """The watch that has looked at ``model``."""
    found = getattr(model, "selection", None)
    assert isinstance(found, Selector)
    return found


def selection_score(scenario: Debias, seed: int, amended: nn.Module, context: Context) -> Selected:
    """What every method is tuned by, in [0, 1]: the scenario's rule at the state that it chose."""
    return Selected((selection_of(amended).chosen[scenario.selection].score.value or 0.0) / 100)


@dataclass(frozen=True)
class _Judged:
    """A network's outputs on the test set."""

    counts: GroupCounts
    logits: Tensor
    features: Tensor


def evaluate(scenario: Debias, seed: int, base: nn.Module, amended: nn.Module, context: Context) -> Evaluation:
    """Every metric of one trained classifier, at the state that its rule chose and at those of the other rules."""
    data = on_device(scenario, context.device)
    selector = selection_of(amended)
    judged = _judge(amended, data)
    chosen = selector.chosen[scenario.selection]
    metrics = _scores(judged, data, seed)
    metrics["selection.score"] = chosen.score if scenario.selection != "last" else Measured(None, 0)
    pooled = selector.chosen.get("bias-conflicting")  # what its rule has to choose by is the fewer samples' noise
    metrics["selection.standard-error"] = Measured(pooled.error, pooled.score.n) if pooled else Measured(None, 0)
    metrics["selection.step"] = Measured(float(_steps(scenario, selector, chosen.look)), 0)
    metrics |= _other_rules(scenario, amended, judged, data)
    assert data.test.attributes is not None
    arrays = {
        "test.logits": judged.logits.half().numpy(),
        "test.labels": data.test.labels.cpu().numpy().astype(np.int16),
        "test.attributes": data.test.attributes.cpu().numpy().astype(np.int16),
        **{
            f"selection.{rule}": np.array([look.get(rule, np.nan) for look in selector.history])
            for rule in selector.history[0]
        },
    }
    finite = bool(judged.logits.isfinite().all())
    flags = [] if finite else ["the network's outputs are not finite"]
    return Evaluation(metrics, arrays, flags, _per_group(judged.counts, data))


def _steps(scenario: Debias, selector: Selector, look: int) -> int:
    """The training step of a look, as the looks are spread over the recipe."""
    return round(look * scenario.training.steps / len(selector.history))


def _judge(model: nn.Module, data: Biased) -> _Judged:
    logits, features = logits_and_features(model.eval(), data.test.inputs, len(data.test))
    logits = rounded(logits.where(logits.isfinite(), torch.nan))
    assert data.test.attributes is not None
    truth = data.test.labels.cpu(), data.test.attributes.cpu()
    shape = len(data.classes), len(data.attributes)
    predictions = logits.argmax(1).where(~logits.isnan().any(1), -1)  # what is no number is never right
    return _Judged(count_groups(predictions, *truth, *shape), logits, features)


def _scores(judged: _Judged, data: Biased, seed: int) -> dict[str, Measured]:
    counts, mask = judged.counts, aligned(data)
    assert data.test.attributes is not None
    return {
        "accuracy.group-balanced": groups.group_balanced(counts),
        "accuracy.worst-group": groups.worst_group(counts),
        "accuracy.worst-group.lower": groups.worst_group_lower(counts),
        "accuracy.mean": groups.mean_accuracy(counts),
        "accuracy.mean.train-weighted": groups.weighted_accuracy(
            counts, group_counts(data.train, len(data.classes), len(data.attributes))
        ),
        "accuracy.bias-aligned": groups.pooled(counts, mask),
        "accuracy.bias-conflicting": groups.pooled(counts, ~mask),
        "bias.difference": groups.bias_difference(counts, mask),
        "attribute.decodability": attribute_decodability(
            judged.features, data.test.labels.cpu(), data.test.attributes.cpu(), derive(seed, "decodability")
        ),
    }


def _other_rules(scenario: Debias, model: nn.Module, own: _Judged, data: Biased) -> dict[str, Measured]:
    """Group-balanced and worst-group test accuracy at the state that each rule would have chosen."""
    selector = selection_of(model)
    looks = {rule: chosen.look for rule, chosen in selector.chosen.items()}
    states = {chosen.look: chosen.state for chosen in selector.chosen.values()}
    states |= dict(enumerate(selector.states, start=1))
    counts = {looks[scenario.selection]: own.counts}
    other = copy.deepcopy(model)
    for look, state in states.items():
        if look not in counts:
            other.load_state_dict(state)
            counts[look] = _judge(other, data).counts
    if selector.states:  # the choice that nobody may make: by test accuracy
        aim = groups.worst_group if rank_by(scenario) == "accuracy.worst-group" else groups.group_balanced
        looks["oracle"] = max(counts, key=lambda look: aim(counts[look]).value or 0.0)
    found = {}
    for rule, look in looks.items():
        found[f"accuracy.group-balanced@{rule}"] = groups.group_balanced(counts[look])
        found[f"accuracy.worst-group@{rule}"] = groups.worst_group(counts[look])
    return found


def _per_group(counts: GroupCounts, data: Biased) -> dict[str, tuple[int, int]]:
    """``class / attribute`` -> right and all test samples."""
    return {
        f"{label} / {attribute}": (int(counts.correct[y, a]), int(counts.n[y, a]))
        for y, label in enumerate(data.classes)
        for a, attribute in enumerate(data.attributes)
    }


def members(scenario: Debias, seed: int, amended: nn.Module, context: Context) -> dict[str, np.ndarray]:
    raise InputError(f"task {scenario.task} has no forget set: there is no ensemble to compare with")
