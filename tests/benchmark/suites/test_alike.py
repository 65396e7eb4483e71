"""Scenarios that are like others: what they have of them, what is refused, and what tuning leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmark.config import read_toml
from benchmark.errors import InputError
from benchmark.suites.alike import heirs, hyperparameters_in_full, patterns, settings_in_full
from benchmark.suites.definition import Scenario, load_suite
from benchmark.tuning.search import Study, Trial, _keep

HEAD = """
name = "mine"
summary = "A suite for a test."
threads = 1
timeout = 60.0
tuning = { seeds = [102, 105], configurations = 3 }
"""
FULL = """
[scenarios.third]
task = "class-forget"
data = "digits"
model = "vgg-small"
training = { epochs = 3, batch_size = 64, lr = 0.1 }
classes = 2
methods = ["original", "retrain", "finetune", "scrub"]

[scenarios.first]
task = "class-forget"
data = "digits"
model = "resnet-small"
training = { epochs = 2, batch_size = 64, lr = 0.1, augmentation = "crop-flip" }
methods = ["original", "retrain", "finetune", "scrub"]

[scenarios.second]
task = "class-forget"
data = "digits"
model = "vgg-small"
training = { epochs = 3, batch_size = 64, lr = 0.1 }
methods = ["original", "retrain", "finetune", "scrub"]

[scenarios.other]
task = "label-free-forget"
kind = "class-removal"
data = "digits"
model = "resnet-small"
training = { epochs = 2, batch_size = 64, lr = 0.1, augmentation = "crop-flip" }
methods = ["original", "retrain", "finetune", "scrub"]

[hyperparameters.first]
finetune = { parameters = { lr = 0.01, epochs = 2 }, provenance = "by hand" }

[hyperparameters.second]
finetune = { parameters = { lr = 0.01, epochs = 2 }, provenance = "by hand" }
scrub = { parameters = { lr = 0.02 }, provenance = "second's" }

[hyperparameters.third]
finetune = { parameters = { lr = 0.03 }, provenance = "third's" }
scrub = { parameters = { lr = 0.02 }, provenance = "second's" }
"""
SHORT = """
[scenarios.third]
like = "second"
classes = 2

[scenarios.first]
task = "class-forget"
data = "digits"
model = "resnet-small"
training = { epochs = 2, batch_size = 64, lr = 0.1, augmentation = "crop-flip" }
methods = ["original", "retrain", "finetune", "scrub"]

[scenarios.second]
like = "first"
model = "vgg-small"
training = { epochs = 3, batch_size = 64, lr = 0.1 }

# Of another task.
[scenarios.other]
like = "first"
task = "label-free-forget"
kind = "class-removal"

[hyperparameters.first]
finetune = { parameters = { lr = 0.01, epochs = 2 }, provenance = "by hand" }

[hyperparameters.second]
scrub = { parameters = { lr = 0.02 }, provenance = "second's" }

[hyperparameters.third]
finetune = { parameters = { lr = 0.03 }, provenance = "third's" }
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(HEAD + text)
        return path

    return write


def test_a_suite_is_the_same_written_once_and_in_full(write: Write) -> None:
    """Chains, a scenario before the one that it is like, tables that are replaced whole, methods one by one."""
    full = load_suite(str(write(FULL)))
    short = load_suite(str(write(SHORT)))
    assert msgspec.json.encode(short) == msgspec.json.encode(full)
    assert short.scenarios["second"].settings.training.augmentation == "none"
    assert short.scenarios["third"].provenance == {
        "original": "defaults",
        "retrain": "defaults",
        "finetune": "third's",
        "scrub": "second's",
    }
    assert short.scenarios["other"].provenance["finetune"] == "defaults"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('like = "second"', 'like = "secon"', "scenarios.third.like: unknown scenario 'secon'; did you mean second"),
        ('like = "second"', "like = 3", "scenarios.third.like must name a scenario, not 3"),
        ('like = "second"', 'like = "third"', "scenarios.third.like: third is like third: one of them must say all"),
        (
            'like = "first"\nmodel',
            'like = "third"\nmodel',
            "scenarios.third.like: third is like second is like third: one of them must say all of its settings",
        ),
        ('like = "second"', 'like = "second"\nclases = 2', "scenarios.third: unknown key 'clases'; did you mean"),
        ("classes = 2", "classes = 99", "scenarios.third: classes must be 1 to 8, not 99"),
        ('like = "second"\n', "", "scenarios.third: task is missing"),
    ],
)
def test_what_is_wrong_is_named(write: Write, old: str, new: str, said: str) -> None:
    assert old in SHORT
    with pytest.raises(InputError, match=f"^mine.toml: {said}"):
        load_suite(str(write(SHORT.replace(old, new))))


def test_long_chains_and_circles() -> None:
    """Far beyond what calls could be nested, and an error that stays short."""
    n = 3000
    chain: dict[str, dict[str, Any]] = {f"s{i}": {"like": f"s{i + 1}", "own": i} for i in range(n)}
    with pytest.raises(InputError, match="unknown scenario 's3000'"):
        patterns(chain, "mine.toml")
    whole = chain | {f"s{n}": {"task": "t", "deep": True}}
    assert settings_in_full(whole, "mine.toml")["s0"] == {"task": "t", "deep": True, "own": 0}
    assert list(settings_in_full(whole, "mine.toml")) == list(whole)
    with pytest.raises(InputError) as caught:
        patterns(chain | {f"s{n}": {"like": "s7"}}, "mine.toml")
    assert "scenarios.s7.like: s7 is like s8 is like s9 is like s10 is like ... is like s7: one" in str(caught.value)


def test_hyper_parameters_do_not_reach_past_another_task() -> None:
    scenarios = {
        "a": {"task": "one"},
        "b": {"like": "a", "task": "two"},
        "c": {"like": "b", "task": "one"},
        "d": {"like": "a"},
    }
    assert heirs(scenarios, "mine.toml") == {"d": "a"}
    found = hyperparameters_in_full(scenarios, {"a": {"m": 1, "n": 2}, "d": {"n": 3}}, "mine.toml")
    assert found == {"a": {"m": 1, "n": 2}, "b": {}, "c": {}, "d": {"m": 1, "n": 3}}


# Tuning.


def kept(path: Path, scenario: str, method: str, lr: float) -> dict[str, Scenario]:
    """The scenarios after a study of one has been written into their file."""
    trial = Trial({"lr": lr}, [0.5], 0.5, 1.0, [])
    study = Study("mine", "class-forget", scenario, method, "c", (102,), [trial], {"lr": lr}, {}, "now")
    _keep(study, path.parent / "results", path)
    return dict(load_suite(str(path)).scenarios)


@pytest.mark.parametrize("scenario", ["first", "second", "third"])
@pytest.mark.parametrize("method", ["finetune", "scrub"])
def test_a_choice_for_one_scenario_changes_no_other(write: Write, scenario: str, method: str) -> None:
    pytest.importorskip("tomlkit")
    path = write(SHORT)
    before = dict(load_suite(str(path)).scenarios)
    after = kept(path, scenario, method, 0.5)
    assert after[scenario].methods[method]["lr"] == 0.5
    assert after[scenario].provenance[method].startswith("best of 1 by c")
    assert {k: v for k, v in after.items() if k != scenario} == {k: v for k, v in before.items() if k != scenario}
    assert "# Of another task.\n" in path.read_text()
    again = kept(path, scenario, method, 0.25)
    assert again[scenario].methods[method]["lr"] == 0.25
    assert again[scenario].settings == before[scenario].settings


def test_only_what_would_change_is_written_out(write: Write) -> None:
    pytest.importorskip("tomlkit")
    path = write(SHORT)
    own = read_toml(path)["hyperparameters"]
    kept(path, "first", "scrub", 0.5)
    written = read_toml(path)["hyperparameters"]
    assert {name: set(methods) for name, methods in written.items()} == {
        name: set(methods) | ({"scrub"} if name == "first" else set()) for name, methods in own.items()
    }
    kept(path, "first", "finetune", 0.5)
    written = read_toml(path)["hyperparameters"]
    assert written["second"]["finetune"] == own["first"]["finetune"]
    assert written["third"] == own["third"]
