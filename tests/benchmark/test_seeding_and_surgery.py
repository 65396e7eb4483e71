"""Seeds are derived from what they depend on; networks are known by their bits."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from baselines.references import LogitMask
from benchmark import compat
from benchmark.contracts import Access, Ledger
from benchmark.errors import InputError
from benchmark.models import MODELS
from benchmark.models.classifiers import build_classifier
from benchmark.models.surgery import head, logits_and_features, state_hash, underlying, weight_layers
from benchmark.seeding import derive, generator, seed_globals


def test_derived_seeds_are_distinct_fixed_and_in_range() -> None:
    seeds = [derive(s, role, *more) for s in range(20) for role in ("a", "b") for more in ((), (1,), (2,), ("1",))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "base-model", "init") == derive(0, "base-model", "init") == DERIVED


DERIVED = 9049555747305024500


def test_generators_follow_the_seed() -> None:
    one, same, other = (torch.rand(3, generator=generator(s, "role")) for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_global_generators_are_all_seeded() -> None:
    drawn = []
    for _ in range(2):
        seed_globals(2**40 + 3)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1]


def test_access_says_what_may_be_read() -> None:
    assert str(Access()) == "the model only"
    access = Access(retain="xy", forget="x", max_samples={"retain": 1000})
    assert str(access) == "retain: images + labels (at most 1,000); forget: images"
    with pytest.raises(ValueError, match="access to retain: 'xq'"):
        Access(retain="xq")


def test_a_refusal_is_kept_and_returned() -> None:
    ledger = Ledger()
    error = ledger.refuse("no")
    assert str(error) == "no"
    assert ledger.violations == ["no"]


@pytest.mark.parametrize("name", list(MODELS))
def test_own_networks_have_the_asked_shape(name: str) -> None:
    shape = (2,) if name == "mlp-toy" else (1, 28, 28)
    model = build_classifier(name, 7, shape).eval()
    assert model(torch.zeros(3, *shape)).shape == (3, 7)
    assert weight_layers(head(model))[-1].out_features == 7
    assert weight_layers(model)[-1] in head(model).modules()


def test_initialisation_follows_the_global_seed() -> None:
    hashes = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        hashes.append(state_hash(build_classifier("resnet-small", 10, (1, 8, 8))))
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_state_hash_sees_a_bit_and_a_buffer() -> None:
    model = build_classifier("resnet-small", 10, (1, 8, 8))
    before = state_hash(model)
    assert state_hash(copy.deepcopy(model)) == before
    with torch.no_grad():
        weight = head(model).weight
        old = weight[0, 0].clone()
        weight[0, 0] = torch.nextafter(old, torch.tensor(9.0))
        assert state_hash(model) != before
        weight[0, 0] = old
    assert state_hash(model) == before
    model[1].running_mean += 1e-6  # type: ignore[index, operator]
    assert state_hash(model) != before


def test_wrappers_are_removed() -> None:
    model = build_classifier("mlp-toy", 4, (2,))
    wrapped = nn.Sequential(LogitMask(LogitMask(model, (0,)), (1,)))
    assert underlying(wrapped, build_classifier("mlp-toy", 4, (2,))) is model
    assert underlying(model, model) is model
    other = nn.Linear(2, 2)
    assert underlying(other, model) is other


def test_logits_and_features_do_not_depend_on_the_batch_size() -> None:
    model = build_classifier("mlp-toy", 4, (2,)).eval()
    x = torch.randn(11, 2)
    whole = logits_and_features(model, lambda part: x[part], 11)
    parts = logits_and_features(model, lambda part: x[part], 11, batch_size=4)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole, parts, strict=True))
    logits, features = whole
    with torch.no_grad():
        assert torch.allclose(head(model)(features), logits, atol=1e-6)
    assert features.shape == (11, 5)


@pytest.mark.parametrize(
    ("name", "shape"), [("timm:resnet10t", (3, 32, 32)), ("torchvision:squeezenet1_1", (3, 64, 64))]
)
def test_networks_of_libraries_are_built(name: str, shape: tuple[int, ...]) -> None:
    model = build_classifier(name, 6, shape).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, *shape)).shape == (2, 6)


def test_compat_gives_the_libraries_themselves() -> None:
    vision, timm = compat.torchvision(), compat.timm()
    assert (vision.__name__, timm.__name__) == ("torchvision", "timm")
    assert compat.torchvision() is vision
    images = torch.zeros(1, 8, 8)
    assert vision.transforms.functional.hflip(images).shape == images.shape


@pytest.mark.parametrize("name", ["timm:no_such_network", "torchvision:no_such_network"])
def test_networks_that_a_library_does_not_have_are_bad_input(name: str) -> None:
    with pytest.raises(InputError, match=f"model '{name}': "):
        build_classifier(name, 10, (3, 32, 32))
