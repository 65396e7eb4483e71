"""What a picture depends on, in one digest: values that it is drawn from, code that draws it, packages that this uses.

While the digest stays the same, so does the picture. It may change without need, for instance where a function moves;
then the picture is drawn again.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from types import BuiltinFunctionType, FunctionType
from typing import Any

import msgspec
import numpy as np

from benchmark.discovery import source

#: The module that turns figures into files.
WRITER = "benchmark.reporting.figures.pictures"
#: Packages that figures are made with.
PACKAGES = ("matplotlib", "numpy", "pillow", "scipy", "pandas", "seaborn", "scikit-posthocs")


def fingerprint(figure: Callable[[], Any]) -> str:
    """64 hex digits over a figure that is not drawn yet.

    TypeError where it is not a function of a module, alone or in a ``functools.partial``: what others do is not known.
    """
    values = _Values()
    values.feed(figure)
    for module in sorted({WRITER, *values.modules}):
        values.total.update(f"{module} {source.digest(module)}\n".encode())
    values.total.update(_packages().encode())
    return values.total.hexdigest()


@cache
def _packages() -> str:
    return "\n".join(f"{name} {_version(name)}" for name in PACKAGES)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


class _Values:
    """A digest of values by what they are, and the modules of the functions and classes among them.

    Pickles would not do: they differ where equal values are one object here and two there.
    """

    def __init__(self) -> None:
        self.total = hashlib.sha256()
        self.modules: set[str] = set()

    def feed(self, value: Any) -> None:
        if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
            self._named(value)
            return
        self._named(type(value))
        self.total.update(b"(")
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            self.total.update(f"{value!r}".encode())
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self.total.update(f"{value.dtype.str}{value.shape}".encode() + value.tobytes())
        elif isinstance(value, (set, frozenset)):
            self.total.update(repr(sorted(map(repr, value))).encode())
        else:
            for part in _parts(value):
                self.feed(part)
        self.total.update(b")")

    def _named(self, value: Any) -> None:
        """A function or class, which must be found by its name."""
        if "<" in value.__qualname__:
            raise TypeError(f"a figure is drawn by {value.__qualname__}, which is no function of a module")
        self.modules.add(value.__module__ or "")
        self.total.update(f"{value.__module__}.{value.__qualname__}".encode())


def _parts(value: Any) -> list[Any]:
    """What an object is made of; of those that are none of ours, what a pickle would keep."""
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, dict):
        return [part for item in value.items() for part in item]
    if isinstance(value, (list, tuple)):
        return list(value)
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, msgspec.Struct):
        return [getattr(value, name) for name in value.__struct_fields__]
    reduced = value.__reduce_ex__(4)
    return (
        [reduced]
        if isinstance(reduced, str)
        else [list(part) if hasattr(part, "__next__") else part for part in reduced]
    )
