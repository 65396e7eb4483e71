"""Commands about methods of one's own: checking one, and writing the beginning of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import TaskOption, app, exit_with, make_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmark.checking.contract import Finding


@app.command(
    "test-method",
    epilog="Examples: amendbench test-method mine.py:my-method | amendbench test-method mine.py | "
    "amendbench test-method scrub --task class-forget",
)
def check_contract(
    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="A method's name, FILE.py:NAME, or FILE.py for all that it declares; its code is run.",
        ),
    ],
    task: TaskOption = None,
) -> None:
    """Check that a method keeps its contract, on a tiny problem of each of its tasks; 1 if it does not."""
    from benchmark.checking.contract import check_method, failures
    from benchmark.errors import InputError
    from benchmark.suites.choosing import invited, methods_of
    from benchmark.tasks import TASKS

    if task is not None:
        TASKS.get(task)
    invited(None, [method])
    console = make_console()
    found: list[Finding] = []
    chosen = [info for info in methods_of(method) if task is None or task in info.tasks]
    if not chosen:
        raise InputError(f"{method} is no method of task {task}")
    for info in chosen:
        with console.status(f"calling {info.name}"):
            found += check_method(info, None if task is None else [task])
    _print(found, console)
    exit_with(1 if failures(found) else 0)


def _print(found: Sequence[Finding], console: Console) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from benchmark.checking.contract import failures
    from benchmark.visible import visible

    colours = {"ok": "green", "note": "yellow", "failed": "red"}
    for method, task in dict.fromkeys((each.method, each.task) for each in found):
        own = [each for each in found if (each.method, each.task) == (method, task)]
        table = Table(title=f"{method} / {task}", box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for heading in ("promise", "", ""):
            table.add_column(heading)
        for each in own:
            outcome = f"[{colours[each.outcome]}]{each.outcome}[/]"
            table.add_row(each.promise, outcome, escape(visible(each.said)))
        console.print(table)
    wrong = len(failures(found))
    kept = (
        "every promise is kept" if not wrong else f"{wrong} {'promise is' if wrong == 1 else 'promises are'} not kept"
    )
    console.print(f"[{'red' if wrong else 'green'}]{kept}[/]")


@app.command(
    "new-method",
    epilog="Examples: amendbench new-method my-method | "
    "amendbench new-method fairer --task debias-known --folder ideas",
)
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and -.")],
    task: Annotated[str, typer.Option(help="The task that it is for.")] = "class-forget",
    folder: Annotated[Path, typer.Option(help="Where the two files are written.")] = Path("."),
) -> None:
    """Write a working method and its test, to be changed; nothing is overwritten."""
    from benchmark.commands.scaffold import scaffold

    written = scaffold(name, task, folder)
    for path in written:
        print(f"wrote {path}")
    source = written[0]
    for what, command in (
        ("check it", f"amendbench test-method {source}:{name}"),
        ("try it on a toy", f"amendbench bench --suite smoke --task {task} --seeds 1 --methods {source}:{name}"),
        ("run it beside the others", f"amendbench bench --task {task} --method {source}:{name}"),
    ):
        print(f"{what + ':':26}{command}")
