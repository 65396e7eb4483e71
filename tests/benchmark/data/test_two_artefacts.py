"""Two artefacts in one training set: each is where its own attributes and masks say, and attacks by itself."""

from __future__ import annotations

import pytest
import torch

from benchmark.data.artefact import Artefact
from benchmark.data.attacked import Attacked, load_attacked, load_two
from benchmark.data.views import Samples

PATCH = Artefact("patch", rate=0.5)
TEXT = Artefact("lsb-text", rate=0.3, bits=1)
STRUCK = (Artefact("patch", rate=0.5, backdoor=0.1), Artefact("lsb-text", rate=0.3, bits=1, backdoor=0.2))


def carries(samples: Samples) -> torch.Tensor:
    assert samples.attributes is not None
    return samples.attributes == 1


def has_text(samples: Samples) -> torch.Tensor:
    """(N,) bool: the lowest bits are the text's, which those of digits never are by chance."""
    attacked = load_attacked("digits", TEXT, 2, 0).test.attacked
    return ((samples.images & 1) == (attacked.images[:1] & 1)).flatten(1).all(1)


@pytest.mark.parametrize("classes", [(1, 2), (4, 4)])
def test_each_class_has_its_artefact_at_its_rate(classes: tuple[int, int]) -> None:
    first, second = load_two("digits", (PATCH, TEXT), classes, 3)
    for own, artefact, biased in zip((first, second), (PATCH, TEXT), classes, strict=True):
        mine = own.clean.labels == biased
        assert own.biased == biased
        assert (
            int(carries(own.train).sum())
            == int(carries(own.train)[mine].sum())
            == round(artefact.rate * mine.sum().item())
        )
        assert set(own.concept.labels.tolist()) == {biased}
        assert torch.equal(own.train.labels, own.clean.labels)
    assert torch.equal(has_text(first.train), carries(second.train))
    assert torch.equal(first.train.images, second.train.images)
    assert torch.equal(first.learnt.images, first.train.images)


def test_who_has_the_second_has_nothing_to_do_with_who_has_the_first() -> None:
    first, second = load_two("digits", (PATCH, TEXT), (4, 4), 0)
    own = first.clean.labels == 4
    both = carries(first.train)[own] & carries(second.train)[own]
    n = int(own.sum())
    assert abs(int(both.sum()) - 0.15 * n) < 4 * (0.15 * 0.85 * n) ** 0.5
    assert not torch.equal(carries(first.train), carries(load_two("digits", (TEXT, PATCH), (4, 4), 0)[1].train))


def test_attacks_are_of_one_artefact_alone() -> None:
    first, second = load_two("digits", (PATCH, TEXT), (1, 2), 0)
    alone = load_attacked("digits", PATCH, 1, 0), load_attacked("digits", TEXT, 2, 0)
    for own, other in zip((first, second), alone, strict=True):
        for found, expected in ((own.selection, other.selection), (own.test, other.test)):
            assert torch.equal(found.clean.images, expected.clean.images)
            assert torch.equal(found.attacked.images, expected.attacked.images)
        assert torch.equal(own.clean.images, other.clean.images)


def test_the_first_is_where_it_is_without_the_second() -> None:
    (first, _), alone = load_two("digits", (PATCH, TEXT), (1, 2), 5), load_attacked("digits", PATCH, 1, 5)
    assert torch.equal(carries(first.train), carries(alone.train))
    assert first.train.masks is not None
    assert alone.train.masks is not None
    assert torch.equal(first.train.masks, alone.train.masks)
    assert torch.equal(first.train.images & 254, alone.train.images & 254)
    assert first.checksum != alone.checksum


def moved(data: Attacked, to: int) -> torch.Tensor:
    return (data.learnt.labels != data.clean.labels) & (data.learnt.labels == to)


def test_both_backdoors_are_in_what_is_learnt_and_not_in_what_methods_get() -> None:
    first, second = load_two("digits", STRUCK, (1, 2), 0)
    assert torch.equal(first.learnt.images, second.learnt.images)
    assert torch.equal(first.learnt.labels, second.learnt.labels)
    assert bool(moved(first, 1).any())
    assert torch.equal(moved(first, 1) | moved(first, 2), first.learnt.labels != first.clean.labels)
    assert bool(has_text(first.learnt)[moved(first, 2)].all())
    without, _ = load_two("digits", (PATCH, TEXT), (1, 2), 0)
    assert torch.equal(first.train.images, without.train.images)
    assert torch.equal(first.train.labels, without.train.labels)
