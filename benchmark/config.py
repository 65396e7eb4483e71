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
#: Bytes of a file, dots on a line, and levels of tables in tables: no file that people write comes near.
LARGEST, MOST_DOTS, DEEPEST = 2**20, 200, 32


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; InputError if it cannot be read, or is more than anybody writes."""
    try:
        content = tomllib.loads(_text(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise InputError(f"{path}: {error}") from error
    _check(content, path.name)
    return content


def _text(path: Path) -> str:
    """The file's text; ValueError where reading it would take long: pipes, devices, and keys of thousands of parts."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, more than {LARGEST:,}")
    text = path.read_text("utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count(".") > MOST_DOTS:  # the parser's time goes with the square of a key's parts
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
    return text


def _check(content: Any, where: str, depth: int = 0) -> None:
    """InputError for what is nested without end, and for numbers that are none or have more than 64 bits."""
    if depth > DEEPEST:
        raise InputError(f"{where}: it is nested more than {DEEPEST} levels deep")
    if isinstance(content, float) and not math.isfinite(content):
        raise InputError(f"{where} must be a finite number, not {content}")
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        raise InputError(f"{where} must be a number of at most 64 bits")
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in inner:
        _check(value, f"{where}: {name}", depth + 1)


def convert(content: Any, kind: type[T], where: str) -> T:
    """``content`` as ``kind``; InputError for an unknown key, a wrong type or a value out of range."""
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        message = str(error)
        missed = re.search(r"unknown field `(.*?)`", message, re.DOTALL)
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
