"""What the commands share: the application, its options, and how they are read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark import __version__
from benchmark.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

#: That neither help nor version was asked for. Where it is not told so, typer imports pydantic to turn nothing into a
#: truth value, which takes longer than listing what there is. Commands that have an option or an argument need it all
#: the same.
UNASKED = {"help": False, "version": False, "list": {"help": False}}

app = typer.Typer(
    name="amendbench",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"default_map": UNASKED},
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"amendbench {__version__}")
        raise typer.Exit


@app.callback()
def amendbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """How well can a trained vision model be amended? Methods under one protocol, with a leaderboard."""


def whole(text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


TaskOption = Annotated[str | None, typer.Option(help="One task, for example class-forget; all if left out.")]
SuiteOption = Annotated[str, typer.Option(help="A suite's name, or a path to a TOML file.")]
ScenariosOption = Annotated[str | None, typer.Option(help="Scenarios, separated by commas; all if left out.")]
MethodsOption = Annotated[
    str | None,
    typer.Option(help="Methods, separated by commas, file.py:name among them; the suite's own if left out."),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE.py:NAME",
        help="A method that joins the others: of your own .py file, whose code is run (FILE.py: all that it declares), "
        "or one that is installed. May be given several times.",
    ),
]
SeedsOption = Annotated[int, typer.Option(parser=whole, metavar="N", help="Seeds 0 to N - 1 of every scenario.")]
ResultsOption = Annotated[Path, typer.Option(help="Folder of the records.")]
ReportsOption = Annotated[Path, typer.Option(help="Folder of the rendered reports.")]
JobsOption = Annotated[
    int | None, typer.Option(parser=whole, metavar="N", help="Cells at once; one a core if left out.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]


def make_console() -> Console:
    """Standard output; as wide as the board where it is not a terminal."""
    from benchmark.commands.console import VisibleConsole

    return VisibleConsole(highlight=False) if sys.stdout.isatty() else VisibleConsole(highlight=False, width=230)


def names(text: str | None) -> list[str] | None:
    """Names with commas between; None, for all, where nothing was given."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def within(value: int, least: int, most: int, name: str) -> int:
    if not least <= value <= most:
        raise InputError(f"{name} must be {least} to {most}, not {value}")
    return value


def exit_with(code: int) -> None:
    """End the command with an exit code other than 0; go on where it is 0."""
    if code:
        raise typer.Exit(code)
