"""What was measured on one kind of machine: hot paths beside the plain way of writing them, and works with limits."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from benchmark.files import read_regular, write_atomically
from benchmark.hardware import Hardware
from benchmark.running.records import LARGEST, NotKept, check_inside
from benchmark.speed.timed import Broken

log = logging.getLogger("amendbench")
SCHEMA = 1
#: Below the results folder; beside it lie the regression gate's baselines.
FOLDER = Path("speed", "pairs")


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rounds in seconds of a hot path, ``ours``, each right after one of the plain way, ``plain``.

    ``bar``: how many times as fast it has to be here, None where there is no such bar. ``amount`` of ``unit`` is done
    in a round, where that is counted.
    """

    name: str
    title: str
    way: str
    ours: list[float]
    plain: list[float]
    bar: float | None = None
    amount: float | None = None
    unit: str = ""

    @property
    def ratios(self) -> list[float]:
        """The plain way's time over ours, round by round."""
        return [plain / ours for plain, ours in zip(self.plain, self.ours, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def missed(self) -> bool:
        return self.bar is not None and self.ratio < self.bar


class Limited(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rounds of a work in seconds, and the limit for their median, None where it is only told."""

    name: str
    title: str
    seconds: list[float]
    limit: float | None = None

    @property
    def missed(self) -> bool:
        return self.limit is not None and median(self.seconds) > self.limit


class Speeds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that was measured in one run on one kind of machine, with one thread."""

    schema: int
    hardware: Hardware
    created: str
    packages: dict[str, str]
    pairs: list[Pair]
    limits: list[Limited]

    @property
    def device(self) -> str:
        """What the works ran on, as tables print it."""
        told = self.hardware
        return f"{told.processor}, {told.cores} cores" if told.device == "cpu" else told.device


class _Stats(msgspec.Struct):
    data: list[float]


class _Benchmark(msgspec.Struct):
    name: str
    stats: _Stats
    extra_info: dict[str, Any]


class _Report(msgspec.Struct):
    """What of pytest-benchmark's JSON is read."""

    benchmarks: list[_Benchmark]


def read_report(content: bytes, failed: Collection[str] = ()) -> tuple[list[Pair], list[Limited]]:
    """Pairs and limited works from pytest-benchmark's JSON, but for those that ``failed``, by name.

    Broken where it has none, or what is no time.
    """
    try:
        benchmarks = [b for b in msgspec.json.decode(content, type=_Report).benchmarks if b.name not in failed]
        pairs = [_pair(b) for b in benchmarks if "plain" in b.extra_info]
        limits = [_limited(b) for b in benchmarks if "limit" in b.extra_info]
    except ValueError as error:
        raise Broken(f"the benchmarks left no report that can be read: {error}") from error
    if not pairs and not limits:
        raise Broken("there are no benchmarks")
    return pairs, limits


def _pair(benchmark: _Benchmark) -> Pair:
    told = {"name": benchmark.name, "ours": benchmark.stats.data, **benchmark.extra_info}
    pair = msgspec.convert(told, Pair)
    _check_pair(pair)
    return pair


def _limited(benchmark: _Benchmark) -> Limited:
    told = {"name": benchmark.name, "seconds": benchmark.stats.data, **benchmark.extra_info}
    limited = msgspec.convert(told, Limited)
    _check_limited(limited)
    return limited


def _check_pair(pair: Pair) -> None:
    _check_times(pair.ours, pair.plain)
    _check_numbers(pair.bar, pair.amount)


def _check_limited(limited: Limited) -> None:
    _check_times(limited.seconds)
    _check_numbers(limited.limit)


def _check_numbers(*told: float | None) -> None:
    if not all(number is None or 0 <= number < math.inf for number in told):
        raise ValueError(f"{told} is no bar, limit or amount")


def _check_times(*rounds: list[float]) -> None:
    if len({len(each) for each in rounds}) != 1 or not rounds[0]:
        raise ValueError(f"{[len(each) for each in rounds]} rounds do not belong together")
    if not all(0 < seconds < math.inf for each in rounds for seconds in each):
        raise ValueError("a round has no time")


def write(speeds: Speeds, results: Path) -> Path:
    """Keep what was measured in the place of what this kind of machine had before, four digits a round."""
    path = results / FOLDER / f"{speeds.hardware.fingerprint}.json"
    check_inside(path, results)
    pairs = [msgspec.structs.replace(p, ours=_short(p.ours), plain=_short(p.plain)) for p in speeds.pairs]
    limits = [msgspec.structs.replace(one, seconds=_short(one.seconds)) for one in speeds.limits]
    kept = msgspec.structs.replace(speeds, pairs=pairs, limits=limits)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    return path


def _short(rounds: list[float]) -> list[float]:
    return [float(f"{seconds:.4g}") for seconds in rounds]


def read_all(results: Path) -> Iterator[Speeds]:
    """What was measured on every kind of machine, in the order of their files.

    What cannot be read, or lies elsewhere behind a link, is reported and left out.
    """
    for path in sorted((results / FOLDER).glob("[!.]*.json")):
        try:
            check_inside(path, results)
            speeds = msgspec.json.decode(read_regular(path, LARGEST), type=Speeds)
            if speeds.schema != SCHEMA or speeds.hardware.fingerprint != path.stem:
                raise ValueError("its schema or its hardware does not match")
            for pair in speeds.pairs:
                _check_pair(pair)
            for limited in speeds.limits:
                _check_limited(limited)
        except (NotKept, OSError, ValueError, RecursionError) as error:
            log.warning("%s is left out: %s", path, error)
            continue
        yield speeds
