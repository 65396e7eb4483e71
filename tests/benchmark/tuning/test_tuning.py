"""Tuning: spaces that exist, a choice that is kept with where it comes from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.discovery.methods import METHODS, check_parameters
from benchmark.errors import InputError
from benchmark.running import cell, pool
from benchmark.suites.definition import FOLDER, load_suite
from benchmark.tasks import TASKS, Selected
from benchmark.tuning.search import (
    Study,
    Trial,
    _bases,
    _chosen,
    _evaluate,
    _first,
    _keep,
    _study,
    _suggest,
    best_of,
)
from benchmark.tuning.spaces import Range, space_of, spaces

pytest.importorskip("tomlkit")


#: Base models a seed of the suite ``embedded``, by network: each artefact makes one of its own.
LEARNT = {"vgg-small": 1 + 2, "resnet-small": 1 + 3, "laf-cnn": 2, "cmnist-mlp": 2, "dcgan": 2}


def study(scores: list[float]) -> Study:
    trials = [Trial({"lr": 0.1 * (i + 1)}, [s, s], s, 1.0, []) for i, s in enumerate(scores)]
    chosen = {"lr": max(trials, key=lambda t: t.score).parameters["lr"]}
    return Study("smoke", "class-forget", "digits", "finetune", "criterion", (102, 105), trials, chosen, {}, "now")


@pytest.mark.parametrize("task", TASKS)
def test_spaces_hold_values_that_the_methods_take(task: str) -> None:
    found = spaces(task)
    assert found
    for method, ranges in found.items():
        name = method.partition("@")[0]
        info = METHODS.get(name, next(t for t in (task, "class-forget", "label-free-forget") if METHODS.has(name, t)))
        for name, space in ranges.items():
            values = space.choices if space.choices is not None else [space.low, space.high]
            assert None not in values
            for value in values:
                check_parameters(info, {name: value}, "spaces.toml")
            if space.choices is None:
                assert space.low < space.high  # type: ignore[operator]
                assert not space.log or space.low > 0  # type: ignore[operator]


def test_a_scenario_may_have_a_space_of_its_own() -> None:
    scenarios, known = load_suite("embedded").scenarios, spaces("debias-known")
    assert space_of(known, scenarios["cmnist5k"], "gerne")["s"].high == 1.11
    assert space_of(known, scenarios["cmnist5k-halves"], "gerne")["s"].high == 2.1
    assert space_of(known, scenarios["cmnist5k-halves"], "erm") == known["erm"]
    assert space_of(known, scenarios["cmnist5k"], "bias-amplified") == {}


def test_what_the_suite_has_and_nobody_searches_is_kept() -> None:
    info, ranges = METHODS.get("svd-forgetting", "class-forget"), {"alpha_r": Range(choices=[1.0, 10.0])}
    tried = check_parameters(info, {"retain_per_class": 10, "alpha_r": 10.0}, "test")
    assert _chosen(tried, ranges, info) == {"alpha_r": 10.0, "retain_per_class": 10}
    assert _chosen(info.defaults(), ranges, info) == {"alpha_r": 100.0}


def test_the_best_of_equal_trials_is_the_first() -> None:
    assert study([0.5, 0.9, 0.9]).best.parameters == {"lr": 0.2}
    assert study([0.5]).best.score == 0.5


def test_what_meets_the_condition_comes_before_what_does_not() -> None:
    first, second, third = study([0.5, 0.9, 0.95]).trials
    below = [msgspec.structs.replace(second, margin=-0.1), msgspec.structs.replace(third, margin=-0.2)]
    assert best_of([first, *below]) == first
    assert best_of([msgspec.structs.replace(first, margin=-1e-12), *below]).score == 0.5  # rounding
    assert best_of(below).margin == -0.1  # where none meets it: the one that comes nearest
    failed = msgspec.structs.replace(third, failures=["seed 102: ValueError: no"])
    assert best_of([failed, *below]).margin == -0.1
    assert best_of([failed]) == failed


def test_a_choice_is_written_into_the_suite_with_its_provenance(tmp_path: Path) -> None:
    path = tmp_path / "smoke.toml"
    text = (FOLDER / "smoke.toml").read_text().replace('name = "smoke"', 'name = "mine"')
    path.write_text(text)
    _keep(study([0.5, 0.9, 0.25]), tmp_path / "results", path)
    suite = load_suite(str(path))
    digits = suite.scenarios["digits"]
    assert digits.methods["finetune"] == {**METHODS.get("finetune", "class-forget").defaults(), "lr": 0.2}
    said = "best of 3 by criterion, mean of seeds 102, 105: 0.900 ("
    assert f"{said}nearest to the defaults 0.500)" in digits.provenance["finetune"]
    first = {**METHODS.get("finetune", "class-forget").defaults()}
    as_they_are = study([0.5, 0.9])
    trials = [msgspec.structs.replace(as_they_are.trials[0], parameters=first), as_they_are.trials[1]]
    assert _first(msgspec.structs.replace(as_they_are, trials=trials)) == "defaults"
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in path.read_text().splitlines() if line.startswith("#")
    ]
    kept = json.loads((tmp_path / "results/tuning/smoke/class-forget/digits/finetune.json").read_text())
    assert [trial["score"] for trial in kept["trials"]] == [0.5, 0.9, 0.25]
    _keep(study([0.5, 0.6]), tmp_path / "results", path)  # a second study takes the first one's place
    assert "best of 2" in load_suite(str(path)).scenarios["digits"].provenance["finetune"]


def test_each_base_is_built_once() -> None:
    suite = load_suite("embedded")
    wanted = [(s, m) for s in suite.scenarios.values() for m in ("finetune", "scrub")]
    bases = [(TASKS.get(s.task).base(s.settings, seed), s.settings.model) for s, seed in _bases(wanted, suite)]
    assert len(bases) == len(set(bases))
    counts = Counter(model for _, model in bases)  # the label-free network is trained on true and on noisy labels
    assert counts == {model: n * len(suite.tuning.seeds) for model, n in LEARNT.items()}


def test_suggestions_stay_in_their_range() -> None:
    optuna = pytest.importorskip("optuna")
    trial = optuna.trial.FixedTrial({"lr": 0.012345, "k": 3})
    assert _suggest(trial, "lr", Range(low=0.001, high=1.0, log=True)) == 0.0123
    assert _suggest(trial, "k", Range(choices=[1, 2, 3])) == 3


def test_a_space_for_an_unknown_hyper_parameter_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.tuning.spaces.FOLDER", tmp_path)
    (tmp_path / "spaces.toml").write_text("[finetune]\nlearning = { low = 0.1, high = 1.0 }\n")
    with pytest.raises(InputError, match=r"spaces.toml: finetune: unknown hyper-parameter 'learning'"):
        spaces("class-forget")
    (tmp_path / "spaces.toml").write_text("[finetune]\nlr = { lo = 0.1, high = 1.0 }\n")
    with pytest.raises(InputError, match="unknown key 'lo'; did you mean log or low"):
        spaces("class-forget")


# What is next to the defaults.


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (Range(low=0.1, high=0.5), 0.3, 0.3),
        (Range(low=0.1, high=0.5), 0.1, 0.1),
        (Range(low=0.1, high=0.5), 0.05, 0.1),
        (Range(low=0.1, high=0.5), 7, 0.5),
        (Range(low=1e-4, high=1e-1, log=True), 1e-3, 1e-3),
        (Range(low=1e-4, high=1e-1, log=True), 1.0, 1e-1),
        (Range(choices=[5, 10, 20]), 10, 10),
        (Range(choices=[5, 10, 20]), 11, 5),
        (Range(choices=[2]), 10, 2),
        (Range(choices=["svm", "signal"]), "signal", "signal"),
        (Range(choices=["svm", "ridge"]), "signal", "svm"),
    ],
)
def test_what_is_nearest_to_a_default(space: Range, value: Any, expected: Any) -> None:
    assert space.nearest(value) == expected


def studied(
    task: str, scenario: str, method: str, ranges: dict[str, Range], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Study:
    """A study of the suite ``smoke`` in which what is tried scores the less the later it is tried."""
    tried: list[dict[str, Any]] = []

    def evaluate(suite: Any, scenario: Any, method: str, parameters: dict[str, Any], setting: Any) -> Trial:
        tried.append(parameters)
        score = 1 / len(tried)
        return Trial(parameters, [score], score, 1.0, [], [{"accuracy.clean": 100 * score}])

    monkeypatch.setattr("benchmark.tuning.search._evaluate", evaluate)
    suite = load_suite("smoke")
    assert suite.scenarios[scenario].task == task
    return _study(suite, suite.scenarios[scenario], method, ranges, pool.Setting(tmp_path, tmp_path, "cpu", 1, 60.0))


@pytest.mark.parametrize(
    ("ranges", "first"),
    [
        ({"lr": Range(low=1e-4, high=1e-1, log=True), "epochs": Range(choices=[5, 10, 20])}, {}),
        ({"lr": Range(low=0.01, high=0.1), "epochs": Range(choices=[2])}, {"lr": 0.01, "epochs": 2}),
        ({"lr": Range(low=1e-6, high=1e-4, log=True)}, {"lr": 1e-4}),
    ],
    ids=["defaults", "both elsewhere", "above"],
)
def test_a_study_starts_from_the_defaults_or_what_is_next_to_them(
    ranges: dict[str, Range], first: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    found = studied("bias-correction", "digits-patch", "finetune", ranges, tmp_path, monkeypatch)
    defaults = METHODS.get("finetune", "bias-correction").defaults()
    assert found.trials[0].parameters == {**defaults, **first}
    assert found.chosen == {name: found.trials[0].parameters[name] for name in ranges}
    assert len(found.trials) == 12
    assert len({str(trial.parameters) for trial in found.trials}) == 12


def test_few_choices_are_all_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    ranges = spaces("bias-correction")["rr-clarc"]
    found = studied("bias-correction", "digits-patch", "rr-clarc", ranges, tmp_path, monkeypatch)
    assert sorted(trial.parameters["lam"] for trial in found.trials) == sorted(ranges["lam"].choices or [])
    ranges = spaces("bias-correction")["p-clarc"]
    found = studied("bias-correction", "digits-patch", "p-clarc", ranges, tmp_path, monkeypatch)
    assert {trial.parameters["concept"] for trial in found.trials} == {"signal", "svm", "ridge", "lasso", "logistic"}
    assert len(found.trials) == 5  # there are no more


# What a score was made of.


def test_a_trial_keeps_what_the_task_says_of_its_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {102: {"accuracy.clean": 97.0, "tcav": 0.5}, 105: {"accuracy.clean": 95.0}, 108: {"accuracy.clean": 93.0}}
    asked = []

    def amend(scenario: Any, method: str, parameters: Any, seed: int, context: Any) -> tuple[Selected, float, str]:
        asked.append((scenario.name, method, parameters, seed))
        return Selected(seed / 1000, values[seed]), 0.5, ""

    monkeypatch.setattr(cell, "amend_for_selection", amend)
    suite = load_suite("smoke")
    setting = pool.Setting(tmp_path, tmp_path, "cpu", 1, 60.0)
    found = _evaluate(suite, suite.scenarios["digits-patch"], "rr-clarc", {"lam": 5.0}, setting)
    assert asked == [("digits-patch", "rr-clarc", {"lam": 5.0}, seed) for seed in (102, 105, 108)]
    assert found == Trial(
        {"lam": 5.0}, [0.102, 0.105, 0.108], pytest.approx(0.105), 1.5, [], [values[seed] for seed in (102, 105, 108)]
    )


def test_a_trial_without_metrics_and_one_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def amend(scenario: Any, method: str, parameters: Any, seed: int, context: Any) -> tuple[Selected, float, str]:
        return (Selected(0.0), 0.0, "it did not work") if seed == 105 else (Selected(0.6), 0.5, "")

    monkeypatch.setattr(cell, "amend_for_selection", amend)
    suite = load_suite("smoke")
    found = _evaluate(
        suite, suite.scenarios["digits"], "finetune", {}, pool.Setting(tmp_path, tmp_path, "cpu", 1, 60.0)
    )
    assert (found.scores, found.failures, found.metrics) == ([0.6, 0.0, 0.6], ["it did not work"], [])
    assert found.score == pytest.approx(0.4)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where :func:`_keep` puts the studies of this test, beside a suite of its own."""
    (tmp_path / "mine.toml").write_text((FOLDER / "smoke.toml").read_text().replace('name = "smoke"', 'name = "mine"'))
    return tmp_path / "results/tuning/smoke/class-forget/digits/finetune.json"


def test_metrics_are_kept_and_read_back(kept: Path, tmp_path: Path) -> None:
    plain = study([0.5, 0.9])
    told = [{"accuracy.clean": 97.0, "accuracy.attacked": 50.0}, {"accuracy.clean": 96.0}]
    trials = [msgspec.structs.replace(plain.trials[0], metrics=told), plain.trials[1]]
    _keep(msgspec.structs.replace(plain, trials=trials), tmp_path / "results", tmp_path / "mine.toml")
    found = msgspec.json.decode(kept.read_bytes(), type=Study)
    assert found.trials == trials
    assert [trial.metrics for trial in found.trials] == [told, []]
    assert [sorted(trial) for trial in json.loads(kept.read_text())["trials"]] == [
        ["failures", "metrics", "parameters", "score", "scores", "seconds"],
        ["failures", "parameters", "score", "scores", "seconds"],
    ]


def test_studies_from_before_there_were_metrics_are_readable(kept: Path, tmp_path: Path) -> None:
    _keep(study([0.5, 0.9]), tmp_path / "results", tmp_path / "mine.toml")
    assert "metrics" not in kept.read_text()  # as they were written then
    found = msgspec.json.decode(kept.read_bytes(), type=Study)
    assert [trial.metrics for trial in found.trials] == [[], []]
    assert found.best.score == 0.9
