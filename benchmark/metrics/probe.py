"""Recovery by a linear probe: can forgotten classes be read from frozen features?"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from benchmark.contracts import Measured


def linear_probe(
    features: Tensor,
    labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    per_class: int,
    seed: int,
) -> Measured:
    """Accuracy in percent on ``test_features`` of logistic regression on ``per_class`` labelled samples a class.

    features: (N, D) of training samples of all classes; test_features: (M, D) of the forgotten classes. Features are
    standardised by the labelled samples. A retrained model's features separate a class that it never saw, too: only
    the gap to retraining means something. None where a feature is not finite.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if not len(test_labels) or not (features.isfinite().all() and test_features.isfinite().all()):
        return Measured(None, len(test_labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels.numpy()[order]
    chosen = np.concatenate([order[shuffled == c][:per_class] for c in np.unique(shuffled)])
    labelled = features[torch.from_numpy(chosen)].double()
    centre, scale = labelled.mean(0), labelled.std(0) + 1e-6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(max_iter=100).fit(((labelled - centre) / scale).numpy(), labels.numpy()[chosen])
    predicted = probe.predict(((test_features.double() - centre) / scale).numpy())
    return Measured(100.0 * float((predicted == test_labels.numpy()).mean()), len(test_labels))
