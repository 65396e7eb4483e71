"""Recovery by the nearest class mean: does what a network says of a sample still give its class away?

The classifier of Mensink et al., "Distance-based image classification" (2013), with means of a few samples as in Snell
et al., "Prototypical networks for few-shot learning" (2017). Nothing is fitted but the means, so that, other than a
linear probe, it cannot pick out a direction that hardly counts: it sees what the network itself keeps apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.contracts import Measured


def class_means(points: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    """(K, D) float64: the mean of the ``points`` (N, D) of each of ``classes`` (K,), of which each has some."""
    return torch.stack([points[labels == c].double().mean(0) for c in classes.tolist()])


def nearest_class(points: Tensor, labels: Tensor, test_points: Tensor, test_labels: Tensor) -> Measured:
    """Percent of test points whose nearest class mean, in Euclidean distance, is that of their own class.

    points: (N, D) of the attacker's labelled samples of all classes, features or logits; test_points: (M, D) of the
    forgotten classes. An entry that is the same for all samples, a hidden logit, makes no difference. Of equally near
    means the first class counts. A retrained network keeps apart a class that it never saw, too: only the gap to it
    means something. None where a point is not finite, or there is none to judge.
    """
    if not len(test_labels) or not (points.isfinite().all() and test_points.isfinite().all()):
        return Measured(None, len(test_labels))
    classes = labels.unique()
    # Of small whole differences in large coordinates the matrix product that cdist may use would leave little.
    distances = torch.cdist(
        test_points.double(), class_means(points, labels, classes), compute_mode="donot_use_mm_for_euclid_dist"
    )
    return Measured(100.0 * float((classes[distances.argmin(1)] == test_labels).double().mean()), len(test_labels))
