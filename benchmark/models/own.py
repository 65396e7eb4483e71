"""Weights that somebody else trained: taken in once, kept by the SHA-256 of their file below the data root."""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from benchmark.environment import data_root
from benchmark.errors import InputError
from benchmark.files import write_atomically


def folder() -> Path:
    """Where they are kept."""
    return data_root() / "own" / "weights"


def take_in(path: Path, network: nn.Module) -> str:
    """Keep the safetensors file at ``path``, the weights of a ``network`` like this one; its SHA-256.

    InputError, and nothing is kept, where it cannot be read, is of another kind, or is for another network.
    """
    content = _content(path)
    name = hashlib.sha256(content).hexdigest()
    _fill(network, _tensors(content, path), path)
    kept = folder() / f"{name}.safetensors"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, content)
    return name


def load_weights(network: nn.Module, name: str) -> nn.Module:
    """``network`` with the weights called ``name``; InputError where they are not there, damaged, or do not fit."""
    path = folder() / f"{name}.safetensors"
    if not path.is_file():
        raise InputError(
            f"weights {name} are not in {path.parent}: give their file again, with amendbench bench --weights FILE, "
            "or set AMENDBENCH_DATA"
        )
    content = _content(path)
    if hashlib.sha256(content).hexdigest() != name:
        raise InputError(f"{path} is damaged: its SHA-256 is not its name; remove it and give the weights' file again")
    _fill(network, _tensors(content, path), path)
    return network


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"weights {path} cannot be read: {error.strerror}") from error


def _tensors(content: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise InputError(
            f"weights {path} are no safetensors file ({error}); checkpoints of pickle are never read: write them with "
            "safetensors.torch.save_file(model.state_dict(), path)"
        ) from error


def _fill(network: nn.Module, given: dict[str, Tensor], path: Path) -> None:
    """Put the weights into the network; InputError that names what is missing, left over or of another shape."""
    own = network.state_dict()
    for name in own.keys() - given.keys():
        if name.endswith("num_batches_tracked"):  # which no inference reads, so that some files leave it out
            given[name] = own[name]
    missing, left = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if missing or left:
        raise InputError(f"weights {path} are of another network: {_difference(missing, left)}")
    for name, tensor in given.items():
        if tensor.shape != own[name].shape:
            expected, found = tuple(own[name].shape), tuple(tensor.shape)
            hint = "; is the number of classes the same?" if expected[1:] == found[1:] else ""
            raise InputError(f"weights {path}: {name} has shape {found}, but the network's is {expected}{hint}")
        if not tensor.is_floating_point() == own[name].is_floating_point():
            raise InputError(f"weights {path}: {name} is {tensor.dtype}, but the network's is {own[name].dtype}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"weights {path}: {name} has values that are not finite")
    network.load_state_dict(given)


def _difference(missing: list[str], left: list[str]) -> str:
    parts = []
    if missing:
        near = get_close_matches(missing[0], left, 1)
        parts.append(f"{len(missing)} tensors are missing, the first is {missing[0]!r}")
        parts += [f"near it there is {near[0]!r}"] if near else []
    if left:
        parts.append(f"{len(left)} are not in the network, the first is {left[0]!r}")
    return "; ".join(parts)
