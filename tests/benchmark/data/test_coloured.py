"""Coloured digits as plain data: only test samples say what colour they are in, and every group has as many."""

from __future__ import annotations

import torch

from benchmark.data import DATA
from benchmark.data.biased import group_counts, load_biased
from benchmark.data.coloured import BIAS
from benchmark.data.packaged import load


def test_it_is_plain_data_whose_test_samples_keep_their_colour() -> None:
    dataset, source = load("cmnist-5k"), DATA.get("cmnist-5k")
    assert (dataset.shape, dataset.num_classes) == (source.shape, source.num_classes) == ((3, 28, 28), 10)
    assert (len(dataset.train), len(dataset.selection), len(dataset.test)) == (3_500, 500, 10_000)
    assert source.attributes == 0
    assert dataset.train.attributes is None
    assert dataset.selection.attributes is None
    assert torch.equal(group_counts(dataset.test, 10, 10), torch.full((10, 10), 100))


def test_training_is_biased_as_it_is_for_debiasing() -> None:
    dataset, biased = load("cmnist-5k"), load_biased("mnist-5k", BIAS)
    assert torch.equal(dataset.train.images, biased.train.images)
    counts = group_counts(biased.train, 10, 10)
    assert torch.equal(dataset.train.labels.bincount(), counts.sum(1))
    assert counts.diagonal().tolist() == [332] * 10  # of 350, 95 % rounded down
