"""The debiasing tasks: settings, tracks, problems with their guards, model selection, and evaluation."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from benchmark.artifacts.context import Context
from benchmark.contracts import Access, Ledger, MethodInfo, method
from benchmark.data.biased import load_biased
from benchmark.data.views import Samples, View
from benchmark.discovery.methods import METHODS
from benchmark.errors import AccessViolation, InputError
from benchmark.metrics.groups import count_groups, group_balanced
from benchmark.running.amending import amend, violations
from benchmark.suites.definition import load_suite, methods_of
from benchmark.tasks import TASKS, debiasing
from benchmark.tasks.debias import BY_ATTRIBUTE, RULES, Debias, derive, gates, rank_by, track
from benchmark.tasks.selection import Selector
from benchmark.timing import Stopwatch


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "task": "debias-known",
        "data": "mnist-5k",
        "model": "cmnist-mlp",
        "bias": {"kind": "colour", "conflicting": 0.05, "halves": True},
        "selection": "group-balanced",
        "training": {"steps": 20, "per_class": 40, "lr": 0.1, "weight_decay": 0.01, "checkpoints": 5},
        "oracle": True,
        **changes,
    }


def scenario(**changes: Any) -> Debias:
    return msgspec.convert(settings(**changes), Debias)


# Settings.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "mnist-5"}, "mnist-5k"),
        ({"model": "cmnist-mpl"}, "cmnist-mlp"),
        ({"model": "mlp-toy"}, "does not take inputs"),
        ({"bias": {"kind": "natural"}}, "no attribute of its own"),
        ({"bias": {"kind": "corruption", "conflicting": 0.1}}, "32x32"),
        ({"bias": {"kind": "colour", "conflicting": 1.5}}, "1.5"),
        ({"bias": {"kind": "colour", "conflicting": 0.1, "severity": 6}}, "6"),
        ({"bias": {"kind": "colour", "conflicting": 0.1, "holdout": 50}}, "holdout is 50"),
        ({"selection": "last"}, "attributes are known"),
        ({"pretrained": True}, "no published weights"),
    ],
)
def test_wrong_settings_name_field_and_value(changes: dict[str, Any], message: str) -> None:
    wrong = scenario(**changes)
    with pytest.raises((ValueError, InputError), match=message):
        TASKS.get("debias-known").check(wrong)


@pytest.mark.parametrize(
    "training",
    [
        {"steps": 0, "per_class": 1, "lr": 0.1, "weight_decay": 0.0},
        {"steps": 5, "per_class": 1, "lr": 0.1, "weight_decay": 0.0, "checkpoints": 6},
        {"steps": 30, "per_class": 1, "lr": 0.1, "weight_decay": -1.0},
        {"steps": 30, "per_class": 1, "lr": 0.1, "weight_decay": 0.0, "optimiser": "adamw", "momentum": 0.5},
    ],
)
def test_wrong_recipes_are_refused(training: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        scenario(training=training)


def test_suites_of_the_package_have_both_tasks() -> None:
    suite = load_suite("embedded")
    for task in ("debias-known", "debias-unknown"):
        own = [s for s in suite.scenarios.values() if s.task == task]
        assert own
        assert all({"erm", "gerne"} <= set(s.methods) for s in own)


# Tracks.


@pytest.mark.parametrize(
    ("name", "task", "rule", "expected"),
    [
        ("gerne", "debias-known", "group-balanced", "yes/yes"),
        ("gerne", "debias-unknown", "group-balanced", "no/yes"),
        ("gerne", "debias-unknown", "worst-class", "no/no"),
        ("erm", "debias-known", "worst-group", "no/yes"),
        ("reweighting", "debias-unknown", "last", "no/no"),
        ("reweighting", "debias-known", "bias-conflicting", "yes/yes"),
    ],
)
def test_tracks_follow_from_what_is_granted(name: str, task: str, rule: str, expected: str) -> None:
    granted = METHODS.get(name, task).access.granted(TASKS.get(task).views)
    assert track(scenario(task=task, selection=rule), granted) == expected


def test_no_method_of_the_unknown_task_is_granted_attributes() -> None:
    task = TASKS.get("debias-unknown")
    for name in methods_of("debias-unknown"):
        assert "a" not in METHODS.get(name, task.name).access.granted(task.views).views.get("train", ""), name


def test_a_fitted_validation_attribute_is_no_no_no() -> None:
    assert track(scenario(task="debias-unknown", selection="worst-class"), Access(validation="xya")) == "no/yes"


def test_a_scenario_says_what_it_is_ranked_by() -> None:
    assert rank_by(scenario(rank_by="worst-group")) == "accuracy.worst-group"
    assert rank_by(scenario()) == "accuracy.group-balanced"


def test_optional_access() -> None:
    access = Access(train="xy", optional={"train": "a", "extra": "x"})
    assert access.granted({"train": "xya"}).views == {"train": "xya"}
    assert access.granted({"train": "xy", "extra": "x"}).views == {"train": "xy", "extra": "x"}
    assert "attributes where the task gives them" in str(access)
    with pytest.raises(ValueError, match="'q'"):
        Access(optional={"train": "q"})


# Relative metrics and gates.


def test_gains_are_over_erm() -> None:
    own = {"accuracy.group-balanced": 80.0, "accuracy.worst-group": 40.0}
    reference = {"accuracy.group-balanced": 50.0, "accuracy.worst-group": None}
    assert derive(own, reference) == {"gain.group-balanced": 30.0, "gain.worst-group": None}


def test_gates() -> None:
    def reasons(gap: float, aligned: float) -> list[str]:
        values = {"bias.difference": gap, "accuracy.bias-aligned": aligned}
        return gates(values, values)

    assert not reasons(58.0, 98.0)
    assert "next to no bias" in reasons(5.0, 90.0)[0]
    assert "poor classifier" in reasons(25.0, 45.0)[0]
    assert gates(None, None) == []


# Problems.


def problem(context: Context, access: Access, **changes: Any) -> tuple[Any, Ledger]:
    own, ledger = scenario(**changes), Ledger()
    base = debiasing.base_model(own, 101, context)
    return debiasing.build(own, 101, 0, base, access, ledger, context), ledger


def test_base_models_depend_on_the_seed_alone(context: Context) -> None:
    first, again, other = (debiasing.base_model(scenario(), seed, context) for seed in (101, 101, 102))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_training_attributes_are_not_there_in_the_unknown_task(context: Context) -> None:
    guarded, ledger = problem(context, Access(train="xya"), task="debias-unknown")
    with pytest.raises(AccessViolation, match="no attributes"):
        _ = guarded.problem.train.everything().a
    assert ledger.violations


def test_validation_attributes_are_not_there_without_a_rule_that_needs_them(context: Context) -> None:
    for rule in ("worst-class", "last"):
        guarded, _ = problem(context, Access(validation="xya"), task="debias-unknown", selection=rule)
        with pytest.raises(AccessViolation, match="no attributes"):
            _ = guarded.problem.validation.everything().a
    guarded, _ = problem(context, Access(validation="xya"), task="debias-unknown")
    assert len(guarded.problem.validation.everything().a) == 250


def test_what_is_trained_on_is_not_selected_on(context: Context) -> None:
    """A method that gets the held-out split gets half of it, stratified by group; the other half selects."""
    data = load_biased("mnist-5k", scenario().bias)
    guarded, _ = problem(context, Access(train="xy", validation="xya"))
    lent, judged = guarded.problem.validation._samples, guarded.finish.args[0].truth
    assert len(lent) + len(judged) == len(data.selection)
    both = torch.cat([lent.images, judged.images]).flatten(1)
    assert len(both.unique(dim=0)) == len(data.selection.images.flatten(1).unique(dim=0))
    shares = [torch.bincount(s.labels * 2 + s.attributes, minlength=4) for s in (lent, judged)]
    assert (shares[0] - shares[1]).abs().max() <= 2
    whole, _ = problem(context, Access(train="xy"))
    assert len(whole.finish.args[0].truth) == len(data.selection)
    assert len(whole.problem.validation) == 0


# Selection.


class Lookup(nn.Module):
    """Classifies the samples at which ``right`` is 1 as they are labelled, the others wrongly."""

    def __init__(self, *right: int) -> None:
        super().__init__()
        self.register_buffer("right", torch.tensor(right, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        labels = torch.tensor([0, 0, 0, 1, 1])
        return torch.eye(2)[torch.where(self.right.bool(), labels, 1 - labels)]


def selector(rule: str, **changes: Any) -> Selector:
    labels = torch.tensor([0, 0, 0, 1, 1])
    attributes = torch.tensor([0, 0, 1, 1, 0])
    samples = Samples(torch.zeros(5, 2), labels, attributes=attributes)
    view = View("selection", samples, Access(selection="xya"), Ledger())
    aligned = torch.tensor([[True, False], [False, True]])
    return Selector(view, samples, (2, 2), aligned, rule, **changes)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("worst-group", 50.0),
        ("group-balanced", 87.5),
        ("bias-conflicting", 100.0),
        ("worst-class", 200 / 3),
        ("class-balanced", 250 / 3),
    ],
)
def test_rules_by_hand(rule: str, expected: float) -> None:
    watch = selector(rule)
    watch.look(Lookup(1, 0, 1, 1, 1))
    assert watch.chosen[rule].score.value == pytest.approx(expected)


def test_the_best_state_is_restored_and_ties_go_to_the_later() -> None:
    model, watch = Lookup(0, 0, 0, 0, 0), selector("bias-conflicting")
    for right in ([1, 1, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [1, 1, 0, 1, 0]):
        model.right.copy_(torch.tensor(right))
        watch.look(model)
    assert watch.chosen["bias-conflicting"].look == 3
    assert watch.chosen["bias-conflicting"].score == (50.0, 2)
    assert watch.chosen["bias-conflicting"].error == pytest.approx(100 * (0.25 / 2) ** 0.5)
    assert watch.chosen["last"].look == 4
    watch.restore(model)
    assert model.right.tolist() == [0, 0, 1, 1, 0]


def test_looking_leaves_mode_and_generators_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    watch = selector("last")
    before = torch.random.get_rng_state()
    watch.look(model)
    assert model.training
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("rule", [*RULES, "class-balanced"])
def test_the_ledger_of_selection_has_what_its_rule_reads(rule: str) -> None:
    watch = selector(rule)
    watch.look(Lookup(1, 1, 1, 0, 0))
    watch.look(Lookup(0, 0, 0, 1, 1))
    counts = watch.view.counts()
    assert counts["passes"] == 10
    assert ("labels" in counts) == (rule != "last")
    assert ("attributes" in counts) == (rule in BY_ATTRIBUTE)


def test_restoring_what_was_never_looked_at_is_an_error() -> None:
    with pytest.raises(ValueError, match="never looked at"):
        selector("last").restore(Lookup(1, 1, 1, 0, 0))


# Whole runs.


def run(context: Context, name: str, **changes: Any) -> tuple[nn.Module, list[Ledger], Debias]:
    own, ledgers = scenario(**changes), []
    info = METHODS.get(name, own.task)
    base = debiasing.base_model(own, 101, context)
    watch = Stopwatch(context.device)
    found = amend((info, info.defaults()), TASKS.get(own.task), own, 101, base, context, watch, ledgers)
    return found, ledgers, own


def test_selection_is_on_the_bill(context: Context) -> None:
    _, ledgers, _ = run(context, "erm")
    assert ledgers[0].reads["selection"] == {"samples": 500, "labels": 500, "attributes": 500, "passes": 2500}
    assert "attributes" not in ledgers[0].reads["train"]
    assert not violations(ledgers)


def test_the_unknown_task_without_attributes_reads_none(context: Context) -> None:
    _, ledgers, _ = run(context, "gerne", task="debias-unknown", selection="worst-class")
    assert all("attributes" not in counts for counts in ledgers[0].reads.values())


def test_evaluation_of_the_chosen_state(context: Context) -> None:
    model, _, own = run(context, "resampling")
    base = debiasing.base_model(own, 101, context)
    found = debiasing.evaluate(own, 101, base, model, context)
    data = load_biased(own.data, own.bias)
    assert data.test.attributes is not None
    predictions = torch.from_numpy(found.arrays["test.logits"].astype("float32")).argmax(1)
    counts = count_groups(predictions, data.test.labels, data.test.attributes, 2, 2)
    assert found.metrics["accuracy.group-balanced"].value == group_balanced(counts).value
    assert found.metrics["accuracy.group-balanced@group-balanced"] == found.metrics["accuracy.group-balanced"]
    by_rule = {r: found.metrics[f"accuracy.group-balanced@{r}"].value for r in (*RULES, "oracle")}
    assert by_rule["oracle"] == max(v for v in by_rule.values() if v is not None)
    assert set(found.groups) == {f"{y} half / colour {a}" for y in ("lower", "upper") for a in (0, 1)}
    assert sum(n for _, n in found.groups.values()) == 1000
    assert found.metrics["selection.step"].value in (4.0, 8.0, 12.0, 16.0, 20.0)


def test_without_the_oracle_nothing_is_chosen_by_test_data(context: Context) -> None:
    model, _, own = run(context, "erm", oracle=False)
    found = debiasing.evaluate(own, 101, model, model, context)
    assert "accuracy.group-balanced@oracle" not in found.metrics


def test_a_model_that_was_never_watched_is_judged_as_it_is(context: Context) -> None:
    guarded, _ = problem(context, Access(train="xy"))
    model = guarded.problem.model
    before = copy.deepcopy(model.state_dict())
    finished = guarded.finish(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in finished.state_dict().items())
    assert debiasing.selection_of(finished).chosen["last"].look == 1


@method("peeks", tasks="debias-unknown", paper="", access=Access(train="xy"))
def peeks(problem: Any) -> nn.Module:
    """Swallows the refusal, too."""
    with contextlib.suppress(AccessViolation):
        _ = problem.train.everything().a
    return problem.model


def test_reading_an_attribute_in_the_unknown_task_is_found_out(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = scenario(task="debias-unknown")
    info = MethodInfo("peeks", "baseline", ("debias-unknown",), "", Access(train="xy"), 1, (), __name__, "peeks", "")
    monkeypatch.setattr("benchmark.running.amending.load", lambda _: peeks)
    ledgers: list[Ledger] = []
    base = debiasing.base_model(own, 101, context)
    amend((info, {}), TASKS.get(own.task), own, 101, base, context, Stopwatch(context.device), ledgers)
    assert violations(ledgers) == ["attributes of the train view were asked for but not declared"]


def test_only_references_train_without_the_bias(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    own = scenario()
    info = METHODS.get("unbiased")
    ranked = dataclasses.replace(info, kind="baseline")
    base = debiasing.base_model(own, 101, context)
    with pytest.raises(AccessViolation, match="to references only, not to a baseline"):
        amend((ranked, {}), TASKS.get(own.task), own, 101, base, context, Stopwatch(context.device), [])
    readers = [i.name for i in METHODS.values() if "unbiased" in i.access.views]
    assert readers == ["unbiased"]


def test_methods_cannot_see_what_they_are_selected_by(context: Context) -> None:
    for changes in ({}, {"task": "debias-unknown", "selection": "worst-class"}):
        guarded, ledger = problem(context, Access(train="xy"), **changes)
        for watch in (guarded.problem.watch, guarded.problem.auxiliary()):
            assert set(vars(watch)) == {"look", "restore"}
            for _ in range(5):
                watch.look(guarded.problem.model)
            with pytest.raises(ValueError, match="looked at 5 times"):
                watch.look(guarded.problem.model)
        assert not ledger.violations


def test_a_rule_needs_samples_to_go_by(context: Context) -> None:
    bias = {"kind": "colour", "conflicting": 0.009, "halves": True}  # one in 350 of training, none of 50 held out
    with pytest.raises(InputError, match="no such held-out sample"):
        problem(context, Access(train="xy"), bias=bias, selection="bias-conflicting")


def test_position_says_nothing_of_the_attribute() -> None:
    train = load_biased("mnist-5k", scenario().bias).train
    assert train.attributes is not None
    for label in (0, 1):
        conflicting = (train.attributes[train.labels == label] != label).float()
        half = len(conflicting) // 2
        assert 0.3 < float(conflicting[:half].sum() / conflicting.sum()) < 0.7


def test_selection_score_is_the_rule_s(context: Context) -> None:
    model, _, own = run(context, "erm")
    score = debiasing.selection_score(own, 101, model, context).score
    assert score == pytest.approx((debiasing.selection_of(model).chosen["group-balanced"].score.value or 0) / 100)
    assert 0 < score <= 1
