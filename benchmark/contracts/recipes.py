"""How networks are trained."""

from __future__ import annotations

from typing import Literal

import msgspec

#: More networks than these in one stack would need more memory than they save time.
MOST_STACKED = 512


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a classifier is trained from scratch: SGD with Nesterov momentum, or Adam; lr is the schedule's peak.

    The schedule ``one-cycle`` (Smith, 2018) moves the momentum, too: from 0.95 to 0.85 while the rate rises and back;
    ``momentum`` is that of SGD with the schedule ``constant``. ``weighted``: the loss weighs classes by max(n) / n_k.
    ``augmentation`` changes training images at random, ``crop-flip``: cut after padding by four pixels, and mirrored.
    ``precision`` of the forward pass, weights are float32: with ``bf16`` convolutions and products are rounded to 8
    bits, otherwise on every kind of processor. ``stacked``: the networks of so many seeds, from a multiple of it on,
    are trained together in one step (training.stacking); a seed's result depends on it by the rounding of sums.
    """

    epochs: int
    lr: float
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    optimiser: Literal["sgd", "adam"] = "sgd"
    weighted: bool = False
    augmentation: Literal["none", "crop-flip"] = "none"
    precision: Literal["float32", "bf16"] = "float32"
    stacked: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr", "stacked"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.stacked > MOST_STACKED:
            raise ValueError(f"stacked must be at most {MOST_STACKED}, not {self.stacked}")
        if not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(f"momentum {self.momentum} must be in [0, 1), weight_decay {self.weight_decay} at least 0")
        if self.schedule == "one-cycle" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with schedule one-cycle, which moves it from 0.95 to 0.85")
        if self.optimiser == "adam" and self.momentum != 0.9:
            raise ValueError("momentum cannot be chosen with optimiser adam")


def seeds_together(training: object, seed: int) -> range:
    """The seeds whose networks are trained in one stack with that of ``seed``: that one alone for other recipes."""
    size = training.stacked if isinstance(training, Recipe) else 1
    first = seed - seed % size
    return range(first, first + size)


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


class GanRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a generative adversarial network is trained: non-saturating logistic losses, Adam with betas (beta1, beta2).

    ``r1`` is gamma in gamma/2 E ||grad D(x)||^2 over real x (Mescheder et al., 2018), taken every ``r1_every`` steps
    and so many times as large; ``path_length`` weighs the generator's path length penalty (Karras et al., 2020), every
    ``path_every`` steps likewise, where the generator has one. A network with such a lazy penalty is trained with rate
    lr c and betas to the power c, c = every / (every + 1). ``averaging``: what the averaged weights keep of themselves
    in a step.
    """

    steps: int
    batch_size: int
    lr_generator: float
    lr_discriminator: float
    beta1: float = 0.5
    beta2: float = 0.99
    r1: float = 0.0
    r1_every: int = 16
    path_length: float = 0.0
    path_every: int = 4
    averaging: float = 0.995

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "lr_generator", "lr_discriminator", "r1_every", "path_every"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("beta1", "beta2", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)}")
        for name in ("r1", "path_length"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
