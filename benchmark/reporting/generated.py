"""What generators made before and after something was to go, as it was kept beside records: images, points, shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from benchmark.boards.board import Row
from benchmark.running.records import Record, RecordStore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TASK, ORIGINAL, LINE = "gan-feature-removal", "original", "extrapolation"
#: Images of each kind, and points of each generator, at most.
IMAGES, POINTS = 12, 1500
#: No line is drawn from farther out than this many times the way to the adapted generators.
FARTHEST = 1e6
#: What the hues are called that units have the numbers of.
HUES = ("red", "green", "blue")


@dataclass(frozen=True)
class Images:
    """One generator's images (n, H, W) or (n, H, W, 3), uint8: of any latents, and of those whose original image was
    undesired, of which there may be none. ``pul`` is of this seed, in percent."""

    method: str
    pul: float | None
    any: np.ndarray
    undesired: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Images of every generator of one seed, in the board's order; ``removed``: what they must not show."""

    scenario: str
    seed: int
    removed: str
    methods: tuple[Images, ...]


@dataclass(frozen=True)
class Cloud:
    """One generator's points (n, 2), and which of them are undesired, (n,)."""

    method: str
    pul: float | None
    points: NDArray[np.float64]
    undesired: NDArray[np.bool_]


@dataclass(frozen=True)
class Clouds:
    """Points of every generator of one seed, in the board's order; the real ones without what must go, (m, 2)."""

    scenario: str
    seed: int
    removed: str
    methods: tuple[Cloud, ...]
    real: NDArray[np.float64]

    @property
    def gone(self) -> NDArray[np.float64]:
        """The original's undesired points (k, 2): where nothing is to be any more. None are known without it."""
        for cloud in self.methods:
            if cloud.method == ORIGINAL:
                return cloud.points[cloud.undesired]
        return self.real[:0]


@dataclass(frozen=True)
class Premise:
    """Percent undesired (seeds, n) at theta_G + s (mean theta_N - theta_G), for s (n,).

    ``chosen``: the s of the records, where they agree.
    """

    scenario: str
    seeds: tuple[int, ...]
    s: np.ndarray
    undesired: np.ndarray
    chosen: float | None


def image_grids(records: Iterable[Record], rows: Sequence[Row], store: RecordStore) -> Iterator[Grid]:
    """Images of the first seed of every scenario that kept any."""
    for blocks in _scenarios([r for r in records if r.cell.settings.get("examples")], rows):
        found = (_grid(block, store) for block in blocks)
        yield from [grid for grid in found if grid is not None][:1]


def point_clouds(records: Iterable[Record], rows: Sequence[Row], store: RecordStore) -> Iterator[Clouds]:
    """Points of the first seed of every scenario whose generators make points."""
    for blocks in _scenarios([r for r in records if r.cell.settings.get("feature") == "modes"], rows):
        found = (_clouds(block, store) for block in blocks)
        yield from [clouds for clouds in found if clouds is not None][:1]


def premises(records: Iterable[Record], store: RecordStore) -> list[Premise]:
    """What lies along the line from the original to the adapted generators, a scenario each, all seeds."""
    found = []
    for blocks in _scenarios([r for r in records if r.cell.method == LINE], ()):
        first = {record.cell.seed: record for block in reversed(blocks) for record in block}
        lines = [(record, *_line(store.arrays(record))) for _, record in sorted(first.items())]
        found += _premise([(record, s, shares) for record, s, shares in lines if len(s)])
    return found


def removed(unit: str) -> str:
    """What a unit's generators must not make, in words."""
    kind, *numbers = unit.split("-")
    if kind == "hue" and numbers and numbers[0] in map(str, range(len(HUES))):
        return HUES[int(numbers[0])]
    return f"{kind}{'s' if len(numbers) > 1 else ''} {' and '.join(numbers)}".rstrip()


def _scenarios(records: Iterable[Record], rows: Sequence[Row]) -> Iterator[list[list[Record]]]:
    """Blocks of each scenario, first seeds first: records of one seed, unit, device and settings, in the board's order.

    Only those share their latents. Where settings have changed, the larger block comes first.
    """
    place = {(row.task, row.scenario, row.method, row.device): i for i, row in enumerate(rows)}

    def order(record: Record) -> tuple[int, str]:
        cell = record.cell
        return place.get((cell.task, cell.scenario, cell.method, cell.device), len(place)), cell.method

    own = [record for record in records if record.status == "ok" and record.cell.task == TASK]
    for scenario in sorted({record.cell.scenario for record in own}):
        blocks: dict[tuple[int, str, str, bytes], list[Record]] = defaultdict(list)
        for cell, record in ((record.cell, record) for record in own if record.cell.scenario == scenario):
            settings = msgspec.json.encode(cell.settings, order="sorted")
            blocks[cell.seed, cell.device, cell.unit, settings].append(record)
        ranked = sorted(blocks.items(), key=lambda item: (item[0][0], -len(item[1]), item[0]))
        yield [sorted(block, key=order) for _, block in ranked]


def _pul(record: Record) -> float | None:
    return record.values().get("pul")


def _grid(block: Sequence[Record], store: RecordStore) -> Grid | None:
    """None where no record has images; those of another size than the first ones are left out."""
    found = [(record, _images(store.arrays(record))) for record in block]
    kept = [Images(record.cell.method, _pul(record), *both) for record, both in found if both is not None]
    alike = tuple(images for images in kept if images.any.shape[1:] == kept[0].any.shape[1:])
    cell = block[0].cell
    return Grid(cell.scenario, cell.seed, removed(cell.unit), alike) if alike else None


def _images(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """Both kinds as they are drawn: grey without channels, colour with them last; None unless both are images."""
    both = [arrays.get(f"example.{name}") for name in ("any", "undesired")]
    shown = [images[:IMAGES] for images in both if images is not None and images.ndim == 4 and images.dtype == "uint8"]
    if len(shown) < 2 or shown[0].shape[1:] != shown[1].shape[1:]:
        return None
    n, channels, *size = shown[0].shape
    if min(n, *size) < 1 or channels not in (1, 3):
        return None
    one, other = (images[:, 0] if channels == 1 else images.transpose(0, 2, 3, 1) for images in shown)
    return one, other


def _clouds(block: Sequence[Record], store: RecordStore) -> Clouds | None:
    found = [(record, store.arrays(record)) for record in block]
    kept = [(record, arrays) for record, arrays in found if _are_points(arrays)]
    if not kept:
        return None
    methods = tuple(_cloud(record, arrays) for record, arrays in kept)
    cell = block[0].cell
    real = kept[0][1]["real"][:POINTS].astype(float)
    return Clouds(cell.scenario, cell.seed, removed(cell.unit), methods, real)


def _are_points(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether there are points in the plane, real ones, and a score for each of the former."""
    points, real, scores = (arrays.get(name) for name in ("points", "real", "scores"))
    if points is None or real is None or scores is None or scores.ndim != 1:
        return False
    plane = all(array.ndim == 2 and array.shape[1] == 2 and len(array) for array in (points, real))
    scored = plane and len(scores) >= len(points)
    return scored and all(array.dtype.kind == "f" for array in (points, real, scores))


def _cloud(record: Record, arrays: Mapping[str, np.ndarray]) -> Cloud:
    """Scores above 0 are undesired; those of the points come first."""
    points = arrays["points"][:POINTS].astype(float)
    return Cloud(record.cell.method, _pul(record), points, arrays["scores"][: len(points)] > 0)


def _line(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """s and percent undesired, each (n,); empty where they are missing or not what they should be."""
    import numpy as np

    s, shares = (arrays.get(name, np.zeros(0)) for name in ("line.s", "line.undesired"))
    fine = s.ndim == 1 and s.shape == shares.shape and s.size <= 10**6 and s.dtype.kind == shares.dtype.kind == "f"
    fine = fine and bool((np.abs(s) <= FARTHEST).all() and not ((shares < 0) | (shares > 100)).any())
    return (s, shares) if fine else (np.zeros(0), np.zeros(0))


def _premise(lines: Sequence[tuple[Record, np.ndarray, np.ndarray]]) -> list[Premise]:
    """One of all seeds that have the same s as the first; nothing of none."""
    import numpy as np

    alike = [(record.cell, shares) for record, s, shares in lines if np.array_equal(s, lines[0][1])]
    if not alike:
        return []
    chosen = [cell.parameters.get("s") for cell, _ in alike]
    own = chosen[0] if chosen.count(chosen[0]) == len(chosen) else None
    known = isinstance(own, int | float) and not isinstance(own, bool) and abs(own) <= FARTHEST
    at = float(own) if known and own is not None else None
    seeds = tuple(cell.seed for cell, _ in alike)
    return [Premise(alike[0][0].scenario, seeds, lines[0][1], np.stack([shares for _, shares in alike]), at)]
