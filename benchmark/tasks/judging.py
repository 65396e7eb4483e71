"""Who judges generated images, and in what features they are compared: networks that share no seed.

The network that gives feedback learns from one half of the training set, the one that counts what is left and the one
that gives features from the other. What tuning sees are further ones. They are the same for every seed of a run: an
error of theirs is common to all. Modes of a mixture need no network: the nearest mode gives feedback and judges.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor, nn

from benchmark.data.removal import Removal, shifted
from benchmark.data.views import Samples
from benchmark.discovery.source import digest
from benchmark.errors import InputError
from benchmark.metrics import fidelity
from benchmark.models.classifiers import build_classifier
from benchmark.models.judges import ClassJudge, HueJudge, NearestJudge
from benchmark.models.surgery import captured_inputs, head
from benchmark.seeding import derive
from benchmark.tasks import base_models
from benchmark.tasks.gan_feature_removal import GanFeatureRemoval

if TYPE_CHECKING:
    from benchmark.artifacts.context import Context

#: What for a result is judged: to be reported, or to choose hyper-parameters.
Stage = Literal["report", "selection"]


class Penultimate(nn.Module):
    """What enters a classifier's head, (B, D)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        with captured_inputs(head(self.network)) as seen:
            self.network(x)
        return seen.pop().flatten(1)


class _Told(NamedTuple):
    """What a network learns: samples whose labels are to be told apart, and how many labels there are."""

    samples: Samples
    num_classes: int


def feedback(scenario: GanFeatureRemoval, seed: int, data: Removal, context: Context) -> nn.Module:
    """The judge that methods may ask."""
    undesired = scenario.removed(seed)
    if scenario.feature == "modes":
        return NearestJudge(centres(data.train, data.num_values), undesired)
    return ClassJudge(_network(scenario, "feedback", _features_told(data.first, data), data, context), undesired[0])


def judge(
    scenario: GanFeatureRemoval, seed: int, data: Removal, context: Context, stage: Stage = "report"
) -> nn.Module:
    """The judge that counts what is left: exact for hues and modes, else a classifier of its own."""
    undesired = scenario.removed(seed)
    if scenario.feature == "modes":
        return NearestJudge(centres(data.train, data.num_values), undesired)
    if scenario.feature == "colour":
        return HueJudge(undesired[0])
    told = _features_told(data.second, data)
    return ClassJudge(_network(scenario, f"judge for {stage}", told, data, context), undesired[0])


def extractor(
    scenario: GanFeatureRemoval, data: Removal, context: Context, stage: Stage = "report"
) -> fidelity.Extractor:
    """Where distances to real images are measured."""
    if scenario.features == "coordinates":
        return fidelity.coordinates()
    if scenario.features == "inception":
        return fidelity.inception()
    network = classifier(scenario, data, context, stage)
    return fidelity.registered(f"{scenario.data}-{stage}", Penultimate(network), partial(_inputs, data.train))


def classifier(scenario: GanFeatureRemoval, data: Removal, context: Context, stage: Stage = "report") -> nn.Module:
    """The network that tells labels apart, whose features distances are measured in: (B, C, H, W) to (B, labels)."""
    return _network(scenario, f"features for {stage}", _Told(data.second, data.num_classes), data, context)


def _inputs(like: Samples, images: Tensor) -> Tensor:
    """Inputs in [-1, 1] of images (B, C, H, W) uint8."""
    return Samples(images, images, like.mean, like.std).inputs()


def centres(samples: Samples, num_values: int) -> Tensor:
    """Mean of the points of every value of the feature, (K, D)."""
    assert samples.attributes is not None
    return torch.stack([samples.images[samples.attributes == k].mean(0) for k in range(num_values)])


def _features_told(samples: Samples, data: Removal) -> _Told:
    assert samples.attributes is not None
    values = Samples(samples.images, samples.attributes, samples.mean, samples.std)
    return _Told(values, data.num_values)


def _network(scenario: GanFeatureRemoval, role: str, told: _Told, data: Removal, context: Context) -> nn.Module:
    judges = scenario.judges
    if judges is None:
        raise InputError(f"judges is missing: images of {scenario.data} are judged by classifiers")
    samples = shifted(told.samples) if judges.shifted else told.samples
    key = {
        "data": scenario.data,
        "checksum": data.checksum,
        "feature": scenario.feature,
        "images": [scenario.size, scenario.crop],
        "role": role,
        "labels": told.num_classes,
        "images of judges": digest("benchmark.data.removal"),
        "shifted": judges.shifted,
        "pretrained": judges.pretrained,
    }
    build = partial(build_classifier, judges.model, told.num_classes, data.shape, pretrained=judges.pretrained)
    seed = derive(0, "judges", role)
    return base_models.trained(
        samples, told.num_classes, judges.model, judges.training, seed, context, key, build
    ).requires_grad_(False)
