"""How good GERNE's pseudo-attributes are (arXiv:2503.13236, algorithm 2, figure 3): whom its biased network picks.

The network is trained as GERNE trains it, without attributes; they are looked at afterwards. Positive is who is
truly bias-conflicting, picked is the pseudo-minority: the share t of each class that the network finds least likely.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from torch import Tensor

from benchmark.errors import InputError
from benchmark.studies.measuring.debias_problems import Posed, posed
from benchmark.tasks.debiasing import aligned
from methods.gerne import pseudo_groups


def measure(point: dict[str, Any], seed: int) -> dict[str, float]:
    """Precision and recall of the pseudo-minority at ``t``, in percent.

    ``size`` is its samples, ``truth`` the truly conflicting ones, and ``conflicting`` the share in percent of these
    in what is trained on with s = 1, where pseudo-groups are balanced. The point may name ``suite`` and ``scenario``,
    ``lr_scale`` and ``decay_scale``, which are GERNE's tuned ones otherwise. InputError where attributes are known.
    """
    known = {"t", "suite", "scenario", "lr_scale", "decay_scale"}
    if point.keys() - known or "t" not in point:
        raise InputError(
            f"pseudo_attributes: a point has t and perhaps {', '.join(sorted(known - {'t'}))}, not {point}"
        )
    own = _posed(point.get("suite", "embedded"), point.get("scenario", "cmnist5k-hidden"), seed)
    tuned = own.scenario.methods.get("gerne", {})
    scales = [float(point.get(name, tuned.get(name, 1.0))) for name in ("lr_scale", "decay_scale")]
    table = pseudo_groups(own.problem, float(point["t"]), *scales)
    return quality(table.groups % 2 == 1, _conflicting(own))


def quality(picked: Tensor, truth: Tensor) -> dict[str, float]:
    """Of ``picked`` (N,) bool against ``truth`` (N,) bool; what ``measure`` returns. Nobody picked: InputError."""
    if not picked.any() or picked.all() or not truth.any():
        raise InputError("pseudo_attributes: nobody was picked, or everybody, or there is nobody to be found")
    hits = int((picked & truth).sum())
    precision, rest = hits / int(picked.sum()), int((truth & ~picked).sum()) / int((~picked).sum())
    return {
        "precision": 100 * precision,
        "recall": 100 * hits / int(truth.sum()),
        "size": float(picked.sum()),
        "truth": float(truth.sum()),
        "conflicting": 100 * (precision + rest) / 2,
    }


@lru_cache(maxsize=3)
def _posed(suite: str, scenario: str, seed: int) -> Posed:
    own = posed(suite, scenario, "gerne", seed)
    if own.problem.attributes_known:
        raise InputError(f"pseudo_attributes: in scenario {scenario} attributes are known; there are no pseudo-ones")
    return own


def _conflicting(own: Posed) -> Tensor:
    """(N,) bool, on the CPU: training samples of groups that are rarer than if label and attribute were independent."""
    train = own.data.train
    assert train.attributes is not None
    return ~aligned(own.data)[train.labels.cpu(), train.attributes.cpu()]
