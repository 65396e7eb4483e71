"""The F1 score over classes."""

from __future__ import annotations

from torch import Tensor

from benchmark.contracts import Measured


def macro_f1(logits: Tensor, labels: Tensor) -> Measured:
    """Mean over the classes among ``labels`` (N,) of F1 in percent, for ``logits`` (N, C); None for no rows.

    A row with an entry that is not a number counts as wrong for its class.
    """
    from sklearn.metrics import f1_score

    n = len(labels)
    if n == 0:
        return Measured(None, 0)
    predictions = logits.argmax(1).where(~logits.isnan().any(1), -1)
    present = labels.unique().tolist()
    found = f1_score(labels.numpy(), predictions.numpy(), labels=present, average="macro", zero_division=0.0)
    return Measured(100.0 * float(found), n)
