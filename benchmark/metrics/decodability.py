"""How well the attribute can be read from a network's features, apart from what the label says of it."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.metrics.groups import count_groups, group_balanced

#: The most samples that the probe is fitted on, and the most that it is judged on.
LIMIT = 2_000
#: Inverse strength of the probe's L2 penalty in scikit-learn's scale.
C = 0.01


def attribute_decodability(features: Tensor, labels: Tensor, attributes: Tensor, seed: int) -> Measured:
    """Group-balanced accuracy in percent of a linear probe that tells the attribute from ``features``.

    features: (N, D) of test samples; labels, attributes: (N,) int64. Logistic regression is fitted on one half of the
    samples and judged on the other (n: samples judged). A group is a label together with an attribute, and each counts
    the same in fitting and in judging, so that the label is no help: chance is 100 / (number of attributes), where
    every class has all of them. None where a feature is not finite, or fewer than two attributes occur.
    """
    features, labels, attributes = features.detach().cpu(), labels.cpu(), attributes.cpu()
    if not features.isfinite().all():
        return Measured(None, 0)
    k, a = (int(values.max()) + 1 if len(values) else 1 for values in (labels, attributes))
    groups = labels * a + attributes
    fitted, judged = _halves(groups.numpy(), np.random.default_rng(seed))
    if not len(judged) or len(attributes[fitted].unique()) < 2:
        return Measured(None, 0)
    predicted = _predict(features[fitted], attributes[fitted], groups[fitted], features[judged])
    return group_balanced(count_groups(predicted, attributes[judged], labels[judged], a, k))


def _halves(groups: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Positions of two disjoint sets of at most LIMIT samples, each with as even numbers of every group as there are.

    In every group samples go to the one and the other in turn, in random order; a group is only left behind when it
    runs out.
    """
    shuffled = rng.permutation(len(groups))
    by_group = shuffled[np.argsort(groups[shuffled], kind="stable")]
    sizes = np.unique(groups, return_counts=True)[1]
    turn = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    order = np.argsort(turn, kind="stable")
    in_turn, turn = by_group[order], turn[order]
    fitted, judged = (torch.from_numpy(in_turn[turn % 2 == half][:LIMIT]) for half in (0, 1))
    return fitted, judged


def _predict(features: Tensor, attributes: Tensor, groups: Tensor, others: Tensor) -> Tensor:
    """The attributes (M,) that a probe fitted on ``features`` (N, D), all groups weighing the same, tells of others."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    own = features.double()
    centre, scale = own.mean(0), own.std(0) + 1e-6
    _, which, sizes = groups.unique(return_inverse=True, return_counts=True)
    weights = len(groups) / (len(sizes) * sizes[which].double())
    probe = LogisticRegression(C=C, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(((own - centre) / scale).numpy(), attributes.numpy(), sample_weight=weights.numpy())
    return torch.from_numpy(probe.predict(((others.double() - centre) / scale).numpy()))
