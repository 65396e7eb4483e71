"""Files of weights hold tensors, and no code that runs when they are read."""

from __future__ import annotations

import os


def tensors_only() -> None:
    """Make every ``torch.load`` of this process and those that it starts refuse what is no tensor.

    Libraries that fetch published weights ask for less: torch.hub, which torchvision uses, unpickles whatever lies in
    its folder under the right name.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)  # torch takes no two answers
