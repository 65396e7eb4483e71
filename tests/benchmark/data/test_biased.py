"""Biased data sets: how many samples each group has in each split, what is refused, and what is kept."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from benchmark.data import DATA, biased, corruptions
from benchmark.data.bias import Bias
from benchmark.data.biased import Biased, group_counts, load_biased, shuffled
from benchmark.data.colours import assign
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.seeding import generator

COLOURED = Bias(kind="colour", conflicting=0.05)
HALVES = Bias(kind="colour", conflicting=0.1, halves=True)
CORRUPTED = Bias(kind="corruption", conflicting=0.6, severity=5, holdout=100)
UNFIT = Bias(kind="corruption", conflicting=0.3, holdout=100, halves=True)


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """No data set is remembered from one test to the next."""
    load_biased.cache_clear()
    yield
    load_biased.cache_clear()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Dataset:
    """What stands for CIFAR-10: 60 and 20 photographs of noise a class; the cache is empty."""
    rng = generator(0, "test")

    def samples(n: int) -> Samples:
        images = torch.randint(20, 236, (10 * n, 3, 32, 32), generator=rng, dtype=torch.uint8)
        return Samples(images, torch.arange(10).repeat(n), (0.5,) * 3, (0.25,) * 3)

    train = samples(60)
    dataset = Dataset("cifar-10", train, train.subset(torch.arange(0)), samples(20), 10)
    monkeypatch.setattr(biased, "load", {"cifar-10": dataset}.__getitem__)
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path))
    return dataset


def counts(samples: Samples, values: int = 10, classes: int = 10) -> np.ndarray:
    return group_counts(samples, classes, values).numpy()


def conflicting(samples: Samples) -> float:
    """The share of samples whose attribute is not the label."""
    assert samples.attributes is not None
    return float((samples.attributes != samples.labels).float().mean())


# Coloured digits.


def test_coloured_digits_have_the_bias_in_training_and_selection() -> None:
    data = load_biased("mnist-5k", COLOURED)
    for samples, size in ((data.train, 350), (data.selection, 50)):
        groups = counts(samples)
        assert groups.sum(1).tolist() == [size] * 10
        assert np.abs(np.diag(groups) - 0.95 * size).max() <= 1
        rest = groups[~np.eye(10, dtype=bool)]
        assert np.abs(rest - 0.05 * size / 9).max() <= 1
    assert conflicting(data.train) == pytest.approx(0.05, abs=0.003)
    assert conflicting(data.selection) == pytest.approx(0.05, abs=0.02)


def test_coloured_digits_are_tested_and_drawn_unbiased_without_bias() -> None:
    data = load_biased("mnist-5k", COLOURED)
    assert data.unbiased is not None
    assert (counts(data.test) == 10).all()
    assert (counts(data.unbiased) == 35).all()


def test_digits_keep_their_shape_and_get_one_colour() -> None:
    data, grey = load_biased("mnist-5k", COLOURED), load("mnist-5k")
    assert data.unbiased is not None
    train = shuffled(grey.train)  # the same order wherever there are as many
    for samples, origin in ((data.train, train), (data.unbiased, train), (data.test, grey.test)):
        assert torch.equal(samples.labels, origin.labels)
        assert samples.images.shape == (len(origin), 3, 28, 28)
        assert bool((samples.images <= origin.images).all())
        assert float(samples.inputs(slice(9)).max()) <= 1
        assert float(samples.inputs(slice(9)).min()) == 0
    assert not torch.equal(data.train.images, data.unbiased.images)
    assert (data.classes[3], data.attributes[3], len(data.attributes)) == ("3", "colour 3", 10)


def test_every_test_digit_has_every_colour_once() -> None:
    data = load_biased("mnist-5k", msgspec.structs.replace(COLOURED, every_attribute=True))
    origin = load("mnist-5k").test
    assert len(data.test) == 10 * len(origin)
    assert (counts(data.test) == 100).all()
    assert data.test.attributes is not None
    shapes = (data.test.images > 0).any(1).view(10, len(origin), 28, 28)
    seen = (origin.images[:, 0] > 100).expand(10, -1, -1, -1)  # fainter ones may round down to black
    assert bool(shapes[seen].all())
    assert data.test.attributes.view(10, -1).unique(dim=1).squeeze(1).tolist() == list(range(10))


def test_every_attribute_changes_nothing_but_the_test_set() -> None:
    data = load_biased("mnist-5k", COLOURED)
    other = load_biased("mnist-5k", msgspec.structs.replace(COLOURED, every_attribute=True))
    assert torch.equal(data.train.images, other.train.images)
    assert torch.equal(data.selection.images, other.selection.images)


def test_halves_have_two_colours_and_no_digit_a_colour_alone() -> None:
    data, digits = load_biased("mnist-5k", HALVES), shuffled(load("mnist-5k").train).labels
    assert torch.equal(data.train.labels, (digits >= 5).long())
    assert data.train.attributes is not None
    for digit in range(10):
        own = digits == digit
        assert int((data.train.attributes != data.train.labels)[own].sum()) == 35
    assert counts(data.train, 2, 2).tolist() == [[1575, 175], [175, 1575]]
    assert counts(data.selection, 2, 2).tolist() == [[225, 25], [25, 225]]
    assert counts(data.test, 2, 2).tolist() == [[250, 250], [250, 250]]
    assert data.unbiased is not None
    assert counts(data.unbiased, 2, 2).tolist() == [[875, 875], [875, 875]]
    assert (data.classes, data.attributes) == (("lower half", "upper half"), ("colour 0", "colour 1"))


def test_digits_are_held_out_with_the_same_bias() -> None:
    """Where a data set has no selection split, as MNIST of the Hub."""
    data = load_biased("mnist-5k", Bias(kind="colour", conflicting=0.3, holdout=500))
    assert [len(samples) for samples in (data.train, data.selection)] == [3000, 500]
    assert data.unbiased is not None
    assert torch.equal(data.unbiased.labels, data.train.labels)
    assert conflicting(data.selection) == pytest.approx(0.3, abs=0.005)
    assert conflicting(data.train) == pytest.approx(0.3, abs=0.005)
    whole = load_biased("mnist-5k", Bias(kind="colour", conflicting=0.3))
    both = torch.cat([data.train.images, data.selection.images]).flatten(1)
    assert sorted(both.sum(1).tolist()) == sorted(whole.train.images.flatten(1).sum(1).tolist())


@pytest.mark.parametrize("other", [{"conflicting": 0.06}, {"severity": 5}, {"every_attribute": True}, {"halves": True}])
def test_the_checksum_is_that_of_the_bias(other: dict[str, Any]) -> None:
    first = load_biased("mnist-5k", COLOURED)
    assert load_biased("mnist-5k", COLOURED) is first
    assert load_biased("mnist-5k", msgspec.structs.replace(COLOURED, **other)).checksum != first.checksum
    load_biased.cache_clear()
    assert load_biased("mnist-5k", COLOURED).checksum == first.checksum
    assert len(first.checksum) == 16


# What is refused.


@pytest.mark.parametrize(
    ("name", "bias", "message"),
    [
        ("mnist-5k", Bias(), "bias.kind must be colour or corruption for mnist-5k"),
        ("waterbirds", COLOURED, "bias.kind must be natural for waterbirds, .* not 'colour'"),
        ("waterbirds", Bias(severity=2), "bias of waterbirds cannot be chosen"),
        ("cifar-10", COLOURED, r"bias.kind colour needs grey images, not those of cifar-10 \(\(3, 32, 32\)\)"),
        ("four-gaussians", COLOURED, "bias.kind colour needs grey images, not those of four-gaussians"),
        ("mnist-5k", CORRUPTED, "bias.kind corruption needs 32x32 photographs, not those of mnist-5k"),
        ("cifar-10", UNFIT, "bias.kind corruption needs the ten classes of cifar-10"),
        ("mnist-5k", Bias(kind="colour"), "bias.conflicting must be between 0 and 1, not 0.0"),
        ("mnist-5k", Bias(kind="colour", conflicting=1.0), "bias.conflicting must be between 0 and 1, not 1.0"),
        ("mnist-5k", Bias(kind="colour", conflicting=0.1, severity=0), "bias.severity must be 1 to 5, not 0"),
        ("mnist-5k", Bias(kind="colour", conflicting=0.1, severity=6), "bias.severity must be 1 to 5, not 6"),
        ("mnist-5k", Bias(kind="colour", conflicting=0.1, holdout=9), "bias.holdout is 9, but mnist-5k has selection"),
        ("mnist", COLOURED, "bias.holdout is 0, but mnist has no selection split"),
        ("mnist", Bias(kind="colour", conflicting=0.1, holdout=-1), "bias.holdout is -1, but mnist has no selection"),
    ],
)
def test_a_bias_that_does_not_fit_names_field_and_value(name: str, bias: Bias, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bias.check(name, DATA.get(name))


@pytest.mark.parametrize(
    ("name", "bias"),
    [
        ("mnist-5k", COLOURED),
        ("mnist", Bias(kind="colour", conflicting=0.005, holdout=5000)),
        ("cifar-10", CORRUPTED),
        ("waterbirds", Bias()),
    ],
)
def test_a_bias_that_fits(name: str, bias: Bias) -> None:
    bias.check(name, DATA.get(name))


def test_an_empty_group_is_refused() -> None:
    message = r"data set mnist-5k: \d+ groups of the training set are empty, the first is \(0, colour \d\)"
    with pytest.raises(InputError, match=message):
        load_biased("mnist-5k", Bias(kind="colour", conflicting=0.005))


def test_an_empty_group_of_the_test_set_is_refused(plain: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    few = dataclasses.replace(plain, test=plain.test.subset(torch.arange(50)))
    monkeypatch.setattr(biased, "load", {"cifar-10": few}.__getitem__)
    with pytest.raises(InputError, match=r"50 groups of the test set are empty, the first is \(class 0, "):
        load_biased("cifar-10", CORRUPTED)


@pytest.mark.parametrize("holdout", [3500, 5000])
def test_more_held_out_than_there_are(holdout: int) -> None:
    with pytest.raises(InputError, match=f"bias.holdout is {holdout}, but the training set has 3500 samples"):
        load_biased("mnist-5k", Bias(kind="colour", conflicting=0.3, holdout=holdout))


# Corrupted photographs.


def test_corrupted_photographs_have_the_bias_where_they_should(plain: Dataset) -> None:
    data = load_biased("cifar-10", CORRUPTED)
    assert data.unbiased is not None
    assert [len(s) for s in (data.train, data.selection, data.test, data.unbiased)] == [500, 100, 200, 500]
    assert counts(data.selection).sum(1).tolist() == [10] * 10
    for samples in (data.train, data.selection):
        assert conflicting(samples) == pytest.approx(0.6, abs=0.01)
    assert counts(data.train).min() >= 1
    assert (counts(data.test) == 2).all()
    assert conflicting(data.unbiased) == pytest.approx(0.9, abs=0.02)
    assert torch.equal(data.unbiased.labels, data.train.labels)
    assert data.attributes == corruptions.KINDS
    assert data.train.mean == (0.485, 0.456, 0.406)
    assert data.train.std == (0.229, 0.224, 0.225)


def test_each_photograph_has_the_corruption_of_its_attribute(plain: Dataset) -> None:
    data = load_biased("cifar-10", Bias(kind="corruption", conflicting=0.3, severity=3))  # none held out: in order
    train = shuffled(replace(plain.train, attributes=assign(plain.train.labels, 10, 0.3)))
    attributes = train.attributes
    assert attributes is not None
    assert data.train.attributes is not None
    assert torch.equal(data.train.attributes, attributes)
    for kind in ("brightness", "contrast", "jpeg", "pixelate", "saturate"):
        own = attributes == corruptions.KINDS.index(kind)
        expected = corruptions.corrupted(train.images[own], attributes[own], 3, "any")
        assert torch.equal(data.train.images[own], expected), kind


def test_train_and_unbiased_draw_are_drawn_apart(plain: Dataset) -> None:
    data = load_biased("cifar-10", CORRUPTED)
    assert data.unbiased is not None
    assert data.train.attributes is not None
    assert data.unbiased.attributes is not None
    same = data.train.attributes == data.unbiased.attributes
    drawn = same & (data.train.attributes == corruptions.KINDS.index("snow"))
    still = same & (data.train.attributes == corruptions.KINDS.index("contrast"))
    assert bool((data.train.images != data.unbiased.images)[drawn].flatten(1).any(1).all())
    assert torch.equal(data.train.images[still], data.unbiased.images[still])
    assert min(int(drawn.sum()), int(still.sum())) > 0


@pytest.mark.parametrize("other", [{"conflicting": 0.5}, {"severity": 4}, {"holdout": 90}])
def test_the_checksum_of_corrupted_photographs_is_that_of_the_bias(plain: Dataset, other: dict[str, Any]) -> None:
    first = load_biased("cifar-10", CORRUPTED).checksum
    assert load_biased("cifar-10", msgspec.structs.replace(CORRUPTED, **other)).checksum != first


# What is kept.


@pytest.fixture
def roles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roles that are corrupted from now on."""
    found: list[str] = []
    original = corruptions.corrupted

    def spy(images: torch.Tensor, attributes: torch.Tensor, severity: int, role: str) -> torch.Tensor:
        found.append(role)
        return original(images, attributes, severity, role)

    monkeypatch.setattr(corruptions, "corrupted", spy)
    return found


def again(bias: Bias = CORRUPTED) -> Biased:
    """As another process would read it."""
    load_biased.cache_clear()
    return load_biased("cifar-10", bias)


def test_photographs_are_corrupted_once(plain: Dataset, roles: list[str], tmp_path: Path) -> None:
    first = again()
    assert roles == ["cifar-10/train", "cifar-10/test", "cifar-10/unbiased"]
    assert again().checksum == first.checksum
    assert len(roles) == 3
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(list((tmp_path / "data" / "corrupted").iterdir())) == 3


def test_another_share_corrupts_the_training_set_alone(plain: Dataset, roles: list[str]) -> None:
    again()
    again(msgspec.structs.replace(CORRUPTED, conflicting=0.5, holdout=90))
    assert roles[3:] == ["cifar-10/train"]


def test_two_splits_that_are_alike_are_corrupted_apart(plain: Dataset, roles: list[str]) -> None:
    data = again(msgspec.structs.replace(CORRUPTED, conflicting=0.9))
    assert len(roles) == 3
    assert data.unbiased is not None
    assert torch.equal(data.train.labels, data.unbiased.labels)
    assert not torch.equal(data.train.images, data.unbiased.images)


@pytest.mark.parametrize("what", ["severity", "photographs", "code"])
def test_whatever_they_depend_on_corrupts_them_again(
    plain: Dataset, roles: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    again()
    if what == "severity":
        again(msgspec.structs.replace(CORRUPTED, severity=4))
    elif what == "photographs":
        plain.train.images[0, 0, 0, 0] ^= 1
        again()
    else:
        monkeypatch.setattr(biased, "digest", lambda module: f"another {module}")
        again()
    assert len(roles) == 6


def test_damaged_photographs_are_corrupted_again(
    plain: Dataset, roles: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = again().checksum
    damaged = next(tmp_path.rglob("*.safetensors"))
    content = bytearray(damaged.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        assert again().checksum == first
    assert str(damaged) in caplog.text
    assert len(roles) == 4
    assert again().checksum == first
    assert len(roles) == 4
