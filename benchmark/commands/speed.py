"""The command that times hot paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    DeviceOption,
    ReportsOption,
    ResultsOption,
    app,
    exit_with,
    make_console,
    names,
    whole,
    within,
)


@app.command(
    epilog="Examples: amendbench speed | amendbench speed --device cuda | amendbench speed --only svd,ensembles"
)
def speed(
    device: DeviceOption = "cpu",
    rounds: Annotated[int, typer.Option(parser=whole, metavar="N", help="Rounds of each work.")] = 3,
    only: Annotated[
        str | None, typer.Option(help="Parts of the tests' names, separated by commas; then nothing is kept.")
    ] = None,
    results: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
) -> None:
    """Time hot paths beside the plain way of writing them, and write speed.md; exits with 1 where a bar is missed."""
    from benchmark.commands.measure_speed import measure

    chosen = names(only) or []
    count = within(rounds, 1, 1000, "rounds")
    exit_with(measure(results, reports, make_console(), device=device, rounds=count, only=chosen))
