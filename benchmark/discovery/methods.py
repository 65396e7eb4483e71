"""Methods are found by reading source, not by importing it.

``methods/`` and ``baselines/`` import torch; a list of what is in them must not. Each file is parsed, and every
function under ``@method(...)`` becomes a :class:`MethodInfo` with its hyper-parameters, types and defaults. Methods
from outside (``discovery.outside``) are read in the same way, and are of kind ``baseline`` unless they say another.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast, get_args

from benchmark.contracts import Access, Kind, Method, MethodInfo, Parameter
from benchmark.discovery import outside
from benchmark.errors import InputError, unknown
from benchmark.registry import Registry

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger("amendbench")
PACKAGES: dict[str, Kind] = {"methods": "paper", "methods.ablations": "ablation", "baselines": "baseline"}
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
    """Every declared method: of this repository, of packages that offer some, of files that are named.

    InputError for a file that cannot be read or has a name that another method of the task has; a package of which
    that is true is left out, with a warning: whatever is installed, everything else goes on.
    """
    known: dict[tuple[str, str], MethodInfo] = {}
    for package, kind in PACKAGES.items():
        for path in sorted(package_folder(package).glob("[!_]*.py")):
            found = _read(path, f"{package}.{path.stem}", kind, f"{package.replace('.', '/')}/{path.name}")
            known |= {(task, info.name): info for info in found for task in info.tasks}
            yield from found
    for module in outside.offered():
        try:
            yield from _added(outside.path_of(module), module, known)
        except InputError as error:
            log.warning("methods of the package %s are left out: %s", module.partition(".")[0], error)
    for module, path in outside.files().items():
        yield from _added(path, module, known)


def from_outside(info: MethodInfo) -> bool:
    """Whether a method is none of this repository's packages'."""
    return info.module.partition(".")[0] not in PACKAGES


def _read(path: Path, module: str, kind: Kind, where: str) -> list[MethodInfo]:
    try:
        return list(methods_of(path.read_text("utf-8"), module, kind))
    except (ValueError, SyntaxError, OSError, RecursionError, MemoryError) as error:
        raise InputError(f"{where}: {error or 'it is nested too deeply'}") from error


def _added(path: Path | None, module: str, known: dict[tuple[str, str], MethodInfo]) -> list[MethodInfo]:
    """The methods of a module from outside, which are added to ``known``; InputError where that cannot be."""
    if path is None:
        raise InputError(f"{module}: there is no such module")
    found = _read(path, module, "baseline", path.name)
    if not found:
        raise InputError(f"{path.name}: it declares no method; a method is a function under @method(...)")
    own: dict[tuple[str, str], MethodInfo] = {}
    for key, info in (((task, each.name), each) for each in found for task in each.tasks):
        if key in known or key in own:
            other = (known | own)[key]
            raise InputError(
                f"{path.name}: {info.function}: task {key[0]} has a method {info.name!r} already "
                f"({other.module}.{other.function}); choose another name"
            )
        own[key] = info
    known |= own
    return found


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
    _check_types(arguments, where)
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


def _check_types(arguments: Mapping[str, Any], where: str) -> None:
    """ValueError unless every argument of ``@method`` is what it should be."""
    tasks = arguments["tasks"]
    several = isinstance(tasks, (tuple, list)) and tasks and all(isinstance(task, str) for task in tasks)
    fine = {
        "tasks": several or isinstance(tasks, str),
        "access": isinstance(arguments["access"], Access),
        "kind": arguments.get("kind") in (None, *get_args(Kind)),
        "version": type(arguments.get("version", 1)) is int and arguments.get("version", 1) > 0,
        **{name: isinstance(arguments.get(name, ""), str) for name in ("paper", "shares", "together")},
    }
    for name in arguments:
        if not fine.get(name, False):
            what = f"{name} cannot be {arguments[name]!r}" if name in fine else f"it takes no {name}"
            raise ValueError(f"{where}: @method: {what}")


def _literal(node: ast.expr, where: str) -> Any:
    """A literal, or a call of Access with literal arguments."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "Access":
        given = {word.arg or "": ast.literal_eval(word.value) for word in node.keywords}
        try:
            return Access(*map(ast.literal_eval, node.args), **given)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{where}: {ast.unparse(node)}: {error}") from None
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
        self._discover = discover
        self.forget()

    def forget(self) -> None:
        """Look again when somebody asks next: other files from outside are named now."""
        found = self._discover
        self._entries = Registry("method", lambda: ((f"{task}/{m.name}", m) for m in found() for task in m.tasks))

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
    function = getattr(_module(info), info.function)
    if info.name not in getattr(function, "amendbench_methods", {}):
        raise ValueError(f"{info.module}.{info.function} is not declared as method {info.name!r}")
    return cast(Method, function)


def load_together(info: MethodInfo) -> Callable[..., list[nn.Module]]:
    """Import the function that answers several problems at once."""
    return cast("Callable[..., list[nn.Module]]", getattr(_module(info), info.together))


def _module(info: MethodInfo) -> ModuleType:
    named = info.module.startswith(outside.PREFIX)
    return outside.imported(info.module) if named else importlib.import_module(info.module)


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
