"""Rows of tensors: gathered quickly, on the host where they do not fit on a device, and what fits there."""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Callable

import torch
from torch import Tensor

#: A tensor stays on the host unless it takes at most so much of a device's free memory: networks need the rest.
SHARE = 0.5


def taken(rows: Tensor, index: Tensor | slice) -> Tensor:
    """``rows[index]``; on a CPU each row at ``index`` (B,) int64 is copied as a whole, up to twenty times as fast."""
    if isinstance(index, slice) or index.dtype != torch.int64 or index.dim() != 1 or rows.device.type != "cpu":
        return rows[index]
    try:
        return rows.index_select(0, index)
    except IndexError:  # some are counted from the end, which this does not know
        return rows[index]


class Rows:
    """Rows of a tensor on the host that are gathered when they are asked for: for reading, like a tensor (n, ...).

    ``stored`` (N, ...) may be mapped and larger than the memory; ``positions`` (n,) int64 are those in it, all where
    they are left out.
    """

    def __init__(self, stored: Tensor, positions: Tensor | None = None) -> None:
        self.stored = stored
        self.positions = torch.arange(len(stored)) if positions is None else positions
        self.shape = torch.Size((len(self.positions), *stored.shape[1:]))
        self.dtype, self.device = stored.dtype, stored.device

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.moved(index, self.device)

    def cpu(self) -> Tensor:
        """All of them, in memory."""
        return self[:]

    def subset(self, index: Tensor | slice) -> Rows:
        """Those at ``index``, not copied."""
        return Rows(self.stored, self._at(index))

    def moved(self, index: Tensor | slice, device: torch.device) -> Tensor:
        """Those at ``index`` as a tensor on ``device``; on a CUDA device it may still be on its way there.

        The device then copies from page-locked memory, which is not used again before it has, and nobody waits.
        """
        chosen, locked = self._at(index), device.type == "cuda"
        announce(self.stored, chosen)
        shape = (len(chosen), *self.shape[1:])
        rows = torch.index_select(self.stored, 0, chosen, out=torch.empty(shape, dtype=self.dtype, pin_memory=locked))
        return rows.to(device, non_blocking=locked)

    def _at(self, index: Tensor | slice) -> Tensor:
        return self.positions[index if isinstance(index, slice) else index.to(self.device)]


def announce(stored: Tensor, index: Tensor) -> None:
    """Tell the system that the rows at ``index`` (n,) are about to be read, so that a disk reads them all at once.

    Otherwise each page is waited for where ``stored`` is mapped and not in memory: six times as long.
    """
    size = stored[:1].nbytes
    if _madvise is None or size < mmap.PAGESIZE or not stored.is_contiguous():
        return
    start = stored.data_ptr() + index * size
    page = start - start % mmap.PAGESIZE
    for address, length in zip(page.tolist(), (start - page + size).tolist(), strict=True):
        _madvise(address, length, mmap.MADV_WILLNEED)


def _system_call() -> Callable[[int, int, int], int] | None:
    """The C library's madvise(address, length, advice), which cannot change what is read; None where it has none."""
    if not hasattr(mmap, "MADV_WILLNEED"):
        return None
    call = ctypes.CDLL(None).madvise
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return call


_madvise = _system_call()


def free_memory(device: torch.device) -> float:
    """Bytes that tensors can still take on a CUDA device; no end of them on others, which share the host's or none."""
    if device.type != "cuda":
        return math.inf
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def fits(size: int, free: float) -> bool:
    """Whether a tensor of ``size`` bytes is moved to a device with ``free`` bytes: it takes at most SHARE of them."""
    return size <= SHARE * free
