"""Slots: where the worker processes of a run are, each with cores or a GPU of its own where there are enough."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark import environment
from benchmark.running.locks import try_lock

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


def locks_folder(cache: Path) -> Path:
    """Where the locks on this machine's cores are; a cache folder may be that of several machines."""
    return cache / "cores" / socket.gethostname()


@contextmanager
def taken(jobs: int, threads: int, device: str, cache: Path) -> Iterator[list[Slot]]:
    """:func:`slots` on cores that are this run's in the block: runs at once on a machine, of one user, have others.

    Where there are not enough that no other run holds, no worker is pinned and none is exclusive.
    """
    with ExitStack() as held:
        folder = locks_folder(cache)
        wanted, free = (jobs * threads if device == "cpu" else 0), list[int]()
        for core in environment.cores():
            if len(free) < wanted and held.enter_context(try_lock(folder / f"{core}.lock")):
                free.append(core)
        yield slots(jobs, threads, device, free)


def slots(jobs: int, threads: int, device: str, available: Sequence[int] | None = None) -> list[Slot]:
    """One a worker: disjoint cores where there are enough, else none is pinned or exclusive; GPUs in turn.

    ``available``: the cores that may be used; None for all that this process may.
    """
    if device != "cpu":
        gpus = visible_gpus(device)
        return [Slot((), jobs <= len(gpus), gpus[i % len(gpus)]) for i in range(jobs)]
    every = environment.cores()
    available = every if available is None else available
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    # Other tasks of the node would see the same cores and take them.
    unbound = granted.isdecimal() and int(granted) < len(every)
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
