"""Tuning: spaces that exist, a choice that is kept with where it comes from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmark.discovery import METHODS, check_parameters
from benchmark.errors import InputError
from benchmark.suite import FOLDER, load_suite
from benchmark.tasks import TASKS
from benchmark.tuning import Range, Study, Trial, _bases, _keep, _suggest, space_of, spaces

pytest.importorskip("tomlkit")


#: Base models a seed of the suite ``embedded``, by network.
LEARNT = {"vgg-small": 1, "resnet-small": 1, "laf-cnn": 2, "cmnist-mlp": 2}


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
        info = METHODS.get(name, task if METHODS.has(name, task) else None)
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


def test_the_best_of_equal_trials_is_the_first() -> None:
    assert study([0.5, 0.9, 0.9]).best.parameters == {"lr": 0.2}
    assert study([0.5]).best.score == 0.5


def test_a_choice_is_written_into_the_suite_with_its_provenance(tmp_path: Path) -> None:
    path = tmp_path / "smoke.toml"
    text = (FOLDER / "smoke.toml").read_text().replace('name = "smoke"', 'name = "mine"')
    path.write_text(text)
    _keep(study([0.5, 0.9, 0.25]), tmp_path / "results", path)
    suite = load_suite(str(path))
    digits = suite.scenarios["digits"]
    assert digits.methods["finetune"] == {**METHODS.get("finetune").defaults(), "lr": 0.2}
    assert "best of 3 by criterion, mean of seeds 102, 105: 0.900 (defaults 0.500)" in digits.provenance["finetune"]
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
    monkeypatch.setattr("benchmark.tuning.FOLDER", tmp_path)
    (tmp_path / "spaces.toml").write_text("[finetune]\nlearning = { low = 0.1, high = 1.0 }\n")
    with pytest.raises(InputError, match=r"spaces.toml: finetune: unknown hyper-parameter 'learning'"):
        spaces("class-forget")
    (tmp_path / "spaces.toml").write_text("[finetune]\nlr = { lo = 0.1, high = 1.0 }\n")
    with pytest.raises(InputError, match="unknown key 'lo'; did you mean log or low"):
        spaces("class-forget")
