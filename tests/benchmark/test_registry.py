"""Registries are filled on first use, refuse collisions, and name what is near."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmark.data import DATA
from benchmark.discovery.methods import METHODS
from benchmark.errors import InputError
from benchmark.models import MODELS, check_model
from benchmark.registry import Registry
from benchmark.tasks import TASKS


def test_discovery_waits_for_the_first_read_and_runs_once() -> None:
    calls: list[int] = []

    def discover() -> Iterator[tuple[str, int]]:
        calls.append(1)
        yield from {"one": 1, "two": 2}.items()

    registry: Registry[int] = Registry("number", discover)
    assert calls == []
    assert list(registry) == ["one", "two"]
    assert (registry.get("two"), len(registry), registry.values()) == (2, 2, [1, 2])
    assert "one" in registry
    assert "three" not in registry
    assert calls == [1]


def test_a_collision_is_an_error_and_stays_one() -> None:
    registry: Registry[int] = Registry("number", lambda: [("one", 1), ("two", 2), ("one", 3)])
    for _ in range(2):
        with pytest.raises(ValueError, match="two numbers are named 'one': 1 and 3"):
            registry.get("two")


@pytest.mark.parametrize(
    ("registry", "wrong", "near"),
    [
        (METHODS, "svd-forgeting", "svd-forgetting"),
        (METHODS, "logitmask", "logit-mask"),
        (TASKS, "clas-forget", "class-forget"),
        (DATA, "digit", "digits"),
        (MODELS, "resnet-smal", "resnet-small"),
    ],
)
def test_a_miss_names_what_is_near(registry: Registry[object], wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown {registry.kind} '{wrong}'; did you mean .*{near}"):
        registry.get(wrong)


def test_a_miss_without_anything_near_lists_what_is_known() -> None:
    with pytest.raises(
        InputError,
        match=f"unknown data set 'zzz'; known: {', '.join(sorted(DATA))}$",
    ):
        DATA.get("zzz")
    with pytest.raises(InputError, match="known: none"):
        Registry[int]("number", list).get("one")


@pytest.mark.parametrize("name", ["resnet-small", "timm:vit_tiny_patch16_224", "torchvision:resnet18"])
def test_models_of_libraries_are_known_by_prefix(name: str) -> None:
    check_model(name)


@pytest.mark.parametrize("name", ["timm:", "timm", "tim:resnet18", "resnet", ""])
def test_other_models_are_not(name: str) -> None:
    with pytest.raises(InputError, match="unknown model"):
        check_model(name)
