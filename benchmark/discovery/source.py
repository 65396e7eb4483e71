"""Digests of source: what a result depends on, so that changed code never reads an old result as its own.

A digest covers a module and every first-party module that it imports, directly or not. It is taken over the syntax
tree without comments, docstrings and layout: reformatting changes nothing, and Python 3.11 to 3.13 agree. Modules from
outside that declare methods are covered in the same way, by names that say nothing of where they lie.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

from benchmark.discovery import outside
from benchmark.discovery.methods import package_folder
from benchmark.errors import InputError

FIRST_PARTY = ("benchmark", "methods", "baselines")


@cache
def digest(module: str) -> str:
    """16 hex digits over ``module`` and its first-party imports."""
    total = hashlib.sha256()
    for name in closure(module):
        total.update(f"{name}\0{_own_digest(name)}\n".encode())
    return total.hexdigest()[:16]


@cache
def closure(module: str) -> tuple[str, ...]:
    """``module`` and all first-party modules that it imports, sorted."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or _path(name) is None:
            continue
        found.add(name)
        waiting.extend(_imports(name))
    return tuple(sorted(found))


@cache
def _path(module: str) -> Path | None:
    root, *rest = module.split(".")
    if root not in FIRST_PARTY:
        return outside.path_of(module)
    base = package_folder(root).joinpath(*rest)
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


@cache
def _tree(module: str) -> ast.Module:
    path = _path(module)
    assert path is not None
    try:
        return ast.parse(path.read_text("utf-8"))
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{path.name}: {error}") from error


def forget() -> None:
    """Read source again: for a process in which other files from outside are named now."""
    for kept in (digest, closure, _path, _tree, _imports, _own_digest):
        kept.cache_clear()


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Modules imported at run time; imports under TYPE_CHECKING change no result."""
    names: list[str] = []
    waiting: list[ast.AST] = [_tree(module)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(module, node)
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        waiting.extend(ast.iter_child_nodes(node))
    return tuple(names)


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that ``from ... import`` in ``module`` names, relative ones included."""
    if not node.level:
        return node.module or ""
    path = _path(module)
    parts = module.split(".") if path is not None and path.name == "__init__.py" else module.split(".")[:-1]
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


@cache
def _own_digest(module: str) -> str:
    text = hashlib.sha256()
    _feed(_tree(module), text)
    return text.hexdigest()


def _feed(node: object, into: hashlib._Hash) -> None:
    """A canonical form of a syntax tree: empty fields, contexts and docstrings are left out."""
    if isinstance(node, ast.AST):
        into.update(f"({type(node).__name__}".encode())
        for name, value in ast.iter_fields(node):
            if value in (None, []) or name in ("ctx", "type_comment", "type_params", "kind"):
                continue
            if name == "body" and isinstance(value, list) and _is_docstring(node, value[0]):
                value = value[1:]
            into.update(f" {name}=".encode())
            _feed(value, into)
        into.update(b")")
    elif isinstance(node, list):
        into.update(b"[")
        for item in node:
            _feed(item, into)
            into.update(b",")
        into.update(b"]")
    else:
        into.update(repr(node).encode())


def _is_docstring(parent: ast.AST, first: object) -> bool:
    return (
        isinstance(parent, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )
