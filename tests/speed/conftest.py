"""How hot paths are timed: fixed rounds, each beside a calibration, so that a busy machine can be told from slow code.

Under xdist, or where benchmarks are disabled, every work is done once. AMENDBENCH_SPEED_ROUNDS and
AMENDBENCH_SPEED_DEVICE are set by ``amendbench check``.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from benchmark.gate.clock import calibrate

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

if importlib.util.find_spec("pytest_benchmark") is None:  # the extra "speed" is not installed
    collect_ignore_glob = ["test_*.py"]

ROUNDS = int(os.environ.get("AMENDBENCH_SPEED_ROUNDS", "3"))
WARM_UP = 2

Timed = Callable[[Callable[[], Any]], Any]


@pytest.fixture(scope="session")
def device() -> str:
    """What the hot paths run on."""
    return os.environ.get("AMENDBENCH_SPEED_DEVICE", "cpu")


@pytest.fixture
def timed(benchmark: BenchmarkFixture, device: str) -> Timed:
    """``timed(work)``: what the last round gave; each round's calibration is kept beside its time."""

    def run(work: Callable[[], Any]) -> Any:
        laps: list[float] = []

        def before() -> None:
            laps.append(calibrate(device))

        result = benchmark.pedantic(work, setup=before, rounds=ROUNDS, iterations=1, warmup_rounds=WARM_UP)
        benchmark.extra_info["calibration"] = laps[-ROUNDS:]
        return result

    return run
