"""Methods are found by reading source, not by importing it.

``methods/`` and ``baselines/`` import torch; a list of what is in them must not. Each file is parsed, and every
function under ``@method(...)`` becomes a :class:`MethodInfo` with its hyper-parameters, types and defaults.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmark.contracts import Access, Kind, Method, MethodInfo, Parameter
from benchmark.errors import InputError, unknown
from benchmark.registry import Registry

if TYPE_CHECKING:
    from torch import nn

PACKAGES: dict[str, Kind] = {"methods": "paper", "baselines": "baseline"}
#: What a method may be called: it becomes the name of a folder.
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\+[a-z0-9]+(-[a-z0-9]+)*)?")
TYPES = ("int", "float", "bool", "str")


def package_folder(name: str) -> Path:
    """Where a top-level package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"package {name} is not installed; run: make setup")
    return Path(next(iter(spec.submodule_search_locations)))


def scan() -> Iterator[MethodInfo]:
    """Every declared method of the packages ``methods`` and ``baselines``."""
    for package, kind in PACKAGES.items():
        for path in sorted(package_folder(package).glob("[!_]*.py")):
            try:
                yield from methods_of(path.read_text("utf-8"), f"{package}.{path.stem}", kind)
            except (ValueError, SyntaxError) as error:
                raise InputError(f"{package}/{path.name}: {error}") from error


def methods_of(source: str, module: str, kind: Kind) -> Iterator[MethodInfo]:
    """The methods that one file declares."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "method":
                yield _info(node, decorator, module, kind)


def _info(node: ast.FunctionDef, call: ast.Call, module: str, kind: Kind) -> MethodInfo:
    where = f"{module}.{node.name}"
    arguments = {word.arg or "": _literal(word.value, where) for word in call.keywords}
    missing = {"tasks", "paper", "access"} - arguments.keys()
    if missing or not call.args:
        raise ValueError(f"{where}: @method needs a name and {', '.join(sorted(missing)) or 'nothing else'}")
    name, tasks = _literal(call.args[0], where), arguments["tasks"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{where}: {name!r} is no name; use lower-case letters, digits, - and a +variant")
    return MethodInfo(
        name=name,
        kind=arguments.get("kind") or kind,
        tasks=(tasks,) if isinstance(tasks, str) else tuple(tasks),
        paper=arguments["paper"],
        access=arguments["access"],
        version=arguments.get("version", 1),
        shares=arguments.get("shares", ""),
        together=arguments.get("together", ""),
        parameters=tuple(_parameters(node, where)),
        module=module,
        function=node.name,
        summary=(ast.get_docstring(node) or "").partition("\n")[0],
    )


def _literal(node: ast.expr, where: str) -> Any:
    """A literal, or a call of Access with literal arguments."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "Access":
        return Access(**{word.arg or "": ast.literal_eval(word.value) for word in node.keywords})
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"{where}: @method takes literals only, not {ast.unparse(node)}") from None


def _parameters(node: ast.FunctionDef, where: str) -> Iterator[Parameter]:
    if len(node.args.args) != 1 or node.args.posonlyargs or node.args.vararg or node.args.kwarg:
        given = ast.unparse(node.args)
        raise ValueError(f"{where}({given}): takes the problem and, after a *, its hyper-parameters by name")
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else "nothing"
        if kind not in TYPES or default is None:
            raise ValueError(f"{where}: hyper-parameter {argument.arg} needs a type of {TYPES} and a literal default")
        yield Parameter(argument.arg, kind, ast.literal_eval(default))


class MethodRegistry:
    """Methods by name and task: tasks may have methods of one name that are different ones (``finetune``)."""

    kind = "method"

    def __init__(self, discover: Callable[[], Iterable[MethodInfo]]) -> None:
        self._entries = Registry("method", lambda: ((f"{task}/{m.name}", m) for m in discover() for task in m.tasks))

    def get(self, name: str, task: str | None = None) -> MethodInfo:
        """The method called ``name`` of ``task``; without a task the only one of that name.

        Raises InputError that names the near misses, and ValueError where no task is given and several have one.
        """
        if task is not None and self.has(name, task):
            return self._entries.get(f"{task}/{name}")
        found = [m for m in self.values() if m.name == name and task is None]
        if not found:
            raise unknown("method", name, (m.name for m in self.values() if task in (None, *m.tasks)))
        if len(found) > 1:
            theirs = ", ".join(t for m in found for t in m.tasks)
            raise ValueError(f"several methods are named {name!r}: those of {theirs}")
        return found[0]

    def has(self, name: str, task: str) -> bool:
        """Whether ``task`` has a method called ``name``."""
        return f"{task}/{name}" in self._entries

    def values(self) -> list[MethodInfo]:
        """Every method once."""
        return list({id(info): info for info in self._entries.values()}.values())

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(info.name for info in self.values()))


METHODS = MethodRegistry(scan)


def load(info: MethodInfo) -> Method:
    """Import a method's function; what the decorator saw must be what the source said."""
    function = getattr(importlib.import_module(info.module), info.function)
    if info.name not in getattr(function, "amendbench_methods", {}):
        raise ValueError(f"{info.module}.{info.function} is not declared as method {info.name!r}")
    return cast(Method, function)


def load_together(info: MethodInfo) -> Callable[..., list[nn.Module]]:
    """Import the function that answers several problems at once."""
    return cast("Callable[..., list[nn.Module]]", getattr(importlib.import_module(info.module), info.together))


def check_parameters(info: MethodInfo, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The full hyper-parameters: defaults overlaid with ``given``; wrong names and types are InputErrors."""
    known = {p.name: p for p in info.parameters}
    values = info.defaults()
    for name, value in given.items():
        if name not in known:
            error = unknown(f"hyper-parameter of {info.name}", name, known)
            raise InputError(f"{where}: {error}")
        values[name] = known[name].check(value, where)
    return values
