"""At which level two records of the same cell agree. Pure: nothing is run or read.

``strict``: the same bit for bit, timing aside. ``close``: every metric within a tolerance of its unit. ``statistical``:
every metric where a further seed of its row would be expected. ``none``: some metric further away than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from benchmark.errors import InputError
from benchmark.metrics.catalogue import metric
from benchmark.running.plan import with_defaults
from benchmark.running.records import Cell, Record, Value
from benchmark.stats import ALPHA

Level = Literal["strict", "close", "statistical", "none"]

#: Fields of a cell that say which code and packages made it, not which cell it is.
MAKERS = ("digests", "packages")
#: Fields of a record beside its metrics that are the same bit for bit where a cell is strictly deterministic.
EXACT = ("status", "failure", "data", "access", "groups", "flags", "arrays")
#: Fewest other seeds that a prediction interval is taken from: with two, one degree of freedom covers anything.
FEWEST_OTHERS = 3


class Tolerance(msgspec.Struct, frozen=True):
    """How far apart close values may lie: ``absolute``, or ``relative`` to the kept one, whichever is more.

    ``samples``: or what so many samples of the metric's ``n`` are in percent.
    """

    absolute: float = 0.0
    relative: float = 0.0
    samples: int = 0

    def of(self, kept: Value) -> float:
        """The largest difference from ``kept`` that is close, in the metric's unit; 0 where it is blank."""
        if kept.value is None:
            return 0.0
        share = 100 * self.samples / kept.n if kept.n else 0.0
        return max(self.absolute, self.relative * abs(kept.value), share)


#: By unit. Another order of summation moves logits by about 1e-6, which training amplifies until a few samples on the
#: border change sides: half a point, or two samples where the test set is small. What is no share of samples moves by a
#: few percent; steps are looked at in coarse grains.
CLOSE = {
    "%": Tolerance(absolute=0.5, samples=2),
    "points": Tolerance(absolute=1.0, samples=4),
    "": Tolerance(absolute=0.01, relative=0.02),
    "distance": Tolerance(relative=0.05),
    "nats": Tolerance(relative=0.05),
    "steps": Tolerance(absolute=2.0, relative=0.1),
}


class Difference(msgspec.Struct, frozen=True):
    """Something that is not the same: a metric, or another field of the record.

    ``allowed``: the largest difference that would have been close; None for what is no number. ``within``: the best
    level at which this alone agrees.
    """

    what: str
    kept: Any
    found: Any
    allowed: float | None
    within: Level


class Agreement(msgspec.Struct, frozen=True):
    """The level at which two records agree, and all that differs.

    ``undecided``: why it could not be told whether they agree statistically; empty where it could, or need not.
    ``added``: metrics that today's code has and the kept record's did not, which cannot be compared.
    """

    level: Level
    differences: list[Difference]
    undecided: str = ""
    added: tuple[str, ...] = ()


_ORDER: tuple[Level, ...] = ("strict", "close", "statistical", "none")


def is_timing(name: str) -> bool:
    """Whether a metric is a duration, which no two runs share."""
    return _unit(name) == "s"


def different_fields(found: Cell, kept: Cell) -> list[str]:
    """Fields of the specification in which two cells differ, digests and packages aside; later options aside, too."""
    found, kept = with_defaults(found), with_defaults(kept)
    names = [name for name in Cell.__struct_fields__ if name not in MAKERS]
    return [name for name in names if getattr(found, name) != getattr(kept, name)]


def agreement(found: Record, kept: Record, others: Sequence[Record] = ()) -> Agreement:
    """At which level ``found`` agrees with ``kept``, a record of the same cell.

    ``others`` are records of the same row, of other seeds: what their spread says. ValueError for another cell.
    """
    apart = different_fields(found.cell, kept.cell)
    if apart:
        raise ValueError(f"these are records of two cells: their {' and '.join(apart)} differ")
    if "ok" not in (found.status, kept.status):
        return _of_failures(found, kept)
    fields = [
        Difference(name, getattr(kept, name), getattr(found, name), None, "close")
        for name in EXACT
        if getattr(kept, name) != getattr(found, name)
    ]
    fatal = [msgspec.structs.replace(d, within="none") for d in fields if d.what in ("status", "data")]
    if fatal:
        return Agreement("none", [*fatal, *(d for d in fields if d.what not in ("status", "data"))])
    return _of_results(found, kept, others, fields)


def _of_results(found: Record, kept: Record, others: Sequence[Record], fields: list[Difference]) -> Agreement:
    moved = found.cell.digests != kept.cell.digests
    added = tuple(name for name in found.metrics if moved and name not in kept.metrics)
    names = [name for name in {**kept.metrics, **found.metrics} if not is_timing(name) and name not in added]
    metrics = [_difference(name, found, kept, others, len(names)) for name in names]
    differences = [d for d in metrics if d is not None] + fields
    level: Level = max((d.within for d in differences), key=_ORDER.index, default="strict")
    if level == "close" and not kept.metrics:  # outputs alone, and these differ: nothing says how much
        level = "none"
    few = level == "none" and bool(kept.metrics) and len(others) < FEWEST_OTHERS
    return Agreement(level, differences, _UNDECIDED.format(len(others), FEWEST_OTHERS) if few else "", added)


_UNDECIDED = "only {} other seeds of this row are there; from {} on they would say what spread is to be expected"


def _difference(
    name: str, found: Record, kept: Record, others: Sequence[Record], comparisons: int
) -> Difference | None:
    """How a metric differs; None where it does not."""
    blank = Value(None, 0)
    old, new = kept.metrics.get(name, blank), found.metrics.get(name, blank)
    if old == new:
        return None
    allowed = CLOSE.get(_unit(name), CLOSE[""]).of(old)
    within: Level = "none"
    if old.value is not None and new.value is not None:
        seen = [v for v in (r.values().get(name) for r in others if r.status == "ok") if v is not None]
        if abs(new.value - old.value) <= allowed:
            within = "close"
        elif is_predicted(new.value, seen, comparisons):
            within = "statistical"
    elif old.value == new.value:  # both blank, of other numbers of samples
        within = "close"
    return Difference(name, old.value, new.value, allowed, within)


def is_predicted(value: float, seen: Sequence[float], comparisons: int) -> bool:
    """Whether ``value`` lies in the 95 % prediction interval of the values ``seen``, one a seed, for normal ones.

    mean +- t s sqrt(1 + 1/n), t of n - 1 degrees of freedom, Bonferroni-corrected for ``comparisons``; False for fewer
    than three.
    """
    n = len(seen)
    if n < FEWEST_OTHERS:
        return False
    from scipy.special import stdtrit

    mean = math.fsum(seen) / n
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in seen) / (n - 1))
    half = float(stdtrit(n - 1, 1 - ALPHA / 2 / max(comparisons, 1))) * spread * math.sqrt(1 + 1 / n)
    return abs(value - mean) <= half


def _of_failures(found: Record, kept: Record) -> Agreement:
    """Two cells without a result agree strictly where the error is the same, closely where it is of the same kind.

    Tracebacks name lines of code, and are left out.
    """
    told = [(r.status, r.failure and r.failure.error, r.failure and r.failure.message) for r in (kept, found)]
    names = ("status", "failure.error", "failure.message")
    differences = [
        Difference(name, old, new, None, "close" if name == "failure.message" else "none")
        for name, old, new in zip(names, *told, strict=True)
        if old != new
    ]
    level: Level = max((d.within for d in differences), key=_ORDER.index, default="strict")
    return Agreement(level, differences)


def _unit(name: str) -> str:
    """A metric's unit; none for a name that the catalogue does not have."""
    try:
        return metric(name).unit
    except InputError:
        return ""
