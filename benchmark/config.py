"""Settings from outside: TOML into typed structures, with errors that name the field, the value and the near misses."""

from __future__ import annotations

import math
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
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error
    _check_finite(content, path.name)
    return content


def _check_finite(content: Any, where: str) -> None:
    """InputError for a number that is not one."""
    if isinstance(content, float) and not math.isfinite(content):
        raise InputError(f"{where} must be a finite number, not {content}")
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in inner:
        _check_finite(value, f"{where}: {name}")


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
