"""Downloads: whole or not at all, by one process at a time, and never while somebody only looks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from benchmark.data.looking import looking
from benchmark.environment import data_root
from benchmark.errors import InputError


def whole(name: str, folder: Path, make: Callable[[Path], Path], where: str) -> None:
    """Make the ``folder`` of the data set ``name`` of what ``make`` puts together in a scratch folder.

    ``make`` returns the finished folder, which is moved to its place. Nothing is done where ``folder`` is there.
    InputError, which names ``where`` it was looked for, where it cannot be had.
    """
    if looking():
        raise InputError(f"data set {name} is not in {folder}; run: amendbench data get {name}")
    root = data_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (
            needed("filelock").FileLock(root / ".download.lock"),
            tempfile.TemporaryDirectory(prefix=".download-", dir=root, ignore_cleanup_errors=True) as scratch,
        ):
            if not folder.is_dir():  # else another process has made it
                made = make(Path(scratch))
                folder.parent.mkdir(parents=True, exist_ok=True)
                made.rename(folder)
    except Exception as error:  # the network, the publisher, the disk: each has its own kinds
        raise InputError(
            f"data set {name} is not in {folder} and could not be downloaded from {where} ({line(error)}); "
            f"with a network run: amendbench data get {name}; or put its files there, as docs/data.md has them, or set "
            f"AMENDBENCH_DATA, now {root}; the default suites need no download"
        ) from error


def needed(module: str) -> ModuleType:
    """A module of the extra ``data``; InputError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"this data set needs more packages ({error}); run: pip install 'amendbench[data]'") from error


def line(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
