"""Pictures that were kept of a scenario's test samples, and what networks saw in them before and after correction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.boards.aggregates import pair
from benchmark.running.records import Record, RecordStore

if TYPE_CHECKING:
    import numpy as np

TASK = "bias-correction"
#: The two networks that are compared: that before correction and that after.
BEFORE, AFTER = "original", "rr-clarc"
#: Pictures at most.
MOST = 5
#: What a record keeps: number of dimensions and kinds of number.
KEPT = {
    "clean": (4, "u"),
    "attacked": (4, "u"),
    "labels": (1, "iu"),
    "predictions": (1, "iu"),
    "relevance": (3, "f"),
    "concept": (3, "f"),
}


@dataclass(frozen=True)
class Seen:
    """What one network saw in n attacked pictures: predictions (n,), relevance of the output and of the concept, each
    (n, H, W), signed."""

    predictions: np.ndarray
    relevance: np.ndarray
    concept: np.ndarray


@dataclass(frozen=True)
class Examples:
    """Pictures (n, H, W) or (n, H, W, 3), uint8, and their labels (n,)."""

    scenario: str
    seed: int
    clean: np.ndarray
    attacked: np.ndarray
    labels: np.ndarray
    before: Seen
    after: Seen


def examples(records: Sequence[Record], store: RecordStore) -> Iterator[Examples]:
    """Those of the first seed of every scenario that has both networks' of the same pictures."""
    kept = [r for r in records if r.status == "ok" and r.cell.task == TASK and r.cell.settings.get("examples")]
    for scenario in sorted({record.cell.scenario for record in kept}):
        own = sorted((r for r in kept if r.cell.scenario == scenario), key=lambda r: (r.cell.seed, pair(r.cell)))
        after = {pair(record.cell): record for record in own if record.cell.method == AFTER}
        pairs = ((r, after[pair(r.cell)]) for r in own if r.cell.method == BEFORE and pair(r.cell) in after)
        found = (_together(one, store.arrays(one), store.arrays(other)) for one, other in pairs)
        shown = next((both for both in found if both is not None), None)
        if shown is not None:
            yield shown


def _together(record: Record, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Examples | None:
    """None where something is missing, has another shape, or is of other pictures."""
    import numpy as np

    if not _whole(one) or not _whole(other):
        return None
    if any(not np.array_equal(one[f"example.{name}"], other[f"example.{name}"]) for name in ("attacked", "labels")):
        return None
    labels = one["example.labels"][:MOST]
    clean, attacked = (_picture(one[f"example.{name}"][:MOST]) for name in ("clean", "attacked"))
    return Examples(record.cell.scenario, record.cell.seed, clean, attacked, labels, _seen(one), _seen(other))


def _whole(arrays: Mapping[str, np.ndarray]) -> bool:
    found = {name: arrays[f"example.{name}"] for name in KEPT if f"example.{name}" in arrays}
    if len(found) < len(KEPT) or any(
        array.ndim != KEPT[name][0] or array.dtype.kind not in KEPT[name][1] for name, array in found.items()
    ):
        return False
    n, channels, *size = found["attacked"].shape
    alike = all(len(array) == n and (array.ndim == 1 or [*array.shape[-2:]] == size) for array in found.values())
    return alike and min(n, *size) > 0 and channels in (1, 3) and found["clean"].shape[1] == channels


def _picture(images: np.ndarray) -> np.ndarray:
    """(n, C, H, W) as it is drawn: grey without channels, colour with them last."""
    return images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)


def _seen(arrays: Mapping[str, np.ndarray]) -> Seen:
    predictions, relevance, concept = (arrays[f"example.{n}"][:MOST] for n in ("predictions", "relevance", "concept"))
    return Seen(predictions, relevance.astype(float), concept.astype(float))
