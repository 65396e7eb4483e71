"""Methods of one's own in a run: ``--method path/to/file.py:name``, or the name of one that a package offers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmark.contracts import MethodInfo
from benchmark.discovery import outside, source
from benchmark.discovery.methods import METHODS, NAME, PACKAGES, check_parameters, from_outside, package_folder
from benchmark.errors import InputError, unknown
from benchmark.suites.definition import Scenario, Suite, select
from benchmark.tasks import TASKS


def invited(chosen: Sequence[str] | None, added: Sequence[str] | None) -> tuple[list[str] | None, list[str]]:
    """Names of methods for ``--methods`` (None: all) and for ``--method``; files among them are known from now on.

    An item is a name, ``file.py:name``, or ``file.py`` for all that it declares. InputError for what is none of these.
    """
    items = [name.strip() for item in added or () for name in item.split(",") if name.strip()]
    if added and not items:
        raise InputError("method: one was asked for, but none was named")
    name_files([path for path, _ in map(_parts, [*(chosen or ()), *items]) if path is not None])
    only = None if chosen is None else _names(chosen)
    return only, _names(items)


def name_files(paths: Sequence[Path]) -> None:
    """Make the methods of these files known, to this process and to those that it starts; InputError where it cannot.

    They are named in AMENDBENCH_METHODS, beside those that are there.
    """
    paths = [path for path in paths if not _module_here(path)]
    for path in paths:
        _check_file(path)
    before = os.environ.get(outside.VARIABLE, "")
    named = [part for part in before.split(os.pathsep) if part]
    _tell(os.pathsep.join(dict.fromkeys([*named, *(os.path.abspath(path) for path in paths)])))
    try:
        for info in METHODS.values():
            if from_outside(info):
                check_declared(info)
    except InputError:
        _tell(before)
        raise


def _module_here(path: Path) -> str:
    """The module of a file that lies in one of this repository's packages of methods; empty for others."""
    folder, stem = Path(os.path.abspath(path)).parent, path.stem
    found = (package for package in PACKAGES if path.suffix == ".py" and folder == package_folder(package))
    return next((f"{package}.{stem}" for package in found), "")


def _tell(named: str) -> None:
    if named == os.environ.get(outside.VARIABLE, ""):
        return
    os.environ[outside.VARIABLE] = named
    if not named:
        del os.environ[outside.VARIABLE]
    for kept in (outside, source, METHODS):
        kept.forget()


def _check_file(path: Path) -> None:
    if path.suffix != ".py":
        raise InputError(f"method: {str(path)!r} is no method's name and no .py file; only those are read")
    if not path.is_file():
        beside = (each.name for each in path.parent.glob("*.py")) if path.parent.is_dir() else ()
        raise unknown(f"file in {path.parent}:", path.name, beside)
    if os.pathsep in os.path.abspath(path):
        raise InputError(f"method: {path}: a file's path cannot have {os.pathsep!r} in it")
    if not outside.STEM.fullmatch(path.stem):
        raise InputError(f"method: {path.name!r} is no name of a module: use letters, digits, _ and -")


def _parts(item: str) -> tuple[Path | None, str]:
    """The file and the name that an item says: no file for a mere name, no name for a mere file."""
    if NAME.fullmatch(item):
        return None, item
    path, _, name = item.rpartition(":") if ":" in item and not item.endswith(".py") else (item, "", "")
    return Path(path).expanduser(), name


def _names(items: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(info.name for item in items for info in methods_of(item)))


def methods_of(item: str, task: str | None = None) -> list[MethodInfo]:
    """The methods that an item names, each once, of one task or of all; its file must be known.

    InputError with the near misses for a name that there is not.
    """
    path, name = _parts(item)
    if path is None:
        known = [info for info in METHODS.values() if task in (None, *info.tasks)]
    else:
        named = (m for m, file in outside.files().items() if file == Path(os.path.abspath(path)))
        module = _module_here(path) or next(named, "")
        known = [info for info in METHODS.values() if info.module == module]
    found = [info for info in known if name in ("", info.name)]
    if not found:
        kind = "method" if path is None else f"method of {path.name}"
        raise unknown(kind, name, {info.name for info in known})
    return found


def check_declared(info: MethodInfo) -> None:
    """InputError unless a method's tasks are there and offer what it reads, and its defaults are of their types."""
    where = f"{info.module.removeprefix(outside.PREFIX)}: {info.function}"
    for name in info.tasks:
        if name not in TASKS:
            raise InputError(f"{where}: tasks: {unknown('task', name, TASKS)}")
        _check_views(info, name, where)
    check_parameters(info, info.defaults(), where)


def _check_views(info: MethodInfo, task: str, where: str) -> None:
    offered = TASKS.get(task).views
    for view in (*info.access.views, *info.access.max_samples, *info.access.optional):
        if view not in offered:
            raise InputError(f"{where}: access: {unknown(f'view of {task}', view, offered)}")
    for view in info.access.max_samples:
        if view not in (*info.access.views, *info.access.optional):
            raise InputError(f"{where}: access: max_samples limits the view {view}, which it does not read")
    for view, fields in info.access.views.items():
        if set(fields) - set(offered[view]):
            raise InputError(f"{where}: access: {task} offers {offered[view]!r} of its view {view}, not {fields!r}")


def with_methods(suite: Suite, names: Sequence[str]) -> Suite:
    """The suite with these methods in every scenario of their tasks, with their defaults where it does not say more.

    InputError for a method that no scenario can have.
    """
    tasks = {scenario.task for scenario in suite.scenarios.values()}
    for name in names:
        if not any(METHODS.has(name, task) for task in tasks):
            known = {info.name for info in METHODS.values() if tasks & set(info.tasks)}
            raise unknown(f"method of {' or '.join(sorted(tasks))}", name, known)
    return msgspec.structs.replace(suite, scenarios={k: _with(s, names) for k, s in suite.scenarios.items()})


def _with(scenario: Scenario, names: Sequence[str]) -> Scenario:
    new = [name for name in names if name not in scenario.methods and METHODS.has(name, scenario.task)]
    defaults = {name: METHODS.get(name, scenario.task).defaults() for name in new}
    return msgspec.structs.replace(
        scenario,
        methods={**scenario.methods, **defaults},
        provenance={**scenario.provenance, **dict.fromkeys(new, "defaults")},
    )


def choose(
    suite: Suite, task: str | None, scenarios: Sequence[str] | None, only: list[str] | None, added: Sequence[str]
) -> Suite:
    """The part of a suite that was asked for: ``only`` these methods, None for all, and those that are ``added``.

    As :func:`select` of a suite; a method from outside joins the scenarios of its tasks, one of ours only those
    that have it, unless it is added.
    """
    chosen = select(suite, task, scenarios, None)
    chosen = with_methods(chosen, [*foreign(only or ()), *added])
    tasks = {scenario.task for scenario in chosen.scenarios.values()}
    for name in only or ():
        if not any(METHODS.has(name, each) for each in tasks):
            raise unknown("method", name, {info.name for info in METHODS.values() if tasks & set(info.tasks)})
        without = not_listing(chosen, name)
        if without and not any(name in scenario.methods for scenario in chosen.scenarios.values()):
            raise InputError(
                f"method {name!r} is not listed in {', '.join(without)}: add it there with --method {name}"
            )
    return chosen if only is None else select(chosen, None, None, [*only, *added])


def left_out(suite: Suite, task: str | None, scenarios: Sequence[str] | None, only: Iterable[str]) -> list[str]:
    """What is to be said of scenarios that could have a method that was asked for, and do not list it."""
    chosen = select(suite, task, scenarios, None)
    found = ((name, not_listing(chosen, name)) for name in sorted(only) if name not in foreign([name]))
    return [
        f"{', '.join(without)}: {name} is not listed; --method {name} adds it" for name, without in found if without
    ]


def not_listing(suite: Suite, name: str) -> list[str]:
    """Scenarios that could have a method and do not list it."""
    return [s.name for s in suite.scenarios.values() if name not in s.methods and METHODS.has(name, s.task)]


def foreign(names: Sequence[str]) -> list[str]:
    """Those of the names that a method from outside has."""
    theirs = {info.name for info in METHODS.values() if from_outside(info)}
    return [name for name in names if name in theirs]
