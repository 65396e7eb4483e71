"""Settings from outside: TOML into typed structures, with errors that name the field, the value and the near misses."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from benchmark.errors import InputError, unknown

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; InputError if it cannot be read."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: {error}") from error


def convert(content: Any, kind: type[T], where: str) -> T:
    """``content`` as ``kind``; InputError for an unknown key, a wrong type or a value out of range."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        message = str(error)
        missed = re.search(r"unknown field `(.+?)`", message)
        if missed:
            near = unknown("key", missed[1], _fields(kind))
            at = re.search(r"at `\$\.?(.*)`", message)
            raise InputError(f"{where}{': ' + at[1] if at and at[1] else ''}: {near}") from error
        raise InputError(f"{where}: {message.replace('`$.', '`')}") from error


def _fields(kind: Any) -> Iterable[str]:
    """Names of all fields of a structure and of the structures inside it."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for name, inner in get_type_hints(kind).items():
            yield name
            yield from _fields(inner)
    else:
        for inner in get_args(kind):
            yield from _fields(inner)
