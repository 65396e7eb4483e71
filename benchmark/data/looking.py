"""Whether data sets are only looked at: all of them is read and checked, and nothing is downloaded, kept or mended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOOKING: ContextVar[bool] = ContextVar("looking", default=False)


@contextmanager
def only_looking() -> Iterator[None]:
    """What loaders read inside of it leaves every file as it is; damage is an InputError instead of a repair."""
    token = _LOOKING.set(True)
    try:
        yield
    finally:
        _LOOKING.reset(token)


def looking() -> bool:
    return _LOOKING.get()
