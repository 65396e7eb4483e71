"""Locks on files: they end with the process that holds them, however that ends.

The kernel's advisory locks through the library filelock, which works on NFS and Lustre as far as they lock, and falls
back to marker files with the owner's host and process where a file system knows no locks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether the lock was free; if so it is held in the block, and its file is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it sees that its file is gone, and makes another
        lock.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock and hold it in the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock now; a file that nobody holds is left as it is."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (Timeout, PermissionError):  # of somebody else's run it can be seen that it is there, not more
        return True
    lock.release()
    return False


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that nothing is in; leave any other."""
    with contextlib.suppress(OSError):
        folder.rmdir()
