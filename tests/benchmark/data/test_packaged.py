"""Packaged data: fixed, disjoint, stratified splits with a checksum."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from benchmark.data import DATA, packaged
from benchmark.data.packaged import Dataset, load
from benchmark.data.views import Samples
from benchmark.errors import InputError

#: Input shape, classes, and samples for training, selection and test.
SIZES = {
    "eight-gaussians": ((2,), 8, (8_000, 1_000, 8_000)),
    "digits": ((1, 8, 8), 10, (1097, 300, 400)),
    "four-gaussians": ((2,), 4, (40_000, 4_000, 4_000)),
    "mnist-5k": ((1, 28, 28), 10, (3_500, 500, 1_000)),
}
QUICK = ("digits", "four-gaussians")


def splits(dataset: Dataset) -> tuple[Samples, Samples, Samples]:
    return dataset.train, dataset.selection, dataset.test


def test_every_packaged_data_set_is_tested_here() -> None:
    assert set(SIZES) == {name for name in DATA if DATA.get(name).loader.startswith("packaged.")}


@pytest.mark.parametrize("name", SIZES)
def test_sizes(name: str) -> None:
    dataset = load(name)
    shape, classes, sizes = SIZES[name]
    assert dataset.name == name
    assert (dataset.shape, dataset.num_classes) == (shape, classes)
    assert tuple(len(split) for split in splits(dataset)) == sizes
    for split in splits(dataset):
        assert len(split.labels) == len(split)
        assert split.labels.dtype == torch.int64
        assert split.labels.unique().tolist() == list(range(classes))


@pytest.mark.parametrize("name", SIZES)
def test_selection_and_test_are_stratified(name: str) -> None:
    dataset = load(name)
    for split in (dataset.selection, dataset.test):
        assert len(set(split.labels.bincount().tolist())) == 1


@pytest.mark.parametrize("name", SIZES)
def test_no_sample_is_in_two_splits(name: str) -> None:
    contents = [{row.numpy().tobytes() for row in split.images} for split in splits(load(name))]
    for one, other in combinations(contents, 2):
        assert not one & other


def test_a_split_takes_every_sample_once_and_does_not_depend_on_global_seeds() -> None:
    whole = Samples(torch.arange(60).float()[:, None], torch.arange(60) % 3)
    torch.manual_seed(1)
    one = packaged._split("some", whole, 4, 6)
    torch.manual_seed(2)
    two = packaged._split("some", whole, 4, 6)
    assert one.checksum == two.checksum != packaged._split("other", whole, 4, 6).checksum
    kept = torch.cat([split.images.flatten() for split in splits(one)])
    assert sorted(kept.tolist()) == list(range(60))
    assert [len(split) for split in splits(one)] == [30, 12, 18]
    for split in splits(one):
        assert torch.equal(split.images.flatten().long() % 3, split.labels)


@pytest.mark.parametrize(("name", "checksum"), [("digits", "e69921ec7eb6cf0f"), ("mnist-5k", "3ec864b60a72a13e")])
def test_the_data_are_those_of_the_published_records(name: str, checksum: str) -> None:
    """A changed split or source invalidates every record: it must not happen unnoticed.

    Generated data are left out: another processor may round their last bits differently.
    """
    assert load(name).checksum == checksum


@pytest.mark.parametrize("name", QUICK)
def test_checksum_covers_images_and_labels_of_every_split(name: str) -> None:
    dataset = load(name)
    assert getattr(packaged, DATA.get(name).loader.removeprefix("packaged."))().checksum == dataset.checksum
    seen = {dataset.checksum}
    for part in ("train", "selection", "test"):
        for field in ("images", "labels"):
            split: Samples = getattr(dataset, part)
            altered = getattr(split, field).clone()
            altered.view(-1)[-1] += 1
            seen.add(replace(dataset, **{part: replace(split, **{field: altered})}).checksum)
    assert len(seen) == 7


@pytest.mark.parametrize("name", ["digits", "mnist-5k"])
def test_inputs_are_about_standardised(name: str) -> None:
    inputs = load(name).train.inputs()
    assert abs(float(inputs.mean())) < 0.05
    assert abs(float(inputs.std()) - 1) < 0.05


def test_four_gaussians_lie_where_the_paper_puts_them() -> None:
    train = load("four-gaussians").train
    centres = torch.stack([train.images[train.labels == c].mean(0) for c in range(4)])
    assert torch.allclose(centres, torch.tensor([[1.0, 1], [-1, 1], [-1, -1], [1, -1]]), atol=0.02)
    spread = torch.stack([train.images[train.labels == c].std(0) for c in range(4)])
    assert torch.allclose(spread, torch.full((4, 2), 0.5), atol=0.02)


def test_an_unknown_name_is_bad_input() -> None:
    with pytest.raises(InputError, match="unknown data set 'mnist5k'; did you mean mnist-5k"):
        load("mnist5k")
