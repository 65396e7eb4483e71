"""What methods are told of an artefact, where that is less than everything: few samples, and wrong labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.data.views import Samples
from benchmark.errors import InputError
from benchmark.seeding import generator


def told(samples: Samples, per_kind: int, noise: float, seed: int) -> Samples:
    """``samples`` with attributes (N,), or ``per_kind`` of those with the artefact and as many without, at random.

    Of their labels the share ``noise``, rounded to a whole number, is wrong. 0 of either leaves all as it is; fewer
    samples are among more for the same seed. InputError where there are not as many.
    """
    found = _few(samples, per_kind, seed) if per_kind else samples
    return _flipped(found, noise, seed) if noise else found


def _few(samples: Samples, per_kind: int, seed: int) -> Samples:
    assert samples.attributes is not None
    has, rng = samples.attributes.cpu() == 1, generator(seed, "concept", "samples")
    kinds = [mask.nonzero().squeeze(1) for mask in (has, ~has)]
    if min(map(len, kinds)) < per_kind:
        with_it, without = map(len, kinds)
        raise InputError(f"concept_samples {per_kind}: {with_it} samples have the artefact and {without} do not")
    chosen = torch.cat([kind[torch.randperm(len(kind), generator=rng)[:per_kind]] for kind in kinds])
    return samples.subset(chosen.sort().values.to(samples.device))


def _flipped(samples: Samples, noise: float, seed: int) -> Samples:
    assert samples.attributes is not None
    order = torch.randperm(len(samples), generator=generator(seed, "concept", "noise"))
    wrong: Tensor = order[: round(noise * len(samples))].to(samples.device)
    attributes = samples.attributes.clone()
    attributes[wrong] = 1 - attributes[wrong]
    return replace(samples, attributes=attributes)
