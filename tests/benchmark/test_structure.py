"""The shape of the repository: what may import what, how large files are, and that tests mirror the packages."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmark", "methods", "baselines")
#: Rooms of ``benchmark`` from the bottom up: each imports what stands in lines above its own, and rooms of its own line
#: only itself. What is only needed for types (``TYPE_CHECKING``) does not count.
LAYERS = (
    ("errors",),
    ("registry", "files", "config", "visible", "environment", "seeding", "stats", "timing", "compat"),
    ("determinism", "hardware", "published", "contracts"),
    ("discovery",),
    ("data",),
    ("models",),
    ("training",),
    ("concepts", "metrics"),
    ("artifacts",),
    ("tasks",),
    ("suites",),
    ("running",),
    ("rescoring", "tuning", "boards", "speed"),
    ("submissions", "studies"),
    ("claims",),
    ("reporting",),
    ("checking", "own"),
    ("gate",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
#: What methods are built from; nothing else of the benchmark is theirs to import.
BLOCKS = {"concepts", "contracts", "data", "errors", "models", "training"}
#: Studies measure what the methods are made of.
USERS_OF_METHODS = {"studies"}
LARGEST, LARGEST_METHOD, LONGEST = 300, 150, 80


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> Iterator[str]:
    """First-party modules that a file imports at run time, also inside functions."""
    known = {name_of(other) for other in modules()}
    pending: list[ast.AST] = [tree_of(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if whole in known or node.module in known:
                    yield whole if whole in known else node.module
        pending += ast.iter_child_nodes(node)


def room_of(module: str) -> str:
    """``running`` of ``benchmark.running.plan``; ``methods`` of what lies there."""
    parts = module.split(".")
    return parts[1] if parts[0] == "benchmark" and len(parts) > 1 else parts[0]


def test_every_room_has_its_layer() -> None:
    rooms = {room_of(name_of(path)) for path in modules()} - {*PACKAGES}
    assert rooms == {room for layer in LAYERS for room in layer}


def test_nothing_downstream_is_imported_upstream() -> None:
    height = {room: i for i, layer in enumerate(LAYERS) for room in layer}
    wrong = set()
    for path in modules():
        own = room_of(name_of(path))
        for module in imports(path) if own in height else ():
            other = room_of(module)
            if other in height and other != own and height[other] >= height[own]:
                wrong.add(f"{name_of(path)} imports {module}")
            if other in ("methods", "baselines") and own not in USERS_OF_METHODS:
                wrong.add(f"{name_of(path)} imports {module}")
    assert not wrong


def test_methods_are_built_from_building_blocks_alone() -> None:
    wrong = set()
    for path in modules():
        own = name_of(path).split(".")[0]
        if own in ("methods", "baselines"):
            for module in imports(path):
                if room_of(module) not in (BLOCKS | {own} if module.startswith("benchmark.") else {own, "baselines"}):
                    wrong.add(f"{name_of(path)} imports {module}")
    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_files_and_functions_are_of_a_size_to_read(path: Path) -> None:
    largest = LARGEST if path.is_relative_to(ROOT / "benchmark") else LARGEST_METHOD
    assert len(path.read_text("utf-8").splitlines()) <= largest
    functions = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef)]
    long = {node.name: lines for node in functions if (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST}
    assert not long


def test_names_say_what_is_in_a_room() -> None:
    vague = {"utils", "util", "helpers", "misc", "common", "core", "base", "tools", "lib"}
    assert not [path for path in modules() if vague & {*name_of(path).split(".")}]


def test_tests_mirror_the_packages() -> None:
    """A folder of tests for every package, and none for what is not there."""
    own = {path.parent.relative_to(ROOT).as_posix() for path in modules() if path.name == "__init__.py"}
    tested = {path.parent.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    of_packages = {folder for folder in tested if folder.split("/")[0] in PACKAGES}
    assert of_packages - own <= EXTRA
    rooms = {folder for folder in own if folder.count("/") <= 1}
    assert rooms - of_packages <= UNTESTED


#: Folders of tests for what is no package: hostile input of every kind.
EXTRA = {"benchmark/hostile"}
#: Rooms whose tests are those of what uses them: contracts say what others do, and rescoring is what checking does.
UNTESTED = {"benchmark/contracts", "benchmark/rescoring"}
