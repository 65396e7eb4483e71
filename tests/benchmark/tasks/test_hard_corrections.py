"""Corrections that are made hard: labels that are few or wrong, entangled artefacts, two artefacts in turn."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.artifacts.context import Context
from benchmark.contracts import Access, Ledger
from benchmark.data.artefact import Artefact
from benchmark.discovery.methods import METHODS
from benchmark.metrics.catalogue import metric
from benchmark.models.surgery import state_hash
from benchmark.running.amending import amend
from benchmark.suites.definition import load_suite
from benchmark.tasks import TASKS, Evaluation, concept_metrics, correcting
from benchmark.tasks.bias_correction import BiasCorrection
from benchmark.timing import Stopwatch

TASK = TASKS.get("bias-correction")
TEXT = Artefact("lsb-text", rate=0.5, backdoor=0.05, bits=4)
SECOND = {f"{name}@second" for name in correcting.OF_SECOND}
ENTANGLED = {"accuracy.clean@biased", "cav.alignment@class"}


def scenario(**changes: Any) -> BiasCorrection:
    return msgspec.structs.replace(load_suite("smoke").scenarios["digits-patch"].settings, examples=False, **changes)


def corrected(settings: BiasCorrection, context: Context, method: str = "original", **parameters: Any) -> nn.Module:
    base = correcting.base_model(settings, 0, context)
    chosen = METHODS.get(method, TASK.name), parameters
    return amend(chosen, TASK, settings, 0, base, context, Stopwatch(context.device), [])


def evaluated(settings: BiasCorrection, model: nn.Module, context: Context) -> Evaluation:
    return correcting.evaluate(settings, 0, correcting.base_model(settings, 0, context), model, context)


# Settings.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concept_noise": 0.5}, "concept_noise must be at least 0 and below 0.5, not 0.5"),
        ({"concept_noise": -0.1}, "concept_noise must be at least 0 and below 0.5, not -0.1"),
        ({"concept_samples": -1}, "concept_samples must be at least 0, not -1"),
        ({"corrections": "first"}, "need a second artefact: give second"),
        ({"second_shift": 0}, "need a second artefact: give second"),
        ({"second": Artefact("patch", rate=0.5)}, "second must be an artefact of another kind than the first"),
        ({"second": Artefact("brightness", rate=0.5, legitimate=True)}, "none legitimate"),
        ({"second": Artefact("natural")}, "second: artefact.kind is 'natural', but data set digits brings none"),
        ({"second": Artefact("brightness", rate=1.2)}, "second: artefact.rate must be between 0 and 1, not 1.2"),
        ({"second": TEXT, "second_shift": 10}, "second_shift must be 0 to 9, not 10"),
    ],
)
def test_wrong_settings_name_the_field_and_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TASK.check(scenario(**changes))


def test_requests_are_as_many_as_corrections() -> None:
    assert TASK.requests(scenario()) == 1
    two = {how: scenario(second=TEXT, corrections=how).corrected for how in ("first", "second", "both", "both-again")}
    assert two == {"first": (0,), "second": (1,), "both": (0, 1), "both-again": (0, 1, 0, 1)}
    assert TASK.requests(TASK.for_references(scenario(second=TEXT))) == 1
    assert TASK.for_references(scenario()) == scenario()
    assert TASK.tunable(scenario())
    assert not TASK.tunable(scenario(second=TEXT))


def test_base_models_are_shared_by_all_that_differs_in_corrections_alone() -> None:
    name = TASK.base(scenario(), 1)
    assert name == TASK.base(scenario(concept_noise=0.3, concept_samples=4, entanglement=True), 1)
    two = scenario(second=TEXT)
    assert TASK.base(two, 1) == TASK.base(msgspec.structs.replace(two, corrections="first"), 1) != name
    assert TASK.base(two, 1) != TASK.base(msgspec.structs.replace(two, second_shift=2), 1)


def test_every_metric_on_request_is_in_the_catalogue() -> None:
    for name in SECOND | ENTANGLED:
        assert metric(name).summary
        assert name not in TASK.metrics
        assert name.partition("@")[0] in TASK.metrics


# What methods are told.


def told(settings: BiasCorrection, context: Context, request: int = 0) -> tuple[Tensor, Tensor, int]:
    """Inputs and labels of the concept view, and the biased class."""
    found = correcting.build(settings, 0, request, nn.Identity(), Access(concept="xa"), Ledger(), context).problem
    batch = found.concept.everything()
    return batch.x, batch.a, found.biased_class


def test_noise_and_samples_are_those_of_the_concept_view_alone(context: Context) -> None:
    x, a, _ = told(scenario(), context)
    noisy_x, noisy, _ = told(scenario(concept_noise=0.2), context)
    assert torch.equal(noisy_x, x)
    assert int((noisy != a).sum()) == round(0.2 * len(a))
    few_x, few, _ = told(scenario(concept_samples=3), context)
    assert (len(few_x), int(few.sum())) == (6, 3)


def test_metrics_know_the_right_labels(context: Context) -> None:
    model = corrected(scenario(), context)
    expected, found = (
        evaluated(scenario(**changes), model, context).metrics
        for changes in ({}, {"concept_noise": 0.4, "concept_samples": 3})
    )
    assert found == expected
    assert set(found) == set(TASK.metrics)


def test_wrong_labels_turn_the_method_s_own_vector(context: Context) -> None:
    clean, noisy = scenario(), scenario(concept_noise=0.4, concept_samples=10)
    values = [
        evaluated(one, corrected(one, context, "rr-clarc", epochs=1), context).metrics["cav.alignment"].value
        for one in (clean, noisy)
    ]
    assert values[0] is not None
    assert values[1] is not None
    assert values[1] < values[0] - 5


# Entanglement.


def test_entanglement_is_measured_where_it_is_asked_for(context: Context) -> None:
    settings = scenario(entanglement=True)
    base = correcting.base_model(settings, 0, context)
    found = evaluated(settings, base, context)
    assert set(found.metrics) == set(TASK.metrics) | ENTANGLED
    data = correcting.data_of(settings, 0, torch.device("cpu"))
    own = found.arrays["clean.labels"] == 0
    right = (found.arrays["clean.logits"].argmax(1) == 0)[own]
    assert found.metrics["accuracy.clean@biased"].value == pytest.approx(100 * right.mean())
    assert found.metrics["accuracy.clean@biased"].n == own.sum()
    with torch.no_grad():
        body = base[:9]  # what is up to layer 8
        train, clean = (body(samples.inputs()).amax((2, 3)) for samples in (data.train, data.clean))
    assert data.train.attributes is not None
    mine, has = data.train.labels == 0, data.train.attributes == 1
    h = train[mine & has].mean(0) - train[mine & ~has].mean(0)
    d = clean[mine].mean(0) - clean[~mine].mean(0)
    expected = 100 * float(F.cosine_similarity(h, d, dim=0))
    assert found.metrics["cav.alignment@class"].value == pytest.approx(expected, abs=1e-3)


def test_a_network_that_cannot_be_taken_apart_has_no_class_direction(context: Context) -> None:
    settings = scenario()
    data = correcting.data_of(settings, 0, torch.device("cpu"))
    assert concept_metrics.class_direction(settings, data, nn.Flatten()).value is None


# Two artefacts.


def test_each_request_is_about_its_own_artefact(context: Context) -> None:
    settings = scenario(second=TEXT, second_shift=3, corrections="both-again")
    both = [correcting.data_of(settings, 0, torch.device("cpu"), number) for number in (0, 1)]
    for request, data in enumerate((*both, *both)):
        x, a, biased = told(settings, context, request)
        assert biased == (0, 3, 0, 3)[request]
        assert torch.equal(x, data.concept.inputs())
        assert data.concept.attributes is not None
        assert torch.equal(a, data.concept.attributes)


def test_the_second_is_judged_as_the_first_would_be(context: Context) -> None:
    settings = scenario(second=TEXT, corrections="second")
    model = corrected(settings, context, "rr-clarc", epochs=1)
    found = evaluated(settings, model, context).metrics
    assert set(found) == set(TASK.metrics) | SECOND
    data = correcting.data_of(settings, 0, torch.device("cpu"), 1)
    logits, labels = correcting.outputs(model, data.test.clean)
    own = correcting.scores(
        logits, labels, *correcting.outputs(model, data.test.attacked), data.biased, data.legitimate, paired=data.paired
    )
    own |= concept_metrics.sensitivity(model, settings, data, data.test)
    assert {name: found[f"{name}@second"] for name in correcting.OF_SECOND} == {n: own[n] for n in correcting.OF_SECOND}
    base = correcting.base_model(settings, 0, context)
    aligned = concept_metrics.concept_alignment(model.concept, settings, data, base)
    assert found["cav.alignment"] == aligned["cav.alignment"]
    assert aligned["cav.alignment"].value is not None


def test_the_second_correction_starts_from_what_the_first_left(context: Context) -> None:
    settings = scenario(second=TEXT)
    first = msgspec.structs.replace(settings, corrections="first")
    one, both = (corrected(which, context, "rr-clarc", epochs=1) for which in (first, settings))
    base = correcting.base_model(settings, 0, context)
    assert len({state_hash(model) for model in (base, one, both)}) == 3
    problem = correcting.build(settings, 0, 1, one, Access(train="xy", concept="xa"), Ledger(), context).problem
    assert state_hash(problem.model) == state_hash(one)
