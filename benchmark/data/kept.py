"""Tensors that are kept on disk, for many processes read them: written whole or not at all, checked when read."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmark.errors import InputError

log = logging.getLogger("amendbench")


def restore(path: Path) -> dict[str, Tensor] | None:
    """What was kept in ``path``; None where there is nothing, or where it is damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
            expected = (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError, ValueError) as error:
        log.warning("kept data %s cannot be read (%s); made again", path, error)
        return None
    if expected == _checksum(tensors):
        return tensors
    log.warning("kept data %s do not match their checksum; made again", path)
    return None


def keep(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write to a temporary file and rename it: other processes see all of it or nothing.

    InputError where the folder cannot be written to.
    """
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
