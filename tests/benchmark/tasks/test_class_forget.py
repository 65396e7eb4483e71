"""class-forget: what is in which view, what is derived, when a block says nothing, and what a cheat cannot hide."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from baselines.references import LogitMask
from benchmark.artifacts.context import Context
from benchmark.contracts import Access, ForgetProblem, Ledger, Recipe
from benchmark.data.packaged import load
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import state_hash
from benchmark.running.cell import run_cell
from benchmark.running.records import RecordStore
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS, base_models, forgetting
from benchmark.tasks.class_forget import (
    ATTACKS,
    BY_CLASS,
    KNOWN_AFTER_RETRAINING,
    KNOWN_BEFORE,
    ClassForget,
    derive,
    gates,
)
from benchmark.tasks.forget_sets import ForgetSets, Peers

TASK = TASKS.get("class-forget")
EVERYTHING = Access(retain="xy", forget="xy", selection="xy")


def scenario(**changes: Any) -> ClassForget:
    settings = load_suite("smoke").scenarios["digits"].settings
    return msgspec.structs.replace(settings, **changes)


def problem(settings: ClassForget, seed: int, context: Context, request: int = 0) -> ForgetProblem:
    model = build_classifier(settings.model, 10, (1, 8, 8))
    return forgetting.build(settings, seed, request, model, EVERYTHING, Ledger(), context).problem


def contents(images: torch.Tensor) -> list[bytes]:
    return [row.numpy().tobytes() for row in images]


def everything(problem: ForgetProblem, name: str) -> tuple[list[bytes], list[int]]:
    batch = getattr(problem, name).everything()
    return contents(batch.x.contiguous()), batch.y.tolist()


@pytest.mark.parametrize(
    ("classes", "seed", "expected"), [(1, 0, (0,)), (1, 13, (3,)), (3, 2, (2, 3, 4)), (3, 9, (9, 0, 1))]
)
def test_the_seed_says_which_classes_go(classes: int, seed: int, expected: tuple[int, ...], context: Context) -> None:
    settings = scenario(classes=classes)
    TASK.check(settings)
    assert settings.forgotten(seed) == expected
    assert TASK.unit(settings, seed) == "class-" + "-".join(map(str, expected))
    assert TASK.requests(settings) == 1
    found = problem(settings, seed, context)
    assert found.forget_classes == expected
    train = load("digits").train
    retain, forget = everything(found, "retain"), everything(found, "forget")
    assert set(forget[1]) == set(expected)
    assert set(retain[1]) == set(range(10)) - set(expected)
    assert sorted(retain[0] + forget[0]) == sorted(contents(train.inputs().contiguous()))  # a partition
    assert set(everything(found, "selection")[1]) == set(range(10))


@pytest.mark.parametrize(("changes", "firsts"), [({}, [0, 1, 2, 3]), ({"class_step": 4}, [0, 4, 8, 2])])
def test_seeds_step_over_classes(changes: dict[str, Any], firsts: list[int]) -> None:
    settings = scenario(**changes)
    TASK.check(settings)
    assert [settings.forgotten(seed)[0] for seed in range(4)] == firsts
    assert TASK.unit(settings, 2) == f"class-{firsts[2]}"
    several = scenario(**changes, classes=2, forget_seed=1)
    assert several.forgotten(3) == (firsts[1], firsts[1] + 1)


def test_requests_in_sequence_lose_what_is_gone(context: Context) -> None:
    settings = scenario(classes=3, requests="in-sequence")
    assert TASK.requests(settings) == 3
    gone: set[int] = set()
    seeds = set()
    for number, asked in enumerate((8, 9, 0)):
        found = problem(settings, 8, context, number)
        assert found.forget_classes == (asked,)
        assert set(everything(found, "forget")[1]) == {asked}
        assert set(everything(found, "retain")[1]) == set(range(10)) - gone - {asked}
        assert set(everything(found, "selection")[1]) == set(range(10)) - gone
        gone.add(asked)
        seeds.add(found.seed)
    assert len(seeds) == 3  # each request draws anew


def test_no_view_holds_test_data_and_selection_is_not_trained_on(context: Context) -> None:
    found = problem(scenario(), 0, context)
    views = [everything(found, name)[0] for name in ("retain", "forget", "selection")]
    test = set(contents(load("digits").test.inputs().contiguous()))
    assert not test & {row for view in views for row in view}
    assert not set(views[2]) & {row for view in views[:2] for row in view}


def test_a_method_has_its_own_copy_of_the_model(context: Context) -> None:
    base = build_classifier("resnet-small", 10, (1, 8, 8))
    before = state_hash(base)
    guarded = forgetting.build(scenario(), 0, 0, base, Access(), Ledger(), context)
    with torch.no_grad():
        for parameter in guarded.problem.model.parameters():
            parameter.zero_()
    assert state_hash(base) == before
    assert not guarded.problem.model.training


def test_fresh_models_depend_on_the_role_and_leave_the_global_generator_alone(context: Context) -> None:
    found = problem(scenario(), 0, context)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, same, other = (state_hash(found.fresh_model(role)) for role in ("a", "a", "b"))
    assert torch.equal(torch.rand(1), expected)
    assert one == same != other
    assert found.fresh_model().training


def test_base_models_do_not_depend_on_the_scenario_or_the_method() -> None:
    assert TASK.base(scenario(), 1) == TASK.base(scenario(classes=3, attack_fit_samples=7), 1)
    others = [
        TASK.base(scenario(), 2),
        TASK.base(scenario(model="vgg-small"), 1),
        TASK.base(scenario(data="mnist-5k"), 1),
        TASK.base(scenario(training=Recipe(1, 0.1, 64)), 1),
    ]
    assert len({TASK.base(scenario(), 1), *others}) == 5


#: A network and data of ImageNet's classes.
PUBLISHED = {"model": "torchvision:resnet18", "data": "imagenet"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": 0}, "classes must be 1 to 8, not 0"),
        ({"classes": 9}, "classes must be 1 to 8, not 9"),
        ({"data": "digit"}, "did you mean digits"),
        ({"model": "resnet-smal"}, "did you mean resnet-small"),
        ({"class_step": 0}, "class_step must be 1 to 9, not 0"),
        ({"class_step": 10}, "class_step must be 1 to 9, not 10"),
        ({"class_step": 2, "forget": (3,)}, "classes must be 1, forget_seed and class_step left out"),
        ({"weights": "publishe"}, "64 hex digits, or 'published', not 'publishe'"),
        ({"weights": "published"}, "there is no published classifier resnet-small; timm and torchvision have some"),
        ({"weights": "published", "model": "torchvision:resnet18"}, "of ImageNet's 1,000 classes, digits has 10"),
        ({"weights": "published", **PUBLISHED, "training": Recipe(1, 0.1, 64, stacked=2)}, "stacked must be 1"),
    ],
)
def test_impossible_scenarios_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        TASK.check(scenario(**changes))


def test_a_published_classifier_is_the_base_model_of_every_seed(
    monkeypatch: pytest.MonkeyPatch, context: Context
) -> None:
    """It is not trained; what is retrained is a new network."""
    published = build_classifier("resnet-small", 10, (1, 8, 8))
    asked = []

    def load(*told: Any) -> nn.Module:
        asked.append(told)
        return copy.deepcopy(published)

    monkeypatch.setattr(base_models, "published_classifier", load)
    settings = scenario(weights="published")
    for seed in (0, 3):
        found = forgetting.base_model(settings, seed, context)
        assert state_hash(found) == state_hash(published)
        assert not found.training
    assert asked == [("resnet-small", 10, (1, 8, 8))] * 2
    assert TASK.base(settings, 0) == TASK.base(settings, 3) != TASK.base(scenario(), 0)
    assert state_hash(problem(settings, 0, context).fresh_model()) != state_hash(published)
    TASK.check(scenario(weights="published", **PUBLISHED))


FULL = {
    "accuracy.test.retain": 96.0,
    "accuracy.test.forget": 10.0,
    "accuracy.test.all": 88.0,
    "accuracy.train.retain": 99.0,
    "accuracy.train.forget": 5.0,
    "mia.true-class-probability.svc": 90.0,
    "mia.loss.auc": 55.0,
    "mia.loss.tpr@1fpr": None,
    "recovery.linear-probe": 97.0,
    "recovery.linear-probe@10": 60.0,
    "relearn.steps": 3.0,
}
RETRAINED = {**FULL, "accuracy.test.forget": 0.0, "accuracy.train.retain": 100.0, "accuracy.train.forget": 0.0}
RETRAINED |= {"accuracy.test.all": 87.0, "mia.loss.auc": 50.0, "relearn.steps": 20.0}


def test_gaps_are_own_minus_reference_and_tow_multiplies_them() -> None:
    found = derive(FULL, RETRAINED)
    assert found["accuracy.test.forget.gap"] == 10.0
    assert found["mia.loss.auc.gap"] == 5.0
    assert found["relearn.steps.gap"] == -17.0
    assert found["mia.loss.tpr@1fpr.gap"] is None
    assert found["tow"] == pytest.approx(0.99 * 0.95 * 0.99)
    itself = derive(RETRAINED, RETRAINED)
    assert itself.pop("tow") == 1.0
    assert set(itself.values()) == {0.0, None}


def test_tow_is_missing_where_a_part_is() -> None:
    assert "tow" not in derive({**FULL, "accuracy.train.retain": None}, RETRAINED)
    assert derive({}, RETRAINED)["mia.loss.auc.gap"] is None


@pytest.mark.parametrize(
    ("original", "reference", "count"),
    [
        (KNOWN_BEFORE, KNOWN_AFTER_RETRAINING, 0),
        (KNOWN_BEFORE - 0.1, KNOWN_AFTER_RETRAINING, 1),
        (KNOWN_BEFORE, KNOWN_AFTER_RETRAINING + 0.1, 1),
        (0.0, 100.0, 2),
        (None, None, 0),
    ],
)
def test_gates_fire_at_their_thresholds(original: float | None, reference: float | None, count: int) -> None:
    reasons = gates({"accuracy.test.forget": original}, {"accuracy.test.forget": reference})
    assert len(reasons) == count
    assert gates(None, None) == []
    assert (KNOWN_BEFORE, KNOWN_AFTER_RETRAINING) == (50.0, 5.0)


@pytest.fixture
def toy(context: Context) -> tuple[ClassForget, nn.Module, Context]:
    settings = load_suite("smoke").scenarios["four-gaussians"].settings
    return settings, forgetting.base_model(settings, 0, context), context


def test_the_base_model_is_the_same_from_the_cache_and_knows_its_classes(
    toy: tuple[ClassForget, nn.Module, Context],
) -> None:
    settings, base, context = toy
    assert state_hash(base) == state_hash(forgetting.base_model(settings, 0, context))
    assert not base.training
    found = forgetting.evaluate(settings, 0, base, base, context)
    assert found.metrics["accuracy.test.forget"].value > 90  # type: ignore[operator]
    assert found.metrics["change.parameters"].value == 0.0
    assert found.metrics["relearn.steps"].value == 0.0


def test_a_mask_hides_the_class_and_nothing_else(toy: tuple[ClassForget, nn.Module, Context]) -> None:
    """The cheat is exposed: forget accuracy 0, and yet nothing has changed and nothing need be relearned."""
    settings, base, context = toy
    found = forgetting.evaluate(settings, 0, base, LogitMask(base, (0,)), context)
    values = {name: m.value for name, m in found.metrics.items()}
    assert values["accuracy.test.forget"] == values["accuracy.train.forget"] == 0.0
    assert values["accuracy.test.retain"] > 90  # type: ignore[operator]
    assert values["change.parameters"] == values["change.features"] == values["relearn.steps"] == 0.0
    honest = forgetting.evaluate(settings, 0, base, base, context)
    assert values["recovery.linear-probe"] == honest.metrics["recovery.linear-probe"].value
    assert set(found.metrics) == set(TASK.metrics) - {"tow", *ATTACKS, *BY_CLASS}
    assert found.flags == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_outputs_that_are_not_finite_are_flagged(toy: tuple[ClassForget, nn.Module, Context], value: float) -> None:
    settings, base, context = toy
    broken = forgetting.base_model(settings, 0, context)
    with torch.no_grad():
        list(broken.parameters())[-1][1] = value
    found = forgetting.evaluate(settings, 0, base, broken, context)
    assert found.flags == ["the amended model's outputs are not finite"]
    assert "mia.loss.auc" not in found.metrics


def test_selection_score_is_on_the_selection_split(toy: tuple[ClassForget, nn.Module, Context]) -> None:
    settings, base, context = toy
    samples = load("four-gaussians").selection
    with torch.no_grad():
        right = base(samples.inputs()).argmax(1) == samples.labels
    retain = float(right[samples.labels != 0].float().mean())
    known = float(right[samples.labels == 0].float().mean())
    assert forgetting.selection_score(settings, 0, base, context).score == pytest.approx(retain * (1 - known), abs=1e-6)
    masked = forgetting.selection_score(settings, 0, LogitMask(base, (0,)), context)
    assert masked.score == pytest.approx(retain, abs=0.02)


def test_what_is_kept_gives_the_same_metrics_again(make_cell: Any, context: Context, tmp_path: Any) -> None:
    """Float16 logits beside the record: every metric that needs no network is recomputed exactly."""
    cell = make_cell("svd-forgetting", "four-gaussians")
    record, arrays = run_cell(cell, context, exclusive=False, provenance="")
    store = RecordStore(tmp_path)
    store.write(record, arrays)
    written = store.read(cell.file)
    assert written is not None
    kept = store.arrays(written)
    train_labels, test_labels = (torch.from_numpy(kept[name]).long() for name in ("train.labels", "test.labels"))
    gone = torch.isin(test_labels, torch.from_numpy(kept["forgotten"]).long())
    forget, nothing = torch.from_numpy(kept["train.forget"]), Peers(torch.zeros(0, dtype=torch.bool), test_labels[:0])
    sets = ForgetSets((0,), train_labels, forget, ~forget, gone, Peers(gone, test_labels), nothing)
    train_logits, test_logits = (torch.from_numpy(kept[name]).float() for name in ("train.logits", "test.logits"))
    again = forgetting.scores(
        train_logits, test_logits, test_labels, sets, cell.settings["attack_fit_samples"], cell.seed
    )
    assert len(again) == 10
    for name, measured in again.items():
        assert (measured.value, measured.n) == (record.metrics[name].value, record.metrics[name].n), name
    assert kept["train.logits"].dtype == np.float16
    assert kept["regions"].shape == (200, 200)


def test_regions_are_the_quadrants_of_the_toy(toy: tuple[ClassForget, nn.Module, Context]) -> None:
    """Row by row from below: class 0 is above on the right, class 2 below on the left."""
    _, base, context = toy
    regions = forgetting.decision_regions(base, context.device, 60)
    assert [regions[45, 45], regions[45, 15], regions[15, 15], regions[15, 45]] == [0, 1, 2, 3]


def test_toy_acceptance(make_cell: Any, context: Context) -> None:
    """The paper's demonstration: the class is gone and the others are as good as after retraining."""
    values = {}
    for method in ("svd-forgetting+search", "retrain"):
        record, _ = run_cell(make_cell(method, "four-gaussians"), context, exclusive=False, provenance="")
        assert record.status == "ok"
        values[method] = record.values()
    searched = values["svd-forgetting+search"]
    assert searched["accuracy.test.forget"] <= 5.0  # type: ignore[operator]
    assert searched["accuracy.test.retain"] >= values["retrain"]["accuracy.test.retain"] - 3.0  # type: ignore[operator]
    assert values["retrain"]["accuracy.test.forget"] <= KNOWN_AFTER_RETRAINING  # type: ignore[operator]
