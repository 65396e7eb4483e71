"""What a call costs, and where it was run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmark import environment
from benchmark.determinism import make_deterministic, seed_cell
from benchmark.errors import InputError
from benchmark.timing import Lap, Stopwatch

CPU = torch.device("cpu")


def test_blocks_add_up_and_what_lies_between_is_not_counted() -> None:
    watch = Stopwatch(CPU)
    for _ in range(2):
        with watch.running():
            time.sleep(0.05)
        time.sleep(0.2)
    assert 0.1 <= watch.seconds < 0.2
    assert watch.device_seconds < 0.1


def test_device_seconds_are_processor_time() -> None:
    watch = Stopwatch(CPU)
    with watch.running():
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
    assert watch.device_seconds == pytest.approx(0.1, abs=0.03)
    assert watch.seconds >= 0.09


def test_a_block_that_fails_is_counted() -> None:
    def fails() -> None:
        with watch.running():
            time.sleep(0.02)
            raise ValueError("no")

    watch = Stopwatch(CPU)
    with pytest.raises(ValueError, match="no"):
        fails()
    assert watch.seconds >= 0.02


def test_a_lap_measures_its_part_and_the_bill_stays_the_blocks() -> None:
    watch = Stopwatch(CPU)
    with watch.running():
        time.sleep(0.05)
        with watch.lap() as lap:
            time.sleep(0.1)
    assert 0.1 <= lap.seconds < 0.15
    assert lap.seconds + 0.05 <= watch.seconds < 0.25  # once
    assert lap.device_seconds < 0.05


def test_a_laps_peak_is_that_of_its_block_so_far() -> None:
    watch = Stopwatch(CPU)
    with watch.running(), watch.lap() as lap:
        _ = torch.ones(8_000_000)
    if watch.peak_bytes is None:
        pytest.skip("this system does not tell")
    assert lap.peak_bytes is not None
    assert 25e6 < lap.peak_bytes <= watch.peak_bytes


def test_an_earlier_laps_cost_is_put_on_the_bill() -> None:
    watch = Stopwatch(CPU)
    watch.add(Lap(2.0, 3.0, None))
    assert (watch.seconds, watch.device_seconds, watch.peak_bytes) == (2.0, 3.0, None)
    watch.add(Lap(1.0, 0.5, 700))
    watch.add(Lap(0.0, 0.0, 300))
    assert (watch.seconds, watch.device_seconds, watch.peak_bytes) == (3.0, 3.5, 700)


@pytest.fixture
def fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("AMENDBENCH_CACHE", str(tmp_path / "cache"))
    environment.machine.cache_clear()
    yield tmp_path / "cache"
    environment.machine.cache_clear()


def test_a_machine_keeps_its_identity(fresh_machine: Path) -> None:
    first = environment.machine()
    assert len(first) == 12
    environment.machine.cache_clear()
    assert environment.machine() == first
    assert [p.name for p in fresh_machine.iterdir()] == ["machine-id"]
    (fresh_machine / "machine-id").unlink()
    environment.machine.cache_clear()
    assert environment.machine() != first


def test_what_another_process_wrote_first_stays(fresh_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def raced(source: Path, target: Path) -> None:
        target.write_text("the-first-id")
        link(source, target)

    monkeypatch.setattr(os, "link", raced)
    assert environment.machine() == "the-first-id"
    assert [p.name for p in fresh_machine.iterdir()] == ["machine-id"]


def test_a_cache_that_cannot_be_written_is_bad_input(fresh_machine: Path) -> None:
    fresh_machine.write_text("in the way")
    with pytest.raises(InputError, match="set AMENDBENCH_CACHE"):
        environment.machine()


def test_cores_are_ours_and_distinct() -> None:
    cores = environment.cores()
    assert cores
    assert len(set(cores)) == len(cores)
    if hasattr(os, "sched_getaffinity"):
        assert set(cores) <= os.sched_getaffinity(0)


def test_a_description_names_packages_machine_and_device() -> None:
    told = environment.describe("the device")
    assert told["torch"] == torch.__version__.partition("+")[0]
    assert told["device"] == "the device"
    assert told["machine"] == environment.machine()
    assert {"python", "platform", "processor", "commit", "numpy", "scipy", "scikit-learn"} <= told.keys()


def test_a_cell_is_seeded_by_what_it_depends_on() -> None:
    def drawn(*depends: object) -> float:
        seed_cell(0, *depends)
        return float(torch.rand(()))

    assert drawn("a", 1) == drawn("a", 1)
    assert len({drawn("a", 1), drawn("a", 2), drawn("b", 1)}) == 3


def test_deterministic_algorithms_are_asked_for(deterministic: None) -> None:
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(2)
    make_deterministic(1)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    assert not torch.backends.cudnn.benchmark
