"""Stages that methods of one file share: kept in the artifact store with their bill, which every user pays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from benchmark.artifacts.context import Context
from benchmark.data.views import Tally, View
from benchmark.discovery.source import digest
from benchmark.errors import AccessViolation
from benchmark.seeding import derive
from benchmark.timing import Lap, Stopwatch

_COST = "bill.cost"


def bill(lap: Lap, views: Iterable[View]) -> dict[str, Tensor]:
    """What something cost and has read of the views so far, to be kept beside it."""
    peak = -1.0 if lap.peak_bytes is None else float(lap.peak_bytes)
    found = {_COST: torch.tensor([lap.seconds, lap.device_seconds, peak], dtype=torch.float64)}
    for view in views:
        tally = view.tally()
        found[f"bill.{view.name}.passes"] = torch.tensor(tally.passes)
        found |= {f"bill.{view.name}.{letter}": seen for letter, seen in tally.seen.items()}
    return found


def charge(kept: Mapping[str, Tensor], watch: Stopwatch, views: Iterable[View]) -> None:
    """Put a bill that was kept on a stopwatch and on views, which guard it as if it were read now."""
    seconds, device_seconds, peak = kept[_COST].tolist()
    watch.add(Lap(seconds, device_seconds, None if peak < 0 else int(peak)))
    for view in views:
        prefix = f"bill.{view.name}."
        seen = {name.removeprefix(prefix): t for name, t in kept.items() if name.startswith(prefix)}
        view.count(Tally(seen, int(seen.pop("passes"))))


class StoredStages:
    """Stages of one call of a method: ``key`` names everything that they depend on but hyper-parameters and source.

    A stage is on the bill with all that its builder had read by then, so that nothing gets past the guard of a method
    that may read less. While it is built nothing says which classes go, and global generators are apart.
    """

    def __init__(
        self,
        context: Context,
        watch: Stopwatch,
        problem: Any,
        views: tuple[View, ...],
        module: str,
        key: dict[str, Any],
    ) -> None:
        self._context = context
        self._watch = watch
        self._problem = problem
        self._views = views
        self._module = module
        self._key = {**key, "kind": "stage", "bill": digest(__name__), "place": str(context.device)}

    def get(
        self, name: str, build: Callable[[], dict[str, Tensor]], depends: Mapping[str, object]
    ) -> dict[str, Tensor]:
        """The stage's tensors; one that is in the store is billed, and guarded, as if it had been computed now."""
        fresh = False

        def measured() -> dict[str, Tensor]:
            nonlocal fresh
            fresh = True
            return self._measured(name, build)

        kept = self._context.artifact(self._module, {**self._key, "name": name, "depends": dict(depends)}, measured)
        if not fresh:
            charge(kept, self._watch, self._views)
        own = {name: tensor for name, tensor in kept.items() if not name.startswith("bill.")}
        return {name: tensor.to(self._context.device) for name, tensor in own.items()}

    def _measured(self, name: str, build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        refused = self._refused()
        with self._watch.lap() as lap, self._apart(name):
            tensors = dict(build())
        if self._refused() > refused:  # also where the builder swallowed the error: nobody may find this stage
            raise AccessViolation(f"stage {name!r} was built by a refused read")
        return tensors | bill(lap, self._views)

    def _refused(self) -> int:
        return max((view.refusals for view in self._views), default=0)

    @contextmanager
    def _apart(self, name: str) -> Iterator[None]:
        """Global generators of its own, and no names of classes."""
        device, told = self._context.device, getattr(self._problem, "forget_classes", ())
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(derive(0, "stage", name))
            self._problem.forget_classes = ()
            try:
                yield
            finally:
                self._problem.forget_classes = told
