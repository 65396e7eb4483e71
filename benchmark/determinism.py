"""What makes a cell's result a function of its specification: threads, algorithms, global seeds."""

from __future__ import annotations

import os

import torch

from benchmark.seeding import derive, seed_globals


def make_deterministic(threads: int) -> None:
    """Fix the threads and ask for deterministic algorithms; call once in a process, before any computation."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling new memory guards buggy code, for 4 % of the time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def seed_cell(seed: int, *depends: object) -> None:
    """Seed the global generators for one step of a cell."""
    seed_globals(derive(seed, "globals", *depends))
