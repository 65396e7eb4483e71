"""A clock for benchmarks that waits for the device, and a fixed piece of work to compare times with."""

from __future__ import annotations

import time
from pathlib import Path

import torch

#: Side of the calibration's square matrices, how many products of them, and additions in plain Python: 3 ms or so.
SIDE, PRODUCTS, ADDITIONS = 96, 60, 60_000
#: Nanoseconds that this thread has run, and has waited for a core while others had it (Linux).
SCHEDULED = Path("/proc/thread-self/schedstat")
#: Times that the two clocks are read until they belong together.
TRIES = 10


def synchronised() -> float:
    """Seconds, when all that was given to a GPU is done, without those that this thread waited for a core.

    pytest-benchmark's timer. What other processes take on a busy machine is not counted; sleeping, reading and the
    device are. Where the system does not tell, it is the performance counter.
    """
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    before = _waited()
    for _ in range(TRIES):
        now = time.perf_counter()
        waited = _waited()
        if waited == before:  # nobody came between the two clocks
            break
        before = waited
    return now - waited


def _waited() -> float:
    try:
        return int(SCHEDULED.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def calibrate(device: str = "cpu") -> float:
    """Seconds that this machine takes right now for the same work each time: half of it tensors, half of it Python."""
    matrix = torch.full((SIDE, SIDE), 1 / SIDE, device=device)
    total = 0
    started = synchronised()
    product = matrix
    for _ in range(PRODUCTS):
        product = torch.relu(product @ matrix) + matrix
    for number in range(ADDITIONS):
        total += number
    return synchronised() - started
