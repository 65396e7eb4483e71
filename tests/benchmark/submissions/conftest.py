"""Predictions that nobody's network made, handed in as somebody from outside would."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from handed_in import METADATA, SCENARIO, logits, scored

from benchmark.submissions.archive import Archive, pack, pack_arrays
from benchmark.submissions.folder import pack_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is handed in: two seeds, with what is reported of the first."""
    root = tmp_path / "mine"
    root.mkdir()
    text = METADATA
    for seed in (0, 1):
        np.savez(root / f"s{seed}.npz", **{"test.logits": logits(seed)})
        text += f'[[cells]]\nscenario = "{SCENARIO}"\nseed = {seed}\nfile = "s{seed}.npz"\nseconds = 1.5\n'
    (root / "metadata.toml").write_text(text)
    return root


Changed = Callable[..., Archive]


@pytest.fixture
def archive(folder: Path) -> Archive:
    """The folder packed."""
    return Archive(pack_folder(folder)[1])


@pytest.fixture
def changed(archive: Archive) -> Changed:
    """The archive with other fields, or with ``arrays`` by cell number: ``changed(method="x", arrays={0: {...}})``."""

    def make(arrays: dict[int, dict[str, np.ndarray]] | None = None, **fields: Any) -> Archive:
        cells = list(fields.pop("cells", archive.submission.cells))
        files = {part.file: pack_arrays(archive.predictions(part)) for part in archive.submission.cells}
        for number, own in (arrays or {}).items():
            content = files[cells[number].file] = pack_arrays(own)
            cells[number] = msgspec.structs.replace(cells[number], sha256=hashlib.sha256(content).hexdigest())
        return Archive(pack(msgspec.structs.replace(archive.submission, cells=cells, **fields), files))

    return make


@pytest.fixture
def reported(archive: Archive, changed: Changed) -> Changed:
    """The archive with metrics reported as they are, but for those given: ``reported({"accuracy.mean": 99.0})``."""

    def make(other: dict[str, float | None] | None = None) -> Archive:
        found = scored(archive).verified.metrics
        cells = []
        for part in archive.submission.cells:
            own = {name: judged.value for name, judged in found[part.name].items()}
            cells.append(msgspec.structs.replace(part, reported=own | (other or {})))
        return changed(cells=cells)

    return make
