"""A content-addressed, checksummed store of tensors: base models and whatever else is trained once and shared.

An entry is two files named by the hash of its key: ``<hash>.safetensors`` and ``<hash>.json``, which holds the key
and the checksum of the first. The second is written last, each by renaming: a killed run leaves a whole entry or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from benchmark.files import key_hash, write_atomically

log = logging.getLogger("amendbench")


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """The sidecar of an artifact."""

    key: dict[str, Any]
    sha256: str


class Damaged(Exception):  # noqa: N818 - it names what is found, not what failed
    """An artifact does not match its checksum or its key."""


@dataclass(frozen=True)
class ArtifactStore:
    """The cache folder; safe to share between processes that build the same entry at once."""

    root: Path

    def path(self, key: dict[str, Any]) -> Path:
        name = key_hash(key)
        return self.root / name[:2] / f"{name}.safetensors"

    def get_or_build(self, key: dict[str, Any], build: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """The tensors of ``key``; a damaged entry is reported, set aside and built again."""
        path = self.path(key)
        try:
            found = self._read(path, key)
        except Damaged as problem:
            aside = path.with_suffix(".damaged")
            log.warning("artifact %s: %s; set aside as %s and built again", path.name, problem, aside.name)
            with contextlib.suppress(FileNotFoundError):  # another process has set it aside
                path.replace(aside)
            found = None
        return self._write(path, key, build()) if found is None else found

    def _read(self, path: Path, key: dict[str, Any]) -> dict[str, Tensor] | None:
        sidecar = path.with_suffix(".json")
        if not path.exists() or not sidecar.exists():
            return None
        content = path.read_bytes()
        try:
            entry = msgspec.json.decode(sidecar.read_bytes(), type=Entry)
            if entry.sha256 != hashlib.sha256(content).hexdigest():
                raise Damaged("its checksum does not match")
            if key_hash(entry.key) != path.stem or key_hash(key) != path.stem:
                raise Damaged("its key does not match")
            return load(content)
        except (ValueError, RecursionError, SafetensorError) as error:
            raise Damaged(f"cannot be read ({error})") from error

    def _write(self, path: Path, key: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        content = save(kept)
        write_atomically(path, content)
        entry = Entry(msgspec.to_builtins(key), hashlib.sha256(content).hexdigest())
        write_atomically(path.with_suffix(".json"), msgspec.json.encode(entry))
        return kept
