"""How networks are trained."""

from __future__ import annotations

from typing import Literal

import msgspec


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier is trained from scratch: SGD with Nesterov momentum, or Adam; lr is the schedule's peak.

    The schedule ``one-cycle`` (Smith, 2018) moves the momentum, too: from 0.95 to 0.85 while the rate rises and back;
    ``momentum`` is that of SGD with the schedule ``constant``. ``weighted``: the loss weighs classes by max(n) / n_k.
    """

    epochs: int
    lr: float
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    optimiser: Literal["sgd", "adam"] = "sgd"
    weighted: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(f"momentum {self.momentum} must be in [0, 1), weight_decay {self.weight_decay} at least 0")
        if self.schedule == "one-cycle" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with schedule one-cycle, which moves it from 0.95 to 0.85")
        if self.optimiser == "adam" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with optimiser adam")


class StepRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier is trained for a number of steps at a constant rate, looked at ``checkpoints`` times on the way.

    A batch has ``per_class`` times the number of classes samples. SGD has plain momentum; AdamW has none of it.
    """

    steps: int
    per_class: int
    lr: float
    weight_decay: float
    momentum: float = 0.9
    optimiser: Literal["sgd", "adamw"] = "sgd"
    checkpoints: int = 20

    def __post_init__(self) -> None:
        for name in ("steps", "per_class", "lr", "checkpoints"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.checkpoints > self.steps:
            raise ValueError(f"checkpoints must be at most steps ({self.steps}), not {self.checkpoints}")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(f"momentum {self.momentum} must be in [0, 1), weight_decay {self.weight_decay} at least 0")
        if self.optimiser == "adamw" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with optimiser adamw")
