"""Commands about data sets: what there is, what a suite needs, whether it is right, and how to get it."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from benchmark.commands.options import UNASKED, app, exit_with, make_console
from benchmark.errors import InputError, unknown

data = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    context_settings={"default_map": {**UNASKED, "list": {"help": False, "json": False}}},
)
app.add_typer(data, name="data")

SuiteOption = Annotated[str | None, typer.Option(help="Only what a suite needs: its name, or a path to a TOML file.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Data sets; all if left out.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A data set.")]
#: Exit codes of ``check``; the worst that was found counts.
CODES = {"right": 0, "missing": 1, "wrong": 2}
STYLES = {"right": "green", "missing": "yellow", "wrong": "red"}


@data.callback()
def help_(context: typer.Context) -> None:
    """What data sets there are, what a suite needs, whether they are right, and how to get them."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@data.command(
    "list",
    epilog="Examples: amendbench data list | amendbench data list --suite standard | amendbench data list --json",
    # an option with a value would have typer import pydantic, which takes longer than the rest: see UNASKED
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    options_metavar="[--suite SUITE] [OPTIONS]",
)
def list_(context: typer.Context, json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List data sets: whether they are here, how large they are, and under which licence.

    --suite SUITE lists only what a suite needs.
    """
    from benchmark.data.described import HEAD, entry, row

    names = _asked(None, _suite_of(context.args))
    if json:
        print(json_module.dumps([entry(name) for name in names], indent=1))
        return
    _print_table(HEAD, [row(name) for name in names])


@data.command(
    epilog="Examples: amendbench data check mnist cifar-10 | amendbench data check --suite standard. Exit code: 0 all "
    "are there and right, 1 some are missing, 2 a file is wrong"
)
def check(names: NamesArgument = None, suite: SuiteOption = None) -> None:
    """Look whether data sets are there, whole and right: all is read, decoded and counted. Nothing is changed."""
    from benchmark.data.checked import check as look

    console = make_console()
    worst = 0
    for name in _asked(names, suite):
        found = look(name)
        style = STYLES[found.state]
        console.print(f"[{style}]{found.state:8}[/] {name}: ", end="", soft_wrap=True)
        console.print(found.told, markup=False, soft_wrap=True)
        worst = max(worst, CODES[found.state])
    exit_with(worst)


@data.command(
    epilog="Examples: amendbench data get cifar-100 | amendbench data get waterbirds. Exit code: 0 it is there now, 1 "
    "it is not, for nothing here downloads it"
)
def get(name: NameArgument) -> None:
    """Download a data set into the data root, whole or not at all; or say how to get it, where that cannot be done."""
    from benchmark.data.getting import get as get_it

    there, told = get_it(name)
    make_console().print(told, markup=False, soft_wrap=True)
    exit_with(0 if there else 1)


@data.command(epilog="Examples: amendbench data show svhn | amendbench data show isic-2017-patches")
def show(name: NameArgument) -> None:
    """Print all that is known of a data set: splits, classes, files, licence, how to get it, and what to cite."""
    from benchmark.data import DATA
    from benchmark.data.described import bibtex, lines

    facts = DATA.get(name).facts
    console = make_console()
    console.print(name, markup=False, style="bold")
    for head, text in lines(name):
        console.print(f"  {head:26}{text}", markup=False, soft_wrap=True)
    for citation in facts.citations:
        console.print(f"\n{bibtex(citation)}", markup=False, soft_wrap=True)


@data.command(epilog="Example: amendbench data split own:pets-1a2b3c4d > split.csv")
def split(name: NameArgument) -> None:
    """Print the split of a data set of your own as CSV (file, label, split), to train by or to give as --attributes."""
    from benchmark.data import OWN
    from benchmark.data.manifest import names, read, split_table

    if not name.startswith(OWN):
        raise unknown("data set of one's own", name, names())
    print(split_table(read(name)[0]), end="")


def _suite_of(arguments: Sequence[str]) -> str | None:
    """What follows --suite; InputError for anything else."""
    waiting, suite = list(arguments), None
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name != "--suite":
            raise InputError(f"data list takes --suite SUITE and --json, and got {name!r}")
        if not equals and not waiting:
            raise InputError("--suite needs a suite's name, or a path to a TOML file")
        suite = value if equals else waiting.pop(0)
    return suite


def _asked(names: Sequence[str] | None, suite: str | None) -> list[str]:
    """The data sets that were asked for, each once; InputError for a name that is not known, before anything else."""
    from benchmark.data import DATA
    from benchmark.data.catalogue import every_name

    if names and suite is not None:
        raise InputError("give names of data sets or --suite, not both")
    chosen = names or (every_name() if suite is None else _needed(suite))
    for name in chosen:
        DATA.get(name)
    return list(dict.fromkeys(chosen))


def _needed(suite: str) -> Iterable[str]:
    """The data sets of a suite's scenarios, in their order."""
    from benchmark.suites.definition import load_suite

    return [str(scenario.settings.data) for scenario in load_suite(suite).scenarios.values()]


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere plain columns, which take no time to import."""
    if not sys.stdout.isatty():
        widths = [max(len(line[k]) for line in (head, *rows)) for k in range(len(head))]
        for line in (head, *rows):
            print("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False)
    for line in rows:
        table.add_row(*map(escape, line))
    make_console().print(table)
