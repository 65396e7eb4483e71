"""bias-correction: settings, problems with their guards, base models, tuning's score, and evaluation."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from baselines.references import LogitMask
from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.contracts import Access, BiasProblem, Kind, Ledger, Measured, MethodInfo, Recipe, method
from benchmark.data.artefact import Artefact
from benchmark.data.attacked import Attacked, Pair, load_attacked
from benchmark.data.packaged import load
from benchmark.data.views import Samples
from benchmark.discovery.methods import METHODS, MethodRegistry
from benchmark.errors import AccessViolation, InputError
from benchmark.metrics import relevance
from benchmark.metrics.catalogue import metric
from benchmark.metrics.f1 import macro_f1
from benchmark.models.split import ShiftedLayer
from benchmark.models.surgery import state_hash
from benchmark.running import cell as running
from benchmark.running.amending import amend, violations
from benchmark.running.cell import amend_for_selection, run_cell
from benchmark.suites.definition import load_suite, methods_of
from benchmark.tasks import TASKS, Evaluation, base_models, concept_metrics, correcting
from benchmark.tasks.bias_correction import ABLE, ATTACKED, EVIDENT, BiasCorrection, derive, gates
from benchmark.timing import Stopwatch
from benchmark.tuning.search import Trial, best_of

TASK = TASKS.get("bias-correction")
SCENARIOS = ("digits-patch", "digits-light", "digits-patch-legitimate")
EVERY_SCENARIO = pytest.mark.parametrize("name", SCENARIOS)
EVERYTHING = Access(train="xyam", concept="xyam", clean="xyam")
#: What evaluating does not measure without a concept vector of the method's own.
OF_CONCEPTS = {"cav.alignment", "cav.alignment.individual", "cav.seconds"}
TCAV = {"tcav", "tcav.positions", "tcav.sensitivity", "tcav.sensitivity.positions"}
#: Networks and their evaluations by scenario, method and hyper-parameters: tests share them.
AMENDED: dict[str, nn.Module] = {}
EVALUATED: dict[str, Evaluation] = {}


def scenario(name: str = "digits-patch", **changes: Any) -> BiasCorrection:
    return msgspec.structs.replace(load_suite("smoke").scenarios[name].settings, **changes)


def data_of(settings: BiasCorrection, seed: int = 0) -> Attacked:
    return load_attacked(settings.data, settings.artefact, settings.biased(seed), seed, settings.holdout)


def of(samples: Samples, label: int) -> Samples:
    return samples.subset((samples.labels == label).nonzero()[:, 0])


# Settings.


SUITE = """
name = "mine"
summary = "A suite for a test."
threads = 1
timeout = 60.0
tuning = { seeds = [102], configurations = 3 }

[scenarios.one]
"""
SETTINGS: dict[str, Any] = {
    "task": "bias-correction",
    "data": "digits",
    "model": "resnet-small",
    "layer": "5",
    "artefact": {"kind": "patch", "rate": 0.5},
    "training": {"epochs": 1, "batch_size": 64, "lr": 0.1},
}
Write = Callable[..., str]


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(v)}" for key, v in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a suite of one scenario with some settings changed, or left out where None; returns the path to load."""

    def write(**changes: Any) -> str:
        settings = {name: value for name, value in {**SETTINGS, **changes}.items() if value is not None}
        path = tmp_path / "mine.toml"
        path.write_text(SUITE + "\n".join(f"{name} = {toml(value)}" for name, value in settings.items()))
        return str(path)

    return write


def patch(**changes: Any) -> dict[str, Any]:
    return {"kind": "patch", "rate": 0.5, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "digit"}, "unknown data set 'digit'; did you mean digits"),
        ({"data": "four-gaussians"}, "four-gaussians is not a plain set of images"),
        ({"model": "resnet-smal"}, "unknown model 'resnet-smal'; did you mean resnet-small"),
        ({"model": "mlp-toy"}, "model mlp-toy has no convolution"),
        ({"model": "cmnist-mlp"}, "model cmnist-mlp has no convolution"),
        ({"model": "transformers:distilbert"}, "model transformers:distilbert has no convolution"),
        ({"layer": ""}, "layer must name the module"),
        ({"layer": None}, "missing required field `layer`"),
        ({"artefact": None}, "missing required field `artefact`"),
        ({"artefact": patch(kind="haze")}, r"Invalid enum value 'haze'.*artefact.kind"),
        ({"artefact": patch(size=2)}, "unknown key 'size'"),
        ({"artefact": {"kind": "patch"}}, "artefact.rate must be above elsewhere .* not 0.0"),
        ({"artefact": patch(rate=1.5)}, "artefact.rate must be between 0 and 1, not 1.5"),
        ({"artefact": patch(elsewhere=0.6)}, r"artefact.rate must be above elsewhere \(0.6\) and below 1, not 0.5"),
        ({"artefact": patch(backdoor=-0.1)}, "artefact.backdoor must be between 0 and 1, not -0.1"),
        ({"artefact": patch(kind="brightness", strength=2.0)}, "artefact.strength must be between 0 and 1, not 2.0"),
        ({"artefact": patch(kind="lsb-text", bits=9)}, "artefact.bits must be 1 to 8, not 9"),
        ({"artefact": patch(scale=0.0)}, "artefact.scale must be above 0 and at most 2, not 0.0"),
        ({"artefact": {"kind": "natural"}}, "artefact.kind is 'natural', but data set digits brings none"),
        ({"data": "celeba-collar"}, "artefact.kind is 'patch', but data set celeba-collar brings its own"),
        (
            {"data": "celeba-collar", "artefact": {"kind": "natural"}, "model": "timm:resnet18"},
            "biased_class must be given: celeba-collar brings its artefact",
        ),
        (
            {"data": "isic-2017-official", "artefact": patch(legitimate=True), "model": "timm:resnet18"},
            "artefact.legitimate needs four classes or more, not the 2",
        ),
        ({"pretrained": True}, "pretrained: there are no published weights of resnet-small"),
        ({"biased_class": 10}, "biased_class must be 0 to 9, not 10"),
        ({"biased_class": -1}, "biased_class must be 0 to 9, not -1"),
        ({"holdout": 50}, "holdout is 50, but digits has selection split of its own"),
        ({"holdout": -1}, "holdout is -1, but digits has selection split of its own"),
        ({"data": "mnist"}, "holdout is 0, but mnist has no selection split of its own"),
        ({"data": "mnist", "holdout": -5}, "holdout is -5, but mnist has no selection split of its own"),
        ({"floor": -0.5}, "floor must be at least 0, not -0.5"),
        ({"training": {"epochs": 0, "batch_size": 64, "lr": 0.1}}, "epochs must be above 0, not 0"),
        ({"layers": "5"}, "unknown key 'layers'; did you mean layer"),
        ({"methods": ["rr-clarc", "svd-forgetting"]}, "unknown method of bias-correction 'svd-forgetting'"),
    ],
)
def test_wrong_settings_name_the_field_and_the_value(write: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"^mine.toml: scenarios.one.*{message}"):
        load_suite(write(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"biased_class": 9},
        {"data": "mnist", "holdout": 5000, "biased_class": 0},
        {"model": "timm:resnet18", "pretrained": True, "floor": 0.0},
        {"data": "celeba-collar", "artefact": {"kind": "natural"}, "biased_class": 1, "model": "timm:resnet18"},
        {"artefact": patch(kind="timestamp", legitimate=True, backdoor=0.01, scale=2.0), "rectified": True},
    ],
)
def test_settings_that_fit(write: Write, changes: dict[str, Any]) -> None:
    one = load_suite(write(**changes)).scenarios["one"]
    assert isinstance(one.settings, BiasCorrection)
    assert {"original", "retrain", "rr-clarc", "logit-mask"} <= set(one.methods)
    assert TASK.tunable(one.settings)
    assert TASK.requests(one.settings) == 1


def test_every_metric_is_in_the_catalogue_and_every_column_is_one() -> None:
    for name in TASK.metrics:
        assert metric(name).summary
    columns = {name.removesuffix(".gap") for name in TASK.headline}
    assert columns <= set(TASK.metrics)
    assert TASK.rank_by in TASK.headline


# Units and base models' names.


def test_the_seed_says_which_class_is_biased_unless_the_scenario_does() -> None:
    assert [TASK.unit(scenario(), seed) for seed in (0, 3, 13)] == ["class-0", "class-3", "class-3"]
    assert [TASK.unit(scenario(biased_class=7), seed) for seed in (0, 3)] == ["class-7", "class-7"]
    assert [scenario().biased(seed) for seed in (9, 10, 102)] == [9, 0, 2]
    assert scenario(biased_class=0).biased(4) == 0


def test_scenarios_share_base_models_that_do_not_depend_on_what_differs() -> None:
    name = TASK.base(scenario(), 1)
    assert name == TASK.base(scenario(floor=5.0, examples=False), 1)
    assert name == TASK.base(scenario(biased_class=1), 1)


@pytest.mark.parametrize(
    ("changes", "seed"),
    [
        ({}, 2),
        ({}, 11),
        ({"biased_class": 2}, 1),
        ({"artefact": Artefact("patch", rate=0.6)}, 1),
        ({"artefact": Artefact("brightness", rate=0.5, backdoor=0.05)}, 1),
        ({"data": "mnist-5k"}, 1),
        ({"model": "resnet-small"}, 1),
        ({"training": Recipe(1, 0.1, 64)}, 1),
        ({"holdout": 500}, 1),
        ({"pretrained": True}, 1),
        ({"rectified": True}, 1),
    ],
)
def test_other_base_models_have_other_names(changes: dict[str, Any], seed: int) -> None:
    assert TASK.base(scenario(**changes), seed) != TASK.base(scenario(), 1)


# Relative metrics and gates.


def test_gaps_are_to_retraining() -> None:
    own = {"accuracy.clean": 90.0, "accuracy.attacked": 40.0, "accuracy.legitimate": None, "tcav": 1.0}
    reference = {"accuracy.clean": 97.5, "accuracy.attacked": 95.0, "accuracy.legitimate": 99.0, "tcav": 0.5}
    assert derive(own, reference) == {
        "accuracy.clean.gap": -7.5,
        "accuracy.attacked.gap": -55.0,
        "accuracy.legitimate.gap": None,
    }
    assert derive({}, reference) == dict.fromkeys(derive(own, reference))
    assert derive(reference, {**reference, "accuracy.clean": None})["accuracy.clean.gap"] is None


def test_gates_look_at_the_original() -> None:
    def reasons(clean: float | None, cost: float | None) -> list[str]:
        return gates({"accuracy.clean": clean, "attack.cost": cost}, {"accuracy.clean": 0.0, "attack.cost": None})

    assert reasons(98.0, 56.0) == []
    assert reasons(ABLE, ATTACKED) == []
    (poor,) = reasons(49.9, 30.0)
    assert "a poor one (49.9 % of the clean test samples)" in poor
    (harmless,) = reasons(98.0, 9.94)
    assert "next to nothing to correct: the attack costs the base model 9.9 points" in harmless
    assert len(reasons(20.0, -3.0)) == 2
    assert reasons(None, None) == []
    assert gates(None, {"accuracy.clean": 1.0, "attack.cost": 50.0}) == []
    assert gates({"accuracy.clean": 98.0, "attack.cost": 56.0}, None) == []


def test_whom_the_attack_pulls_without_the_shortcut_is_not_pulled_by_it() -> None:
    def reasons(pulled: float, without: float | None, cost: float = 50.0) -> list[str]:
        original = {"accuracy.clean": 98.0, "attack.cost": cost, "attack.success": pulled}
        return gates(original, {"attack.success": without, "attack.cost": 0.0})

    assert reasons(56.0, 46.0) == reasons(5.0, None) == []
    (same,) = reasons(56.0, 46.1)
    assert "makes 56.0 % of other classes' samples the biased class, and 46.1 % where no shortcut was learnt" in same
    (harmless,) = reasons(5.0, 4.0, cost=5.0)  # said once
    assert "next to nothing to correct" in harmless


def test_legitimate_evidence_must_be_used_by_the_original() -> None:
    def reasons(legitimate: float | None) -> list[str]:
        return gates({"accuracy.legitimate": legitimate}, {"accuracy.legitimate": 0.0})

    assert reasons(None) == reasons(EVIDENT) == reasons(100.0) == []
    assert reasons(50.0) == ["the base model does not use the artefact where it is evidence (50.0 %)"]


# Problems and what can be read of them.


def problem(
    settings: BiasCorrection, context: Context, access: Access = EVERYTHING, seed: int = 0
) -> tuple[BiasProblem, Ledger]:
    ledger, base = Ledger(), correcting.base_model(settings, seed, context)
    return correcting.build(settings, seed, 0, base, access, ledger, context).problem, ledger


def contents(images: Tensor) -> list[bytes]:
    return [row.contiguous().numpy().tobytes() for row in images]


@EVERY_SCENARIO
def test_the_training_set_has_masks_and_no_attributes(name: str, context: Context) -> None:
    data = data_of(scenario(name))
    found, ledger = problem(scenario(name), context)
    batch = found.train.everything()
    assert torch.equal(batch.x, data.train.inputs())
    assert torch.equal(batch.y, data.train.labels)
    assert data.train.masks is not None
    assert torch.equal(batch.masks, data.train.masks)
    assert not ledger.violations
    with pytest.raises(AccessViolation, match="the train view has no attributes"):
        _ = batch.a
    assert ledger.violations == ["the train view has no attributes"]


def test_the_backdoor_s_wrong_labels_are_not_what_methods_get(context: Context) -> None:
    data = data_of(scenario())
    found, _ = problem(scenario(), context)
    assert torch.equal(found.train.everything().y, load("digits").train.labels)
    assert not torch.equal(data.learnt.labels, data.train.labels)
    assert len(found.concept) == int((load("digits").train.labels == 0).sum())


def test_who_needs_masks_is_told_where_there_are_none(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, data = scenario(), data_of(scenario())
    base = correcting.base_model(settings, 0, context)
    bare = dataclasses.replace(data, train=dataclasses.replace(data.train, masks=None))
    monkeypatch.setattr(correcting, "data_of", lambda *_: bare)
    with pytest.raises(InputError, match="data set digits has no masks of where the artefact is: leave the method out"):
        correcting.build(settings, 0, 0, base, Access(train="xym"), Ledger(), context)
    correcting.build(settings, 0, 0, base, Access(train="xy", concept="xa"), Ledger(), context)


@EVERY_SCENARIO
def test_of_the_biased_class_it_is_told_which_samples_have_the_artefact(name: str, context: Context) -> None:
    data = data_of(scenario(name), 4)
    found, ledger = problem(scenario(name), context, seed=4)
    batch = found.concept.everything()
    own = data.train.labels == 4
    assert data.train.attributes is not None
    assert torch.equal(batch.x, data.train.inputs()[own])
    assert torch.equal(batch.a, data.train.attributes[own])
    assert float(batch.a.float().mean()) == pytest.approx(0.5, abs=0.01)
    assert set(batch.y.tolist()) == {4} == {found.biased_class}
    assert not ledger.violations
    with pytest.raises(AccessViolation, match="the concept view has no masks"):
        _ = batch.masks


@EVERY_SCENARIO
def test_references_see_the_training_set_as_it_was(name: str, context: Context) -> None:
    data = data_of(scenario(name))
    found, _ = problem(scenario(name), context)
    batch = found.clean.everything()
    assert torch.equal(batch.x, data.clean.inputs())
    assert torch.equal(batch.y, data.clean.labels)
    assert len(batch) == len(found.train)
    assert not torch.equal(batch.x, found.train.everything().x)
    for letter in ("a", "masks"):
        with pytest.raises(AccessViolation, match="the clean view has no"):
            getattr(batch, letter)


@EVERY_SCENARIO
def test_no_view_holds_what_is_held_out(name: str, context: Context) -> None:
    data = data_of(scenario(name))
    found, _ = problem(scenario(name), context)
    pairs = (data.selection, data.test)
    held_out = {row for pair in pairs for s in (pair.clean, pair.attacked) for row in contents(s.inputs())}
    assert len(held_out) > 1000
    for view in (found.train, found.concept, found.clean):
        assert not held_out & set(contents(view.everything().x))


@pytest.mark.parametrize(("name", "layer"), [("digits-patch", "8"), ("digits-light", "5.layer")])
def test_what_a_method_gets_besides(name: str, layer: str, context: Context) -> None:
    settings = scenario(name)
    base = correcting.base_model(settings, 0, context)
    found, _ = problem(settings, context)
    assert (found.layer, found.biased_class, found.num_classes, found.recipe) == (layer, 0, 10, settings.training)
    assert layer in dict(found.model.named_modules())
    assert not found.model.training
    before = state_hash(base)
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.zero_()
    assert state_hash(base) == before
    fresh = found.fresh_model()
    assert [(k, v.shape) for k, v in fresh.state_dict().items()] == [(k, v.shape) for k, v in base.state_dict().items()]
    assert state_hash(fresh) != before
    assert problem(settings, context)[0].seed == found.seed != problem(settings, context, seed=1)[0].seed


def of_train(letter: str) -> Callable[[Any], Any]:
    return lambda problem: getattr(problem.train.everything(), letter)


@pytest.mark.parametrize(
    ("access", "kind", "read", "message"),
    [
        ({"train": "xy"}, "baseline", of_train("masks"), "masks of the train view were asked for but not declared"),
        ({"train": "xy"}, "paper", of_train("a"), "attributes of the train view were asked for but not declared"),
        ({"train": "xya"}, "paper", of_train("a"), "offers no view 'train' with fields 'xya'"),
        ({"concept": "xam"}, "paper", lambda problem: None, "offers no view 'concept' with fields 'xam'"),
        (
            {"concept": "xa"},
            "paper",
            lambda problem: problem.concept.everything().masks,
            "masks of the concept view were asked for but not declared",
        ),
        ({"clean": "xy"}, "baseline", lambda problem: None, "view 'clean' to references only, not to a baseline"),
        ({"clean": "xy"}, "paper", lambda problem: None, "view 'clean' to references only, not to a paper"),
        ({"clean": "xy"}, "cheat", lambda problem: None, "view 'clean' to references only, not to a cheat"),
        (
            {"train": "xy"},
            "baseline",
            lambda problem: problem.clean.everything().x,
            "images of the clean view were asked for but not declared",
        ),
        ({"test": "xy"}, "paper", lambda problem: None, "offers no view 'test'"),
        ({"selection": "xy"}, "reference", lambda problem: None, "offers no view 'selection'"),
    ],
)
def test_reading_what_is_not_granted_disqualifies(
    access: dict[str, str],
    kind: Kind,
    read: Callable[[Any], Any],
    message: str,
    make_cell: Callable[..., Any],
    context: Context,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = Access(**access)

    @method("peeks", tasks="bias-correction", paper="", access=declared)
    def peeks(problem: Any) -> nn.Module:
        """Swallows the refusal, too."""
        with contextlib.suppress(AccessViolation):
            read(problem)
        model: nn.Module = problem.model
        return model

    info = MethodInfo("peeks", kind, ("bias-correction",), "", declared, 1, (), __name__, "peeks", "")
    cell = msgspec.structs.replace(make_cell("finetune", "digits-patch"), method="peeks", parameters={})
    monkeypatch.setattr(running, "METHODS", MethodRegistry(lambda: [info]))
    monkeypatch.setattr("benchmark.running.amending.load", lambda _: peeks)
    record, arrays = run_cell(cell, context, exclusive=False, provenance="")
    assert record.status == "disqualified"
    assert record.failure is not None
    assert record.failure.error == "AccessViolation"
    assert message in record.failure.message
    assert record.metrics == arrays == {}


def test_only_retraining_sees_the_data_without_the_artefact() -> None:
    readers = [info.name for info in METHODS.values() if "clean" in info.access.views]
    assert readers == ["retrain"]
    infos = [METHODS.get(name, TASK.name) for name in methods_of(TASK.name)]
    assert [info.name for info in infos if "m" in "".join(info.access.views.values())] == ["rrr"]


# Base models.


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deterministic: None) -> tuple[Context, list[Samples]]:
    """A context whose store is empty, and what is trained on from now on: nothing is."""
    seen: list[Samples] = []
    monkeypatch.setattr(base_models, "train_classifier", lambda model, view, *_: seen.append(view._samples))
    return Context(torch.device("cpu"), 1, ArtifactStore(tmp_path / "artifacts")), seen


@EVERY_SCENARIO
def test_the_base_model_learns_from_the_biased_data(name: str, trained: tuple[Context, list[Samples]]) -> None:
    context, seen = trained
    settings = scenario(name)
    correcting.base_model(settings, 3, context)
    (samples,), data = seen, data_of(settings, 3)
    assert torch.equal(samples.images, data.learnt.images)
    assert torch.equal(samples.labels, data.learnt.labels)
    assert not torch.equal(samples.images, data.train.images)  # there is a backdoor, too
    assert not torch.equal(samples.images, load("digits").train.images)


def test_a_base_model_is_trained_once_for_whatever_it_depends_on(trained: tuple[Context, list[Samples]]) -> None:
    context, seen = trained
    for changes in ({}, {"floor": 9.0}, {"examples": False}, {"biased_class": 1}, {"layer": "7"}):
        correcting.base_model(scenario(**changes), 1, context)
    assert len(seen) == 1
    others: list[dict[str, Any]] = [
        {"biased_class": 2},
        {"artefact": Artefact("patch", rate=0.6, backdoor=0.05)},
        {"training": Recipe(1, 0.1, 64)},
        {"model": "resnet-small", "layer": "5"},
        {"rectified": True},
        {"rectified": True, "layer": "9"},
    ]
    for number, changes in enumerate(others):
        correcting.base_model(scenario(**changes), 1, context)
        assert len(seen) == 2 + number, changes
    correcting.base_model(scenario(), 2, context)
    assert len(seen) == 2 + len(others)


@pytest.mark.parametrize("changes", [{"layer": "88"}, {"layer": "88", "rectified": True}])
def test_a_layer_that_is_none_is_told_before_anything_is_trained(
    changes: dict[str, Any], trained: tuple[Context, list[Samples]]
) -> None:
    context, seen = trained
    with pytest.raises(InputError, match="unknown layer '88'"):
        correcting.base_model(scenario(**changes), 0, context)
    assert seen == []


def test_the_same_base_model_from_the_store(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    first = correcting.base_model(scenario(), 0, context)
    monkeypatch.delattr(base_models, "train_classifier")
    again = correcting.base_model(scenario(), 0, context)
    assert again is not first
    assert state_hash(again) == state_hash(first)
    assert not again.training


def test_every_method_starts_from_the_same_base_model(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for name in ("original", "rr-clarc", "retrain"):
        seen: list[nn.Module] = []

        def keep(problem: Any, seen: list[nn.Module] = seen) -> nn.Module:
            seen.append(copy.deepcopy(problem.model))
            model: nn.Module = problem.model
            return model

        monkeypatch.setattr("benchmark.running.amending.load", lambda _, keep=keep: keep)
        base = correcting.base_model(scenario(), 0, context)
        amend((METHODS.get(name, TASK.name), {}), TASK, scenario(), 0, base, context, Stopwatch(context.device), [])
        hashes |= {state_hash(model) for model in seen}
    assert hashes == {state_hash(correcting.base_model(scenario(), 0, context))}


def test_what_is_recorded_of_the_data_does_not_depend_on_the_artefact() -> None:
    assert correcting.data_checksum(scenario()) == load("digits").checksum
    assert correcting.data_checksum(scenario("digits-light")) == load("digits").checksum


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> Iterator[Attacked]:
    """What stands for a data set that brings its artefact, one of class 1."""
    few = Samples(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), (0.5,) * 3, (0.5,) * 3)
    data = Attacked(few, few, few, Pair(few, few), Pair(few, few), ("a", "b"), 1, (), "0123456789abcdef")
    monkeypatch.setattr(correcting, "load_attacked", lambda *_: data)
    correcting._on_device.cache_clear()
    yield data
    correcting._on_device.cache_clear()


def test_a_data_set_s_own_artefact_is_one_of_its_own_class(brought: Attacked) -> None:
    settings = scenario(data="celeba-collar", artefact=Artefact("natural"), biased_class=1)
    assert correcting.data_of(settings, 5, torch.device("cpu")).biased == 1
    assert correcting.data_checksum(settings) == brought.checksum
    other = msgspec.structs.replace(settings, biased_class=0)
    with pytest.raises(InputError, match="biased_class: the artefact of celeba-collar is one of class 1"):
        correcting.data_of(other, 5, torch.device("cpu"))


# Networks.


def amended(
    context: Context, name: str = "digits-patch", method: str = "original", **parameters: Any
) -> tuple[BiasCorrection, nn.Module, nn.Module]:
    """Settings, base model, and what the method makes of it with seed 0."""
    key, settings = f"{name}/{method}/{parameters}", scenario(name)
    base = correcting.base_model(settings, 0, context)
    if key not in AMENDED:
        info, ledgers = METHODS.get(method, TASK.name), []
        chosen = {**info.defaults(), **parameters}
        watch = Stopwatch(context.device)
        AMENDED[key] = amend((info, chosen), TASK, settings, 0, base, context, watch, ledgers)
        assert violations(ledgers) == []
    return settings, base, AMENDED[key]


def evaluated(context: Context, name: str = "digits-patch", method: str = "original", **parameters: Any) -> Evaluation:
    settings, base, model = amended(context, name, method, **parameters)
    key = f"{name}/{method}/{parameters}"
    if key not in EVALUATED:
        before = state_hash(base), state_hash(model)
        EVALUATED[key] = correcting.evaluate(settings, 0, base, model, context)
        assert before == (state_hash(base), state_hash(model))
    return EVALUATED[key]


def value(found: Evaluation, name: str) -> float:
    measured = found.metrics[name].value
    assert measured is not None, name
    return measured


def at_layer(model: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Activations (N, C, H, W), which the logits (N, k) can be differentiated by, and the logits."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    handle = dict(model.named_modules())[layer].register_forward_hook(keep)
    logits = model.eval()(x)
    handle.remove()
    return kept[0], logits


def direction(model: nn.Module, layer: str, data: Attacked) -> Tensor:
    """The unit difference of the means of pooled activations, biased class, with and without the artefact."""
    own = of(data.train, data.biased)
    a = at_layer(model, layer, own.inputs())[0].detach().amax((2, 3)).double()
    assert own.attributes is not None
    h = a[own.attributes == 1].mean(0) - a[own.attributes == 0].mean(0)
    return h / h.norm()


def tcav_by_hand(model: nn.Module, layer: str, data: Attacked, h: Tensor) -> dict[str, float]:
    """Of the biased class's logit, over all attacked test samples."""
    a, logits = at_layer(model, layer, data.test.attacked.inputs())
    (gradient,) = torch.autograd.grad(logits[:, data.biased].sum(), a)
    along = torch.einsum("nchw,c->nhw", gradient.double(), h)
    whole = along.sum((1, 2))
    return {
        "tcav": float((whole > 0).double().mean()),
        "tcav.positions": float((along[along != 0] > 0).double().mean()),
        "tcav.sensitivity": float(whole.abs().mean()),
        "tcav.sensitivity.positions": float(along.abs().mean()),
    }


class Branching(nn.Sequential):
    """A network that no tracer gets through: what it does depends on what it sees."""

    def forward(self, input: Tensor) -> Tensor:
        if bool(input.isnan().any()):
            raise ValueError("not a number")
        out: Tensor = super().forward(input)
        return out


class Told(nn.Module):
    """Says of each sample what it was told to, and knows it by its pixels; nobody can take it apart."""

    def __init__(self, *told: tuple[Samples, Tensor]) -> None:
        super().__init__()
        self.answers: dict[bytes, int] = {}
        for samples, said in told:
            self.answers.update(zip(contents(samples.inputs()), said.tolist(), strict=True))
        self.last = nn.Linear(10, 10, bias=False)
        with torch.no_grad():
            self.last.weight.copy_(torch.eye(10))

    def forward(self, x: Tensor) -> Tensor:
        said = torch.tensor([self.answers[row] for row in contents(x)])
        out: Tensor = self.last(F.one_hot(said, 10).float())
        return out


def wrong(samples: Samples, n: int) -> Tensor:
    """The samples' labels, the first ``n`` of them wrong."""
    labels = samples.labels.clone()
    labels[:n] = (labels[:n] + 1) % 10
    return labels


# What tuning goes by.


def right(model: nn.Module, samples: Samples) -> int:
    with torch.no_grad():
        return int((model(samples.inputs()).argmax(1) == samples.labels).sum())


@pytest.mark.parametrize(
    ("floor", "lost", "margin"), [(1.0, 3, 0.0), (1.0, 4, -1 / 3), (5.0, 12, 1.0), (5.0, 16, -1 / 3), (0.0, 1, -1 / 3)]
)
@pytest.mark.parametrize("attacked_wrong", [0, 90])
def test_the_score_is_attacked_accuracy_and_the_margin_what_is_left_above_the_floor(
    floor: float, lost: int, margin: float, attacked_wrong: int, context: Context
) -> None:
    """Of 300 samples each: 3 are one point."""
    settings = scenario(floor=floor)
    pair = data_of(settings).selection
    known = right(correcting.base_model(settings, 0, context), pair.clean)
    model = Told(
        (pair.clean, wrong(pair.clean, 300 - known + lost)), (pair.attacked, wrong(pair.attacked, attacked_wrong))
    )
    found = correcting.selection_score(settings, 0, model, context)
    share = (300 - attacked_wrong) / 300
    assert found.score == pytest.approx(share)
    assert found.margin == pytest.approx(margin)
    assert found.metrics == {
        "accuracy.clean": pytest.approx((known - lost) / 3),
        "accuracy.attacked": pytest.approx(100 * share),
    }


def test_no_network_under_the_floor_is_preferred_to_one_above_it(context: Context) -> None:
    settings = scenario()
    pair = data_of(settings).selection
    above = Told((pair.clean, pair.clean.labels), (pair.attacked, wrong(pair.attacked, 300)))
    below = Told((pair.clean, wrong(pair.clean, 100)), (pair.attacked, pair.attacked.labels))
    found = [correcting.selection_score(settings, 0, model, context) for model in (above, below)]
    trials = [Trial({"k": k}, [own.score], own.score, 1.0, [], [], own.margin) for k, own in enumerate(found)]
    assert [trial.score for trial in trials] == [0.0, 1.0]
    assert best_of(trials).parameters == {"k": 0}


@EVERY_SCENARIO
def test_the_score_is_of_the_selection_split(name: str, context: Context) -> None:
    settings, base, model = amended(context, name)
    data = data_of(settings)
    found = correcting.selection_score(settings, 0, model, context)
    selection, test = (right(model, pair.attacked) / len(pair.attacked) for pair in (data.selection, data.test))
    assert found.score == pytest.approx(selection)
    assert found.score != pytest.approx(test)
    evidence = {"accuracy.legitimate"} if data.legitimate else set()
    assert set(found.metrics) == {"accuracy.clean", "accuracy.attacked"} | evidence | TCAV
    assert found.metrics["accuracy.clean"] == pytest.approx(100 * right(base, data.selection.clean) / 300)
    assert all(np.isfinite(v) for v in found.metrics.values())


def test_tuning_is_told_what_the_score_is_made_of(context: Context) -> None:
    one = load_suite("smoke").scenarios["digits-patch-legitimate"]
    parameters = {**METHODS.get("rr-clarc", TASK.name).defaults(), "lam": 10.0}
    found, seconds, failure = amend_for_selection(one, "rr-clarc", parameters, 0, context)
    assert failure == ""
    assert seconds > 0
    assert set(found.metrics) == {"accuracy.clean", "accuracy.attacked", "accuracy.legitimate"} | TCAV
    model = amended(context, "digits-patch-legitimate", "rr-clarc", lam=10.0)[2]
    clean = data_of(one.settings).selection.clean
    theirs = [of(clean, label) for label in (1, 2)]
    share = sum(right(model, samples) for samples in theirs) / sum(map(len, theirs))
    assert found.metrics["accuracy.legitimate"] == pytest.approx(100 * share)


def test_a_configuration_that_fails_scores_nothing(context: Context) -> None:
    one = load_suite("smoke").scenarios["digits-patch"]
    found, _, failure = amend_for_selection(one, "rr-clarc", {"lam": -1.0}, 0, context)
    assert (found.score, dict(found.metrics)) == (0.0, {})
    assert failure.startswith("seed 0: InputError: lam must be at least 0")


# Evaluation.


@pytest.mark.parametrize(
    ("name", "method", "blank"),
    [
        ("digits-patch", "original", OF_CONCEPTS | {"accuracy.legitimate"}),
        ("digits-patch", "logit-mask", OF_CONCEPTS | {"accuracy.legitimate"}),
        ("digits-patch", "retrain", OF_CONCEPTS | {"accuracy.legitimate"}),
        ("digits-patch", "p-clarc", {"accuracy.legitimate"}),
        ("digits-patch", "rr-clarc", {"accuracy.legitimate"}),
        ("digits-light", "original", OF_CONCEPTS | {"accuracy.legitimate", "relevance.in-mask"}),
        ("digits-light", "p-clarc", {"accuracy.legitimate", "relevance.in-mask"}),
        ("digits-light", "rr-clarc", {"accuracy.legitimate", "relevance.in-mask"}),
        ("digits-patch-legitimate", "original", OF_CONCEPTS),
        ("digits-patch-legitimate", "rr-clarc+class-specific", set()),
    ],
)
def test_every_metric_is_there_with_the_number_of_its_samples(
    name: str, method: str, blank: set[str], context: Context
) -> None:
    found = evaluated(context, name, method)
    assert set(found.metrics) == set(TASK.metrics)
    assert {name for name, m in found.metrics.items() if m.value is None} == blank
    assert all(np.isfinite(m.value) for m in found.metrics.values() if m.value is not None)
    assert found.flags == []
    attacked = 320 if "legitimate" in name else 400
    positions = 4 if name == "digits-patch" else 1
    expected = {
        "accuracy.clean": 400,
        "accuracy.attacked": attacked,
        "f1.clean": 400,
        "f1.attacked": attacked,
        "accuracy.legitimate": 400 - attacked,
        "attack.cost": attacked,
        "attack.success": attacked - 40,
        "tcav.sensitivity": attacked,
        "tcav.sensitivity.positions": attacked * positions,
        "relevance.in-mask": 40,
        "cav.alignment": 40,
        "cav.alignment.individual": 40,
        "cav.seconds": 0,
    }
    for metric_name, n in expected.items():
        assert found.metrics[metric_name].n == (0 if metric_name in blank else n), metric_name
    assert 0 < found.metrics["tcav"].n <= attacked
    assert 0 < found.metrics["tcav.positions"].n <= attacked * positions


@EVERY_SCENARIO
def test_the_artefact_fools_the_original_and_not_the_retrained_network(name: str, context: Context) -> None:
    before, after = (evaluated(context, name, method) for method in ("original", "retrain"))
    assert gates(*({k: m.value for k, m in found.metrics.items()} for found in (before, after))) == []
    assert value(before, "attack.success") > 40
    assert value(after, "attack.success") < 5
    assert value(after, "accuracy.clean") > 90
    assert value(after, "accuracy.attacked") > value(before, "accuracy.attacked") + 20


@pytest.mark.parametrize(
    ("name", "layer", "method"),
    [
        ("digits-patch", "8", "original"),
        ("digits-patch", "8", "rr-clarc"),
        ("digits-patch", "8", "retrain"),
        ("digits-light", "5.layer", "original"),
        ("digits-light", "5.layer", "retrain"),
        ("digits-patch-legitimate", "5.layer", "rr-clarc"),
    ],
)
def test_tcav_by_hand_with_the_direction_in_the_network_s_own_activations(
    name: str, layer: str, method: str, context: Context
) -> None:
    settings, base, model = amended(context, name, method)
    found, data = evaluated(context, name, method), data_of(settings)
    h = direction(model, layer, data)
    expected = tcav_by_hand(model, layer, data, h)
    for metric_name in TCAV:
        assert value(found, metric_name) == pytest.approx(expected[metric_name], rel=1e-3, abs=1e-6), metric_name
    others = direction(base, layer, data)
    assert (float(h @ others) > 0.999) == (method != "retrain")  # methods that train the head leave the direction
    if method == "retrain":
        assert expected["tcav.sensitivity"] != pytest.approx(
            tcav_by_hand(model, layer, data, others)["tcav.sensitivity"], rel=0.05
        )


def test_a_mask_of_the_logit_is_looked_behind(context: Context) -> None:
    _, _, model = amended(context, "digits-patch", "logit-mask")
    assert isinstance(model, LogitMask)
    plain, masked = evaluated(context), evaluated(context, method="logit-mask")
    for name in (*TCAV, "relevance.in-mask"):
        assert masked.metrics[name] == plain.metrics[name]
    for name in ("example.predictions", "example.relevance", "example.concept"):
        assert np.array_equal(masked.arrays[name], plain.arrays[name])
    assert value(masked, "attack.success") == 0.0
    assert value(masked, "accuracy.clean") < value(plain, "accuracy.clean") - 5


@pytest.mark.parametrize(("name", "layer"), [("digits-patch", "8"), ("digits-light", "5.layer")])
def test_a_projection_is_judged_behind_the_shift_along_the_direction_before_it(
    name: str, layer: str, context: Context
) -> None:
    settings, base, model = amended(context, name, "p-clarc")
    data = data_of(settings)
    assert isinstance(dict(model.named_modules())[layer], ShiftedLayer)
    h = direction(model, f"{layer}.layer", data)
    assert torch.allclose(h, direction(base, layer, data), atol=1e-5)
    found, expected = evaluated(context, name, "p-clarc"), tcav_by_hand(model, layer, data, h)
    for metric_name in TCAV:
        assert value(found, metric_name) == pytest.approx(expected[metric_name], rel=1e-3, abs=1e-6), metric_name
    z = at_layer(model, layer, data.test.attacked.inputs())[0].detach().amax((2, 3)).double() @ h
    assert torch.allclose(z, z[0].expand_as(z), atol=1e-4)  # all are where samples without the artefact are
    before = tcav_by_hand(model, f"{layer}.layer", data, h)
    assert before["tcav.sensitivity"] < 1e-5 * expected["tcav.sensitivity"]  # the shift undoes every other


@pytest.mark.parametrize(("name", "layer"), [("digits-patch", "8"), ("digits-light", "5.layer")])
@pytest.mark.parametrize("method", ["rr-clarc", "p-clarc"])
def test_alignment_by_hand(name: str, layer: str, method: str, context: Context) -> None:
    settings, base, model = amended(context, name, method)
    data, h = data_of(settings), model.concept.h.double()
    own = [of(samples, 0).inputs() for samples in (data.test.clean, data.test.attacked)]
    clean, attacked = (at_layer(base, layer, x)[0].detach().amax((2, 3)).double() for x in own)
    shifts = attacked - clean
    found = evaluated(context, name, method)
    each = [100 * float(s @ h / (s.norm() * h.norm())) for s in shifts]
    mean = shifts.mean(0)
    assert value(found, "cav.alignment.individual") == pytest.approx(np.mean(each), rel=1e-4)
    assert value(found, "cav.alignment") == pytest.approx(100 * float(mean @ h / mean.norm()), rel=1e-4)
    assert value(found, "cav.alignment.individual") < value(found, "cav.alignment")
    assert value(found, "cav.seconds") == model.concept.seconds > 0


def test_where_pairs_are_not_known_there_is_no_alignment(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, base, model = amended(context, method="rr-clarc")
    apart = dataclasses.replace(data_of(settings), paired=False)
    monkeypatch.setattr(correcting, "data_of", lambda *_: apart)
    found = correcting.evaluate(settings, 0, base, model, context)
    assert found.metrics["cav.alignment"] == found.metrics["cav.alignment.individual"] == (None, 0)
    assert found.metrics["cav.seconds"].value == model.concept.seconds
    assert found.metrics["attack.cost"] == (None, 0)
    assert not [name for name in found.arrays if name.startswith("example")]
    assert found.metrics["tcav"] == evaluated(context, method="rr-clarc").metrics["tcav"]


def test_relevance_is_that_of_the_biased_class_s_samples_in_the_widened_mask(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, base, model = amended(context)
    samples = of(data_of(settings).test.attacked, 0)
    assert samples.masks is not None
    relevances = relevance.relevances(model, samples.inputs(), samples.labels)
    masks = relevance.smoothed(samples.masks)
    expected = relevance.relevance_in_mask(relevances, masks)
    assert evaluated(context).metrics["relevance.in-mask"] == (pytest.approx(expected.value), 40)
    monkeypatch.setattr(concept_metrics, "EXPLAINED", 14)  # of 40: every third
    found = correcting.evaluate(settings, 0, base, model, context).metrics["relevance.in-mask"]
    third = relevance.relevance_in_mask(relevances[::3], masks[::3])
    assert found == (pytest.approx(third.value), 14)
    assert third.value != pytest.approx(expected.value)


def test_without_zennit_there_is_no_relevance(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, base, model = amended(context)
    monkeypatch.setattr(relevance, "available", lambda: False)
    found = correcting.evaluate(settings, 0, base, model, context)
    assert found.metrics["relevance.in-mask"] == (None, 0)
    assert not [name for name in found.arrays if name.startswith("example")]
    assert found.metrics["tcav"] == evaluated(context).metrics["tcav"]


def _unfit(*_: Any) -> Tensor:
    raise ValueError(relevance.NO_FORM)


@pytest.mark.parametrize("examples", [False, True])
def test_where_the_rules_of_relevance_do_not_fit_it_is_blank(
    examples: bool, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, base, model = amended(context)
    monkeypatch.setattr(relevance, "relevances", _unfit)
    found = correcting.evaluate(msgspec.structs.replace(settings, examples=examples), 0, base, model, context)
    assert found.metrics["relevance.in-mask"] == (None, 0)
    assert not [name for name in found.arrays if name.startswith("example")]
    assert value(found, "accuracy.clean") > 90


@pytest.mark.parametrize("kind", ["cannot be traced", "has no such layer"])
def test_a_network_that_cannot_be_taken_apart_has_blanks(kind: str, context: Context) -> None:
    settings, base, _ = amended(context)
    torch.manual_seed(0)
    models = {
        "cannot be traced": Branching(*copy.deepcopy(base).children()),
        "has no such layer": nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
    }
    found = correcting.evaluate(settings, 0, base, models[kind].eval(), context)
    assert set(found.metrics) == set(TASK.metrics)
    for name in TCAV | OF_CONCEPTS:
        assert found.metrics[name] == (None, 0)
    assert found.metrics["relevance.in-mask"].n == 40
    assert not [name for name in found.arrays if name.startswith("example")]
    if kind == "cannot be traced":
        for name in ("accuracy.clean", "accuracy.attacked", "attack.success"):
            assert found.metrics[name] == evaluated(context).metrics[name]


@EVERY_SCENARIO
def test_the_arrays_give_the_same_metrics_again(name: str, context: Context) -> None:
    for method_name in ("original", "logit-mask"):
        found, data = evaluated(context, name, method_name), data_of(scenario(name))
        arrays = found.arrays
        logits, attacked = (torch.from_numpy(arrays[f"{k}.logits"].astype("float32")) for k in ("clean", "attacked"))
        labels, others = (torch.from_numpy(arrays[f"{k}.labels"].astype("int64")) for k in ("clean", "attacked"))
        assert torch.equal(labels, data.test.clean.labels)
        assert torch.equal(others, data.test.attacked.labels)
        assert int(arrays["biased"]) == 0
        again = correcting.scores(logits, labels, attacked, others, data.biased, data.legitimate, paired=data.paired)
        assert len(again) == 7
        assert again == {name: found.metrics[name] for name in again}


# Pictures.


@pytest.mark.parametrize("name", ["digits-patch", "digits-patch-legitimate"])
def test_examples_are_the_same_digits_clean_and_attacked(name: str, context: Context) -> None:
    pytest.importorskip("zennit")
    settings, base, model = amended(context, name)
    settings = msgspec.structs.replace(settings, examples=True)
    found = correcting.evaluate(settings, 0, base, model, context).arrays
    assert {name for name in found if name.startswith("example.")} == {
        f"example.{what}" for what in ("clean", "attacked", "labels", "predictions", "relevance", "concept")
    }
    for what in ("clean", "attacked"):
        assert (found[f"example.{what}"].shape, found[f"example.{what}"].dtype) == ((5, 1, 8, 8), np.uint8)
    for what in ("relevance", "concept"):
        assert (found[f"example.{what}"].shape, found[f"example.{what}"].dtype) == ((5, 8, 8), np.float16)
        assert np.isfinite(found[f"example.{what}"]).all()
        assert (found[f"example.{what}"] != 0).any(axis=(1, 2)).all()
    data = data_of(settings)
    clean, attacked = (dict(zip(contents(s.images), range(len(s)), strict=True)) for s in _attackable(data))
    places = [attacked[image.tobytes()] for image in found["example.attacked"]]
    assert places == [clean[image.tobytes()] for image in found["example.clean"]]
    assert len(set(places)) == 5
    labels = data.test.attacked.labels[places]
    assert found["example.labels"].tolist() == labels.tolist()
    assert data.biased not in labels
    with torch.no_grad():
        said = model(data.test.attacked.inputs(torch.tensor(places))).argmax(1)
    assert found["example.predictions"].tolist() == said.tolist()


def _attackable(data: Attacked) -> tuple[Samples, Samples]:
    kept = ~torch.isin(data.test.clean.labels, torch.tensor(data.legitimate, dtype=torch.int64))
    return data.test.clean.subset(kept.nonzero()[:, 0]), data.test.attacked


def test_pictures_are_kept_where_the_scenario_wants_them(context: Context) -> None:
    names = {"clean.logits", "clean.labels", "attacked.logits", "attacked.labels", "biased"}
    assert set(evaluated(context, "digits-light").arrays) == names
    assert set(evaluated(context, "digits-patch").arrays) > names


# Scores by hand.


def said(predictions: list[int], classes: int = 4) -> Tensor:
    return F.one_hot(torch.tensor(predictions), classes).float()


@pytest.fixture
def tiny() -> Attacked:
    """Four classes: 0 is biased, 1 and 2 are legitimate."""
    none = Samples(torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    return Attacked(none, none, none, Pair(none, none), Pair(none, none), tuple("abcd"), 0, (1, 2), "")


def test_scores_by_hand(tiny: Attacked) -> None:
    labels, attacked_labels = torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([0, 0, 3, 3])
    logits, attacked = said([0, 3, 1, 1, 3, 3]), said([0, 0, 0, 3])
    found = correcting.scores(
        logits, labels, attacked, attacked_labels, tiny.biased, tiny.legitimate, paired=tiny.paired
    )
    assert found == {
        "accuracy.clean": (pytest.approx(400 / 6), 6),
        "accuracy.attacked": (75.0, 4),
        "f1.clean": macro_f1(logits, labels),
        "f1.attacked": (pytest.approx(100 * (4 / 5 + 2 / 3) / 2), 4),
        "accuracy.legitimate": (50.0, 2),
        "attack.cost": (0.0, 4),  # 75 % of the same four before
        "attack.success": (50.0, 2),
    }


def test_what_an_attack_costs_and_whom_it_pulls(tiny: Attacked) -> None:
    labels, others = torch.tensor([1, 2, 0, 3, 3, 3]), torch.tensor([0, 3, 3, 3])
    clean = said([2, 1, 0, 3, 3, 3])  # only legitimate classes are confused: it is not the attack's doing
    found = correcting.scores(
        clean, labels, said([0, 0, 0, 1]), others, tiny.biased, tiny.legitimate, paired=tiny.paired
    )
    assert found["attack.cost"] == (75.0, 4)
    assert found["attack.success"] == (pytest.approx(200 / 3), 3)
    assert found["accuracy.legitimate"] == (0.0, 2)
    found = correcting.scores(
        clean, labels, said([3, 3, 3, 3]), others, tiny.biased, tiny.legitimate, paired=tiny.paired
    )
    assert (found["attack.cost"], found["attack.success"]) == ((25.0, 4), (0.0, 3))


def test_scores_without_legitimate_classes(tiny: Attacked) -> None:
    labels = torch.tensor([0, 1, 2, 3])
    plain = dataclasses.replace(tiny, legitimate=(), biased=3)
    found = correcting.scores(
        said([0, 1, 2, 0]), labels, said([3, 3, 2, 0]), labels, plain.biased, plain.legitimate, paired=plain.paired
    )
    assert found["accuracy.legitimate"] == (None, 0)
    assert found["attack.cost"] == (50.0, 4)
    assert found["attack.success"] == (pytest.approx(200 / 3), 3)


def test_what_is_not_a_number_is_neither_right_nor_pulled(tiny: Attacked) -> None:
    labels, others = torch.tensor([0, 3]), torch.tensor([0, 3])
    broken = said([0, 0])
    broken[:, 2] = torch.nan
    found = correcting.scores(said([0, 3]), labels, broken, others, tiny.biased, tiny.legitimate, paired=tiny.paired)
    assert found["accuracy.attacked"] == (0.0, 2)
    assert found["f1.attacked"] == (0.0, 2)
    assert found["attack.success"] == (0.0, 1)
    assert found["attack.cost"] == (100.0, 2)


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float("-inf")])
def test_outputs_that_are_not_finite_are_flagged(broken: float, context: Context) -> None:
    settings, base, _ = amended(context)
    model = copy.deepcopy(base)
    with torch.no_grad():
        list(model.parameters())[-1][3] = broken
    found = correcting.evaluate(settings, 0, base, model, context)
    assert found.flags == ["the amended model's outputs are not finite"]
    assert set(found.metrics) == set(TASK.metrics)
    assert value(found, "accuracy.clean") == value(found, "accuracy.attacked") == 0.0
    assert all(m.value is None or np.isfinite(m.value) for m in found.metrics.values())
    assert correcting.selection_score(settings, 0, model, context).margin < -80


def test_there_is_nothing_to_compare_ensembles_by(context: Context) -> None:
    settings, _, model = amended(context)
    with pytest.raises(InputError, match="bias-correction has no forget set"):
        correcting.members(settings, 0, model, context)


# The penalty.


def test_the_more_is_penalised_the_less_sensitive_the_network(context: Context) -> None:
    found = [evaluated(context, method="rr-clarc", lam=lam) for lam in (0.0, 10.0, 100.0, 1e3, 1e4)]
    sensitivities = [value(one, "tcav.sensitivity") for one in found]
    assert sensitivities == sorted(sensitivities, reverse=True)
    assert sensitivities[-1] < 0.02 * sensitivities[0]
    assert all(value(one, "accuracy.clean") > 95 for one in found)
    assert value(found[-1], "accuracy.attacked") > value(found[0], "accuracy.attacked") + 20
    assert value(found[0], "tcav") == 1.0
    assert value(found[-1], "tcav") < 0.9  # of signs of next to nothing; how near 0.5 depends on the machine


def test_without_a_penalty_it_is_fine_tuning(context: Context) -> None:
    one, other = (amended(context, method=m, **p)[2] for m, p in (("rr-clarc", {"lam": 0.0}), ("finetune", {})))
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert evaluated(context, method="rr-clarc", lam=0.0).metrics["accuracy.attacked"] == Measured(
        value(evaluated(context, method="finetune"), "accuracy.attacked"), 400
    )
