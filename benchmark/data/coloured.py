"""Coloured digits as plain data: the bias of debiasing's data, in tasks that know of no attribute.

What forgetting does to groups is measured on these: no method is told a colour, but the test samples keep theirs.
"""

from __future__ import annotations

from dataclasses import replace

from benchmark.data.bias import Bias
from benchmark.data.biased import load_biased
from benchmark.data.packaged import Dataset

#: 5 % of each class's training samples in other classes' colours; each test digit in every colour.
BIAS = Bias(kind="colour", conflicting=0.05, every_attribute=True)


def cmnist_5k() -> Dataset:
    """The 5,000 digits of mnist-5k in ten colours (``benchmark.data.colours``): 100 test samples a class and colour."""
    biased = load_biased("mnist-5k", BIAS)
    train, selection = (replace(part, attributes=None) for part in (biased.train, biased.selection))
    return Dataset("cmnist-5k", train, selection, biased.test, len(biased.classes))
