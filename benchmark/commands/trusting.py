"""Commands that show whether results can be trusted: the regression gate, one row again, and a look at every record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    DeviceOption,
    JobsOption,
    ResultsOption,
    TaskOption,
    app,
    exit_with,
    make_console,
    names,
    within,
)


@app.command(
    epilog="Examples: amendbench check | amendbench check --only quality,determinism | amendbench check --update"
)
def check(
    results: ResultsOption = Path("results"),
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    only: Annotated[
        str | None, typer.Option(help="Of quality, determinism and time, separated by commas; all if left out.")
    ] = None,
    declaration: Annotated[
        Path | None, typer.Option(help="What is run and compared: a TOML file; the package's own if left out.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Make the records that later checks compare with.")] = False,
    update_speed: Annotated[
        bool, typer.Option("--update-speed", help="Measure the times that later checks on this hardware compare with.")
    ] = False,
) -> None:
    """The regression gate: run a small set of cells again and compare with the committed records."""
    from benchmark.gate import updating
    from benchmark.gate.check import PARTS
    from benchmark.gate.check import check as run_check
    from benchmark.gate.declaration import DECLARED

    console = make_console()
    workers = None if jobs is None else within(jobs, 1, 1024, "jobs")
    declared = declaration or DECLARED
    if update or update_speed:
        code = 0
        if update:
            code = updating.update(results, console, jobs=workers, device=device, declaration=declared)
        if update_speed and not code:
            code = updating.update_speed(results, console, device=device, declaration=declared)
        exit_with(code)
        return
    chosen = names(only) or PARTS
    exit_with(run_check(results, console, jobs=workers, only=chosen, device=device, declaration=declared))


@app.command(
    epilog="Example: amendbench reproduce "
    "results/embedded/class-forget/mnist5k-residual/svd-forgetting/class-0-seed0-cpu.json"
)
def reproduce(record: Annotated[Path, typer.Argument(help="A record's file.")]) -> None:
    """Run one record's cell again, from its base model on, and say at which level the result agrees."""
    from benchmark.checking.reproduce import reproduce as run_again

    exit_with(run_again(record, make_console()))


@app.command(epilog="Examples: amendbench verify | amendbench verify --suite embedded --task class-forget")
def verify(
    suite: Annotated[str | None, typer.Option(help="One suite's folder; all if left out.")] = None,
    task: TaskOption = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Score stored predictions with today's metrics, and check every record's schema, hash and digest."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from benchmark.checking.verify import print_verification
    from benchmark.checking.verify import verify as check_all

    console = make_console()
    columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("files", total=None)
        found = check_all(results, suite, task, lambda done, total: progress.update(bar, completed=done, total=total))
    print_verification(found, console)
    exit_with(found.exit_code)
