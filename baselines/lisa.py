"""LISA: mixup of samples that share the label or the attribute, but not both (Yao et al., 2022, arXiv:2201.00299)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from baselines.mixup import beta_numbers, mixed_cross_entropy
from benchmark.contracts import Access, DebiasProblem, method
from benchmark.errors import InputError
from benchmark.training.sampling import fit, uniformly


class Partners:
    """For each sample those that are of the ``same`` and, at once, of another ``other``; both (N,) int64 on the CPU.

    Samples are kept in order of (same, other): a sample's partners are its block of ``same`` without its own group,
    which is one stretch of the block. ``count`` (N,) says how many they are.
    """

    def __init__(self, same: Tensor, other: Tensor) -> None:
        key = same * (int(other.max()) + 1) + other
        self._order = key.argsort(stable=True)
        block, group = same[self._order], key[self._order]
        self._start, end = torch.searchsorted(block, same), torch.searchsorted(block, same, right=True)
        self._own = torch.searchsorted(group, key)
        self._size = torch.searchsorted(group, key, right=True) - self._own
        self.count = end - self._start - self._size

    def draw(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """A partner of each sample at ``index`` (B,), all equally likely; the sample itself where there is none."""
        number = torch.rand(len(index), generator=generator, dtype=torch.float64) * self.count[index]
        place = self._start[index] + number.long()
        place += (place >= self._own[index]) * self._size[index]
        return torch.where(self.count[index] > 0, self._order[place.clamp_max(len(self._order) - 1)], index)


def partners_of(
    index: Tensor, by_label: Partners, by_attribute: Partners, p_sel: float, generator: torch.Generator
) -> Tensor:
    """(B,) partners: with probability ``p_sel`` of the same label, else of the same attribute; if need be the other."""
    same_label = torch.rand(len(index), generator=generator) < p_sel
    same_label = (same_label & (by_label.count[index] > 0)) | (by_attribute.count[index] == 0)
    return torch.where(same_label, by_label.draw(index, generator), by_attribute.draw(index, generator))


@dataclass(frozen=True)
class Pairs:
    """What a step mixes: ``share`` (B,) of the samples at ``index`` with the rest of those at ``partner``."""

    index: Tensor
    partner: Tensor
    share: Tensor


def pairs(problem: DebiasProblem, alpha: float, p_sel: float) -> Iterator[Pairs]:
    """Uniformly drawn samples with a partner each, and a lambda ~ Beta(alpha, alpha) for each pair; for ever."""
    everything, generator = problem.train.everything(), problem.generator("partners")
    numbers = beta_numbers(alpha, problem.generator("shares"))
    labels, attributes = everything.y.cpu(), everything.a.cpu()
    by_label, by_attribute = Partners(labels, attributes), Partners(attributes, labels)
    for index in uniformly(problem, problem.generator("batches")):
        partner = partners_of(index.cpu(), by_label, by_attribute, p_sel, generator)
        share = torch.from_numpy(numbers.beta(alpha, alpha, len(index)).astype(np.float32))
        yield Pairs(index, partner.to(index.device), share.to(index.device))


@method("lisa", tasks="debias-known", paper="arXiv:2201.00299", access=Access(train="xya"))
def lisa(
    problem: DebiasProblem,
    *,
    alpha: float = 2.0,
    p_sel: float = 0.5,
    lr_scale: float = 1.0,
    decay_scale: float = 1.0,
) -> nn.Module:
    """LISA (Yao et al., 2022), mixing inputs: mixup, not cutmix.

    ``p_sel`` is the probability of a partner with the same label and another attribute (intra-label LISA); otherwise
    it has the same attribute and another label (intra-domain LISA).
    """
    if not 0 <= p_sel <= 1:
        raise InputError(f"lisa: p_sel must be in [0, 1], not {p_sel}")
    model, view = problem.model, problem.train

    def loss(pair: Pairs) -> Tensor:
        one, two = view.batch(pair.index), view.batch(pair.partner)
        return mixed_cross_entropy(model, (one.x, one.y), (two.x, two.y), pair.share)

    items = pairs(problem, alpha, p_sel)
    fit(problem, model, items, loss, watch=problem.watch, lr_scale=lr_scale, decay_scale=decay_scale)
    return model
