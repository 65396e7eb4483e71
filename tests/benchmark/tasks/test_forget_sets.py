"""Forget sets: as large as the paper's, drawn by the seed alone, and wrong labels that may be any other class."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
import torch
from torch import Tensor

from benchmark.contracts import Recipe
from benchmark.data.packaged import Dataset
from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.seeding import generator
from benchmark.tasks.class_forget import ClassForget
from benchmark.tasks.forget_sets import ForgetSets, dealt, drawn_from, forget_sets, mislabelled, of_classes
from benchmark.tasks.label_free_forget import Kind, LabelFreeForget

#: Training images a class of MNIST, and of CIFAR-10.
MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
CIFAR = (5000,) * 10
KINDS: tuple[Kind, ...] = ("data-removal", "class-removal", "noisy-labels")


def scenario(kind: Kind, **changes: Any) -> LabelFreeForget:
    return LabelFreeForget(
        **{"data": "mnist", "model": "laf-cnn", "training": Recipe(1, 0.1, 4), "kind": kind, **changes}
    )


def split(counts: tuple[int, ...], seed: int) -> Samples:
    """So many samples of each class, in a random order; there is nothing to see on their images."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator(seed, "test"))]
    return Samples(torch.zeros(len(labels), 1, dtype=torch.uint8), labels)


def dataset(counts: tuple[int, ...] = (100,) * 10) -> Dataset:
    small = tuple(c // 5 for c in counts)
    return Dataset("mnist", split(counts, 0), split(small, 1), split(small, 2), len(counts))


def drawn(kind: Kind, counts: tuple[int, ...] = (100,) * 10, seed: int = 0, **changes: Any) -> ForgetSets:
    return forget_sets(scenario(kind, **changes), seed, dataset(counts))


@pytest.mark.parametrize(
    ("kind", "counts", "seed", "size"),
    [
        ("data-removal", MNIST, 0, 11_760),
        ("noisy-labels", MNIST, 0, 18_355),
        ("class-removal", MNIST, 0, 5923),
        ("class-removal", MNIST, 3, 6131),
        ("class-removal", MNIST, 11, 6742),
        ("data-removal", CIFAR, 0, 10_000),
        ("noisy-labels", CIFAR, 0, 15_000),
        ("class-removal", CIFAR, 9, 5000),
    ],
)
def test_forget_sets_are_as_large_as_the_papers(kind: Kind, counts: tuple[int, ...], seed: int, size: int) -> None:
    sets = drawn(kind, counts, seed)
    assert sets.forget.dtype == torch.bool
    assert len(sets.forget) == len(sets.labels) == sum(counts)
    assert int(sets.forget.sum()) == size


@pytest.mark.parametrize(("kind", "classes"), [("data-removal", range(5, 10)), ("noisy-labels", range(5))])
def test_each_class_is_rounded_down_by_itself(kind: Kind, classes: range) -> None:
    share = {"data-removal": 0.4, "noisy-labels": 0.6}[kind]
    true = dataset(MNIST).train.labels
    counts = true[drawn(kind, MNIST).forget].bincount(minlength=10).tolist()
    assert counts == [int(share * n) if c in classes else 0 for c, n in enumerate(MNIST)]


@pytest.mark.parametrize(
    ("share", "n", "size"), [(0.4, 9, 3), (0.6, 5, 3), (0.1, 9, 0), (0.29, 100, 29), (0.7, 10, 7), (1.0, 7, 7)]
)
def test_a_share_that_is_whole_is_not_rounded_below(share: float, n: int, size: int) -> None:
    """0.29 * 100 is 28.999... in floating point."""
    labels = torch.tensor([1, 2]).repeat(n)
    chosen = drawn_from(labels, (2,), share, generator(0, "test"))
    assert int(chosen.sum()) == size
    assert not chosen[labels == 1].any()


def test_a_share_can_be_chosen() -> None:
    assert int(drawn("data-removal", share=0.25).forget.sum()) == 125
    assert int(drawn("noisy-labels", share=1.0).forget.sum()) == 500


def test_class_removal_takes_all_of_one_class() -> None:
    for seed, gone in ((0, 0), (9, 9), (14, 4)):
        sets, whole = drawn("class-removal", seed=seed), dataset()
        assert sets.classes == (gone,)
        assert torch.equal(sets.forget, whole.train.labels == gone)
        assert torch.equal(sets.gone, whole.test.labels == gone)
        assert torch.equal(sets.test.mask, sets.gone)
        assert torch.equal(sets.selection.mask, whole.selection.labels == gone)


def test_class_forget_takes_what_it_did() -> None:
    settings = ClassForget("mnist", "laf-cnn", Recipe(1, 0.1, 4), classes=2)
    sets, whole = forget_sets(settings, 9, dataset()), dataset()
    assert sets.classes == (9, 0)
    assert torch.equal(sets.forget, of_classes(whole.train.labels, (0, 9)))
    assert torch.equal(sets.gone, of_classes(whole.test.labels, (0, 9)))
    assert torch.equal(sets.labels, whole.train.labels)


@pytest.mark.parametrize("kind", ["data-removal", "noisy-labels"])
def test_where_samples_go_no_test_sample_must_be_forgotten(kind: Kind) -> None:
    sets, whole = drawn(kind), dataset()
    affected = range(5, 10) if kind == "data-removal" else range(5)
    assert sets.classes == tuple(affected)
    assert not sets.gone.any()
    for peers, samples in ((sets.test, whole.test), (sets.selection, whole.selection)):
        assert torch.equal(peers.mask, of_classes(samples.labels, tuple(affected)))


def chi_square(counts: Tensor) -> float:
    expected = counts.sum() / counts.numel()
    return float(((counts - expected) ** 2 / expected).sum())


def test_wrong_labels_are_uniform_over_all_other_classes() -> None:
    """The official code never draws class 9: its range ends one too early."""
    labels = torch.arange(10).repeat(9_000)
    wrong = mislabelled(labels, torch.ones_like(labels, dtype=torch.bool), 10, generator(0, "test"))
    for c in range(10):
        counts = wrong[labels == c].bincount(minlength=10)
        assert counts[c] == 0
        others = torch.cat([counts[:c], counts[c + 1 :]])
        assert others.min() > 850  # 1,000 expected, standard deviation 30
        assert chi_square(others.double()) < 29.6  # 8 degrees of freedom: 1 in 4,000


def test_labels_elsewhere_stay_right() -> None:
    labels, where = torch.arange(10).repeat(50), torch.arange(500) % 3 == 0
    wrong = mislabelled(labels, where, 10, generator(0, "test"))
    assert torch.equal(wrong[~where], labels[~where])
    assert (wrong[where] != labels[where]).all()
    assert torch.equal(labels, torch.arange(10).repeat(50))  # not in place


def test_noisy_labels_are_wrong_in_the_forget_set_and_nowhere_else() -> None:
    sets, true = drawn("noisy-labels", MNIST), dataset(MNIST).train.labels
    assert torch.equal(sets.labels != true, sets.forget)
    told = sets.labels[sets.forget].bincount(minlength=10)
    share = told / told.sum()
    # Of five mislabelled classes: a lower one is drawn for the four others, an upper one for all five.
    assert torch.allclose(share[:5], torch.full((5,), 4 / 45), atol=0.015)
    assert torch.allclose(share[5:], torch.full((5,), 5 / 45), atol=0.015)


@pytest.mark.parametrize("split", ["test", "selection"])
def test_peers_are_labelled_as_the_forget_set_is(split: Literal["test", "selection"]) -> None:
    true = getattr(dataset(MNIST), split).labels
    peers = getattr(drawn("noisy-labels", MNIST), split)
    assert torch.equal(peers.labels != true, peers.mask)
    told = peers.labels[peers.mask].bincount(minlength=10) / int(peers.mask.sum())
    assert torch.allclose(told, torch.tensor([4 / 45] * 5 + [5 / 45] * 5), atol=0.03)
    for kind in ("data-removal", "class-removal"):
        assert torch.equal(getattr(drawn(kind, MNIST), split).labels, true)


@pytest.mark.parametrize("kind", ["data-removal", "class-removal"])
def test_labels_are_true_where_none_is_noisy(kind: Kind) -> None:
    assert torch.equal(drawn(kind).labels, dataset().train.labels)


def same(one: ForgetSets, other: ForgetSets) -> bool:
    pairs = [(one.labels, other.labels), (one.forget, other.forget)]
    pairs += [(a.labels, b.labels) for a, b in ((one.test, other.test), (one.selection, other.selection))]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_says_what_goes(kind: Kind) -> None:
    first = drawn(kind)
    torch.manual_seed(5)  # the global generator has no say
    changes: dict[str, Any] = {
        "model": "resnet-small",
        "training": Recipe(9, 0.3, 8),
        "labelled_share": 0.5,
        "attack_fit_samples": 99,
    }
    assert same(first, drawn(kind, **changes))
    assert not same(first, drawn(kind, seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_forget_seed_decides_for_every_seed(kind: Kind) -> None:
    assert all(same(drawn(kind, seed=3), drawn(kind, seed=seed, forget_seed=3)) for seed in (0, 3, 10_001))


def test_kinds_draw_apart() -> None:
    """The same classes and share, and yet other samples."""
    counts, all_of = (100,) * 10, tuple(range(10))
    labels = dataset(counts).train.labels
    one, other = (drawn_from(labels, all_of, 0.5, generator(0, "forget-set", kind)) for kind in KINDS[::2])
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("share", "size"), [(0.1, 100), (1.0, 1000), (0.0301, 30), (1e-9, 1)])
def test_a_share_is_labelled(share: float, size: int) -> None:
    sets = drawn("data-removal", labelled_share=share)
    assert sets.labelled.dtype == torch.bool
    assert int(sets.labelled.sum()) == size


def test_which_samples_are_labelled_depends_on_the_seed_alone() -> None:
    first = drawn("data-removal").labelled
    assert all(torch.equal(first, drawn(kind).labelled) for kind in KINDS)
    assert not torch.equal(first, drawn("data-removal", seed=1).labelled)
    assert first.sum() == 100
    assert 0 < (first & drawn("data-removal").forget).sum() < 100  # of both sets


# Requests one after the other


def apart(parts: tuple[Tensor, ...], whole: Tensor) -> bool:
    """Whether no two parts share a sample, and together they are the whole."""
    return torch.equal(torch.stack(parts).sum(0), whole.long())


@pytest.mark.parametrize("kind", KINDS)
def test_one_request_asks_for_all_of_it(kind: Kind) -> None:
    sets = drawn(kind)
    assert len(sets.asked) == 1
    assert torch.equal(sets.asked[0], sets.forget)


@pytest.mark.parametrize("kind", ["data-removal", "noisy-labels"])
@pytest.mark.parametrize("n", [2, 3, 5, 200])
def test_requests_divide_the_samples_of_every_class(kind: Kind, n: int) -> None:
    sets, true = drawn(kind, requests=n), dataset().train.labels
    assert len(sets.asked) == n
    assert apart(sets.asked, sets.forget)
    counts = torch.stack([true[part].bincount(minlength=10) for part in sets.asked])
    assert int((counts.amax(0) - counts.amin(0)).max()) <= 1
    assert int(counts.sum(1).max() - counts.sum(1).min()) <= 1


def test_a_request_is_a_random_part() -> None:
    """Neither the first samples of the data set nor those that another seed asks for."""
    sets = drawn("data-removal", requests=2)
    position = sets.forget.nonzero().squeeze(1)
    first = sets.asked[0][position].double()
    assert abs(float(torch.corrcoef(torch.stack([first, torch.arange(len(first)).double()]))[0, 1])) < 0.25
    other = drawn("data-removal", seed=1, requests=2)
    assert not torch.equal(sets.asked[0][sets.forget & other.forget], other.asked[0][sets.forget & other.forget])
    again = drawn("data-removal", seed=5, forget_seed=0, requests=2)
    assert all(torch.equal(a, b) for a, b in zip(sets.asked, again.asked, strict=True))


@pytest.mark.parametrize("kind", ["data-removal", "noisy-labels"])
def test_what_goes_does_not_depend_on_how_it_is_asked_for(kind: Kind) -> None:
    one, five = drawn(kind), drawn(kind, requests=5)
    assert same(one, five)
    assert torch.equal(one.labelled, five.labelled)


def test_removed_classes_are_asked_for_one_by_one() -> None:
    at_once, in_a_row = (drawn("class-removal", seed=8, classes=4, requests=n) for n in (1, 4))
    labels = dataset().train.labels
    assert at_once.classes == in_a_row.classes == (8, 9, 0, 1)
    assert same(at_once, in_a_row)
    assert torch.equal(at_once.gone, of_classes(dataset().test.labels, (0, 1, 8, 9)))
    assert apart(in_a_row.asked, in_a_row.forget)
    for part, gone in zip(in_a_row.asked, (8, 9, 0, 1), strict=True):
        assert torch.equal(part, labels == gone)
    assert len(at_once.asked) == 1
    assert torch.equal(at_once.asked[0], at_once.forget)


def test_class_forget_in_sequence_asks_for_a_class_at_a_time() -> None:
    settings = ClassForget("mnist", "laf-cnn", Recipe(1, 0.1, 4), classes=3, requests="in-sequence")
    labels = dataset().train.labels
    for sequence, asked in ((settings, [(8,), (9,), (0,)]), (None, [(8, 9, 0)])):
        own = sequence or msgspec.structs.replace(settings, requests="at-once")
        found = forget_sets(own, 8, dataset()).asked
        assert len(found) == len(asked)
        assert all(torch.equal(mask, of_classes(labels, own)) for mask, own in zip(found, asked, strict=True))


def test_more_requests_than_samples_are_bad_input() -> None:
    forget = torch.tensor([True, False, True, True])
    labels = torch.tensor([0, 0, 1, 1])
    assert [int(part.sum()) for part in dealt(forget, labels, 3, generator(0, "test"))] == [1, 1, 1]
    with pytest.raises(InputError, match="requests must be at most 3, the number of samples to forget, not 4"):
        dealt(forget, labels, 4, generator(0, "test"))
