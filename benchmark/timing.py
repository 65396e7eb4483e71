"""What a method call costs: wall and device seconds with the device synchronised on both sides, and peak memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


@dataclass
class Lap:
    """What a part of a block cost, peak memory of the block up to its end included."""

    seconds: float = 0.0
    device_seconds: float = 0.0
    peak_bytes: int | None = None


class Stopwatch:
    """Sums the cost of the blocks that it runs.

    seconds: wall time; device_seconds: CUDA events on a GPU, else CPU time of all threads of the process;
    peak_bytes: most memory that a block took beyond what was in use before it (None where it cannot be known).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0
        self.device_seconds = 0.0
        self.peak_bytes: int | None = None
        self._before: int | None = None

    @contextmanager
    def lap(self) -> Iterator[Lap]:
        """Measure a part of the running block; its cost stays on the block's bill."""
        lap, before = Lap(), (self.device_seconds, self.seconds)
        cpu, wall = self._now()
        yield lap
        end_cpu, end_wall = self._now()
        lap.seconds = end_wall - wall + self.seconds - before[1]  # with what was added meanwhile
        lap.device_seconds = end_cpu - cpu + self.device_seconds - before[0]
        on_gpu = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) if on_gpu else _resident("VmHWM")
        if self._before is not None and peak is not None:
            lap.peak_bytes = max(0, peak - self._before)

    def add(self, lap: Lap) -> None:
        """Put on the bill what an earlier run has paid."""
        self.seconds += lap.seconds
        self.device_seconds += lap.device_seconds
        if lap.peak_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, lap.peak_bytes)

    def _now(self) -> tuple[float, float]:
        """Device and wall clock in seconds; on a GPU both are the wall's, with the device synchronised."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            return time.perf_counter(), time.perf_counter()
        return time.process_time(), time.perf_counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time the block. What an exception leaves unfinished is counted up to it."""
        on_gpu = self.device.type == "cuda"
        events: tuple[torch.cuda.Event, torch.cuda.Event] | None = None
        if on_gpu:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
            before: int | None = torch.cuda.memory_allocated(self.device)
            events = (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            events[0].record()
        else:
            before = _reset_peak()
        self._before = before
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            yield
        finally:
            if events is not None:
                events[1].record()
                torch.cuda.synchronize(self.device)
                self.device_seconds += events[0].elapsed_time(events[1]) / 1000
                peak: int | None = torch.cuda.max_memory_allocated(self.device)
            else:
                self.device_seconds += time.process_time() - cpu
                peak = _resident("VmHWM")
            self.seconds += time.perf_counter() - wall
            if before is not None and peak is not None:
                self.peak_bytes = max(self.peak_bytes or 0, peak - before)


def warm_up(device: str) -> None:
    """Run a little of everything once, so that loading libraries is on no cell's bill."""
    layers = [torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(288, 8)]
    model = torch.nn.Sequential(*layers).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    logits = model(torch.ones(4, 1, 8, 8, device=device))
    torch.nn.functional.cross_entropy(logits, torch.arange(4).to(device)).backward()
    optimiser.step()
    matrix = torch.eye(8, device=device)
    torch.cholesky_solve(matrix, torch.linalg.cholesky(matrix @ matrix))


def _resident(field: str) -> int | None:
    """Bytes of a memory field of this process (Linux), else None."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _reset_peak() -> int | None:
    """Set the peak of resident memory back to what is resident now, and return that; None where that cannot be.

    What earlier blocks freed is handed back to the system first, or a later one would take it unseen.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
    except (OSError, AttributeError):
        return None
    return _resident("VmRSS")
