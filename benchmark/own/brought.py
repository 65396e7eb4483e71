"""What a user brings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Brought:
    """What a user brought and asks for; empty or None where nothing was said.

    ``data``: a folder of pictures; ``attributes``: a CSV file; ``attribute``: the column that matters; ``weights``: a
    safetensors file; ``forget``: a class, or several with commas.
    ``normalise``: imagenet, none, or means and deviations as m,m,m/s,s,s.
    """

    data: Path
    task: str
    model: str
    name: str = ""
    attributes: Path | None = None
    attribute: str = ""
    weights: Path | None = None
    pretrained: bool = False
    forget: str = ""
    layer: str = ""
    size: int | None = None
    fit: str = "crop"
    normalise: str = "imagenet"
    grey: bool = False
    epochs: int = 20
    lr: float | None = None
    batch_size: int = 64
