"""Attacks and classes where they are asked for: what they add, what a cheat cannot hide, and what stays as it was."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from baselines.references import LogitMask
from benchmark.artifacts.context import Context
from benchmark.artifacts.store import ArtifactStore
from benchmark.data.packaged import load
from benchmark.data.views import Samples
from benchmark.metrics.catalogue import METRICS
from benchmark.models.surgery import head, state_hash, underlying
from benchmark.rescoring.reported import Claim
from benchmark.rescoring.rescore import rescore_claim
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS, Evaluation, forgetting
from benchmark.tasks.attacking import attacks, of_pixels, pixels_of
from benchmark.tasks.class_forget import ATTACKS, BY_CLASS, ClassForget, derive
from benchmark.tasks.class_groups import by_class

TASK = TASKS.get("class-forget")


def settings(**changes: Any) -> ClassForget:
    return msgspec.structs.replace(load_suite("smoke").scenarios["digits"].settings, **changes)


@pytest.fixture(scope="module")
def context(cache_folder: Path) -> Context:
    return Context(torch.device("cpu"), 1, ArtifactStore(cache_folder / "artifacts"))


@pytest.fixture(scope="module")
def base(context: Context) -> nn.Module:
    return forgetting.base_model(settings(), 0, context)


@pytest.fixture(scope="module")
def honest(base: nn.Module, context: Context) -> Evaluation:
    """The base model, with everything that can be asked for."""
    return forgetting.evaluate(settings(attacks=True, by_class=True), 0, base, base, context)


@pytest.fixture(scope="module")
def masked(base: nn.Module, context: Context) -> Evaluation:
    """The cheat, with everything that can be asked for."""
    return forgetting.evaluate(settings(attacks=True, by_class=True), 0, base, LogitMask(base, (0,)), context)


def attacked(base: nn.Module, amended: nn.Module) -> dict[str, float | None]:
    logits, features, _ = forgetting.outputs(amended, load("digits").test)
    sets = forgetting.sets_of(settings(), 0)
    found = attacks(amended, underlying(amended, base), logits, features, load("digits"), sets, 0)
    return {name: measured.value for name, measured in found.items()}


def biased(base: nn.Module) -> nn.Module:
    """The cheat without a wrapper: a constant within the weights."""
    model = copy.deepcopy(base)
    with torch.no_grad():
        head(model).bias[0] -= 100.0  # type: ignore[index, union-attr, operator]
    return model


def test_nothing_else_changes_where_it_is_asked_for(base: nn.Module, honest: Evaluation, context: Context) -> None:
    before = state_hash(base)
    plain = forgetting.evaluate(settings(), 0, base, base, context)
    assert not {*ATTACKS, *BY_CLASS} & {*plain.metrics}
    assert plain.groups == {}
    assert {name: m for name, m in honest.metrics.items() if name in plain.metrics} == plain.metrics
    assert [*honest.metrics][: len(plain.metrics)] == [*plain.metrics]
    assert set(honest.metrics) - set(plain.metrics) == {*ATTACKS, *BY_CLASS} <= {*METRICS}
    assert all((honest.arrays[name] == array).all() for name, array in plain.arrays.items())
    assert state_hash(base) == before


def test_no_attack_is_deceived_by_a_mask(honest: Evaluation, masked: Evaluation) -> None:
    own, hidden = ({name: m.value for name, m in found.metrics.items()} for found in (honest, masked))
    assert hidden["accuracy.test.forget"] == 0.0
    for name in ATTACKS:
        if name != "recovery.nearest-class.outputs":
            assert hidden[name] == own[name], name
    # It sees the other logits alone, which give the class away as well.
    assert min(hidden["recovery.nearest-class.outputs"], own["recovery.nearest-class.outputs"]) > 90  # type: ignore[type-var, operator]
    assert own["recovery.lifted-logit"] > 99  # type: ignore[operator]
    assert own["recovery.perturbation"] > 80  # type: ignore[operator]
    assert own["inversion.steps"] < 50  # type: ignore[operator]


def test_a_constant_in_the_weights_deceives_some_and_not_all(base: nn.Module, honest: Evaluation) -> None:
    own, found = {name: m.value for name, m in honest.metrics.items()}, attacked(base, biased(base))
    assert found["recovery.perturbation"] == 0.0
    assert found["inversion.steps"] == 100.0
    assert found["recovery.lifted-logit"] == pytest.approx(own["recovery.lifted-logit"], abs=0.1)
    assert found["recovery.nearest-class"] == own["recovery.nearest-class"]
    assert found["recovery.nearest-class.outputs"] == pytest.approx(own["recovery.nearest-class.outputs"], abs=3)


def test_a_network_that_gives_no_numbers_has_blanks(base: nn.Module) -> None:
    broken = copy.deepcopy(base)
    with torch.no_grad():
        head(broken).weight.fill_(math.nan)  # type: ignore[union-attr, operator]
    found = attacked(base, broken)
    for name in ("recovery.nearest-class.outputs", "recovery.lifted-logit", "recovery.perturbation"):
        assert found[name] is None
    assert found["inversion.steps"] == 100.0


def test_a_network_of_pixels_sees_what_the_network_sees(base: nn.Module) -> None:
    test = load("digits").test
    pixels = pixels_of(test, slice(0, 20))
    assert 0 == pixels.min() < pixels.max() == 1
    with torch.no_grad():
        expected, found = base(test.inputs(slice(0, 20))), of_pixels(base, test)(pixels)
    assert torch.allclose(found, expected, atol=1e-4)


def test_gaps_are_derived_of_what_was_measured() -> None:
    own, other = {"recovery.perturbation": 70.0, "drop.worst-class": 3.0}, {"recovery.perturbation": 10.0}
    found = derive(own, other)
    assert found["recovery.perturbation.gap"] == 60.0
    assert found["drop.worst-class.gap"] is None
    assert "inversion.steps.gap" not in found
    assert not {f"{name}.gap" for name in (*ATTACKS, *BY_CLASS)} & {*derive({}, other)}


@pytest.mark.parametrize(
    ("scenario", "changes", "said"),
    [
        ("four-gaussians", {"attacks": True}, r"attacks need images, not inputs of shape \(2,\) \(four-gaussians\)"),
        ("digits-data-removal", {"attacks": True}, "attacks bring a class back, but kind data-removal removes none"),
        ("digits-noisy-labels", {"attacks": True}, "but kind noisy-labels removes none"),
    ],
)
def test_attacks_on_nothing_are_refused(scenario: str, changes: dict[str, Any], said: str) -> None:
    told = load_suite("smoke").scenarios[scenario]
    with pytest.raises(ValueError, match=said):
        TASKS.get(told.task).check(msgspec.structs.replace(told.settings, **changes))
    TASKS.get(told.task).check(msgspec.structs.replace(told.settings, by_class=True))


def test_groups_are_the_classes_and_agree_with_the_accuracies(masked: Evaluation) -> None:
    assert [*masked.groups] == [str(c) for c in range(10)]
    assert masked.groups["0"] == (0, 40)
    stays = [masked.groups[str(c)] for c in range(1, 10)]
    right, n = (sum(part) for part in zip(*stays, strict=True))
    assert masked.metrics["accuracy.test.retain"].value == pytest.approx(100 * right / n)
    assert masked.metrics["accuracy.test.worst-class"].value == min(100 * r / k for r, k in stays)
    assert masked.metrics["drop.worst-class"].value <= 0.0  # type: ignore[operator]


def test_the_worst_class_is_scored_again_from_what_is_kept(honest: Evaluation) -> None:
    again = rescore_claim(settings(by_class=True), Claim(0, {}, None, []), honest.arrays)
    assert again["accuracy.test.worst-class"] == honest.metrics["accuracy.test.worst-class"]
    assert "accuracy.test.worst-class" not in rescore_claim(settings(), Claim(0, {}, None, []), honest.arrays)


def logits_of(chosen: Tensor) -> Tensor:
    return nn.functional.one_hot(chosen, 3).float()


def test_groups_have_attributes_where_test_samples_have() -> None:
    """Class 2 goes; of class 0, the nearer one, the samples with attribute 1 are lost."""
    labels, attributes = torch.tensor([0, 0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 1, 0, 1, 0, 1])
    features = torch.tensor([5.0, 5.0, 5.0, 0.0, 0.0, 9.0, 9.0])[:, None]
    test = Samples(torch.zeros(7, 1), labels, attributes=attributes)
    after = labels.clone()
    after[1:3] = 1
    metrics, groups = by_class(logits_of(labels), logits_of(after), features, test, (2,))
    assert groups == {
        "0 / 0": (1, 1),
        "0 / 1": (0, 2),
        "1 / 0": (1, 1),
        "1 / 1": (1, 1),
        "2 / 0": (1, 1),
        "2 / 1": (1, 1),
    }
    assert {name: measured.n for name, measured in metrics.items()} == {
        "accuracy.test.worst-class": 3,
        "drop.worst-class": 3,
        "drop.nearest-class": 3,
        "drop.other-classes": 2,
    }
    assert metrics["drop.nearest-class"].value == metrics["drop.worst-class"].value == pytest.approx(200 / 3)
    assert metrics["drop.other-classes"].value == 0.0
    nobody, _ = by_class(logits_of(labels), logits_of(after), features, test, ())
    assert nobody["drop.nearest-class"].value is None
    assert nobody["drop.other-classes"].n == 7
