"""Locks on files: they end with the process that holds them, however that ends.

The kernel's advisory locks through the library filelock, which works on NFS and Lustre as far as they lock, and falls
back to marker files with the owner's host and process where a file system knows no locks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

#: How often a folder is made that others remove.
ATTEMPTS = 50


class Busy(Exception):  # noqa: N818 - it names what is found
    """Somebody else holds a lock, and longer than was waited for it."""


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether the lock was free; if so it is held in the block, and its file is gone afterwards."""
    lock = FileLock(path)
    try:
        _acquire(lock, path, 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it sees that its file is gone, and makes another
        lock.release()


@contextmanager
def locked(path: Path, patience: float = -1.0) -> Iterator[None]:
    """Wait for the lock and hold it in the block; Busy after ``patience`` seconds, never where that is negative."""
    lock = FileLock(path)
    try:
        _acquire(lock, path, patience)
    except Timeout:
        raise Busy(f"somebody else holds {path.name}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _acquire(lock: FileLock, path: Path, patience: float) -> None:
    """Make the folder and take the lock; again where another process is just removing the folder, which was empty."""
    for attempt in range(ATTEMPTS):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=patience)
            return
        except (FileNotFoundError, FileExistsError):
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.001 * attempt)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock now; a file that nobody holds is left as it is.

    What is no regular file is no lock: some versions of filelock would follow a link and empty what it leads to.
    """
    if path.is_symlink() or not path.is_file():
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
