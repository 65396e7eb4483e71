"""How often the gate is wrong: false alarms and power, simulated from the records that are there.

Bit for bit there is no noise, and nothing to simulate. What is simulated is another kind of machine, where every paired
difference is as noisy as seeds are: half of their variance in each record,

    d_i = noise (x_j - x_k) / sqrt(2),        j, k drawn from the row's seeds with replacement for each i,

x the loss of a watched metric, and ``noise`` 1. With sqrt(2) the two sides are as far apart as independent runs. It has
the seeds' own distribution, skew and rounding, symmetric as two machines of equal standing are. Seeds are drawn
together for all that is watched in a scenario, whose rows share base models.

    python -m benchmark.gate.power results --noise 1
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from benchmark.gate.declaration import DECLARED, Declaration, Watched, load_declaration
from benchmark.gate.kept import stored
from benchmark.gate.quality import Rows, values_of
from benchmark.metrics.catalogue import metric

#: The drop that every watched row must show: two points of 100.
DROP = 2.0
#: Simulated checks.
DRAWS = 20_000
#: Checks that are simulated at once.
BLOCK = 2_000
#: What the gate promises: at most so many false alarms, and at least so much power for the drop.
MOST_ALARMS, LEAST_POWER = 0.01, 0.8


@dataclass(frozen=True)
class Simulated:
    """Of a watched metric: ``power`` for the drop, its standard deviation over the seeds, and ``alarms`` without one.

    ``seen``: the smallest drop, in tenths of a point, that is seen with the least power.
    """

    watched: Watched
    n: int
    spread: float
    power: float
    alarms: float
    seen: float


def simulate(
    declared: Declaration, rows: Rows, draws: int = DRAWS, drop: float = DROP, noise: float = 1.0
) -> tuple[float, list[Simulated]]:
    """The whole gate's share of false alarms, and what is seen of each watched metric; ``draws`` checks of each.

    ``noise``: standard deviation of the differences, of that of the seeds. Rows with fewer than two seeds in ``rows``
    are left out.
    """
    known = {w: values_of(w, rows) for w in declared.watched}
    watched = [w for w in declared.watched if len(known[w]) > 1]
    means: list[list[np.ndarray]] = [[] for _ in watched]
    halves: list[list[np.ndarray]] = [[] for _ in watched]
    rng = np.random.default_rng(0)
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        for name in dict.fromkeys(w.scenario for w in watched):
            own = [i for i, w in enumerate(watched) if w.scenario == name]
            seeds = sorted(set.intersection(*(set(known[watched[i]]) for i in own)))
            drawn = rng.integers(0, len(seeds), size=(2, size, len(seeds)))
            for i in own:
                losses = noise * np.array([known[watched[i]][s][1] for s in seeds])
                mean, half = _intervals(losses, drawn, declared.level)
                means[i].append(mean)
                halves[i].append(half)
    pairs = [(np.concatenate(m), np.concatenate(h)) for m, h in zip(means, halves, strict=True)]
    alarms = [_fails(mean, half, w.tolerance) for w, (mean, half) in zip(watched, pairs, strict=True)]
    whole = float(np.any(alarms, axis=0).mean()) if alarms else 0.0
    found = [
        _simulated(w, known[w], mean, half, alarm, drop)
        for w, (mean, half), alarm in zip(watched, pairs, alarms, strict=True)
    ]
    return whole, found


def _intervals(losses: np.ndarray, drawn: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Means and half-widths, (checks,) each, of differences of ``drawn`` (2, checks, n) seeds."""
    differences = (losses[drawn[0]] - losses[drawn[1]]) / np.sqrt(2)
    n = differences.shape[1]
    error = differences.std(axis=1, ddof=1) / np.sqrt(n)
    error[np.ptp(differences, axis=1) == 0] = 0.0
    return differences.mean(axis=1), stdtrit(n - 1, 1 - level) * error


def _fails(mean: np.ndarray, half: np.ndarray, tolerance: float) -> np.ndarray:
    """Where :func:`benchmark.gate.quality.changed` says worse."""
    return (mean > half) & (mean > tolerance)


def _simulated(
    watched: Watched,
    values: dict[int, tuple[float, float]],
    mean: np.ndarray,
    half: np.ndarray,
    alarm: np.ndarray,
    drop: float,
) -> Simulated:
    losses = [lost for _, lost in values.values()]
    drops = np.arange(1, 201) / 10
    power = [float(_fails(mean + d, half, watched.tolerance).mean()) for d in drops]
    seen = next((float(d) for d, p in zip(drops, power, strict=True) if p >= LEAST_POWER), float("inf"))
    at = float(_fails(mean + drop, half, watched.tolerance).mean())
    return Simulated(watched, len(losses), float(np.std(losses, ddof=1)), at, float(alarm.mean()), seen)


def main(arguments: Sequence[str]) -> int:
    """Print the table of docs/regression-gate.md; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(prog="benchmark.gate.power", description="False alarms and power of the gate.")
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"))
    parser.add_argument("--noise", type=float, default=1.0, help="Spread of the differences over that of the seeds.")
    given = parser.parse_args(arguments)
    declared, _ = load_declaration(DECLARED)
    alarms, rows = simulate(declared, stored(declared, given.results), noise=given.noise)
    print("| row | metric | seeds | spread | power | sees |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for r in rows:
        name = f"{r.watched.scenario} {r.watched.method} | {metric(r.watched.metric).label}"
        print(f"| {name} | {r.n} | {r.spread:.2f} | {100 * r.power:.1f} % | {r.seen:.1f} |")
    missing = len(declared.watched) - len(rows)
    print(f"\nfalse alarms of the whole gate: {100 * alarms:.2f} % of {DRAWS:,} checks; {missing} rows have no records")
    kept = alarms <= MOST_ALARMS and not missing and all(r.power >= LEAST_POWER for r in rows)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
