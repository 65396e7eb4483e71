"""Stages that methods of one file share: kept in the artifact store with their bill, which every user pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from benchmark.data.views import Tally, View
from benchmark.running.context import Context
from benchmark.timing import Lap, Stopwatch

_COST = "bill.cost"


class StoredStages:
    """Stages of one call of a method: ``key`` names everything that they depend on but hyper-parameters and source."""

    def __init__(
        self, context: Context, watch: Stopwatch, views: tuple[View, ...], module: str, key: dict[str, Any]
    ) -> None:
        self.context = context
        self.watch = watch
        self.views = views
        self.module = module
        self.key = key

    def get(
        self, name: str, build: Callable[[], dict[str, Tensor]], depends: Mapping[str, object]
    ) -> dict[str, Tensor]:
        """The stage's tensors; one that is in the store is billed, and guarded, as if it had been computed now."""
        fresh = False

        def measured() -> dict[str, Tensor]:
            nonlocal fresh
            fresh = True
            return self._measured(build)

        key = {**self.key, "kind": "stage", "name": name, "depends": dict(depends)}
        kept = self.context.artifact(self.module, key, measured)
        if not fresh:
            self._bill(kept)
        own = {name: tensor for name, tensor in kept.items() if not name.startswith("bill.")}
        return {name: tensor.to(self.context.device) for name, tensor in own.items()}

    def _measured(self, build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        with ExitStack() as stack:
            lap = stack.enter_context(self.watch.lap())
            tallies = {view.name: stack.enter_context(view.tallied()) for view in self.views}
            tensors = dict(build())
        peak = -1.0 if lap.peak_bytes is None else float(lap.peak_bytes)
        tensors[_COST] = torch.tensor([lap.seconds, lap.device_seconds, peak], dtype=torch.float64)
        for name, tally in tallies.items():
            tensors[f"bill.{name}.passes"] = torch.tensor(tally.passes)
            tensors |= {f"bill.{name}.{letter}": seen for letter, seen in tally.seen.items()}
        return tensors

    def _bill(self, kept: Mapping[str, Tensor]) -> None:
        seconds, device_seconds, peak = kept[_COST].tolist()
        self.watch.add(Lap(seconds, device_seconds, None if peak < 0 else int(peak)))
        for view in self.views:
            prefix = f"bill.{view.name}."
            seen = {name.removeprefix(prefix): t for name, t in kept.items() if name.startswith(prefix)}
            view.count(Tally(seen, int(seen.pop("passes"))))
