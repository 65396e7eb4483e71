"""Unlearned against retrained models, many of each: U-LiRA, KLoM, and the unlearning challenge's epsilon.

All take two arrays (M, N): the confidence in the true label (:func:`logit_scaled_confidence`, also known as margin) of
N examples under M unlearned and M retrained models. Values are None where there are too few models or a confidence is
not finite. With few models KLoM and epsilon are far above 0 where both groups have one distribution (1.7 nats and 1.9
with 32 models): compare them with what retrained models have against other retrained models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmark.contracts import Measured

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

#: No variance is below this (nats squared): a standard deviation of 0.001, far below what retraining has. It keeps the
#: likelihood of a group of equal confidences finite.
VARIANCE_FLOOR = 1e-6
#: Examples that are taken at once: what 64 models of each kind say of them stays in a core's own cache.
CHUNK = 256


def logit_scaled_confidence(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log p_y - log(1 - p_y) in float64: logits (M, N, C) and labels (N,) -> (M, N), in nats.

    Computed as z_y - logsumexp of the other logits, which neither overflows nor saturates (Carlini et al., 2022,
    arXiv:2112.03570, section IV).
    """
    from scipy.special import logsumexp

    others = np.array(logits, dtype=np.float64)
    index = np.broadcast_to(np.asarray(labels)[None, :, None], (*others.shape[:2], 1))
    own = np.take_along_axis(others, index, axis=2)
    np.put_along_axis(others, index, -np.inf, axis=2)
    return np.asarray(own.squeeze(2) - logsumexp(others, axis=2))


def u_lira_auc(unlearned: np.ndarray, retrained: np.ndarray) -> Measured:
    """Area under the ROC curve of U-LiRA in percent, of N examples; 50: no telling unlearned from retrained models.

    Hayes et al. (2024, arXiv:2403.01218): for each example a Gaussian of the confidence under unlearned and one under
    retrained models; their log-likelihood ratio scores a model that neither has seen. Here each pair (i-th unlearned,
    i-th retrained) is scored by the Gaussians of all others, with one curve over its examples, and the areas are
    averaged. Under equal distributions a pair's two models can be exchanged, so that 50 is expected exactly, however
    the examples depend on each other; one curve over all pairs would fall below it (45 for a single example), because
    a model scored in one pair is fitted in the others. Ties count one half.

    Models must be independent: copies of one model in both groups are left out together (50) if they are a pair, and
    give far less than 50 if they are not, because each is still fitted in the other group.
    """
    groups = _groups(unlearned, retrained)
    if groups is None:
        return Measured(None, unlearned.shape[1])
    centre = 0.5 * (groups[0].mean(0) + groups[1].mean(0))
    u, r = (group - centre for group in groups)
    of_u, of_r = _leave_one_out(u), _leave_one_out(r)
    return Measured(_auc(_log_ratio(u, of_u, of_r), _log_ratio(r, of_u, of_r)), u.shape[1])


def _leave_one_out(values: Floats) -> tuple[Floats, Floats]:
    """Mean and unbiased variance of each column without each of its rows: (M, N) -> (M, N) both; M at least 3."""
    m = len(values)
    mean = values.mean(0)
    apart = values - mean
    squares = (apart**2).sum(0) - apart**2 * (m / (m - 1))
    return mean - apart / (m - 1), np.maximum(squares / (m - 2), VARIANCE_FLOOR)


def _log_ratio(values: Floats, of_u: tuple[Floats, Floats], of_r: tuple[Floats, Floats]) -> Floats:
    """Log-likelihood ratio of Gaussians (mean, variance), unlearned over retrained; all (M, N)."""
    (mean_u, var_u), (mean_r, var_r) = of_u, of_r
    return 0.5 * ((values - mean_r) ** 2 / var_r - (values - mean_u) ** 2 / var_u + np.log(var_r / var_u))


def _auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Percent of pairs in a row in which the positive's score is larger, two (M, N); ties count one half."""
    m, n = positive.shape
    rows = zip(np.sort(positive, axis=1), np.sort(negative, axis=1), strict=True)
    below = sum(int(no.searchsorted(yes).sum() + no.searchsorted(yes, "right").sum()) for yes, no in rows)
    ranks = m * n * (n + 1) / 2 + below / 2  # summed over the positives; halves of integers add up exactly
    return 100.0 * float((ranks / (m * n) - (n + 1) / 2) / n)


def example_kloms(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    """KL divergence of margins in nats for each example: finite (M, N) of at least one model each -> (N,); 0: equal.

    Georgiev et al. (2024, arXiv:2410.23232): margins are clipped to [-100, 100] and counted in 20 bins over the range
    of both groups; KLoM is the mean over the examples. The divergence is KL(unlearned || retrained), as in all of the
    authors' code (data-unlearning-bench: ``compute_binned_KL_div(unlearned, oracle)``) and so in the published numbers:
    probability that unlearned models put where no retrained model is costs most. There retrained models have 1e-5 (and
    all is made to sum to 1 again), so that disjoint groups have log(1e5) = 11.5. Unlike that code, the largest margin
    is counted in the last bin and not dropped.
    """
    found = [_kloms(unlearned[:, part], retrained[:, part]) for part in _parts(unlearned.shape[1])]
    return np.concatenate(found) if found else np.zeros(0)


def _kloms(unlearned: np.ndarray, retrained: np.ndarray) -> np.ndarray:
    p, q = _histograms(np.concatenate([unlearned, retrained]))
    q = np.where(p > 0, q.clip(1e-5), q)
    ratio = np.divide(p, q / q.sum(0), out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log(ratio)).sum(0).clip(0.0))


def _histograms(margins: np.ndarray, bins: int = 20) -> np.ndarray:
    """Share of each column's upper and of its lower half in each of equally wide bins over the column's range.

    (2 M, N) -> (2, bins, N). What is beyond +-100 counts as if it were there. ``margins`` is overwritten.
    """
    m, n = len(margins) // 2, margins.shape[1]
    low = margins.min(0).clip(-100.0, 100.0)
    width = margins.max(0).clip(-100.0, 100.0) - low
    width[width == 0] = 1.0
    margins -= low
    margins /= width
    margins *= bins
    index = margins.clip(0, bins - 1, out=margins).astype(np.intp).reshape(2, m, n)
    index *= n
    index += np.arange(2)[:, None, None] * (bins * n) + np.arange(n)
    return np.bincount(index.ravel(), minlength=2 * bins * n).reshape(2, bins, n) / m


def largest_epsilon(n: int, delta: float = 1e-5) -> float:
    """What n models of each kind, three at least, can resolve: both error rates 1 / n."""
    return math.log((1 - delta - 1 / n) * n)


def example_epsilons(unlearned: np.ndarray, retrained: np.ndarray, delta: float = 1e-5) -> np.ndarray:
    """Epsilon of the (epsilon, delta) bound that the best attack on each example implies: (N,); inf: it never errs.

    The NeurIPS 2023 unlearning challenge's estimate (Triantafillou et al., 2024, arXiv:2406.09073). Attacks tell
    unlearned from retrained models by one threshold (those above belong to the group with the larger median) or by
    two (those between belong to the group with the smaller range). Each implies
    max(log(1 - delta - FPR) - log FNR, log(1 - delta - FNR) - log FPR, 0); it is discarded where exactly one of the
    two rates is 0, for want of samples. The official code tries thresholds on a grid of 0.01 and intervals about as
    wide as the narrower group; this tries all distinct ones, so that it finds the same or more. Left out is its
    shortcut to the largest value where one group has less than 1 % of the other's range: intervals nearly find that.
    """
    table = _epsilon_table(len(unlearned), delta)
    n = unlearned.shape[1]
    found = [_best_attacks(unlearned[:, part].T, retrained[:, part].T, table) for part in _parts(n)]
    return np.concatenate(found) if found else np.zeros(0)


def _parts(examples: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, examples, CHUNK))


def _epsilon_table(n: int, delta: float) -> Floats:
    """Epsilon of an attack with j false negatives and k false positives of n each: (n + 1, n + 1), discarded ones 0."""
    rate = np.arange(n + 1) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.log(1 - delta - rate)[None, :] - np.log(rate)[:, None]
    table: Floats = np.fmax(np.fmax(one, one.T), 0.0)
    table[0, :] = table[:, 0] = 0.0
    table[0, 0] = np.inf
    return table


def _best_attacks(unlearned: Floats, retrained: Floats, table: Floats) -> Floats:
    """Largest epsilon of all thresholds and intervals of each example: two (N, M) -> (N,)."""
    models = unlearned.shape[1]
    higher = np.median(unlearned, 1) >= np.median(retrained, 1)
    range_u, range_r = np.ptp(unlearned, axis=1), np.ptp(retrained, axis=1)
    narrower = (range_u < range_r) | ((range_u == range_r) & ~higher)
    below = _cumulated(unlearned, retrained)
    above = _places(*below, higher)
    best: Floats = table.take(above[:, -1:] - above[:, :-1] + models * (models + 1)).max(1)
    inside = _places(*below, narrower)
    for start in range(2 * models):
        found = table.take(inside[:, start + 1 :] - inside[:, start, None] + models * (models + 1))
        np.maximum(best, found.max(1), out=best)
    return best


def _places(below_u: Counts, below_r: Counts, of_unlearned: NDArray[np.bool_]) -> Counts:
    """Steps through the flat table that calling the k smallest positive takes from (all missed, none taken): (N, K)."""
    ours, row = of_unlearned[:, None], below_u.shape[1] // 2 + 1
    steps: Counts = np.where(ours, below_r - row * below_u, below_u - row * below_r)
    return steps


def _cumulated(unlearned: Floats, retrained: Floats) -> tuple[Counts, Counts]:
    """Of each group, how many are among the k smallest of both: two (N, M) -> two (N, 2 M + 1), for k from 0 to 2 M.

    No threshold fits between equal values: where k parts some, they are counted for the last k that does not.
    """
    both = np.concatenate([unlearned, retrained], axis=1)
    order = np.argsort(both, axis=1)
    ordered = np.take_along_axis(both, order, axis=1)
    below = np.zeros((len(both), both.shape[1] + 1), dtype=np.int64)
    np.cumsum(order < unlearned.shape[1], axis=1, out=below[:, 1:])
    others = np.arange(below.shape[1]) - below
    fits = np.ones(below.shape, dtype=bool)
    fits[:, 1:-1] = ordered[:, :-1] < ordered[:, 1:]
    below_u, below_r = (np.maximum.accumulate(np.where(fits, counts, 0), axis=1) for counts in (below, others))
    return below_u, below_r


def forgetting_quality(epsilons: np.ndarray, models: int) -> Measured:
    """The challenge's forgetting quality of (N,) epsilons, from so many models of each kind: mean score, 1 is best.

    An epsilon in the k-th bin of width 0.5 scores 2 / 2^k (1 below 0.5, 0.5 below 1, and so on), and 0 from
    ceil(log(models - 1)) on (Triantafillou et al., 2024, arXiv:2406.09073). Pass :func:`example_epsilons` as they are:
    perfect separation, inf, scores 0, whereas :func:`largest_epsilon` still lies in a bin.
    """
    if not len(epsilons) or models < 2 or np.isnan(epsilons).any():
        return Measured(None, len(epsilons))
    end = math.ceil(math.log(models - 1))
    score = np.where(epsilons < end, 0.5 ** np.floor(epsilons / 0.5), 0.0)
    return Measured(float(score.mean()), len(epsilons))


def _groups(unlearned: np.ndarray, retrained: np.ndarray) -> tuple[Floats, Floats] | None:
    """Both (M, N) in float64; None for fewer than three models, no examples, or what is not finite."""
    if unlearned.shape != retrained.shape or unlearned.ndim != 2:
        raise ValueError(f"unlearned {unlearned.shape} and retrained {retrained.shape} must both be (models, examples)")
    groups = np.asarray(unlearned, dtype=np.float64), np.asarray(retrained, dtype=np.float64)
    usable = len(unlearned) >= 3 and unlearned.size > 0 and all(np.isfinite(group).all() for group in groups)
    return groups if usable else None
