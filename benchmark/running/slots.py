"""Slots: where the worker processes of a run are, each with cores or a GPU of its own where there are enough."""

from __future__ import annotations

import os
from dataclasses import dataclass

from benchmark import environment

VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Slot:
    """Where one worker runs.

    ``cores`` (empty: not pinned), ``exclusive``: whether nothing else of the run shares them or the GPU, and ``gpu``,
    as CUDA_VISIBLE_DEVICES names it; None where the worker sees what its parent sees.
    """

    cores: tuple[int, ...]
    exclusive: bool
    gpu: str | None = None


def slots(jobs: int, threads: int, device: str) -> list[Slot]:
    """One a worker: disjoint cores where there are enough, else none is pinned or exclusive; GPUs in turn."""
    if device != "cpu":
        gpus = visible_gpus(device)
        return [Slot((), jobs <= len(gpus), gpus[i % len(gpus)]) for i in range(jobs)]
    available = environment.cores()
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    unbound = granted.isdecimal() and int(granted) < len(
        available
    )  # other tasks see the same cores and would take them
    if unbound or jobs * threads > len(available):
        return [Slot((), False)] * jobs
    return [Slot(tuple(available[i * threads : (i + 1) * threads]), True) for i in range(jobs)]


def default_jobs(threads: int, device: str) -> int:
    """As many workers as there are cores for; one a GPU that may be used."""
    return max(1, len(environment.cores()) // threads) if device == "cpu" else len(visible_gpus(device))


def visible_gpus(device: str) -> list[str]:
    """What may be used of ``cuda`` (all) or ``cuda:N`` (one), as CUDA_VISIBLE_DEVICES names them; never empty."""
    listed = os.environ.get(VISIBLE)
    names = _counted() if listed is None else [name.strip() for name in listed.split(",") if name.strip()]
    number = int(device.partition(":")[2] or -1)
    chosen = names if number < 0 else names[number : number + 1]
    return chosen or [""]  # none: torch says so


def _counted() -> list[str]:
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]
