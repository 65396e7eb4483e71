"""Modules from outside that declare methods: files that AMENDBENCH_METHODS names, and what other packages offer.

A file is the module ``external.<stem>`` wherever it lies, so that digests and records say nothing of anybody's folders.
A package offers a module as an entry point of the group ``amendbench.methods``. Nothing is imported to find them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from benchmark.errors import InputError

#: Absolute paths of files, with ``os.pathsep`` between: an environment variable, so that workers have it, too.
VARIABLE = "AMENDBENCH_METHODS"
GROUP = "amendbench.methods"
PREFIX = "external."
#: Top-level packages of this repository: nobody else's modules have their names.
OURS = ("benchmark", "methods", "baselines")
#: What a file may be called: its name becomes a module's.
STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def files() -> Mapping[str, Path]:
    """Files that AMENDBENCH_METHODS names, by their modules; InputError for one that cannot be one."""
    return _files(os.environ.get(VARIABLE, ""))


@cache
def _files(named: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in map(Path, dict.fromkeys(part for part in named.split(os.pathsep) if part)):
        if path.suffix != ".py" or not STEM.fullmatch(path.stem):
            raise InputError(f"{VARIABLE}: {str(path)!r} is no file NAME.py of letters, digits, _ and -")
        if not path.is_absolute() or not path.is_file():
            raise InputError(f"{VARIABLE}: {str(path)!r} is no absolute path of a file that is there")
        if found.setdefault(PREFIX + path.stem, path) != path:
            raise InputError(f"{path.name}: two files of methods have this name; rename one of them")
    return found


@cache
def offered() -> tuple[str, ...]:
    """Modules that installed packages offer as entry points, sorted."""
    from importlib.metadata import entry_points

    names = {entry.module for entry in entry_points(group=GROUP)}
    return tuple(sorted(name for name in names if name.partition(".")[0] not in OURS))


def path_of(module: str) -> Path | None:
    """The source of a module from outside: a named file, or one of a package that offers methods; None otherwise."""
    if module.startswith(PREFIX):
        return files().get(module)
    top, *rest = module.split(".")
    if top in OURS or top not in {name.partition(".")[0] for name in offered()}:
        return None
    candidates = [base.joinpath(*rest) for base in _roots(top)]
    if not rest and (single := find_spec(top)) is not None and single.origin:
        candidates.append(Path(single.origin).with_suffix(""))
    places = (place for base in candidates for place in (base / "__init__.py", base.with_suffix(".py")))
    return next((place for place in places if place.is_file()), None)


@cache
def _roots(top: str) -> tuple[Path, ...]:
    """Folders of a top-level package, which is not imported."""
    spec = find_spec(top)
    return tuple(map(Path, (spec.submodule_search_locations if spec is not None else None) or ()))


def folders() -> list[Path]:
    """Where modules from outside lie: what comes before their names in a path, which is nobody else's to know."""
    tops = {name.partition(".")[0] for name in offered()}
    return [*(path.parent for path in files().values()), *(root.parent for top in tops for root in _roots(top))]


class _Loader(SourceFileLoader):
    """Compiles what the file says now: kept bytecode may be that of an edit within the same second."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def imported(module: str) -> ModuleType:
    """A named file as a module, executed once in a process; InputError where no such file is named."""
    if module in sys.modules:
        return sys.modules[module]
    path = files().get(module)
    if path is None:
        raise InputError(f"{module.removeprefix(PREFIX)}.py: no such file of methods is named here")
    spec = spec_from_file_location(module, path, loader=_Loader(module, str(path)))
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[module] = module_from_spec(spec)
    try:
        spec.loader.exec_module(found)
    except BaseException:
        del sys.modules[module]
        raise
    return found


def forget() -> None:
    """Look again: for a process in which other files are named now, or other text stands in them."""
    for kept in (_files, offered, _roots):
        kept.cache_clear()
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]
