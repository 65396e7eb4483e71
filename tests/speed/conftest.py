"""How speed is timed: with a clock that waits for the device and leaves out what the thread waited for a core.

``timed`` is for the regression gate: rounds of one work, each beside a calibration. ``beside`` and ``within`` are for
``make speed``: a work beside the plain way of writing it, round by round in one run, and a work with a limit in
seconds. Where benchmarks are disabled every work is done once, small. AMENDBENCH_SPEED_ROUNDS and
AMENDBENCH_SPEED_DEVICE are set by ``amendbench check`` and ``amendbench speed``, the latter's AMENDBENCH_SPEED_FULL
makes works as large as the table says.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pytest

from benchmark.gate.clock import calibrate, synchronised

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

if importlib.util.find_spec("pytest_benchmark") is None:  # the extra "speed" is not installed
    collect_ignore_glob = ["*/test_*.py"]

ROUNDS = int(os.environ.get("AMENDBENCH_SPEED_ROUNDS", "3"))
WARM_UP = 2

T = TypeVar("T")
Timed = Callable[[Callable[[], Any]], Any]


class Beside(Protocol):
    """``beside(ours, plain, title, way)``: what the last round of both gave, for the test to compare.

    ``title`` names the hot path and ``way`` the plain way of writing it, in the table. ``bar``: how many times as
    fast it must be, on ``bar_on`` ("cpu" or "cuda"; on both if left out). ``amount`` of ``unit`` is done in a call.
    """

    def __call__(
        self,
        ours: Callable[[], T],
        plain: Callable[[], T],
        title: str,
        way: str,
        *,
        bar: float | None = None,
        bar_on: str = "",
        amount: float | None = None,
        unit: str = "",
    ) -> tuple[T, T]: ...


class Within(Protocol):
    """``within(work, title, limit)``: what the last round gave; the table says whether the median is below ``limit``.

    ``limit`` in seconds, on ``limit_on`` ("cpu" or "cuda"; on both if left out).
    """

    def __call__(self, work: Callable[[], T], title: str, limit: float | None, *, limit_on: str = "") -> T: ...


@pytest.fixture(scope="session")
def device() -> str:
    """What the hot paths run on."""
    return os.environ.get("AMENDBENCH_SPEED_DEVICE", "cpu")


@pytest.fixture(scope="session")
def on_cpu(device: str) -> None:
    """For works that no device takes part in: they are no figures of a GPU."""
    if device != "cpu":
        pytest.skip("on the CPU only")


@pytest.fixture(scope="session")
def full() -> bool:
    """Whether works are of the size that the table is about; small ones only show that both ways agree."""
    return "AMENDBENCH_SPEED_FULL" in os.environ


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


@pytest.fixture
def beside(benchmark: BenchmarkFixture, device: str, one_thread: None) -> Beside:
    """A work beside the plain way of writing it, which runs right before it in every round."""

    def run(
        ours: Callable[[], T],
        plain: Callable[[], T],
        title: str,
        way: str,
        *,
        bar: float | None = None,
        bar_on: str = "",
        amount: float | None = None,
        unit: str = "",
    ) -> tuple[T, T]:
        laps: list[float] = []
        last: list[T] = []

        def before() -> None:
            started = synchronised()
            last[:] = [plain()]
            laps.append(synchronised() - started)

        result = benchmark.pedantic(ours, setup=before, rounds=ROUNDS, iterations=1, warmup_rounds=1)
        bar = bar if bar_on in ("", device) else None
        told = {"title": title, "way": way, "plain": laps[-ROUNDS:], "bar": bar, "amount": amount, "unit": unit}
        benchmark.extra_info.update(told)
        return result, last[0]

    return run


@pytest.fixture
def within(benchmark: BenchmarkFixture, device: str, one_thread: None) -> Within:
    """A work with a limit in seconds."""

    def run(work: Callable[[], T], title: str, limit: float | None, *, limit_on: str = "") -> T:
        limit = limit if limit_on in ("", device) else None
        benchmark.extra_info.update({"title": title, "limit": limit})
        return benchmark.pedantic(work, rounds=ROUNDS, iterations=1, warmup_rounds=1)

    return run
