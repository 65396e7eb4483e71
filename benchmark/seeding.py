"""Every random number comes from a generator derived from (suite seed, role, what it depends on)."""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, role: str, *depends: object) -> int:
    """A seed in [0, 2^63) for one role; distinct for every role and everything that the role depends on."""
    text = json.dumps([seed, role, *depends], sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, role: str, *depends: object, device: str = "cpu") -> torch.Generator:
    """A torch generator seeded by :func:`derive`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, role, *depends))


def seed_globals(seed: int) -> None:
    """Seed the global generators, which libraries (initialisers, dropout, scikit-learn) fall back on."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
