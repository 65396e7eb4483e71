"""Coloured MNIST: one colour a class, as Learning from Failure makes it (Nam et al., 2020, arXiv:2007.02561).

The mean colours and the spread by severity are those that its authors published with their code.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Mean colour of each attribute, red, green and blue in [0, 1].
MEAN_COLOURS = (
    (0.9837, 0.3125, 0.1686),
    (0.9905, 0.9156, 0.3515),
    (0.6730, 0.4611, 0.5798),
    (0.7833, 0.8316, 0.6013),
    (0.0880, 0.7780, 0.9818),
    (0.3214, 0.9611, 0.4464),
    (0.0246, 0.2357, 0.7587),
    (0.5552, 0.1016, 0.7618),
    (0.2077, 0.3929, 0.0187),
    (0.8337, 0.2024, 0.2669),
)
#: Standard deviation of a colour's channels by severity, 1 to 5: the milder the spread, the plainer the bias.
SPREAD = {1: 0.05, 2: 0.02, 3: 0.01, 4: 0.005, 5: 0.002}


def colour(grey: Tensor, attributes: Tensor, severity: int, generator: torch.Generator) -> Tensor:
    """Images (N, 3, H, W) uint8: each grey image (N, 1, H, W) uint8 in the colour of its attribute (N,).

    A sample's colour is its attribute's mean plus one normal draw a channel, clipped to [0, 1]; products are rounded
    down to 8 bits.
    """
    means = torch.tensor(MEAN_COLOURS)[attributes]
    drawn = means + torch.randn(means.shape, generator=generator) * SPREAD[severity]
    return (grey.float() * drawn.clamp(0, 1)[:, :, None, None]).to(torch.uint8)


def assign(labels: Tensor, num_attributes: int, conflicting: float, within: Tensor | None = None) -> Tensor:
    """Attributes (N,) int64 by position in each class: the share 1 - conflicting has attribute = label.

    The rest is spread equally over the other attributes; the bounds between them are rounded cumulative counts. The
    same numbers of samples get the same attributes whenever this is called. ``within`` (N,) are finer classes to count
    in, each of one label, so that no attribute falls to one of them alone.
    """
    attributes = torch.empty_like(labels)
    strata = labels if within is None else within
    for stratum in strata.unique().tolist():
        index = (strata == stratum).nonzero().squeeze(1)
        shares = torch.full((num_attributes,), conflicting / (num_attributes - 1), dtype=torch.float64)
        shares[labels[index[0]]] = 1 - conflicting
        bounds = (shares.cumsum(0) * len(index)).round().long()
        attributes[index] = torch.searchsorted(bounds, torch.arange(len(index)), right=True)
    return attributes
