"""Guarded, counted views of device-resident data: the only way in which a method sees samples.

A view refuses fields that the method did not declare, counts what is read, and gives no more distinct samples than
the declared limit. Images stay on the device as uint8 and are normalised batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.contracts import FIELDS, Access, Ledger


@dataclass(frozen=True)
class Samples:
    """Samples on one device.

    images: (N, C, H, W) uint8 in 0..255, or (N, D) float32 used as it is; labels: (N,) int64; attributes: (N,) int64
    or None; masks: (N, H, W) bool or None; mean and std: C channel statistics of images / 255. ``channels_last``: the
    memory format of inputs, which convolutions want and networks that flatten their input at once do not.
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

    def inputs(self, index: Tensor | slice = slice(None)) -> Tensor:
        """Normalised float32 network inputs; (B, C, H, W), or (B, D)."""
        images = self.images[index]
        if images.dtype != torch.uint8:
            return images
        shape = (1, -1, 1, 1)
        mean = torch.tensor(self.mean, device=images.device).view(shape)
        std = torch.tensor(self.std, device=images.device).view(shape)
        scaled = images.float().div_(255)
        if any(self.mean) or any(s != 1 for s in self.std):
            scaled.sub_(mean).div_(std)
        return scaled.contiguous(memory_format=torch.channels_last) if self.channels_last else scaled

    def subset(self, index: Tensor) -> Samples:
        """The samples at ``index`` (int64)."""
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            attributes=None if self.attributes is None else self.attributes[index],
            masks=None if self.masks is None else self.masks[index],
        )

    def to(self, device: torch.device) -> Samples:
        attributes, masks = (None if t is None else t.to(device) for t in (self.attributes, self.masks))
        images, labels = self.images.to(device), self.labels.to(device)
        return replace(self, images=images, labels=labels, attributes=attributes, masks=masks)


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
        self._touched = torch.zeros(len(samples), dtype=torch.bool, device=samples.images.device)
        self._seen = {letter: torch.zeros_like(self._touched) for letter in FIELDS}
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
        return self._samples.images.device

    def read(self, letter: str, index: Tensor) -> Tensor:
        """Field ``letter`` (of "xyam") at ``index`` (int64), guarded and counted; what is refused is not counted."""
        what = FIELDS[letter]
        if not self._open:
            raise self._ledger.refuse(f"{what} of the {self.name} view were asked for after the method's call")
        if letter not in self._fields:
            raise self._ledger.refuse(f"{what} of the {self.name} view were asked for but not declared")
        if index.dtype != torch.int64:
            raise TypeError(f"samples of a view are chosen by int64 indices, not {index.dtype}")
        stored = {"y": self._samples.labels, "a": self._samples.attributes, "m": self._samples.masks}.get(letter)
        if stored is None and letter != "x":
            raise self._ledger.refuse(f"the {self.name} view has no {what}")
        if self._limit is not None:
            touched = self._touched.index_fill(0, index, True)
            if int(touched.sum()) > self._limit:
                raise self._ledger.refuse(f"more than {self._limit} samples of the {self.name} view were asked for")
            self._touched = touched
        self._seen[letter][index] = True
        self._passes += len(index) if letter == "x" else 0
        return self._samples.inputs(index) if stored is None else stored[index]

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
                self.read(letter, index)
        self._passes += tally.passes - int(tally.seen["x"].sum())

    def batch(self, index: Tensor) -> Batch:
        return Batch(self, index)

    def everything(self) -> Batch:
        return Batch(self, torch.arange(len(self), device=self.device))

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """One epoch of batches, shuffled by ``generator``, in order without one.

        A last batch shorter than half of ``size`` is left out of a shuffled epoch (batch norm on a handful of
        samples is noise), unless it is the only one.
        """
        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        order = order.to(self.device)
        for start in range(0, n, size):
            index = order[start : start + size]
            if generator is not None and start and len(index) * 2 < size:
                return
            yield Batch(self, index)

    def endless(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Shuffled epochs, one after the other, for ever."""
        while True:
            yield from self.batches(size, generator)

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` samples at random without replacement; all where there are fewer."""
        return Batch(self, torch.randperm(len(self), generator=generator)[:n].to(self.device))

    def draw_per_class(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` samples of every class at random; that they are drawn by class counts as reading their labels."""
        if "y" not in self._fields:
            raise self._ledger.refuse(f"labels of the {self.name} view were asked for but not declared")
        order = torch.randperm(len(self), generator=generator)
        labels = self._samples.labels.cpu()[order]
        chosen = torch.cat([order[labels == c][:n] for c in labels.unique()]).to(self.device)
        batch = Batch(self, chosen)
        self.read("y", chosen)
        return batch


@dataclass(frozen=True)
class Batch:
    """Some samples of a view; reading a field goes through the view's guard."""

    view: View
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    @property
    def x(self) -> Tensor:
        return self.view.read("x", self.index)

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
        for index in self.index.split(size):
            yield Batch(self.view, index)
