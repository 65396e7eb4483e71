"""The command that runs studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    DeviceOption,
    JobsOption,
    ReportsOption,
    ResultsOption,
    app,
    exit_with,
    make_console,
    within,
)
from benchmark.errors import InputError


@app.command(
    epilog="Examples: amendbench study --list | amendbench study svd-samples --dry-run | "
    "amendbench study svd-samples --jobs 2 | amendbench study mine.toml --results results"
)
def study(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A study's name, or a path to a TOML file.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Say which studies there are, and stop.")] = False,
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Run cells again that are cached.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
) -> None:
    """Run a study's cells and measurements that are missing, then write its page and figures."""
    from benchmark.studies.definition import load_study, study_names

    if list_all:
        for known in study_names():
            print(f"{known:24} {load_study(known).file.title}")
        return
    if name is None:
        raise InputError(f"a study has to be named; one of {', '.join(study_names())}")
    from benchmark.commands.running import exit_code
    from benchmark.reporting.studies.pages import write_studies
    from benchmark.running import session
    from benchmark.studies.found import diverged
    from benchmark.studies.run import Request, run_study

    chosen = load_study(name)
    session.check_device(device)
    many = None if jobs is None else within(jobs, 1, 1024, "jobs")
    console = make_console()
    try:
        records = run_study(Request(chosen, many, device, results, reports, fresh, dry_run), console)
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is kept, and the same command does the rest")
        exit_with(130)
        return
    if dry_run:
        return
    own = [] if chosen.name in study_names() else [chosen]
    pages = write_studies(results, reports, own)
    console.print(f"wrote {reports / 'studies' / chosen.name}.md and {len(pages) - 1} other files")
    lost = [record for record in records if diverged(record)]
    if lost:
        console.print(f"{len(lost)} of {len(records)} cells diverged, which is a result")
    others = [record for record in records if not diverged(record)]
    failed = [record for record in others if record.status != "ok"]
    if failed:
        console.print(f"[red]{len(failed)} of {len(records)} cells have no result[/]; they run again next time")
    exit_with(exit_code(others) if others else 0)
