"""Commands that show whether results can be trusted: the regression gate, one row again, and a look at every record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from benchmark.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console


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


@app.command(
    epilog="Examples: amendbench verify | amendbench verify --suite embedded --task class-forget | "
    "amendbench verify scrub.amendbench.zip | amendbench verify scrub.amendbench.zip --accept"
)
def verify(
    file: Annotated[Path | None, typer.Argument(help="A submission; the whole results folder if left out.")] = None,
    suite: Annotated[
        str | None, typer.Option(help="One suite's folder, all if left out; for a submission its suite's TOML file.")
    ] = None,
    task: TaskOption = None,
    results: ResultsOption = Path("results"),
    accept: Annotated[
        bool,
        typer.Option("--accept", help="Keep the submission below the results, if all that can be verified agrees."),
    ] = False,
) -> None:
    """Score stored predictions with today's metrics: of every record, whose hashes are checked too, or of a submission.

    Exit codes: 0 all agrees, 1 something is wrong or differs, 2 bad input, 3 there was nothing that could be verified.
    """
    if file is not None:
        _verify_file(file, suite, task, results, accept=accept)
        return
    if accept:
        raise InputError("accept is for a submission: amendbench verify NAME.amendbench.zip --accept")
    _verify_folder(results, suite, task)


def _verify_file(file: Path, suite: str | None, task: str | None, results: Path, *, accept: bool) -> None:
    """Score one submission; keep it where that was asked for and nothing speaks against it."""
    if task is not None:
        raise InputError(f"task is {task!r}, but a submission names its own: leave it out")
    from rich.markup import escape

    from benchmark.checking.outcome import print_outcome
    from benchmark.checking.submitted import score
    from benchmark.submissions.accepted import accept as keep
    from benchmark.submissions.archive import open_archive
    from benchmark.submissions.current import suite_of

    console = make_console()
    archive = open_archive(file)
    told = suite_of(archive.submission, suite)
    with _progress("cells", console) as report:
        found = score(archive, told, report)
    print_outcome(found, file, console)
    if accept and not found.exit_code:
        console.print(
            f"kept in {escape(str(keep(found.verified, archive.content, results)))}; boards: amendbench report"
        )
    elif accept:
        console.print("[red]not accepted[/]")
    exit_with(found.exit_code)


def _verify_folder(results: Path, suite: str | None, task: str | None) -> None:
    from benchmark.checking.verify import print_verification
    from benchmark.checking.verify import verify as check_all

    console = make_console()
    with _progress("files", console) as report:
        found = check_all(results, suite, task, report)
    print_verification(found, console)
    exit_with(found.exit_code)


@contextmanager
def _progress(what: str, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar while it lasts; yields what is called with how much is done, and of how much."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
