"""How close generated samples are to real ones: Fréchet distance, kernel distance, precision and recall of features.

All four are computed by torch-fidelity (extra ``gan``; Obukhov et al., 2020) from features (N, F); no distance is
computed here. It gets the features in float64: in float32 the mean of features that are large beside their spread
loses digits that the Fréchet distance needs, and distances between neighbours lose so many that precision and recall
change. Covariances may be singular, because features are constant (a ReLU that never fires) or because there are fewer
samples than features: the square root's trace is then off by some 1e-7 of the covariances' traces.

An ``Extractor`` makes the features: torch-fidelity's Inception, a network of ours that is registered with
torch-fidelity, or nothing at all for points in the plane. Values from different extractors do not compare, nor do those
from different numbers of samples: the Fréchet distance is biased upwards where samples are few (Bińkowski et al.,
"Demystifying MMD GANs", arXiv:1801.01401), precision and recall depend on how dense the samples lie.
"""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmark import compat
from benchmark.contracts import Measured
from benchmark.errors import InputError
from benchmark.models.surgery import state_hash

#: Inception's last pooling layer, and what the only layer of a registered network is called.
POOL, LAYER = "2048", "features"
#: SHA-256 of the file of Inception's weights that torch-fidelity downloads; its name has the first eight digits.
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INSTEAD = "or let `features` of the scenario name a network that is trained for the purpose"


def available() -> bool:
    """Whether torch-fidelity (extra ``gan``) can be imported, and torchvision, without which it cannot."""
    return all(find_spec(name) is not None for name in ("torch_fidelity", "torchvision"))


def _fidelity(module: str) -> ModuleType:
    """A module of torch-fidelity; InputError where it is not installed."""
    if not available():
        raise InputError("distances to real images need torch-fidelity: pip install 'amendbench[gan,vision]'")
    compat.torchvision()
    return import_module(f"torch_fidelity.{module}")


class Extractor(Protocol):
    """Images (N, C, H, W) uint8, or points (N, D) of floats, to features (N, F) float32 on the CPU."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class _Network:
    """A feature extractor of torch-fidelity's, run in batches where its weights are.

    ``channels``: numbers of them that images may have, repeated to 3 where there is 1; empty where a network of ours
    is run, which has its own numbers and may be one of points.
    """

    name: str
    network: Any
    batch: int
    channels: tuple[int, ...] = ()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        self._check(images)
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        features = torch.cat([self._features(part.to(device)) for part in images.split(self.batch)])
        if features.dim() != 2:
            raise ValueError(f"features of {self.name} must be (N, F), not {tuple(features.shape)}")
        return features

    def _features(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1 and self.channels:
            images = images.expand(-1, 3, -1, -1)
        features: Tensor = self.network(images)[0]
        return features.float().cpu()

    def _check(self, images: Tensor) -> None:
        are_images = images.dim() == 4 and images.dtype == torch.uint8
        if not are_images and (self.channels or not _points(images)):
            raise ValueError(f"{self.name} takes images (N, C, H, W) in uint8, not {_kind(images)}")
        if self.channels and images.shape[1] not in self.channels:
            raise ValueError(f"{self.name} takes images of 1 or 3 channels, not {images.shape[1]}")


@dataclass(frozen=True)
class _Coordinates:
    name: str = "coordinates"

    def __call__(self, images: Tensor) -> Tensor:
        if not _points(images):
            raise ValueError(f"only points (N, D) of floats are their own features, not {_kind(images)}")
        return images.detach().float().cpu()


def _points(x: Tensor) -> bool:
    return x.dim() == 2 and x.is_floating_point()


def _kind(x: Tensor) -> str:
    return f"{tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}"


def coordinates() -> Extractor:
    """Points (N, D) are their own features; ValueError for images."""
    return _Coordinates()


def registered(name: str, network: nn.Module, inputs: Callable[[Tensor], Tensor], batch: int = 500) -> Extractor:
    """A copy of ``network``, which maps ``inputs(images)`` (B, ...) to features (B, F), registered with torch-fidelity.

    ``inputs`` makes normalised floats of uint8 images (B, C, H, W), or of points; it runs where the network's weights
    are. The extractor's name, by which torch-fidelity's own functions know it too, ends in a hash of the network's
    form and weights: registering it again changes nothing. ``inputs`` is not in the hash: one network, one ``inputs``.
    """
    registry = _fidelity("registry")
    kept = copy.deepcopy(network).eval().requires_grad_(False)
    form = hashlib.sha256(f"{kept}{state_hash(kept)}".encode()).hexdigest()[:16]
    unique, cls = f"{name}-{form}", _subclass(kept, inputs)
    if unique not in registry.FEATURE_EXTRACTORS_REGISTRY:
        registry.register_feature_extractor(unique, cls)
    return _Network(unique, cls(unique, [LAYER]).eval(), batch)


def _subclass(network: nn.Module, inputs: Callable[[Tensor], Tensor]) -> type[Any]:
    """A class of torch-fidelity's kind, of which every instance has its own copy of ``network``."""
    base: Any = _fidelity("feature_extractor_base").FeatureExtractorBase

    class Features(base):
        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)
            self.network = copy.deepcopy(network)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return (LAYER,)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LAYER

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, images: Tensor) -> tuple[Tensor]:
            return (self.network(inputs(images)),)

    return Features


def inception(batch: int = 100, device: torch.device | str = "cpu") -> Extractor:
    """torch-fidelity's ``inception-v3-compat``: 2048 features of images (N, 1 or 3, H, W), grey ones repeated.

    Its weights (95 MB) are taken from torch.hub's folder, or downloaded into it. torch-fidelity would unpickle
    whatever the file holds; here the file is checked by its hash and loaded as tensors only. InputError, which says
    where the file has to lie, if it cannot be had or is another one.
    """
    module = _fidelity("feature_extractor_inceptionv3")
    weights = io.BytesIO()
    torch.save(_weights(module.URL_INCEPTION_V3), weights)
    weights.seek(0)
    name = "inception-v3-compat"
    network = module.FeatureExtractorInceptionV3(name, [POOL], feature_extractor_weights_path=weights)
    return _Network(name, network.to(device), batch, channels=(1, 3))


def _weights(url: str) -> dict[str, Tensor]:
    """Inception's weights by name."""
    path = Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=INCEPTION_SHA256, progress=False)
        content = path.read_bytes()
    except (OSError, HTTPException, RuntimeError) as error:  # no network, a connection lost, another file
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        what = f"torch-fidelity's weights of Inception cannot be had ({reason.rstrip('.')})"
        raise InputError(f"{what}; put {url} into {path}, or set TORCH_HOME, {INSTEAD}") from error
    if hashlib.sha256(content).hexdigest() != INCEPTION_SHA256:
        raise InputError(f"{path} is not the file that {url} had: remove it, {INSTEAD}")
    weights: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return weights


def frechet(generated: Tensor, real: Tensor) -> Measured:
    """Fréchet distance (FID) of features (N, F) and (M, F), F >= 2; n = N; blank where N or M is below 2.

    ||m - m'||^2 + tr(S + S' - 2 (S S')^(1/2)) of means and covariances (Heusel et al., arXiv:1706.08500, eq. 6), at
    least 0: what rounding makes of it where there is no difference can be below. Blank, as the other metrics here,
    where a feature is not finite; ValueError for other shapes.
    """
    pair = _pair(generated, real, least=2)
    if pair is None:
        return Measured(None, len(generated))
    module = _fidelity("metric_fid")
    statistics = [module.fid_features_to_statistics(features) for features in pair]
    found = module.fid_statistics_to_metric(*statistics, verbose=False)
    return Measured(max(0.0, found[module.KEY_METRIC_FID]), len(generated))


def kernel(generated: Tensor, real: Tensor, subsets: int = 20, size: int = 1000, seed: int = 0) -> Measured:
    """Kernel distance (KID) of features (N, F) and (M, F): the mean over ``subsets`` random subsets of each; n = N.

    The unbiased estimate of the squared maximum mean discrepancy under the kernel (x . y / F + 1)^3 (Bińkowski et al.,
    arXiv:1801.01401), which may be negative. A subset has ``size`` samples, at most as many as the smaller set, all of
    which it then has. Blank where N or M is below 2.
    """
    pair = _pair(generated, real, least=2)
    if pair is None:
        return Measured(None, len(generated))
    module = _fidelity("metric_kid")
    found = module.kid_features_to_metric(
        *pair,
        kid_subsets=subsets,
        kid_subset_size=min(size, *map(len, pair)),
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=seed % 2**32,
        verbose=False,
    )
    return Measured(found[module.KEY_METRIC_KID_MEAN], len(generated))


def precision_recall(generated: Tensor, real: Tensor, most: int = 3000, k: int = 3) -> tuple[Measured, Measured]:
    """Precision and recall in percent of features (N, F) and (M, F) (Kynkäänniemi et al., arXiv:1904.06991, sec. 2).

    Precision: the share of generated samples within the distance from a real one to its ``k``-th nearest other real
    one; recall: the same with the sets exchanged. Of more than ``most`` samples of a set, ``most`` evenly spaced ones
    are taken; n: how many generated ones were. Blank where a set has no more than ``k`` samples.
    """
    n = min(len(generated), most)
    pair = _pair(thinned(generated, most), thinned(real, most), least=k + 1)
    if pair is None:
        return Measured(None, n), Measured(None, n)
    module = _fidelity("metric_prc")
    found = module.prc_features_to_metric(*pair, prc_neighborhood=k, verbose=False)
    keys = (module.KEY_METRIC_PRECISION, module.KEY_METRIC_RECALL)
    precision, recall = (Measured(100.0 * found[key], n) for key in keys)
    return precision, recall


def thinned(samples: Tensor, most: int) -> Tensor:
    """``most`` evenly spaced rows of ``samples`` (N, ...), the first one among them; all of no more than ``most``."""
    n = len(samples)
    return samples if n <= most else samples[torch.arange(most, device=samples.device) * n // most]


def _pair(generated: Tensor, real: Tensor, least: int) -> list[Tensor] | None:
    """Both sets of features in float64 on the CPU; None if one has fewer rows than ``least`` or is not finite."""
    if generated.dim() != 2 or real.dim() != 2 or generated.shape[1] != real.shape[1] or real.shape[1] < 2:
        shapes = f"{tuple(generated.shape)} and {tuple(real.shape)}"
        raise ValueError(f"features must be (N, F) and (M, F), F at least 2, not {shapes}")
    pair = [features.detach().double().cpu() for features in (generated, real)]
    if min(map(len, pair)) < least or not all(bool(features.float().isfinite().all()) for features in pair):
        return None
    return pair
