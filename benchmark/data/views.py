"""Guarded, counted views of device-resident data: the only way in which a method sees samples.

A view refuses fields that the method did not declare, counts what is read, and gives no more distinct samples than
the declared limit. Images stay on the device as uint8 and are normalised batch by batch. Where they do not fit there
they stay on the host and a batch's are moved when it is read, as uint8 still: nobody who reads a view can tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import repeat
from typing import cast

import torch
from torch import Tensor

from benchmark.contracts import FIELDS, Access, Ledger
from benchmark.data.rows import Rows, fits, free_memory, taken

#: Bytes of float32 inputs that a CPU computes at a time: of large ones more would go to memory and back at each step.
CACHED = 1 << 21


@dataclass(frozen=True)
class Samples:
    """Samples on one device, that of the labels; images may be streamed to it from the host.

    images: (N, C, H, W) uint8 in 0..255, or (N, D) float32 used as it is, or ``Rows`` of such a tensor, which stand for
    it and are streamed; labels: (N,) int64; attributes: (N,) int64 or None; masks: (N, H, W) bool or None; mean and
    std: C channel statistics of images / 255. ``channels_last``: the memory format of inputs, which convolutions want
    and networks that flatten their input at once do not.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    attributes: Tensor | None = None
    masks: Tensor | None = None
    channels_last: bool = True

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Where inputs come to lie, and labels, attributes and masks do."""
        return self.labels.device

    @property
    def rows(self) -> Rows | None:
        """The images where they are streamed; None where they are on the device."""
        return self.images if isinstance(self.images, Rows) else None

    def inputs(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Normalised float32 network inputs; (B, C, H, W), or (B, D).

        Streamed images are moved without waiting for them; ``index`` is best on the host for those.
        """
        images = taken(self.images, index) if self.rows is None else self.rows.moved(index, self.device)
        if images.dtype != torch.uint8:
            return images
        memory = torch.channels_last if self.channels_last and images.shape[1] > 1 else torch.contiguous_format
        at_once = max(1, CACHED // (4 * math.prod(images.shape[1:])))
        if images.device.type != "cpu" or len(images) <= at_once:
            return self._normalised(images).contiguous(memory_format=memory)
        found = torch.empty(images.shape, memory_format=memory)
        for place, part in zip(found.split(at_once), images.split(at_once), strict=True):
            place.copy_(self._normalised(part))
        return found

    def _normalised(self, images: Tensor) -> Tensor:
        scaled = images.float().div_(255)
        if any(self.mean) or any(s != 1 for s in self.std):
            mean, std = _statistics(self.mean, self.std, images.device)
            scaled.sub_(mean).div_(std)
        return scaled

    def subset(self, index: Tensor) -> Samples:
        """The samples at ``index`` (int64); streamed images are not copied."""
        return replace(
            self,
            images=taken(self.images, index) if self.rows is None else cast(Tensor, self.rows.subset(index)),
            labels=self.labels[index],
            attributes=None if self.attributes is None else self.attributes[index],
            masks=None if self.masks is None else self.masks[index],
        )

    def to(self, device: torch.device) -> Samples:
        """The same samples on ``device``; streamed to it where images do not fit there (``fits``), or are already.

        Nothing that is read of them depends on whether they are. On a CPU nothing is moved.
        """
        here = self.images.device.type == "cpu"
        if self.rows is not None or (here and not fits(self.images.nbytes, free_memory(device))):
            return self.streamed(device)
        return self._beside(self.images.to(device), device)

    def streamed(self, device: torch.device) -> Samples:
        """The same samples with images on the host, where they stay, and all else on ``device``."""
        rows = Rows(self.images.cpu()) if self.rows is None else self.rows
        return self._beside(cast(Tensor, rows), device)

    def _beside(self, images: Tensor, device: torch.device) -> Samples:
        attributes, masks = (None if t is None else t.to(device) for t in (self.attributes, self.masks))
        return replace(self, images=images, labels=self.labels.to(device), attributes=attributes, masks=masks)


@lru_cache(maxsize=64)
def _statistics(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Both as (1, C, 1, 1) float32 on ``device``; kept, for to make them there is to wait for it."""
    centre, spread = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))
    return centre, spread


@dataclass
class Tally:
    """seen: letter -> (N,) bool, which samples were read; passes: image reads with repetition."""

    seen: dict[str, Tensor]
    passes: int


class View:
    """A method's window on samples. Indices are positions within the view."""

    def __init__(self, name: str, samples: Samples, access: Access, ledger: Ledger) -> None:
        self.name = name
        self._samples = samples
        self._fields = access.views.get(name, "")
        self._limit = access.max_samples.get(name)
        self._ledger = ledger
        self._touched = torch.zeros(len(samples), dtype=torch.bool, device=samples.device)
        self._seen = {letter: torch.zeros_like(self._touched) for letter in FIELDS}
        if samples.rows is not None:  # what is gathered on the host is counted there
            self._seen["x"] = self._seen["x"].cpu()
        self._passes = 0
        self._open = True

    def close(self) -> None:
        """The method's call is over: what is asked for from now on is refused."""
        self._open = False

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def refusals(self) -> int:
        """How many reads of the method were refused so far, of whichever view."""
        return len(self._ledger.violations)

    @property
    def device(self) -> torch.device:
        return self._samples.device

    def read(self, letter: str, index: Tensor, host: Tensor | None = None) -> Tensor:
        """Field ``letter`` (of "xyam") at ``index`` (int64), guarded and counted; what is refused is not counted.

        ``host``: the same positions on the host, by which streamed images are gathered without waiting for the device.
        """
        stored = self._guarded(letter, index)
        if letter == "x" and self._samples.rows is not None:
            index = index.cpu() if host is None or self._limit is not None else host
        found = self._samples.inputs(index) if stored is None else taken(stored, index)
        self._mark(letter, index)
        return found

    def _guarded(self, letter: str, index: Tensor) -> Tensor | None:
        """What field ``letter`` is taken from, None for images, if it may be read at ``index``."""
        what = FIELDS[letter]
        if not self._open:
            raise self._ledger.refuse(f"{what} of the {self.name} view were asked for after the method's call")
        if letter not in self._fields:
            raise self._ledger.refuse(f"{what} of the {self.name} view were asked for but not declared")
        if index.dtype != torch.int64 or index.dim() != 1:
            shape = tuple(index.shape)
            raise TypeError(f"samples of a view are chosen by int64 indices (B,), not {index.dtype} {shape}")
        stored = {"y": self._samples.labels, "a": self._samples.attributes, "m": self._samples.masks}.get(letter)
        if stored is None and letter != "x":
            raise self._ledger.refuse(f"the {self.name} view has no {what}")
        if self._limit is not None:
            touched = self._touched.index_fill(0, index, True)
            if int(touched.sum()) > self._limit:
                raise self._ledger.refuse(f"more than {self._limit} samples of the {self.name} view were asked for")
            self._touched = touched
        return stored

    def _mark(self, letter: str, index: Tensor) -> None:
        self._seen[letter].index_fill_(0, index, True)
        self._passes += len(index) if letter == "x" else 0

    def counts(self) -> dict[str, int]:
        """Distinct samples read, by field, and image reads with repetition."""
        names = {"x": "samples", "y": "labels", "a": "attributes", "m": "masks", "w": "networks"}
        read = {names[letter]: int(seen.sum()) for letter, seen in self._seen.items()}
        return {**{name: n for name, n in read.items() if n}, "passes": self._passes}

    def tally(self) -> Tally:
        """What has been read of this view so far."""
        return Tally(dict(self._seen), self._passes)

    def count(self, tally: Tally) -> None:
        """Count what was read elsewhere in this view's stead; it is guarded as if it were read now."""
        for letter, seen in tally.seen.items():
            index = seen.to(self.device).nonzero().squeeze(1)
            if len(index):
                self._guarded(letter, index)
                self._mark(letter, index.to(self._seen[letter].device))
        self._passes += tally.passes - int(tally.seen["x"].sum())

    def batch(self, index: Tensor) -> Batch:
        """The samples at ``index`` (int64), on the device or, best for streamed images, on the host."""
        return Batch(self, index) if index.device == self.device else self._drawn(index)

    def everything(self) -> Batch:
        return self._drawn(torch.arange(len(self)))

    def _drawn(self, host: Tensor) -> Batch:
        """A batch of positions that were drawn on the host."""
        return Batch(self, host.to(self.device), host)

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """One epoch of batches, shuffled by ``generator``, in order without one.

        A last batch shorter than half of ``size`` is left out of a shuffled epoch (batch norm on a handful of
        samples is noise), unless it is the only one.
        """
        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        whole = self._drawn(order)
        for start, batch in zip(range(0, n, size), whole.split(size), strict=False):
            if generator is not None and start and len(batch) * 2 < size:
                return
            yield batch

    def endless(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Shuffled epochs, one after the other, for ever."""
        while True:
            yield from self.batches(size, generator)

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` samples at random without replacement; all where there are fewer."""
        return self._drawn(torch.randperm(len(self), generator=generator)[:n])

    def draw_per_class(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` samples of every class at random; that they are drawn by class counts as reading their labels."""
        if "y" not in self._fields:
            raise self._ledger.refuse(f"labels of the {self.name} view were asked for but not declared")
        order = torch.randperm(len(self), generator=generator)
        labels = self._samples.labels.cpu()[order]
        batch = self._drawn(torch.cat([order[labels == c][:n] for c in labels.unique()]))
        self.read("y", batch.index)
        return batch


@dataclass(frozen=True)
class Batch:
    """Some samples of a view; reading a field goes through the view's guard.

    index: (B,) int64 positions on the view's device; ``host``: the same on the host, where that is known.
    """

    view: View
    index: Tensor
    host: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def x(self) -> Tensor:
        return self.view.read("x", self.index, self.host)

    @property
    def y(self) -> Tensor:
        return self.view.read("y", self.index)

    @property
    def a(self) -> Tensor:
        return self.view.read("a", self.index)

    @property
    def masks(self) -> Tensor:
        return self.view.read("m", self.index)

    def split(self, size: int) -> Iterator[Batch]:
        """The same samples in smaller batches, in order."""
        hosts = repeat(None) if self.host is None else self.host.split(size)
        for index, host in zip(self.index.split(size), hosts, strict=False):
            yield Batch(self.view, index, host)
