"""What a cell runs in: device, threads, and where artifacts are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmark.artifacts.store import ArtifactStore
from benchmark.discovery.source import digest
from benchmark.environment import versions


@dataclass(frozen=True)
class Context:
    """Device, threads a cell, the artifact store, and the versions that an artifact depends on."""

    device: torch.device
    threads: int
    artifacts: ArtifactStore

    def artifact(self, module: str, key: dict[str, Any], build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Tensors of ``key`` from the store, or built and kept.

        What every artifact depends on is added to the key: the source of ``module`` and its imports, the device's
        type, the number of threads and torch's version.
        """
        full = {
            **key,
            "source": [digest(module), digest("benchmark.determinism")],
            "device": self.device.type,
            "threads": self.threads,
            "torch": str(torch.__version__),
            "libraries": {name: versions()[name] for name in ("torchvision", "timm")},
        }
        return self.artifacts.get_or_build(full, build)
