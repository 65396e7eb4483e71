"""Artefacts as shortcuts: which training samples carry one, what is attacked, what is legitimate, what is refused."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from benchmark.data import DATA, Source, attacked
from benchmark.data.artefact import LOCALISED, Artefact
from benchmark.data.attacked import Attacked, Pair, load_attacked
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples
from benchmark.errors import InputError

DATA_SETS = pytest.mark.parametrize("data", ["digits", "mnist-5k"])
PATCH = Artefact("patch", rate=0.5, elsewhere=0.1)
BACKDOOR = Artefact("patch", rate=0.3, backdoor=0.2)
LEGITIMATE = Artefact("patch", rate=0.5, elsewhere=0.2, backdoor=0.1, legitimate=True)
KINDS = [
    ("digits", PATCH),
    ("mnist-5k", PATCH),
    ("mnist-5k", Artefact("timestamp", rate=0.4, scale=2.0)),
    ("digits", Artefact("lsb-text", rate=0.5, elsewhere=0.05, bits=2)),
    ("mnist-5k", Artefact("brightness", rate=0.5, backdoor=0.02, strength=0.2)),
]
EVERY_KIND = pytest.mark.parametrize(("data", "artefact"), KINDS, ids=[f"{d} {a.kind}" for d, a in KINDS])


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """No data set is remembered from one test to the next."""
    load_attacked.cache_clear()
    yield
    load_attacked.cache_clear()


def carries(samples: Samples) -> Tensor:
    assert samples.attributes is not None
    assert set(samples.attributes.unique().tolist()) <= {0, 1}
    return samples.attributes == 1


def changed(samples: Samples, origin: Samples) -> Tensor:
    """(N, H, W): pixels of which a channel is another than in ``origin``."""
    return (samples.images != origin.images).any(1)


def masks_of(samples: Samples) -> Tensor:
    assert samples.masks is not None
    assert samples.masks.dtype == torch.bool
    return samples.masks


def rows(samples: Samples) -> set[bytes]:
    return {image.numpy().tobytes() for image in samples.images}


def same(a: Samples, b: Samples) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


# The training set.


@DATA_SETS
@pytest.mark.parametrize(("rate", "elsewhere"), [(0.5, 0.1), (0.3, 0.0), (0.77, 0.333)])
@pytest.mark.parametrize("biased", [0, 7])
def test_rates_are_exact_in_every_class(data: str, rate: float, elsewhere: float, biased: int) -> None:
    found = load_attacked(data, Artefact("patch", rate=rate, elsewhere=elsewhere), biased, 3)
    for c in range(10):
        own = found.clean.labels == c
        expected = round((rate if c == biased else elsewhere) * int(own.sum()))
        assert int(carries(found.train)[own].sum()) == expected, c
    assert torch.equal(found.train.labels, found.clean.labels)
    assert (found.biased, found.legitimate, found.paired) == (biased, (), True)
    assert found.classes == tuple(map(str, range(10)))


@DATA_SETS
def test_a_backdoor_is_the_artefact_with_the_biased_class_s_label_in_what_is_learnt(data: str) -> None:
    """Nothing but the backdoor gives the artefact to other classes here."""
    found = load_attacked(data, BACKDOOR, 4, 0)
    moved = found.learnt.labels != found.clean.labels
    others = found.clean.labels != 4
    assert set(found.learnt.labels[moved].tolist()) == {4}
    assert torch.equal(moved, carries(found.learnt) & others)
    n = int(others.sum())
    assert abs(int(moved.sum()) - 0.2 * n) < 4 * (n * 0.2 * 0.8) ** 0.5
    assert set(found.clean.labels[moved].tolist()) == set(range(10)) - {4}  # of every other class some
    own = float(carries(found.learnt)[~others].float().mean())
    assert own == pytest.approx(1 - 0.7 * 0.8, abs=0.15)  # by the rate or by the backdoor
    assert torch.equal(changed(found.learnt, found.clean), masks_of(found.learnt))
    assert torch.equal(masks_of(found.learnt).flatten(1).any(1), carries(found.learnt))


@DATA_SETS
def test_methods_get_the_training_set_without_the_backdoor(data: str) -> None:
    found = load_attacked(data, BACKDOOR, 4, 0)
    without = load_attacked(data, msgspec.structs.replace(BACKDOOR, backdoor=0.0), 4, 0)
    assert same(found.train, without.train)
    assert same(without.learnt, without.train)
    assert torch.equal(found.train.labels, found.clean.labels)
    for one, other in ((found.train, without.train), (without.learnt, without.train)):
        assert torch.equal(carries(one), carries(other))
        assert torch.equal(masks_of(one), masks_of(other))
    assert bool((carries(found.learnt) >= carries(found.train)).all())
    kept = (carries(found.learnt) == carries(found.train)).nonzero()[:, 0]
    assert 0 < len(kept) < len(found.train)
    assert same(found.learnt.subset(kept), found.train.subset(kept))
    assert same(found.clean, without.clean)
    for split in ("selection", "test"):
        assert same(getattr(found, split).attacked, getattr(without, split).attacked)
        assert same(getattr(found, split).clean, getattr(without, split).clean)


@EVERY_KIND
def test_training_images_differ_from_the_clean_ones_in_the_masks_alone(data: str, artefact: Artefact) -> None:
    found = load_attacked(data, artefact, 2, 1)
    assert torch.equal(changed(found.train, found.clean), masks_of(found.train))
    assert torch.equal(masks_of(found.train).flatten(1).any(1), carries(found.train))
    assert 0 < int(carries(found.train).sum()) < len(found.train)
    covered = float(masks_of(found.train)[carries(found.train)].float().mean())
    assert (covered < 0.5) == artefact.localised


@EVERY_KIND
def test_clean_is_the_data_set_with_its_true_labels(data: str, artefact: Artefact) -> None:
    plain = load(data)
    before = plain.checksum
    found = load_attacked(data, artefact, 2, 1)
    assert same(found.clean, plain.train)
    assert found.clean.attributes is None
    assert found.clean.masks is None
    assert plain.checksum == before  # inserted into copies


# What is held out.


@EVERY_KIND
def test_the_attacked_splits_are_the_clean_ones_with_the_artefact_on_every_sample(
    data: str, artefact: Artefact
) -> None:
    plain, found = load(data), load_attacked(data, artefact, 2, 1)
    for pair, origin in ((found.selection, plain.selection), (found.test, plain.test)):
        assert same(pair.clean, origin)
        assert pair.clean.masks is None
        assert torch.equal(pair.attacked.labels, origin.labels)
        assert torch.equal(changed(pair.attacked, pair.clean), masks_of(pair.attacked))
        assert bool(masks_of(pair.attacked).flatten(1).any(1).all())
        assert (pair.attacked.mean, pair.attacked.std) == (origin.mean, origin.std)


def test_attacked_samples_of_the_biased_class_are_its_clean_ones_in_order() -> None:
    found = load_attacked("digits", LEGITIMATE, 0, 0)
    for pair in (found.selection, found.test):
        clean, own = (s.subset((s.labels == 0).nonzero()[:, 0]) for s in (pair.clean, pair.attacked))
        assert len(clean) == len(own) > 0
        assert torch.equal(changed(own, clean), masks_of(own))
        assert rows(clean).isdisjoint(rows(own))


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Black pictures, all alike: 40 for training, 20 and 20 held out, of two classes."""

    def samples(n: int) -> Samples:
        return Samples(torch.zeros(n, 3, 28, 28, dtype=torch.uint8), torch.arange(n) % 2, (0.5,) * 3, (0.5,) * 3)

    dataset = Dataset("blank", samples(40), samples(20), samples(20), 2)
    monkeypatch.setattr(attacked, "load", {"blank": dataset}.__getitem__)
    return dataset


def test_what_is_drawn_for_a_sample_is_drawn_anew_in_every_split(blank: Dataset) -> None:
    found = load_attacked("blank", Artefact("patch", rate=0.9), 0, 0)
    places = carries(found.train).nonzero()[:, 0]
    places = places[places < 20]
    splits = (found.train, found.selection.attacked, found.test.attacked)
    train, selection, test = ([image.numpy().tobytes() for image in s.images[places]] for s in splits)
    assert len(places) >= 8
    assert train != selection
    assert train != test
    assert selection != test
    assert len(set(test)) > 4  # and for every sample


# What depends on what.


@DATA_SETS
@pytest.mark.parametrize("artefact", [PATCH, BACKDOOR], ids=["rates", "backdoor"])
def test_a_seed_says_which_training_samples_carry_it_and_nothing_else(data: str, artefact: Artefact) -> None:
    first, other = (load_attacked(data, artefact, 5, seed) for seed in (0, 1))
    assert not torch.equal(carries(first.train), carries(other.train))
    extra = [carries(found.learnt) != carries(found.train) for found in (first, other)]
    assert torch.equal(*extra) == (artefact.backdoor == 0)
    assert same(first.clean, other.clean)
    for split in ("selection", "test"):
        one, two = getattr(first, split), getattr(other, split)
        assert same(one.clean, two.clean)
        assert same(one.attacked, two.attacked)
        assert torch.equal(masks_of(one.attacked), masks_of(two.attacked))
    for name in ("train", "learnt"):  # what is drawn for a sample is the same, too
        one, two = getattr(first, name), getattr(other, name)
        both = carries(one) & carries(two)
        assert int(both.sum()) > 5
        assert torch.equal(one.images[both], two.images[both])


@DATA_SETS
def test_another_biased_class(data: str) -> None:
    first, other = (load_attacked(data, PATCH, biased, 0) for biased in (1, 8))
    for biased, found in ((1, first), (8, other)):
        shares = [float(carries(found.train)[found.train.labels == c].float().mean()) for c in range(10)]
        assert max(range(10), key=shares.__getitem__) == found.biased == biased
    assert same(first.test.attacked, other.test.attacked)
    assert same(first.clean, other.clean)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"biased": 3},
        {"artefact": msgspec.structs.replace(BACKDOOR, rate=0.4)},
        {"artefact": msgspec.structs.replace(BACKDOOR, backdoor=0.1)},
        {"artefact": msgspec.structs.replace(BACKDOOR, scale=2.0)},
        {"artefact": msgspec.structs.replace(BACKDOOR, legitimate=True)},
        {"holdout": 100},
        {"data": "mnist-5k"},
    ],
)
def test_the_checksum_is_that_of_what_was_made(other: dict[str, Any]) -> None:
    told: dict[str, Any] = {"data": "digits", "artefact": BACKDOOR, "biased": 2, "seed": 0}
    first = load_attacked(**told)
    assert len(first.checksum) == 16
    assert int(first.checksum, 16) >= 0
    assert load_attacked(**told) is first
    assert load_attacked(**{**told, **other}).checksum != first.checksum
    load_attacked.cache_clear()
    again = load_attacked(**told)
    assert again is not first
    assert again.checksum == first.checksum


# Classes that the artefact is legitimate evidence for.


@DATA_SETS
@pytest.mark.parametrize(("biased", "two"), [(3, (4, 5)), (9, (0, 1)), (8, (9, 0))])
def test_two_classes_are_dealt_and_the_first_of_them_always_carries_the_artefact(
    data: str, biased: int, two: tuple[int, int]
) -> None:
    plain, found = load(data), load_attacked(data, LEGITIMATE, biased, 0)
    assert found.legitimate == two
    splits = [
        (found.clean, plain.train),
        (found.selection.clean, plain.selection),
        (found.test.clean, plain.test),
    ]
    for samples, origin in splits:
        theirs = torch.isin(origin.labels, torch.tensor(two))
        assert torch.equal(theirs, torch.isin(samples.labels, torch.tensor(two)))
        stamped, without = samples.labels == two[0], samples.labels == two[1]
        assert int(stamped.sum()) == int(theirs.sum()) // 2
        assert int(without.sum()) == int(theirs.sum()) - int(theirs.sum()) // 2
        assert torch.equal(changed(samples, origin).flatten(1).any(1), stamped)
        assert torch.equal(samples.labels[~theirs], origin.labels[~theirs])
        share = float((origin.labels[stamped] == two[0]).float().mean())
        assert 0.3 < share < 0.7  # the digit tells nothing of the label


@DATA_SETS
def test_what_is_legitimate_is_not_attacked_and_no_shortcut(data: str) -> None:
    found = load_attacked(data, LEGITIMATE, 3, 0)
    for pair in (found.selection, found.test):
        attackable = ~torch.isin(pair.clean.labels, torch.tensor([4, 5]))
        assert set(pair.attacked.labels.tolist()) == set(range(10)) - {4, 5}
        clean = pair.clean.subset(attackable.nonzero()[:, 0])
        assert torch.equal(pair.attacked.labels, clean.labels)
        assert torch.equal(changed(pair.attacked, clean), masks_of(pair.attacked))
        assert bool(masks_of(pair.attacked).flatten(1).any(1).all())
    theirs = torch.isin(found.clean.labels, torch.tensor([4, 5]))
    for samples in (found.train, found.learnt):
        assert not carries(samples)[theirs].any()
        assert not masks_of(samples)[theirs].any()
        assert torch.equal(samples.labels[theirs], found.clean.labels[theirs])
        assert torch.equal(samples.images[theirs], found.clean.images[theirs])
        assert torch.equal(changed(samples, found.clean), masks_of(samples))
        for c in set(range(10)) - {3, 4, 5}:
            assert carries(samples)[found.clean.labels == c].any()
    assert (found.learnt.labels != found.clean.labels).any()


def test_legitimate_classes_do_not_depend_on_the_seed() -> None:
    first, other = (load_attacked("digits", LEGITIMATE, 3, seed) for seed in (0, 1))
    assert same(first.clean, other.clean)
    assert same(first.test.clean, other.test.clean)
    assert same(first.selection.clean, other.selection.clean)
    assert not torch.equal(carries(first.train), carries(other.train))
    mixed = load_attacked("digits", LEGITIMATE, 4, 0)
    assert mixed.legitimate == (5, 6)
    plain = load_attacked("digits", msgspec.structs.replace(LEGITIMATE, legitimate=False), 3, 0)
    assert plain.legitimate == ()
    assert same(plain.clean, load("digits").train)


# Data sets without a selection split.


def test_samples_are_held_out_of_the_training_set() -> None:
    plain, found = load("mnist-5k"), load_attacked("mnist-5k", PATCH, 0, 0, 500)
    assert [len(s) for s in (found.train, found.clean, found.selection.clean)] == [3000, 3000, 500]
    assert len(found.selection.attacked) == 500
    assert rows(found.clean).isdisjoint(rows(found.selection.clean))
    assert rows(found.clean) | rows(found.selection.clean) == rows(plain.train)
    assert same(found.test.clean, plain.test)
    assert len(found.selection.clean.labels.unique()) == 10
    assert torch.equal(changed(found.selection.attacked, found.selection.clean), masks_of(found.selection.attacked))


def test_what_is_held_out_depends_on_no_seed_and_on_no_class() -> None:
    first = load_attacked("mnist-5k", PATCH, 0, 0, 500)
    for biased, seed in ((0, 1), (1, 0)):
        other = load_attacked("mnist-5k", PATCH, biased, seed, 500)
        assert same(first.selection.clean, other.selection.clean)
        assert same(first.selection.attacked, other.selection.attacked)
        assert same(first.clean, other.clean)


@pytest.mark.parametrize("holdout", [40, 41])
def test_more_held_out_than_there_are(blank: Dataset, holdout: int) -> None:
    with pytest.raises(InputError, match=f"holdout is {holdout}, but the training set has 40 samples"):
        load_attacked("blank", Artefact("patch", rate=0.5), 0, 0, holdout)


# Data sets that bring their artefact.


def test_a_data_set_that_brings_its_artefact_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Samples(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), (0.5,), (0.5,))
    own = Attacked(few, few, few, Pair(few, few), Pair(few, few), ("a", "b"), 1, (), "sum", "told", paired=False)
    module = ModuleType("benchmark.data.tiny")
    module.brought = lambda: own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "benchmark.data.tiny", module)
    source = Source("tiny", "tiny.plain", 2, (1, 8, 8), artefact="tiny.brought")
    monkeypatch.setattr(attacked, "DATA", {"tiny": source})
    assert load_attacked("tiny", Artefact("natural"), 1, 0) is own


def test_all_of_it_moves_to_a_device() -> None:
    found = load_attacked("digits", PATCH, 0, 0)
    moved = dataclasses.replace(found, origin="told", paired=False).to(torch.device("meta"))
    parts = [moved.learnt, moved.train, moved.clean]
    parts += [s for pair in (moved.selection, moved.test) for s in (pair.clean, pair.attacked)]
    for samples in parts:
        tensors = [samples.images, samples.labels, samples.attributes, samples.masks]
        assert {t.device.type for t in tensors if t is not None} == {"meta"}
    for name in ("classes", "biased", "legitimate", "checksum"):
        assert getattr(moved, name) == getattr(found, name)
    assert (moved.origin, moved.paired) == ("told", False)
    assert [len(s) for s in parts[3:]] == [300, 300, 400, 400]


# What is refused.


@pytest.mark.parametrize(
    ("artefact", "message"),
    [
        (Artefact("patch", rate=0.001), r"artefact.rate 0.001: 0 of \d+ samples of class 6 carry it"),
        (Artefact("patch", rate=0.001, backdoor=0.5), r"artefact.rate 0.001: 0 of \d+ samples of class 6 carry it"),
        (Artefact("patch", rate=0.999), r"artefact.rate 0.999: (\d+) of \1 samples of class 6 carry it"),
    ],
)
def test_none_or_all_of_the_biased_class_with_the_artefact(artefact: Artefact, message: str) -> None:
    """No concept can be told from samples of one kind."""
    with pytest.raises(InputError, match=message):
        load_attacked("digits", artefact, 6, 0)


@pytest.mark.parametrize(
    ("name", "artefact", "message"),
    [
        ("digits", Artefact("natural"), "artefact.kind is 'natural', but data set digits brings none"),
        ("celeba-collar", PATCH, "artefact.kind is 'patch', but data set celeba-collar brings its own"),
        ("celeba-collar", Artefact("natural", rate=0.5), "artefact of celeba-collar cannot be chosen"),
        ("celeba-collar", Artefact("natural", bits=2), "artefact of celeba-collar cannot be chosen"),
        ("four-gaussians", PATCH, "four-gaussians is not a plain set of images"),
        ("waterbirds", PATCH, "waterbirds is not a plain set of images"),
        ("digits", Artefact("patch", rate=1.5), "artefact.rate must be between 0 and 1, not 1.5"),
        ("digits", Artefact("patch", rate=float("nan")), "artefact.rate must be between 0 and 1, not nan"),
        ("digits", Artefact("patch", rate=0.5, elsewhere=-0.1), "artefact.elsewhere must be between 0 and 1, not -0.1"),
        ("digits", Artefact("patch", rate=0.5, backdoor=1.1), "artefact.backdoor must be between 0 and 1, not 1.1"),
        ("digits", Artefact("brightness", rate=0.5, strength=2), "artefact.strength must be between 0 and 1, not 2"),
        ("digits", Artefact("patch"), r"artefact.rate must be above elsewhere \(0.0\) and below 1, not 0.0"),
        ("digits", Artefact("patch", rate=0.2, elsewhere=0.2), r"above elsewhere \(0.2\) and below 1, not 0.2"),
        ("digits", Artefact("patch", rate=0.1, elsewhere=0.2), r"above elsewhere \(0.2\) and below 1, not 0.1"),
        ("digits", Artefact("patch", rate=1.0), r"artefact.rate must be above elsewhere \(0.0\) and below 1, not 1.0"),
        ("digits", Artefact("lsb-text", rate=0.5, bits=0), "artefact.bits must be 1 to 8, not 0"),
        ("digits", Artefact("lsb-text", rate=0.5, bits=9), "artefact.bits must be 1 to 8, not 9"),
        ("digits", Artefact("patch", rate=0.5, scale=0.0), "artefact.scale must be above 0 and at most 2, not 0.0"),
        ("digits", Artefact("patch", rate=0.5, scale=2.1), "artefact.scale must be above 0 and at most 2, not 2.1"),
        (
            "isic-2017-official",
            Artefact("patch", rate=0.5, legitimate=True),
            "artefact.legitimate needs four classes or more, not the 2 of isic-2017-official",
        ),
    ],
)
def test_an_artefact_that_does_not_fit_names_field_and_value(name: str, artefact: Artefact, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        artefact.check(name, DATA.get(name))


@pytest.mark.parametrize(
    ("name", "artefact"),
    [
        *KINDS,
        ("digits", LEGITIMATE),
        ("celeba-collar", Artefact("natural")),
        ("isic-2017-official", PATCH),
        ("mnist", Artefact("lsb-text", rate=0.01, bits=8)),
        ("digits", Artefact("patch", rate=0.999, elsewhere=0.998, backdoor=1.0, strength=1.0, scale=2.0, bits=1)),
    ],
)
def test_an_artefact_that_fits(name: str, artefact: Artefact) -> None:
    artefact.check(name, DATA.get(name))
    assert artefact.localised == (artefact.kind in LOCALISED)


def test_four_classes_are_enough_for_two_legitimate_ones() -> None:
    source = Source("tiny", "tiny.plain", 4, (1, 8, 8))
    LEGITIMATE.check("tiny", source)
    with pytest.raises(ValueError, match="not the 3 of tiny"):
        LEGITIMATE.check("tiny", dataclasses.replace(source, num_classes=3))
