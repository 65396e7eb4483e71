"""Population membership attacks, named by their feature and protocol."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmark.contracts import Measured
from benchmark.seeding import derive

#: A rate at 1 % needs this many non-members to be more than a handful of samples.
NEGATIVES_FOR_ONE_PERCENT = 1_000


def true_class_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Softmax probability of the label: (N, C) logits, (N,) labels -> (N,) in [0, 1]."""
    return logits.double().softmax(1).gather(1, labels[:, None]).squeeze(1)


def svc_attack(retain: Tensor, forget: Tensor, test_forget: Tensor, *, max_fit: int | None = None) -> Measured:
    """The class-forgetting paper's simple attack on the true class's probability (arXiv:2312.00761).

    An SVC (C = 3, RBF kernel, gamma 1 / number of features) is fitted to tell ``retain`` (training samples that
    stay, label 1) from ``forget`` (training samples to forget, label 0), and judges ``test_forget`` (test samples of
    the forgotten classes). Returns the percent judged non-members: 100 for a retrained model, near 0 for the
    original. It saturates, and it needs labels.

    ``max_fit`` caps the samples that are fitted, drawn evenly from both groups in proportion: the fit is quadratic.
    """
    from sklearn.svm import SVC

    if not len(retain) or not len(forget) or not len(test_forget):
        return Measured(None, len(test_forget))
    groups = [retain, forget]
    total = sum(len(group) for group in groups)
    if max_fit is not None and total > max_fit:
        rng = np.random.default_rng(derive(0, "svc-attack"))
        sizes = [max(1, round(len(group) * max_fit / total)) for group in groups]
        groups = [g[torch.from_numpy(rng.permutation(len(g))[:k])] for g, k in zip(groups, sizes, strict=True)]
    features = torch.cat(groups)[:, None].numpy()
    members = np.concatenate([np.ones(len(groups[0])), np.zeros(len(groups[1]))])
    judge = SVC(C=3, kernel="rbf", gamma="auto").fit(features, members)
    judged = judge.predict(test_forget[:, None].numpy())
    return Measured(100.0 * float(1 - judged.mean()), len(test_forget))


def loss_auc(member_loss: Tensor, other_loss: Tensor) -> Measured:
    """Percent: area under the ROC curve of minus the loss as a score for membership; 50 tells nothing.

    members: forget-set training samples; others: test samples of the same classes. Ties count one half.
    """
    from sklearn.metrics import roc_auc_score

    n = len(member_loss) + len(other_loss)
    if not len(member_loss) or not len(other_loss):
        return Measured(None, n)
    truth = np.concatenate([np.ones(len(member_loss)), np.zeros(len(other_loss))])
    return Measured(100.0 * float(roc_auc_score(truth, -torch.cat([member_loss, other_loss]).numpy())), n)


def loss_tpr_at_one_percent(member_loss: Tensor, other_loss: Tensor) -> Measured:
    """Percent of members whose loss is below all but 1 % of the others'; None under 1,000 others."""
    if len(other_loss) < NEGATIVES_FOR_ONE_PERCENT or not len(member_loss):
        return Measured(None, len(other_loss))
    allowed = len(other_loss) // 100
    threshold = other_loss.sort().values[allowed]
    return Measured(100.0 * float((member_loss < threshold).double().mean()), len(other_loss))
