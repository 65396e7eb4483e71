"""Where the labels of points go so that none covers another one or a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in points; y grows upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """The area that two rectangles share."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(wide, 0.0) * max(high, 0.0)

    def inside(self, other: Box) -> bool:
        """Whether it lies within another one."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top


class Spot(NamedTuple):
    """A point with the size of its marker and of its label, all in points."""

    x: float
    y: float
    marker: float
    width: float
    height: float


#: Directions that are tried around a point, the first ones first: beside it, then above and below.
_ANGLES = tuple(math.radians(a) for a in (45, 135, -45, -135, 0, 180, 90, -90, 22, 158, -22, -158, 67, 113, -67, -113))
#: Distances from a point to the nearest corner or side of its label, in points.
_RADII = (1.0, 3.0, 6.0, 10.0, 14.0, 19.0, 25.0, 32.0, 40.0, 50.0, 62.0, 76.0, 92.0, 110.0)


def place(spots: Sequence[Spot], area: Box, taken: Sequence[Box] = ()) -> list[Box]:
    """A box for each spot's label within ``area``: none shares any area with another, with a marker or with ``taken``.

    Spots in a crowd come first. The nearest free place wins, which is the same one each time; where nothing is free
    that near, the place that covers the least.
    """
    blocks = [*taken, *(_around(spot) for spot in spots)]
    found: dict[int, Box] = {}
    lines: list[tuple[float, float, float, float]] = []
    for i in sorted(range(len(spots)), key=lambda i: (-_crowd(spots, i), i)):
        found[i] = _best(spots[i], area, [*blocks, *found.values()], lines)
        lines.append((spots[i].x, spots[i].y, *middle(found[i])))
    return [found[i] for i in range(len(spots))]


def middle(box: Box) -> tuple[float, float]:
    """The middle of a box."""
    return (box.left + box.right) / 2, (box.bottom + box.top) / 2


def _crowd(spots: Sequence[Spot], i: int) -> int:
    own = spots[i]
    return sum(math.hypot(own.x - other.x, own.y - other.y) < 14 for other in spots)


def _around(spot: Spot) -> Box:
    half = spot.marker / 2
    return Box(spot.x - half, spot.y - half, spot.x + half, spot.y + half)


def _candidates(spot: Spot) -> Iterator[Box]:
    for radius in _RADII:
        for angle in _ANGLES:
            cos, sin = math.cos(angle), math.sin(angle)
            away = radius + spot.marker / 2
            x = spot.x + cos * away + (spot.width / 2) * _side(cos)
            y = spot.y + sin * away + (spot.height / 2) * _side(sin)
            yield Box(x - spot.width / 2, y - spot.height / 2, x + spot.width / 2, y + spot.height / 2)


def _side(part: float) -> float:
    return 0.0 if abs(part) < 0.3 else math.copysign(1.0, part)


def _best(spot: Spot, area: Box, blocks: Sequence[Box], lines: Sequence[tuple[float, float, float, float]]) -> Box:
    best, least = None, math.inf
    for box in _candidates(spot):
        if not box.inside(area):
            continue
        covered = sum(box.overlap(block) for block in blocks)
        own = (spot.x, spot.y, *middle(box))
        covered += sum(2.0 for line in lines if _cross(own, line)) + sum(3.0 for line in lines if _through(line, box))
        if covered == 0:
            return box
        if covered < least:
            best, least = box, covered
    return best if best is not None else next(_candidates(spot))


def _cross(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    """Whether two lines cross, their ends aside."""
    (ax, ay, bx, by), (cx, cy, dx, dy) = one, other

    def turn(px: float, py: float, qx: float, qy: float, rx: float, ry: float) -> float:
        return (qx - px) * (ry - py) - (qy - py) * (rx - px)

    first = turn(ax, ay, bx, by, cx, cy) * turn(ax, ay, bx, by, dx, dy)
    return first < 0 and turn(cx, cy, dx, dy, ax, ay) * turn(cx, cy, dx, dy, bx, by) < 0


def _through(line: tuple[float, float, float, float], box: Box) -> bool:
    """Whether a line runs through a box: across one of its diagonals."""
    diagonals = (box.left, box.bottom, box.right, box.top), (box.left, box.top, box.right, box.bottom)
    return any(_cross(line, diagonal) for diagonal in diagonals)
