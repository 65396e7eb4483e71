"""Forgetting: how problems are made and how amended classifiers are evaluated."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.contracts import Access, ForgetProblem, Ledger, Measured
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples, View
from benchmark.metrics.accuracy import accuracy
from benchmark.metrics.change import feature_change, parameter_change
from benchmark.metrics.membership import loss_auc, loss_tpr_at_one_percent, svc_attack, true_class_probability
from benchmark.metrics.probe import linear_probe
from benchmark.metrics.relearning import attack_set, relearn_steps
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import logits_and_features, underlying
from benchmark.seeding import derive
from benchmark.tasks import Evaluation, Guarded, base_models
from benchmark.tasks.class_forget import ClassForget

if TYPE_CHECKING:
    from benchmark.running.context import Context

HALF = torch.finfo(torch.float16)


def data_checksum(scenario: ClassForget) -> str:
    return load(scenario.data).checksum


def base_model(scenario: ClassForget, seed: int, context: Context) -> nn.Module:
    """The model that is to be amended, in evaluation mode."""
    return base_models.base_model(scenario.data, scenario.model, scenario.training, seed, context)


def membership(labels: Tensor, classes: tuple[int, ...]) -> Tensor:
    """(N,) bool: which labels are among ``classes``."""
    return torch.isin(labels, torch.tensor(classes, device=labels.device))


def build(
    scenario: ClassForget,
    seed: int,
    request: int,
    model: nn.Module,
    access: Access,
    ledger: Ledger,
    context: Context,
) -> Guarded:
    """The problem of one request. Classes that earlier requests forgot are in no view any more."""
    dataset = base_models.on_device(scenario.data, context.device)
    asked = scenario.request(seed, request)
    gone = tuple(c for earlier in range(request) for c in scenario.request(seed, earlier))
    train, selection = dataset.train, dataset.selection
    is_asked, is_gone = membership(train.labels, asked), membership(train.labels, gone)
    parts = {
        "retain": train.subset((~is_asked & ~is_gone).nonzero().squeeze(1)),
        "forget": train.subset(is_asked.nonzero().squeeze(1)),
        "selection": selection.subset((~membership(selection.labels, gone)).nonzero().squeeze(1)),
    }
    views = {name: View(name, samples, access, ledger) for name, samples in parts.items()}
    problem = ForgetProblem(
        model=copy.deepcopy(model).eval(),
        retain=views["retain"],
        forget=views["forget"],
        selection=views["selection"],
        labelled=View("labelled", parts["retain"], access, ledger),
        forget_classes=asked,
        num_classes=dataset.num_classes,
        recipe=scenario.training,
        device=context.device,
        seed=derive(seed, "problem", request),
        build_model=partial(build_classifier, scenario.model, dataset.num_classes, dataset.shape),
    )
    return Guarded(problem, tuple(views.values()))


def rounded(logits: Tensor) -> Tensor:
    """Logits as they are kept beside the record (float16, clipped), so that kept ones give the same metrics."""
    return logits.clamp(HALF.min, HALF.max).half().float()


def outputs(model: nn.Module, samples: Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Rounded logits (N, C), features (N, D), labels (N,), on the CPU; infinite logits become NaN."""
    logits, features = logits_and_features(model, samples.inputs, len(samples))
    return rounded(logits.where(logits.isfinite(), torch.nan)), features, samples.labels.cpu()


def selection_score(scenario: ClassForget, seed: int, amended: nn.Module, context: Context) -> float:
    """ACC_r (1 - ACC_f) on the selection split, in [0, 1]: what every method is tuned by."""
    samples = base_models.on_device(scenario.data, context.device).selection
    logits, _, labels = outputs(amended, samples)
    gone = membership(labels, scenario.forgotten(seed))
    retain, forget = accuracy(logits[~gone], labels[~gone]).value, accuracy(logits[gone], labels[gone]).value
    assert retain is not None
    assert forget is not None
    return retain / 100 * (1 - forget / 100)


def evaluate(scenario: ClassForget, seed: int, base: nn.Module, amended: nn.Module, context: Context) -> Evaluation:
    """Every metric of one amended model; attacks act on its parameters, without wrappers around them."""
    dataset = base_models.on_device(scenario.data, context.device)
    classes = scenario.forgotten(seed)
    amended = amended.eval()
    train_logits, train_features, train_labels = outputs(amended, dataset.train)
    test_logits, test_features, test_labels = outputs(amended, dataset.test)
    test_gone = membership(test_labels, classes)
    metrics = scores(train_logits, train_labels, test_logits, test_labels, classes, scenario.attack_fit_samples)
    for per_class, name in ((100, "recovery.linear-probe"), (10, "recovery.linear-probe@10")):
        metrics[name] = linear_probe(
            train_features,
            train_labels,
            test_features[test_gone],
            test_labels[test_gone],
            per_class=per_class,
            seed=derive(seed, "probe", per_class),
        )
    bare = underlying(amended, base)
    metrics["relearn.steps"] = _relearning(bare, base, dataset, test_gone, seed)
    metrics["change.parameters"] = parameter_change(bare, base)
    metrics["change.features"] = feature_change(test_features, outputs(base, dataset.test)[1])
    arrays = {
        "train.logits": train_logits.half().numpy(),
        "train.labels": train_labels.numpy().astype(np.int16),
        "test.logits": test_logits.half().numpy(),
        "test.labels": test_labels.numpy().astype(np.int16),
        "forgotten": np.array(classes, dtype=np.int16),
    }
    if scenario.draw_regions:
        arrays["regions"] = decision_regions(amended, context.device)
    finite = bool(train_logits.isfinite().all() and test_logits.isfinite().all())
    return Evaluation(metrics, arrays, [] if finite else ["the amended model's outputs are not finite"])


def scores(
    train_logits: Tensor,
    train_labels: Tensor,
    test_logits: Tensor,
    test_labels: Tensor,
    classes: tuple[int, ...],
    max_fit: int,
) -> dict[str, Measured]:
    """The metrics that need logits and labels only: accuracies and population attacks."""
    gone, test_gone = membership(train_labels, classes), membership(test_labels, classes)
    found = {
        "accuracy.test.retain": accuracy(test_logits[~test_gone], test_labels[~test_gone]),
        "accuracy.test.forget": accuracy(test_logits[test_gone], test_labels[test_gone]),
        "accuracy.test.all": accuracy(test_logits, test_labels),
        "accuracy.train.retain": accuracy(train_logits[~gone], train_labels[~gone]),
        "accuracy.train.forget": accuracy(train_logits[gone], train_labels[gone]),
    }
    if not (train_logits.isfinite().all() and test_logits.isfinite().all()):
        return found
    probability = true_class_probability(train_logits, train_labels)
    test_probability = true_class_probability(test_logits, test_labels)[test_gone]
    found["mia.true-class-probability.svc"] = svc_attack(
        probability[~gone], probability[gone], test_probability, max_fit=max_fit
    )
    member = F.cross_entropy(train_logits[gone].double(), train_labels[gone], reduction="none")
    other = F.cross_entropy(test_logits[test_gone].double(), test_labels[test_gone], reduction="none")
    found["mia.loss.auc"] = loss_auc(member, other)
    found["mia.loss.tpr@1fpr"] = loss_tpr_at_one_percent(member, other)
    return found


def _relearning(bare: nn.Module, base: nn.Module, dataset: Dataset, test_gone: Tensor, seed: int) -> Measured:
    test = dataset.test.subset(test_gone.nonzero().squeeze(1).to(dataset.test.labels.device))
    inputs, labels = test.inputs(), test.labels
    with torch.no_grad():
        known = 100 * float((base(inputs).argmax(1) == labels).float().mean())
    few = dataset.train.subset(attack_set(dataset.train.labels, derive(seed, "relearn")))
    return relearn_steps(bare, few.inputs(), few.labels, inputs, labels, target=known / 2)


@torch.no_grad()
def decision_regions(model: nn.Module, device: torch.device, size: int = 200) -> np.ndarray:
    """(size, size) predicted class over the square [-3, 3]^2, row by row from below."""
    axis = torch.linspace(-3, 3, size)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x.flatten(), y.flatten()], 1).to(device)
    return model(grid).argmax(1).view(size, size).cpu().numpy().astype(np.uint8)
