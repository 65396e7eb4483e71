"""Tensors that are kept on disk, for many processes read them: written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmark.data.looking import looking
from benchmark.errors import InputError

log = logging.getLogger("amendbench")


def restore(path: Path) -> dict[str, Tensor] | None:
    """What was kept in ``path``; None where there is nothing, or where it is damaged.

    InputError where it is damaged and is only looked at (``benchmark.data.looking``).
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
            expected = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, ValueError) as error:
        _damaged(path, f"cannot be read ({error})")
        return None
    if expected == _checksum(tensors):
        return tensors
    _damaged(path, "do not match their checksum")
    return None


def _damaged(path: Path, how: str) -> None:
    if looking():
        raise InputError(f"kept data {path} {how}; they are made again when they are next used")
    log.warning("kept data %s %s; made again", path, how)


def keep(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write to a temporary file and rename it: other processes see all of it or nothing.

    Not while it is only looked at. InputError where the folder cannot be written to.
    """
    if looking():
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(save(tensors, {"sha256": _checksum(tensors)}))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"data cannot be kept in {path} ({error.strerror}); set AMENDBENCH_CACHE to another folder"
        ) from error


def _checksum(tensors: dict[str, Tensor]) -> str:
    """64 hex digits over names, types, shapes and content."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        total.update(tensors[name].numpy().data)
    return total.hexdigest()
