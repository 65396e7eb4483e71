"""Suites: validated before anything runs, with errors that name file, field, value and near misses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.config import read_toml
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.running.ensembles import fixed
from benchmark.suites.definition import FOLDER, load_suite, methods_of, select, suite_names, with_stacked
from benchmark.tasks import TASKS

SUITE = """
name = "mine"
summary = "A suite for a test."
threads = 1
timeout = 60.0
tuning = { seeds = [102, 105], configurations = 3 }

[scenarios.one]
task = "class-forget"
data = "digits"
classes = 1
model = "resnet-small"
training = { epochs = 2, batch_size = 64, lr = 0.1 }
methods = ["original", "retrain", "svd-forgetting", "finetune"]

[hyperparameters.one]
svd-forgetting = { parameters = { alpha_r = 30 }, provenance = "by hand" }
"""

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the suite with some text replaced; returns the path to load."""

    def write(old: str = "", new: str = "") -> str:
        assert old in SUITE
        path = tmp_path / "mine.toml"
        path.write_text(SUITE.replace(old, new) if old else SUITE + new)
        return str(path)

    return write


def test_a_suite_from_a_file(write: Write) -> None:
    suite = load_suite(write())
    assert (suite.name, suite.threads, suite.timeout, suite.tuning.seeds) == ("mine", 1, 60.0, (102, 105))
    one = suite.scenarios["one"]
    assert list(one.methods) == ["original", "retrain", "svd-forgetting", "finetune"]
    assert one.methods["svd-forgetting"] == {**METHODS.get("svd-forgetting").defaults(), "alpha_r": 30.0}
    assert one.methods["finetune"] == METHODS.get("finetune", "class-forget").defaults()
    assert one.provenance["svd-forgetting"] == "by hand"
    assert one.provenance["finetune"] == "defaults"
    assert one.settings.training.epochs == 2


def test_all_methods_of_the_task_where_none_are_named(write: Write) -> None:
    named = 'methods = ["original", "retrain", "svd-forgetting", "finetune"]'
    assert list(load_suite(write(named)).scenarios["one"].methods) == methods_of("class-forget")


def test_methods_come_references_first_and_cheats_last() -> None:
    names = methods_of("class-forget")
    kinds = [METHODS.get(name, "class-forget").kind for name in names]
    assert names[:2] == ["original", "retrain"]
    assert sorted(kinds, key=["reference", "paper", "baseline", "cheat"].index) == kinds
    assert kinds[-1] == "cheat"
    assert methods_of("no-such-task") == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("threads", "thread", "unknown key 'thread'; did you mean .*threads"),
        ("threads = 1", 'threads = "1"', "Expected `int`, got `str`.*threads"),
        ("threads = 1", "threads = 0", "threads must be above 0 and at most 1,024, not 0"),
        ("timeout = 60.0", "timeout = -1.0", "timeout must be above 0 and at most .*, not -1.0"),
        ("timeout = 60.0", "timeout = nan", "timeout"),
        ("configurations = 3", "configurations = 0", "tuning.configurations must be above 0"),
        (
            "configurations = 3",
            "configurations = 3, by_task = { class-forget = 0 }",
            "by_task.class-forget must be above",
        ),
        ("configurations = 3", "configurations = 3, by_task = { clas-forget = 1 }", "unknown task 'clas-forget'"),
        ('summary = "A suite for a test."', "", "missing required field `summary`"),
        ('"class-forget"', '"clas-forget"', "scenarios.one: unknown task 'clas-forget'; did you mean class-forget"),
        ('task = "class-forget"\n', "", "scenarios.one: task is missing; one of class-forget"),
        ('task = "class-forget"', "task = 3", "scenarios.one: task is missing"),
        ('"digits"', '"digit"', "scenarios.one: unknown data set 'digit'; did you mean digits"),
        ('"resnet-small"', '"resnet-smal"', "scenarios.one: unknown model 'resnet-smal'; did you mean resnet-small"),
        ("classes = 1", "clases = 1", "scenarios.one: unknown key 'clases'; did you mean .*classes"),
        ("lr = 0.1", "learning_rate = 0.1", "scenarios.one: training: unknown key 'learning_rate'"),
        ("lr = 0.1", 'lr = "0.1"', "scenarios.one: Expected `float`, got `str`.*training.lr"),
        ("lr = 0.1", "lr = 0", "scenarios.one: lr must be above 0"),
        ("lr = 0.1", "lr = nan", "lr"),
        ("epochs = 2", "epochs = 0", "scenarios.one: epochs must be above 0, not 0"),
        ("epochs = 2", "epochs = 2.5", "Expected `int`, got `float`.*training.epochs"),
        ("lr = 0.1", "lr = 0.1, stacked = 0", "stacked must be above 0, not 0"),
        ("lr = 0.1", "lr = 0.1, stacked = 513", "stacked must be at most 512, not 513"),
        ("lr = 0.1", 'lr = 0.1, precision = "fp8"', "Invalid enum value 'fp8'.*training.precision"),
        ("lr = 0.1", 'lr = 0.1, augmentation = "crop"', "Invalid enum value 'crop'.*training.augmentation"),
        (
            "[hyperparameters.one]",
            "[stacked]\nun = 8\n[hyperparameters.one]",
            "stacked: unknown scenario 'un'; known: one",
        ),
        (
            "[hyperparameters.one]",
            "[stacked]\none = -1\n[hyperparameters.one]",
            "stacked: one: stacked must be above 0",
        ),
        ("classes = 1", "classes = 9", "scenarios.one: classes must be 1 to 8, not 9"),
        ("classes = 1", 'requests = "all"', "Invalid enum value 'all'.*requests"),
        ("classes = 1", "attack_fit_samples = -5", "attack_fit_samples"),
        ('"finetune"]', '"finetun"]', "one.methods: unknown method of class-forget 'finetun'; did .*finetune"),
        ('"finetune"]', "3]", "scenarios.one.methods: Expected `str`, got `int`"),
        ("alpha_r = 30", "alpha = 30", "unknown hyper-parameter of svd-forgetting 'alpha'; did you mean .*alpha_"),
        ("alpha_r = 30", "alpha_r = true", "scenarios.one.svd-forgetting: alpha_r must be float, not True"),
        ("alpha_r = 30", "alpha_r = nan", "alpha_r must be a finite number, not nan"),
        ("[hyperparameters.one]", "[hyperparameters.two]", "hyperparameters: unknown scenario 'two'"),
        ("svd-forgetting = {", "svd = {", "hyperparameters: unknown method 'svd'"),
        (', provenance = "by hand"', "", "missing required field `provenance`"),
        ("[scenarios.one]", '[scenarios."../two"]\n[scenarios.one]', "'../two' is no name; use lower-case letters"),
        ('name = "mine"', 'name = "../mine"', "name"),
        ('name = "mine"', 'name = "tuning"', "name"),
        ('name = "mine"', "name =", "Invalid value"),
    ],
)
def test_what_is_wrong_is_named(write: Write, old: str, new: str, said: str) -> None:
    with pytest.raises(InputError, match=f"mine.toml: .*{said}") as caught:
        load_suite(write(old, new))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: .*No such file"):
        load_suite(str(tmp_path / "none.toml"))
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(InputError, match=r"folder\.toml"):
        load_suite(str(tmp_path / "folder.toml"))
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(InputError, match=r"latin\.toml"):
        read_toml(tmp_path / "latin.toml")


@pytest.mark.parametrize("name", ["smok", "spaces", "../suites/smoke", ""])
def test_unknown_suites(name: str) -> None:
    with pytest.raises(InputError, match="unknown suite"):
        load_suite(name)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_that_comes_with_the_package_is_valid(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert Path(suite.path) == FOLDER / f"{name}.toml"
    assert min(suite.tuning.seeds) >= 100  # never one of the reported seeds 0, 1, ...
    for scenario in suite.scenarios.values():
        task = TASKS.get(scenario.task)
        assert {task.original, task.reference} <= set(scenario.methods)


def test_the_suites_that_are_promised_are_there() -> None:
    assert {"smoke", "embedded"} <= set(suite_names())


def test_members_of_an_ensemble_are_trained_as_the_suite_says(write: Write) -> None:
    """Reported cells are not: their seeds are few."""
    suite = load_suite(write("[hyperparameters.one]", "[stacked]\none = 8\n[hyperparameters.one]"))
    assert suite.scenarios["one"].settings.training.stacked == 1
    settings = fixed(suite).scenarios["one"].settings
    assert (settings.training.stacked, settings.forget_seed) == (8, 0)
    assert fixed(load_suite(write())).scenarios["one"].settings.training.stacked == 1


@pytest.mark.parametrize(
    ("task", "scenario"), [("label-free-forget", "digits-noisy-labels"), ("bias-correction", "digits-patch")]
)
def test_networks_with_data_of_their_own_are_not_stacked(task: str, scenario: str) -> None:
    settings = load_suite("smoke").scenarios[scenario].settings
    with pytest.raises(ValueError, match="stacked must be 1"):
        TASKS.get(task).check(with_stacked(settings, 2))


def test_selection_keeps_the_references(write: Write) -> None:
    chosen = select(load_suite(write()), "class-forget", ["one"], ["finetune"])
    assert list(chosen.scenarios["one"].methods) == ["original", "retrain", "finetune"]
    everything = select(load_suite(write()), None, None, None)
    assert everything == load_suite(write())


def test_selection_leaves_out_scenarios_without_the_methods() -> None:
    suite = load_suite("smoke")
    assert list(select(suite, None, None, ["svd-forgetting+search"]).scenarios) == ["four-gaussians"]
    assert list(select(suite, None, ["digits"], None).scenarios) == ["digits"]
    assert list(select(suite, "class-forget", None, ["finetune"]).scenarios) == ["four-gaussians", "digits"]
    assert suite == load_suite("smoke")  # the suite itself is as it was


@pytest.mark.parametrize(
    ("task", "scenarios", "methods", "said"),
    [
        ("clas-forget", None, None, "unknown task 'clas-forget'; did you mean class-forget"),
        (None, ["digit"], None, "unknown scenario 'digit'; did you mean digits"),
        (None, None, ["finetun"], "unknown method 'finetun'; did you mean finetune"),
        (None, ["digits"], ["scrub"], "unknown method 'scrub'"),
    ],
)
def test_a_wrong_selection_is_named(
    task: str | None, scenarios: list[str] | None, methods: list[str] | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        select(load_suite("smoke"), task, scenarios, methods)


def test_tasks_may_have_their_own_number_of_configurations() -> None:
    tuning = load_suite("embedded").tuning
    assert tuning.of("gan-feature-removal") == tuning.by_task["gan-feature-removal"]
    assert tuning.of("class-forget") == tuning.configurations
