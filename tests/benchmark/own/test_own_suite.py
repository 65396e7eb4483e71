"""Scenarios of the suite ``own``: what is written for what was brought, and what is refused before anything is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import InputError
from benchmark.own import Brought, add
from benchmark.own.inputs import slug
from benchmark.own.networks import network_name
from benchmark.suites.definition import load_suite, own_suite


@pytest.fixture
def brought(flat: tuple[Path, Path]) -> Brought:
    folder, table = flat
    return Brought(folder, "class-forget", "lenet", "fish", table, forget="tench")


def test_a_scenario_is_added_that_can_be_run_again(brought: Brought) -> None:
    added = add(brought)
    (scenario,) = added.scenarios.values()
    assert scenario.name.startswith("fish-lenet-forget-tench-")
    assert scenario.settings.forget == (2,)
    assert scenario.settings.data.startswith("own:fish-")
    assert load_suite("own").scenarios == added.scenarios
    others = add(replace(brought, forget="pike"))
    assert list(load_suite("own").scenarios) == [scenario.name, *others.scenarios]
    assert next(iter(others.scenarios.values())).settings.forget == (1,)


def test_weights_are_named_by_their_content(brought: Brought, weights: Path) -> None:
    (scenario,) = add(replace(brought, weights=weights)).scenarios.values()
    assert len(scenario.settings.weights) == 64
    assert str(weights) not in own_suite().read_text()


def test_pictures_of_one_small_size_stay_as_they_are(brought: Brought) -> None:
    from benchmark.data import DATA

    (scenario,) = add(brought).scenarios.values()
    assert DATA.get(scenario.settings.data).shape == (3, 16, 16)
    (scenario,) = add(replace(brought, size=32, grey=True)).scenarios.values()
    assert DATA.get(scenario.settings.data).shape == (1, 32, 32)


@pytest.mark.parametrize("task", ["debias-known", "debias-unknown", "bias-correction", "label-free-forget"])
def test_every_task_that_has_no_generator_can_be_run(brought: Brought, task: str) -> None:
    forget = "tench" if task == "label-free-forget" else ""
    attribute = "" if forget else "ruler"
    model = "resnet-small" if task == "bias-correction" else "lenet"
    wanted = replace(brought, task=task, forget=forget, attribute=attribute, model=model)
    (scenario,) = add(wanted).scenarios.values()
    assert scenario.task == task
    if task == "bias-correction":
        assert (scenario.settings.biased_class, scenario.settings.layer) == (0, "5")
        assert "rrr" not in scenario.methods  # there are no masks


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a class": ({"forget": "tensh"}, "unknown class 'tensh'; did you mean tench"),
    "no class": ({"forget": ""}, "needs --forget-class NAME, one of finch, pike, tench"),
    "all but one class": ({"forget": "pike, tench"}, "names 2 of 3 classes; two or more have to stay"),
    "a task": ({"task": "class-forgets"}, "unknown task 'class-forgets'; did you mean class-forget"),
    "a generator": ({"task": "gan-feature-removal"}, "cannot be run on data of one's own yet"),
    "a network": ({"model": "lennet"}, "unknown model 'lennet'; did you mean lenet"),
    "an attribute": ({"task": "debias-known", "forget": "", "attribute": "rular"}, "unknown attribute 'rular'"),
    "no attribute": ({"task": "debias-known", "forget": ""}, "needs --attribute NAME.*known: ruler"),
    "an attribute for nothing": ({"attribute": "ruler"}, "--attribute has no effect in task class-forget"),
    "a class for nothing": ({"task": "debias-known", "attribute": "ruler"}, "--forget-class has no effect"),
    "no layer": ({"task": "bias-correction", "forget": "", "attribute": "ruler"}, "needs --layer NAME.*not for lenet"),
    "a size": ({"size": 4}, "size must be 8 to 1024, not 4"),
    "a fit": ({"fit": "corp"}, "unknown fit 'corp'; did you mean crop"),
    "statistics": ({"normalise": "0.5/0.5"}, "normalise must be imagenet, none, or"),
    "two starts": (
        {"task": "debias-known", "attribute": "ruler", "forget": "", "weights": Path("x"), "pretrained": True},
        "--weights and --pretrained",
    ),
    "a class twice": ({"forget": "pike,pike"}, "names a class twice"),
    "a mean": ({"normalise": "nan,0,0/1,1,1"}, "normalise must be"),
    "a layer for nothing": ({"layer": "3"}, "--layer has no effect in task class-forget"),
    "no classifier": ({"model": "maskrcnn_resnet50_fpn"}, "unknown model 'maskrcnn_resnet50_fpn'"),
    "grey pictures": ({"model": "resnet18", "grey": True}, "torchvision:resnet18 takes pictures in colour"),
    "published weights of our own": ({"pretrained": True}, "no published weights of lenet"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_and_no_scenario_is_written(brought: Brought, what: str) -> None:
    change, expected = WRONG[what]
    with pytest.raises(InputError, match=expected):
        add(replace(brought, **change))
    assert not own_suite().exists()


def test_a_bad_scenario_leaves_the_suite_as_it_was(brought: Brought) -> None:
    add(brought)
    before = own_suite().read_bytes()
    with pytest.raises(InputError):
        add(replace(brought, forget="tensh"))
    assert own_suite().read_bytes() == before


def test_networks_are_found_in_their_libraries() -> None:
    pytest.importorskip("timm")
    assert network_name("lenet") == "lenet"
    assert network_name("resnet18") == "torchvision:resnet18"
    assert network_name("vit_tiny_patch16_224") == "timm:vit_tiny_patch16_224"
    assert network_name("timm:resnet18") == "timm:resnet18"


def test_names_become_names_of_files() -> None:
    assert slug("Läsionen 2017/ISIC!") == "l-sionen-2017-isic"
    assert slug("***") == "data"


def test_another_question_is_another_scenario_and_another_recipe_is_not(brought: Brought, weights: Path) -> None:
    first = add(brought)
    for other in (
        replace(brought, weights=weights),
        replace(brought, size=32),
        replace(brought, task="label-free-forget"),
        replace(brought, forget="pike"),
    ):
        assert add(other).scenarios.keys().isdisjoint(first.scenarios)
    assert len(load_suite("own").scenarios) == 5
    again = add(replace(brought, epochs=3))
    assert again.scenarios.keys() == first.scenarios.keys()
    assert len(load_suite("own").scenarios) == 5


def test_what_is_only_looked_at_is_not_added(brought: Brought) -> None:
    (scenario,) = add(brought, keep=False).scenarios.values()
    assert scenario.settings.forget == (2,)
    assert not own_suite().exists()


def test_a_scenario_whose_data_is_gone_does_not_keep_others_from_running(brought: Brought) -> None:
    from benchmark.data import manifest

    gone = add(brought)
    shutil.rmtree(manifest.folder())
    manifest._read.cache_clear()
    kept = add(replace(brought, size=32))
    assert load_suite("own").scenarios.keys() == kept.scenarios.keys()
    assert gone.scenarios.keys().isdisjoint(kept.scenarios)


def test_a_class_may_have_a_comma_in_its_name(foldered: Path) -> None:
    (foldered / "pike").rename(foldered / "pike, northern")
    (scenario,) = add(Brought(foldered, "class-forget", "lenet", forget="pike, northern")).scenarios.values()
    assert scenario.settings.forget == (1,)
