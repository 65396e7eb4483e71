"""Study files, and the suites that they become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.studies.definition import Study, load_study, study_names
from benchmark.studies.expansion import expanded, measured_points, points_of
from benchmark.suites.definition import NAME, load_suite

MakeStudy = Callable[..., Study]
SURFACE = """
[sweeps.surface]
scenario = "digits"
methods = ["svd-forgetting"]
x = "alpha_r"
fixed.parameters = { max_patches = 500 }
parameters.alpha_r = [10.0, 100.0]
parameters.alpha_f = [1.0, 3.0]
"""
EPOCHS = """
[sweeps.epochs]
scenario = "digits"
methods = ["finetune", "retrain"]
x = "epochs"
settings."training.epochs" = [5, 10]
"""


@pytest.mark.parametrize("name", study_names())
def test_every_study_of_the_package_expands(name: str) -> None:
    """Its scenarios, methods, settings, hyper-parameters, metrics, measurements and analyses exist."""
    study = load_study(name)
    assert study.file.seeds >= 3
    suite = expanded(study).suite
    assert suite is not None or study.file.measurements or study.file.analyses
    for own in study.file.measurements.values():
        assert measured_points(own, name)
        assert own.seeds >= 3


def test_lists_are_crossed(make_study: MakeStudy) -> None:
    study = make_study(SURFACE)
    points = points_of(study.file.sweeps["surface"], "")
    assert [(p.x, p.fields["alpha_f"]) for p in points] == [(10.0, 1.0), (10.0, 3.0), (100.0, 1.0), (100.0, 3.0)]
    made = expanded(study)
    assert made.suite is not None
    own = [made.suite.scenarios[name] for name, place in made.places.items() if place.sweep == "surface"]
    assert [s.methods["svd-forgetting"]["alpha_r"] for s in own] == [10.0, 10.0, 100.0, 100.0]
    assert {s.methods["svd-forgetting"]["max_patches"] for s in own} == {500}
    assert all(NAME.fullmatch(name) for name in made.suite.scenarios)


def test_what_is_not_varied_is_the_suite_s(make_study: MakeStudy) -> None:
    base = load_suite("smoke").scenarios["digits"]
    made = expanded(make_study(SURFACE))
    assert made.suite is not None
    name, scenario = next(iter(made.suite.scenarios.items()))
    assert scenario.settings == base.settings
    own, tuned = scenario.methods["svd-forgetting"], base.methods["svd-forgetting"]
    assert {k: v for k, v in own.items() if k not in ("alpha_r", "alpha_f", "max_patches")} == {
        k: v for k, v in tuned.items() if k not in ("alpha_r", "alpha_f", "max_patches")
    }
    assert "the study sets" in scenario.provenance["svd-forgetting"]
    assert name.startswith("surface-")


def test_references_are_run_once_for_every_setting(make_study: MakeStudy) -> None:
    made = expanded(make_study(SURFACE + EPOCHS.replace('"retrain"', '"scrub"')))
    assert made.suite is not None
    references = [s for name, s in made.suite.scenarios.items() if made.places[name].sweep == "references"]
    assert [s.settings.training.epochs for s in references] == [
        load_suite("smoke").scenarios["digits"].settings.training.epochs, 5, 10,
    ]  # fmt: skip
    assert all(set(s.methods) == {"original", "retrain"} for s in references)
    by_name = {place.references for place in made.places.values() if place.sweep == "surface"}
    assert len(by_name) == 1


def test_gaps_may_be_taken_to_the_scenario_as_it_is(make_study: MakeStudy) -> None:
    made = expanded(make_study(EPOCHS + "reference = false\n"))
    assert made.suite is not None
    assert [name for name in made.suite.scenarios if name.startswith("references")] == ["references-0"]
    assert made.suite.scenarios["references-0"].settings == load_suite("smoke").scenarios["digits"].settings


def test_an_ablation_starts_from_its_parent_s_hyper_parameters(make_study: MakeStudy) -> None:
    text = SURFACE.replace('"svd-forgetting"', '"svd-forgetting+search"').replace("parameters.alpha_r", "settings.x")
    text = text.replace(
        "settings.x = [10.0, 100.0]\nparameters.alpha_f = [1.0, 3.0]", "parameters.prune = [true, false]"
    )
    made = expanded(make_study(text))
    assert made.suite is not None
    first = next(iter(made.suite.scenarios.values()))
    assert first.methods["svd-forgetting+search"]["prune"] is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SURFACE.replace('"digits"', '"digit"'), "did you mean digits"),
        (SURFACE.replace("svd-forgetting", "svd-forgeting"), "did you mean svd-forgetting"),
        (SURFACE.replace("alpha_f = [", "alpha_x = ["), "did you mean alpha_"),
        (EPOCHS.replace("training.epochs", "training.epoch"), "did you mean epochs"),
        (EPOCHS.replace("training.epochs", "train.epochs"), "or training"),
        (EPOCHS.replace("[5, 10]", "[5, -1]"), "epochs"),
        (EPOCHS.replace("[5, 10]", "[5, 5]"), "two points"),
        (EPOCHS.replace("[5, 10]", "[]"), "has no value"),
        (EPOCHS + 'points = [{ x = 1 }]\n', "listed or crossed"),
        (EPOCHS.replace('methods = ["finetune", "retrain"]', "methods = []"), "there is none"),
        (EPOCHS + 'metrics = ["accuracy.test.retained"]\n', "did you mean accuracy.test.retain"),
        ("", "nothing in it"),
        ('[measurements.m]\nof = "no such"\nx = "n"\nmetrics = []\n', "no module's name"),
        (SURFACE + "colour = 3\n", "unknown key 'colour'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(make_study: MakeStudy, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        expanded(make_study(text))


def test_an_unknown_study_names_the_near_misses() -> None:
    with pytest.raises(InputError, match="unknown study 'no-such-study'"):
        load_study("no-such-study")


def test_points_of_measurements_are_crossed_or_listed(make_study: MakeStudy) -> None:
    text = '[measurements.m]\nof = "variance"\nx = "a"\nmetrics = ["v"]\n'
    crossed: list[dict[str, Any]] = [{"a": 1, "b": 1}, {"a": 1, "b": 2}]
    for points in ("points.a = [1]\npoints.b = [1, 2]\n", "points = [{ a = 1, b = 1 }, { a = 1, b = 2 }]\n"):
        own = make_study(text + points).file.measurements["m"]
        assert measured_points(own, "") == crossed
