"""What SVD class forgetting costs as networks grow (arXiv:2312.00761): seconds of its parts, beside training steps.

Networks are not trained and images are noise: neither the number of operations nor the memory depends on what is in
them. There is one thread, whose own seconds count, and as few and as small images as a point under a minute allows; a
layer keeps no more than 10,000 of their patches or tokens, as in the method.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark import compat
from benchmark.errors import InputError, unknown
from benchmark.models.layer_inputs import input_matrices, weight_matrices
from benchmark.models.sampled_inputs import Inputs
from benchmark.seeding import derive
from benchmark.studies.measuring.forget_problems import one_thread
from methods.svd_forgetting import needless, projectors, updated

CLASSES = 100
PATCHES = 10000
ALPHA_R, ALPHA_F = 100.0, 3.0
#: Images a pass and a training step.
BATCH = 32
FIELDS = ("network", "width", "depth", "size", "images")


def plain(width: int, depth: int, size: int) -> nn.Module:
    """``depth`` convolutions of 3 x 3 and equal width, at full resolution, pooling and one linear layer."""
    layers: list[nn.Module] = []
    for i in range(depth):
        layers += [nn.Conv2d(width if i else 3, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


def residual(name: str) -> Callable[[int, int, int], nn.Module]:
    """torchvision's network of that name."""
    return lambda width, depth, size: compat.torchvision().models.get_model(name, weights=None, num_classes=CLASSES)


def transformer(name: str) -> Callable[[int, int, int], nn.Module]:
    """timm's network of that name, with patches of 16 x 16, for images of ``size`` pixels."""
    return lambda width, depth, size: compat.timm().create_model(name, num_classes=CLASSES, img_size=size)


#: (width, depth, size) -> network; only the plain one takes width and depth.
NETWORKS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "plain": plain,
    "resnet-18": residual("resnet18"),
    "resnet-34": residual("resnet34"),
    "resnet-50": residual("resnet50"),
    "vit-ti": transformer("vit_tiny_patch16_224"),
    "vit-s": transformer("vit_small_patch16_224"),
    "vit-b": transformer("vit_base_patch16_224"),
}


@one_thread
def measure(point: dict[str, Any], seed: int) -> dict[str, float]:
    """Seconds of the processor for ``images`` images to retain and as many to forget, of ``size`` x ``size`` pixels.

    ``passes``: the network's own forward passes; ``matrices``: A A^T of what enters its layers, on the way;
    ``factors``: Cholesky factors and edits; ``total``; each part also in percent of it (``passes.share`` and so on).
    ``step``: one training step of a batch of 32, ``trained``: how many images training sees in the ``total`` seconds.
    ``parameters``: millions; ``megabytes``: what is kept of the layers' inputs of both sets. InputError for a network
    that is none.
    """
    for name in point:
        if name not in FIELDS:
            raise unknown("field of svd_cost", name, FIELDS)
    if point["network"] not in NETWORKS:
        raise unknown("network", point["network"], NETWORKS)
    size, images = int(point["size"]), int(point["images"])
    if size < 16 or images < 1:
        raise InputError(f"svd_cost: size must be at least 16 and images at least 1, not {size} and {images}")
    torch.manual_seed(derive(seed, "svd_cost"))
    width, depth = int(point.get("width", 64)), int(point.get("depth", 6))
    model = NETWORKS[point["network"]](width, depth, size).eval()
    seconds, kept = _parts(model, [_noise(images, size) for _ in range(2)])
    step = _step(model, _noise(BATCH, size))
    total = sum(seconds.values())
    return {
        **seconds,
        **{f"{name}.share": 100 * own / total for name, own in seconds.items()},
        "total": total,
        "step": step,
        "trained": total / step * BATCH,
        "parameters": sum(p.numel() for p in model.parameters()) / 1e6,
        "megabytes": kept / 1e6,
    }


def _noise(images: int, size: int) -> Tensor:
    return torch.randn(images, 3, size, size).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _parts(model: nn.Module, both: list[Tensor]) -> tuple[dict[str, float], int]:
    """Seconds of each part, and bytes of the input matrices of both sets."""
    model(both[0][:BATCH])  # what is done once in a process is not counted
    passes = _seconds(lambda: [model(x) for images in both for x in images.split(BATCH)])
    found: list[Inputs] = []
    collecting = _seconds(lambda: found.extend(_inputs(model, images) for images in both))
    A_r, A_f = found

    def factors() -> None:
        W = weight_matrices(model, A_r)
        updated(model, W, needless(W, projectors(A_r, ALPHA_R)), projectors(A_f, ALPHA_F))

    kept = sum(_bytes(A) for A in found)
    return {"passes": passes, "matrices": max(collecting - passes, 0.0), "factors": _seconds(factors)}, kept


def _inputs(model: nn.Module, images: Tensor) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    return input_matrices(model, _batches(images), len(images), PATCHES, generator)


def _batches(images: Tensor) -> Iterator[Tensor]:
    yield from images.split(BATCH)


def _bytes(inputs: Inputs) -> int:
    parts = [part for A in inputs.values() for part in (A.gram, A.rows) if part is not None]
    return sum(part.nbytes for part in parts)


def _step(model: nn.Module, images: Tensor) -> float:
    """Seconds of one step of SGD with momentum, the second of two."""
    model.train()
    labels = torch.arange(len(images)) % CLASSES
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimiser.step()

    step()
    return _seconds(step)


def _seconds(do: Callable[[], Any]) -> float:
    start = time.process_time()
    do()
    return time.process_time() - start
