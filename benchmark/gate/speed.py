"""Whether hot paths have become slower: times relative to a calibration beside each round, and a rank test.

Absolute times on shared machines move by tens of percent within minutes. Each round is therefore divided by what a
fixed piece of work takes around it. Slower is what the Mann-Whitney test and a factor on the median both say, twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import msgspec

from benchmark.errors import InputError
from benchmark.files import write_atomically
from benchmark.hardware import Hardware
from benchmark.speed.timed import Times

SCHEMA = 1
Pace = Literal["same", "slower", "faster", "new", "missing"]


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Committed times of one kind of machine. ``packages``: installed when they were taken."""

    schema: int
    hardware: Hardware
    created: str
    packages: dict[str, str]
    benchmarks: dict[str, Times]


class Compared(msgspec.Struct, frozen=True):
    """A benchmark beside its baseline: ratio of medians, one-sided p of being slower (both None where it is new).

    ``missing`` is what the baseline has and did not run; it has no seconds.
    """

    name: str
    pace: Pace
    seconds: float | None
    ratio: float | None = None
    p: float | None = None


def compare(name: str, kept: Times | None, found: Times, level: float, factor: float) -> Compared:
    """Found times beside kept ones; ``level`` is one-sided and corrected for the number of benchmarks."""
    if kept is None:
        return Compared(name, "new", found.seconds)
    from scipy.stats import mannwhitneyu

    ratio = median(found.relative) / median(kept.relative)
    p = float(mannwhitneyu(found.relative, kept.relative, alternative="greater").pvalue)
    pace: Pace = "same"
    if ratio > factor and p < level:
        pace = "slower"
    elif ratio < 1 / factor and 1 - p < level:
        pace = "faster"
    return Compared(name, pace, found.seconds, ratio, p)


def compare_all(
    kept: Mapping[str, Times],
    found: Mapping[str, Times],
    false_alarms: float,
    factor: float,
    only: Sequence[str] = (),
) -> list[Compared]:
    """Every benchmark that was run, at its share of the false alarms, and those of the baseline that did not run.

    ``only``: parts of names, as pytest's -k takes them, where not all were to run.
    """
    level = false_alarms / max(len(found), 1)
    wanted = [name for name in kept if not only or any(part.lower() in name.lower() for part in only)]
    compared = [compare(name, kept.get(name), found[name], level, factor) for name in found]
    return compared + [Compared(name, "missing", None) for name in wanted if name not in found]


def confirmed(first: Sequence[Compared], second: Sequence[Compared]) -> list[Compared]:
    """The first comparison, where ``slower`` stands only if the second run of that benchmark is slower as well."""
    again = {c.name: c for c in second}
    return [again.get(c.name, c) if c.pace == "slower" else c for c in first]


def file_of(results: Path, hardware: Hardware) -> Path:
    """Where the baseline of a kind of machine is committed."""
    return results / "speed" / f"{hardware.fingerprint}.json"


def read_baseline(path: Path) -> Baseline | None:
    """A committed baseline; None where there is none; InputError for what is not one."""
    try:
        baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no baseline of times: {error}") from error
    whole = baseline.schema == SCHEMA and baseline.hardware.fingerprint == path.stem
    rounds = [r for times in baseline.benchmarks.values() for r in times.relative]
    empty = any(not times.relative for times in baseline.benchmarks.values())
    if not whole or empty or any(not 0 < r < math.inf for r in rounds):
        raise InputError(f"{path.name} is no baseline of times: its schema, hardware or rounds do not hold")
    return baseline


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Keep a baseline, four digits a round."""
    short = {
        name: Times([float(f"{r:.4g}") for r in times.relative], float(f"{times.seconds:.4g}"))
        for name, times in baseline.benchmarks.items()
    }
    rounded = msgspec.structs.replace(baseline, benchmarks=short)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(rounded), indent=1) + b"\n")


def nearest(results: Path) -> Path | None:
    """A baseline of another kind of machine, for advice; the first by name."""
    return next(iter(sorted((results / "speed").glob("[!.]*.json"))), None)
