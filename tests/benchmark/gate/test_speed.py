"""Slower is slower twice, in ranks and by a factor: on synthetic times."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmark.errors import InputError
from benchmark.gate import clock, sections
from benchmark.gate.speed import (
    SCHEMA,
    Baseline,
    Compared,
    compare,
    compare_all,
    confirmed,
    file_of,
    nearest,
    read_baseline,
    write_baseline,
)
from benchmark.hardware import Hardware
from benchmark.speed.timed import Broken, Times, pooled, read_report, relative

LEVEL, FACTOR = 0.005 / 9, 1.4
MACHINE = Hardware("a processor", "AVX2", "a model", "flags", "Linux x86_64", "cpu", 2)


def rounds(scale: float, n: int = 25, seed: int = 0) -> Times:
    """Times that spread by a tenth."""
    spread = np.random.default_rng(seed).normal(1.0, 0.1, n)
    return Times([float(scale * s) for s in spread], scale / 100)


@pytest.mark.parametrize(("scale", "pace"), [(1.0, "same"), (1.3, "same"), (1.8, "slower"), (0.5, "faster")])
def test_slower_is_beyond_the_factor(scale: float, pace: str) -> None:
    found = compare("a", rounds(1.0, 75), rounds(scale, seed=1), LEVEL, FACTOR)
    assert found.pace == pace
    assert found.ratio == pytest.approx(scale, rel=0.1)


def test_a_high_median_without_ranks_is_noise() -> None:
    """Three rounds: their median says twice as slow, and no rank test of three can say so at this level."""
    found = compare("a", rounds(1.0, 75), Times([2.0, 2.0, 2.0], 0.02), LEVEL, FACTOR)
    assert found.ratio == pytest.approx(2.0, rel=0.1)
    assert compare("a", rounds(1.0, 5), Times([2.0, 2.0, 2.0], 0.02), LEVEL, FACTOR).pace == "same"


def test_a_benchmark_without_times_is_new() -> None:
    assert compare_all({}, {"a": rounds(1.0)}, 0.005, FACTOR) == [Compared("a", "new", 0.01)]


def test_a_path_of_the_baseline_that_did_not_run_is_missing() -> None:
    kept, found = {"test_a": rounds(1.0), "test_b": rounds(1.0)}, {"test_a": rounds(1.0, seed=1)}
    compared = compare_all(kept, found, 0.005, FACTOR)
    assert [(c.name, c.pace) for c in compared] == [("test_a", "same"), ("test_b", "missing")]
    assert sections.speed(compared, True, FACTOR, []).outcome == "regressed"
    assert sections.speed(compared, False, FACTOR, []).outcome == "nothing"
    assert [c.name for c in compare_all(kept, found, 0.005, FACTOR, only=["_A"])] == ["test_a"]


def test_slower_counts_only_if_it_is_slower_again() -> None:
    first = [Compared("a", "slower", 1.0, 2.0, 0.0), Compared("b", "slower", 1.0, 2.0, 0.0), Compared("c", "same", 1.0)]
    second = [
        Compared("a", "slower", 1.0, 2.1, 0.0),
        Compared("b", "same", 1.0, 1.0, 0.5),
        Compared("c", "slower", 1.0),
    ]
    assert [c.pace for c in confirmed(first, second)] == ["slower", "same", "same"]


def test_a_busy_machine_slows_the_calibration_too() -> None:
    """The second half at half the speed: relative times stay what they were."""
    seconds, calibration = [0.1] * 5 + [0.2] * 5, [0.01] * 5 + [0.02] * 5
    assert [round(r) for r in relative(seconds, calibration)] == [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]


@pytest.mark.parametrize(("seconds", "calibration"), [([], []), ([1.0], []), ([1.0], [0.0]), ([-1.0], [1.0])])
def test_times_that_are_none(seconds: list[float], calibration: list[float]) -> None:
    with pytest.raises(ValueError, match="rounds"):
        relative(seconds, calibration)


def test_other_hardware_is_advised_only() -> None:
    slower = [Compared("a", "slower", 1.0, 2.0, 0.0)]
    assert sections.speed(slower, True, FACTOR, []).outcome == "regressed"
    elsewhere = sections.speed(slower, False, FACTOR, [])
    assert (elsewhere.outcome, "advice only" in elsewhere.line) == ("nothing", True)
    assert sections.speed([Compared("a", "new", 1.0)], True, FACTOR, []).outcome == "nothing"


def test_a_baseline_comes_back_as_it_was_written(tmp_path: Path) -> None:
    baseline = Baseline(SCHEMA, MACHINE, "2025-01-01", {"torch": "2"}, {"a": Times([1.23456, 2.0], 0.5)})
    path = file_of(tmp_path, MACHINE)
    assert read_baseline(path) is None
    assert nearest(tmp_path) is None
    write_baseline(path, baseline)
    found = read_baseline(path)
    assert found is not None
    assert found.benchmarks["a"].relative == [1.235, 2.0]
    assert (found.hardware, nearest(tmp_path)) == (MACHINE, path)


def test_a_fingerprint_is_of_hardware_alone() -> None:
    assert len(MACHINE.fingerprint) == 16
    for field, value in {
        "cores": 4,
        "processor": "b",
        "capability": "AVX512",
        "flags": "f",
        "model": "m",
        "device": "a GPU",
    }.items():
        assert msgspec.structs.replace(MACHINE, **{field: value}).fingerprint != MACHINE.fingerprint


@pytest.mark.parametrize("field", ["schema", "hardware", "rounds", "empty", "json"])
def test_a_baseline_that_does_not_hold_is_bad_input(tmp_path: Path, field: str) -> None:
    path = file_of(tmp_path, MACHINE)
    write_baseline(path, Baseline(SCHEMA, MACHINE, "", {}, {"a": Times([1.0], 0.5)}))
    content = json.loads(path.read_bytes())
    match field:
        case "schema":
            content["schema"] = 99
        case "hardware":
            content["hardware"]["cores"] = 64
        case "rounds":
            content["benchmarks"]["a"]["relative"] = [-1.0]
        case "empty":
            content["benchmarks"]["a"]["relative"] = []
    path.write_text("{" if field == "json" else json.dumps(content))
    with pytest.raises(InputError, match="no baseline"):
        read_baseline(path)


def test_a_report_of_the_benchmarks_is_read() -> None:
    own = {"name": "a", "stats": {"data": [0.2, 0.4], "min": 0.2}, "extra_info": {"calibration": [0.1, 0.1]}}
    assert read_report(json.dumps({"benchmarks": [own], "version": "5"}).encode()) == {
        "a": Times([pytest.approx(2.0), pytest.approx(4.0)], pytest.approx(0.3))  # type: ignore[list-item, arg-type]
    }


@pytest.mark.parametrize("content", [b"", b"{}", b'{"benchmarks": []}', b"\xff"])
def test_a_report_without_times_is_of_broken_paths(content: bytes) -> None:
    with pytest.raises(Broken):
        read_report(content)


def test_runs_are_pooled_round_by_round() -> None:
    first, second = {"a": Times([1.0, 2.0], 0.1), "b": Times([1.0], 0.1)}, {"a": Times([3.0], 0.3)}
    assert pooled([first, second]) == {"a": Times([1.0, 2.0, 3.0], pytest.approx(0.2))}  # type: ignore[arg-type]


def test_the_clock_leaves_out_what_others_took(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = tmp_path / "schedstat"
    monkeypatch.setattr(clock, "SCHEDULED", told)
    started = clock.synchronised()
    told.write_text("5 3000000000 7\n")
    assert clock.synchronised() - started == pytest.approx(-3.0, abs=0.5)
    told.write_text("nonsense")
    assert clock.synchronised() >= started
    assert 0 < clock.calibrate() < 5
