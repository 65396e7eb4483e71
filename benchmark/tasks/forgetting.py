"""Forgetting: how problems are made and how amended classifiers are evaluated."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Measured
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples, View
from benchmark.errors import InputError
from benchmark.metrics.accuracy import accuracy, rounded
from benchmark.metrics.change import feature_change, parameter_change
from benchmark.metrics.membership import loss_auc, loss_tpr_at_one_percent, svc_attack, true_class_probability
from benchmark.metrics.probe import linear_probe
from benchmark.metrics.softmax_attack import asr, balanced_asr
from benchmark.models.surgery import logits_and_features, underlying
from benchmark.seeding import derive, generator
from benchmark.tasks import Evaluation, Guarded, Selected, base_models
from benchmark.tasks.attacking import attacks, relearning
from benchmark.tasks.class_forget import ClassForget
from benchmark.tasks.class_groups import by_class
from benchmark.tasks.forget_sets import ForgetSets, Scenario, forget_sets, of_classes

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context


def data_checksum(scenario: Scenario) -> str:
    return load(scenario.data, scenario.holdout).checksum


def sets_of(scenario: Scenario, seed: int) -> ForgetSets:
    """What the cells of ``seed`` forget."""
    return forget_sets(scenario, seed, load(scenario.data, scenario.holdout))


def base_model(scenario: Scenario, seed: int, context: Context) -> nn.Module:
    """The model that is to be amended, in evaluation mode; trained with the wrong labels where some are wrong."""
    labels, flaw = None, None
    if not isinstance(scenario, ClassForget) and scenario.kind == "noisy-labels":
        labels = sets_of(scenario, seed).labels
        flaw = {"kind": scenario.kind, "labels": hashlib.sha256(labels.numpy().tobytes()).hexdigest()}
    return base_models.base_model(scenario, seed, context, labels, flaw)


def build(
    scenario: Scenario,
    seed: int,
    request: int,
    model: nn.Module,
    access: Access,
    ledger: Ledger,
    context: Context,
) -> Guarded:
    """The problem of one request. What earlier requests forgot is in no view any more."""
    dataset = base_models.on_device(scenario.data, context.device, scenario.holdout)
    parts = _parts(scenario, seed, request, dataset, access)
    told_nothing = not isinstance(scenario, ClassForget) and access.label_free
    views = {name: View(name, samples, access, ledger) for name, samples in parts.items()}
    problem = ForgetProblem(
        model=copy.deepcopy(model).eval(),
        retain=views["retain"],
        forget=views["forget"],
        selection=views["selection"],
        labelled=views["labelled"],
        forget_classes=() if told_nothing else scenario.request(seed, request),
        num_classes=dataset.num_classes,
        recipe=scenario.training,
        device=context.device,
        seed=derive(seed, "problem", request),
        build_model=base_models.network_of(scenario, dataset),
    )
    return Guarded(problem, tuple(views.values()))


def _parts(scenario: Scenario, seed: int, request: int, dataset: Dataset, access: Access) -> dict[str, Samples]:
    """The samples behind each view; with ``few_labels`` only labelled ones where labels are declared."""
    sets = sets_of(scenario, seed)
    gone = tuple(c for k in range(request) for c in scenario.request(seed, k))
    forget = sets.asked[request]
    retain = ~torch.stack(sets.asked[: request + 1]).any(0)
    train, order = replace(dataset.train, labels=sets.labels.to(dataset.train.labels.device)), torch.arange(len(forget))
    if not isinstance(scenario, ClassForget):  # some data sets are sorted by class: a position would tell it
        order = torch.randperm(len(forget), generator=generator(seed, "view-order"))
    masks = {"retain": retain, "forget": forget, "labelled": retain & sets.labelled}
    if isinstance(scenario, ClassForget) and scenario.samples_per_class:
        few = few_of_each(sets.labels, scenario.samples_per_class, generator(seed, "samples-per-class"))
        masks = {name: mask & few for name, mask in masks.items()}
    if access.few_labels:
        masks |= {name: mask & sets.labelled for name, mask in masks.items() if "y" in access.views.get(name, "")}
    if not forget.any() or not retain.any():
        raise InputError(f"the scenario leaves no sample to {'retain' if forget.any() else 'forget'}")
    for name, mask in masks.items():
        if "y" in access.views.get(name, "") and not mask.any():
            raise InputError(f"no sample of the {name} view is labelled: its labelled_share is too small")
    device = train.images.device
    parts = {name: train.subset(order[mask[order]].to(device)) for name, mask in masks.items()}
    return {**parts, "selection": _where(dataset.selection, ~of_classes(dataset.selection.labels, gone))}


def few_of_each(labels: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """(N,) bool: ``n`` random samples of every label (N,), all where there are fewer; of one ``rng`` nested in n."""
    order = torch.randperm(len(labels), generator=rng)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        chosen[order[labels[order] == label][:n]] = True
    return chosen


def _where(samples: Samples, mask: Tensor) -> Samples:
    return samples.subset(mask.nonzero().squeeze(1).to(samples.images.device))


def outputs(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Rounded logits (N, C), features (N, D), labels (N,), on the CPU; infinite logits become NaN."""
    logits, features = logits_and_features(model, samples.inputs, len(samples))
    return rounded(logits.where(logits.isfinite(), torch.nan)), features, samples.labels.cpu()


def selection_score(scenario: Scenario, seed: int, amended: nn.Module, context: Context) -> Selected:
    """What every method is tuned by, in [0, 1]; it needs no retrained model and no test data.

    Removed classes: ACC_r (1 - ACC_f) on the selection split. Removed samples: ACC (1 - |a_f - a_unseen|), with ACC
    on the selection split, a_f on the forget set and a_unseen on the selection samples of the same classes: a
    forgotten sample is classified like one that was never seen. Where labels are noisy, a_f and a_unseen count the
    wrong labels, those of the selection samples drawn in the same way.
    """
    dataset = base_models.on_device(scenario.data, context.device, scenario.holdout)
    if not len(dataset.selection):
        raise InputError(f"data set {scenario.data} has no selection split to tune on")
    sets = sets_of(scenario, seed)
    logits, _, labels = outputs(amended, dataset.selection)
    peers = sets.selection
    unseen = accuracy(logits[peers.mask], peers.labels[peers.mask]).value
    if sets.gone.any():
        kept, gap = accuracy(logits[~peers.mask], labels[~peers.mask]).value, unseen
    else:
        forgotten = accuracy(outputs(amended, _where(dataset.train, sets.forget))[0], sets.labels[sets.forget]).value
        assert forgotten is not None
        assert unseen is not None
        kept, gap = accuracy(logits, labels).value, abs(forgotten - unseen)
    assert kept is not None
    assert gap is not None
    return Selected(kept / 100 * (1 - gap / 100))


def evaluate(scenario: Scenario, seed: int, base: nn.Module, amended: nn.Module, context: Context) -> Evaluation:
    """Every metric of one amended model; attacks act on its parameters, without wrappers around them."""
    dataset = base_models.on_device(scenario.data, context.device, scenario.holdout)
    sets = sets_of(scenario, seed)
    amended = amended.eval()
    train_logits, train_features, _ = outputs(amended, dataset.train)
    test_logits, test_features, test_labels = outputs(amended, dataset.test)
    metrics = scores(train_logits, test_logits, test_labels, sets, scenario.attack_fit_samples, seed)
    for per_class, name in ((100, "recovery.linear-probe"), (10, "recovery.linear-probe@10")):
        metrics[name] = linear_probe(
            train_features,
            load(scenario.data, scenario.holdout).train.labels,
            test_features[sets.test.mask],
            test_labels[sets.test.mask],
            per_class=per_class,
            seed=derive(seed, "probe", per_class),
        )
    bare = underlying(amended, base)
    metrics["relearn.steps"] = relearning(bare, base, dataset, sets, seed)
    metrics["change.parameters"] = parameter_change(bare, base)
    base_logits, base_features, _ = outputs(base, dataset.test)
    metrics["change.features"] = feature_change(test_features, base_features)
    if scenario.attacks:
        metrics |= attacks(amended, bare, test_logits, test_features, dataset, sets, seed)
    groups: dict[str, tuple[int, int]] = {}
    if scenario.by_class:
        found, groups = by_class(base_logits, test_logits, base_features, dataset.test, sets.removed)
        metrics |= found
    arrays = {
        "train.logits": train_logits.half().numpy(),
        "train.labels": sets.labels.numpy().astype(np.int16),
        "train.forget": sets.forget.numpy(),
        "test.logits": test_logits.half().numpy(),
        "test.labels": test_labels.numpy().astype(np.int16),
        "forgotten": np.array(sets.classes, dtype=np.int16),
        **{f"curve.{name}": np.array(values) for name, values in getattr(amended, "curves", {}).items()},
    }
    if isinstance(scenario, ClassForget) and scenario.draw_regions:
        arrays["regions"] = decision_regions(amended, context.device)
    finite = bool(train_logits.isfinite().all() and test_logits.isfinite().all())
    return Evaluation(metrics, arrays, [] if finite else ["the amended model's outputs are not finite"], groups)


def members(scenario: Scenario, seed: int, amended: nn.Module, context: Context) -> dict[str, np.ndarray]:
    """What an ensemble keeps of one of its models: logits (N, C) and labels (N,) of the forget set."""
    sets = sets_of(scenario, seed)
    dataset = base_models.on_device(scenario.data, context.device, scenario.holdout)
    logits, _, _ = outputs(amended.eval(), _where(dataset.train, sets.forget))
    return {"logits": logits.half().numpy(), "labels": sets.labels[sets.forget].numpy().astype(np.int16)}


def scores(
    train_logits: Tensor,
    test_logits: Tensor,
    test_labels: Tensor,
    sets: ForgetSets,
    max_fit: int,
    seed: int,
) -> dict[str, Measured]:
    """The metrics that need logits and labels only: accuracies and population attacks."""
    forget, gone = sets.forget, sets.gone
    found = {
        "accuracy.test.retain": accuracy(test_logits[~gone], test_labels[~gone]),
        "accuracy.test.forget": accuracy(test_logits[gone], test_labels[gone]),
        "accuracy.test.all": accuracy(test_logits, test_labels),
        "accuracy.train.retain": accuracy(train_logits[~forget], sets.labels[~forget]),
        "accuracy.train.forget": accuracy(train_logits[forget], sets.labels[forget]),
    }
    if not gone.any():  # nothing in the test set must be forgotten
        found |= {name: Measured(None, 0) for name in ("accuracy.test.retain", "accuracy.test.forget")}
    if not (train_logits.isfinite().all() and test_logits.isfinite().all()):
        return found
    found["mia.true-class-probability.svc"] = Measured(None, 0)
    if gone.any():
        probability = true_class_probability(train_logits, sets.labels)
        unseen = true_class_probability(test_logits, test_labels)[gone]
        found["mia.true-class-probability.svc"] = svc_attack(
            probability[~forget], probability[forget], unseen, max_fit=max_fit
        )
    return {
        **found,
        **_loss_attacks(train_logits, test_logits, sets),
        **_softmax_attacks(train_logits, test_logits, sets, seed),
    }


def _loss_attacks(train_logits: Tensor, test_logits: Tensor, sets: ForgetSets) -> dict[str, Measured]:
    """The forget set (members) against the test samples that are comparable with it, by the loss."""
    forget, peers = sets.forget, sets.test.mask
    member = F.cross_entropy(train_logits[forget].double(), sets.labels[forget], reduction="none")
    other = F.cross_entropy(test_logits[peers].double(), sets.test.labels[peers], reduction="none")
    return {"mia.loss.auc": loss_auc(member, other), "mia.loss.tpr@1fpr": loss_tpr_at_one_percent(member, other)}


def _softmax_attacks(train_logits: Tensor, test_logits: Tensor, sets: ForgetSets, seed: int) -> dict[str, Measured]:
    """The label-agnostic forgetting paper's attack by its protocol, and the balanced one."""
    rng = generator(seed, "softmax-attack")
    retain = (~sets.forget).nonzero().squeeze(1)
    retain = retain[torch.randperm(len(retain), generator=rng)]
    test = torch.randperm(len(test_logits), generator=rng)
    forget = train_logits[sets.forget]
    peers = test[sets.test.mask[test]]
    if sets.gone.any():  # of the removed classes no sample is retained: the attack is learnt on the others
        members, others, judged = retain, test[~sets.gone[test]], peers
    else:
        members, (others, judged) = retain[of_classes(sets.labels[retain], sets.classes)], peers.tensor_split(2)
    own = derive(seed, "softmax-attack")
    return {
        "mia.softmax.xgboost": asr(train_logits[retain[: len(forget)]], test_logits[test], forget, seed=own),
        "mia.softmax.xgboost-balanced": balanced_asr(
            train_logits[members], test_logits[others], forget, test_logits[judged], seed=own
        ),
    }


@torch.no_grad()
def decision_regions(model: nn.Module, device: torch.device, size: int = 200) -> np.ndarray:
    """(size, size) predicted class over the square [-3, 3]^2, row by row from below."""
    axis = torch.linspace(-3, 3, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], 1).to(device)
    classes: Tensor = model(grid).argmax(1)
    return classes.view(size, size).cpu().numpy().astype(np.uint8)
