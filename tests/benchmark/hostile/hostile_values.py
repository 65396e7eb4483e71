"""What strangers send: odd values, and valid things with some of them inside."""

from __future__ import annotations

import copy
import datetime
import json
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase

Test = TypeVar("Test", bound=Callable[..., None])
NIGHTLY = os.environ.get("AMENDBENCH_TESTS") == "nightly"
#: Examples of a property: 10,000 at night, AMENDBENCH_EXAMPLES where that is set, else some hundred in a few seconds.
EXAMPLES = int(os.environ.get("AMENDBENCH_EXAMPLES", "10000" if NIGHTLY else "150"))
SHORT = not NIGHTLY and "AMENDBENCH_EXAMPLES" not in os.environ


def campaign(share: float = 1.0) -> Callable[[Test], Test]:
    """How much is tried of a property; of one that takes long only a ``share``, where it is to be quick.

    What is tried is other examples each night, and the same in every other run.
    """
    limits = settings(
        max_examples=round(share * EXAMPLES) if SHORT else EXAMPLES,
        deadline=None,
        derandomize=not NIGHTLY,
        database=DirectoryBasedExampleDatabase(Path(tempfile.gettempdir()) / "amendbench-hostile") if NIGHTLY else None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: pytest.mark.nightly(limits(test))


NAMES = (
    "", " ", ".", "..", "../x", "../../../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "a\0b", ".hidden", "~", "-rf",
    "$(touch x)", "`id`", "con", "a\nb", "a\r\x1b[31mb\x1b]0;t\x07", "\x7f\x9b31m", "\u202etxt", "ä" * 200,
    "x" * 5_000, "<img src=x onerror=alert(1)>", "[bold]x[/]", "[/]", "|`*_", "{{ x }}", "%s%n", "class-0", "seed",
    "NaN", "1e999", "original", "retrain", "erm", "smoke", "tuning", "\N{PILE OF POO}", "e\u0301", "\ufeff",
    "transformers:../x", "timm:x\ny", "torchvision:", "timm:local-dir:/etc",
)  # fmt: skip
WHOLE = (0, -1, 1, 2, 3, 10, 999, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**9, 10**30)
#: What is nested deeper cannot be written by Python either; text that is goes in as fragments.
DEEPEST = 250
HUGE = (10**400, -(10**400))
REAL = (-0.0, 0.5, 1e-320, 5e-324, 1e-200, 1e16, 1e100, 1.2e154, 1.7e308, -1.7e308)
STRANGE = (math.nan, math.inf, -math.inf)


class Literal(str):
    """A value of TOML as it is written: a number that Python would not print."""


def nested(depth: int, kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """Lists in lists, or tables in tables."""
    found: Any = 0
    for _ in range(depth):
        found = [found] if kind is list else {"a": found}
    return found


def plain_values() -> st.SearchStrategy[Any]:
    """What JSON and TOML both can say; whole numbers of any size."""
    return st.one_of(
        st.sampled_from(NAMES),
        st.text(max_size=20).filter(_encodable),
        st.sampled_from(WHOLE),
        st.sampled_from(HUGE),
        st.integers(),
        st.sampled_from(REAL),
        st.floats(allow_nan=False, allow_infinity=False),
        st.booleans(),
        st.sampled_from([[], {}, [[]], {"": {}}, [None], {"a": None}, ["original", "original"]]).map(_without_none),
        st.builds(nested, st.sampled_from([3, 40, 200]), st.sampled_from([list, dict])),
        st.dictionaries(st.sampled_from(NAMES[:20]), st.integers(), max_size=3),
        st.lists(st.sampled_from(NAMES), max_size=3),
    )


def _encodable(text: str) -> bool:
    return not any(0xD800 <= ord(c) <= 0xDFFF for c in text)


def _without_none(value: Any) -> Any:
    return value if "null" not in json.dumps(value) else "null"


def toml_values() -> st.SearchStrategy[Any]:
    """The same and what only TOML has."""
    dates = st.sampled_from([datetime.date(1, 1, 1), datetime.time(0), datetime.datetime(9999, 12, 31, 23, 59)])
    return st.one_of(plain_values(), plain_values(), st.sampled_from((*STRANGE, Literal(f"0x{'f' * 9_999}"))), dates)


def json_values() -> st.SearchStrategy[Any]:
    """The same and what only JSON has."""
    return st.one_of(plain_values(), plain_values(), st.none())


def paths_of(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value in a tree of dictionaries and lists, the root left out."""
    inner = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)) if isinstance(tree, list) else []
    found: list[tuple[Any, ...]] = []
    for key, value in inner:
        found += [(*here, key), *paths_of(value, (*here, key))]
    return found


@st.composite
def mutated(draw: st.DrawFn, trees: st.SearchStrategy[Any], values: st.SearchStrategy[Any], most: int = 4) -> Any:
    """A tree in which some values are others, or gone, or have another key, or are new, or stand elsewhere."""
    tree = copy.deepcopy(draw(trees))
    for _ in range(draw(st.integers(1, most))):
        ways = paths_of(tree)
        if not ways:
            return tree
        *way, last = ways[draw(st.integers(0, len(ways) - 1))]  # a strategy of all ways would be kept
        parent = tree
        for step in way:
            parent = parent[step]
        what = draw(st.sampled_from(["replace", "replace", "replace", "delete", "rename", "insert", "copy"]))
        if what == "replace":
            parent[last] = copy.deepcopy(draw(values))
        elif what == "delete":
            del parent[last]
        elif what == "copy":
            source = tree
            for step in ways[draw(st.integers(0, len(ways) - 1))]:
                source = source[step] if _has(source, step) else source
            parent[last] = copy.deepcopy(source)
        elif isinstance(parent, dict):
            name = draw(st.sampled_from(NAMES))
            parent[name] = parent.pop(last) if what == "rename" else copy.deepcopy(draw(values))
        else:
            parent.insert(last, copy.deepcopy(draw(values)))
    assume(max(map(len, paths_of(tree)), default=0) < DEEPEST)
    return tree


def _has(tree: Any, step: Any) -> bool:
    if isinstance(tree, dict):
        return step in tree
    return isinstance(tree, list) and isinstance(step, int) and step < len(tree)


@st.composite
def damaged(draw: st.DrawFn, contents: st.SearchStrategy[bytes], bits: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some are others, gone, doubled, or cut off."""
    content = draw(contents)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        what = draw(st.sampled_from(["replace", "replace", "delete", "double", "cut"]))
        middle = {"replace": draw(bits), "delete": b"", "double": 2 * content[start:end], "cut": b""}[what]
        content = content[:start] + middle + (b"" if what == "cut" else content[end:])
    return content


def toml_text(table: dict[str, Any]) -> str:
    """A TOML document of one line a key; what TOML has no word for is left to fail."""
    return "".join(f"{_key(key)} = {_toml(value)}\n" for key, value in table.items())


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return str(value) if isinstance(value, Literal) else _key(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return str(value.isoformat())
