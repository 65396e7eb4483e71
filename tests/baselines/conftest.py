"""What the tests of baselines share: a small data set."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from benchmark.data.views import Samples


@pytest.fixture(scope="session")
def digits() -> Samples:
    """600 handwritten digits of 8 x 8 pixels."""
    raw = load_digits()
    images = torch.tensor(raw.images[:600] * 16).clamp(0, 255).to(torch.uint8)[:, None]
    return Samples(images, torch.tensor(raw.target[:600]), (0.305,), (0.376,))
