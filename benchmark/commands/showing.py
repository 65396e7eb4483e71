"""Commands that read what is there: boards, reports, exports and lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import (
    MethodsOption,
    ReportsOption,
    ResultsOption,
    ScenariosOption,
    SuiteOption,
    TaskOption,
    app,
    make_console,
    names,
)
from benchmark.errors import InputError


@app.command(epilog="Example: amendbench leaderboard --suite embedded --task class-forget --format json")
def leaderboard(
    suite: SuiteOption = "embedded",
    task: TaskOption = None,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
    results: ResultsOption = Path("results"),
) -> None:
    """Print the board of the records that are there."""
    import msgspec

    from benchmark.boards.board import build_board
    from benchmark.errors import unknown
    from benchmark.reporting.sheet import sheets
    from benchmark.reporting.submitted import with_submissions
    from benchmark.reporting.terminal import print_board
    from benchmark.running.records import RecordStore
    from benchmark.submissions.accepted import accepted
    from benchmark.suites.definition import load_suite
    from benchmark.tasks import TASKS

    if format not in ("table", "json"):
        raise unknown("format", format, ("table", "json"))
    if task is not None:
        TASKS.get(task)
    defined = load_suite(suite)
    records = list(RecordStore(results).all(defined.name))
    rows = build_board(records, defined, task)
    if format == "json":
        print(json.dumps(msgspec.to_builtins(rows), indent=1))
    elif rows:
        own = with_submissions(sheets(defined.name, rows), accepted(results, defined.name), records, defined)
        print_board(rows, make_console(), {sheet.scenario: sheet.submitted for sheet in own if sheet.submitted})
    else:
        raise InputError(f"there are no such records in {results}; run: amendbench bench --suite {suite}")


@app.command(epilog="Example: amendbench report --results results --reports reports")
def report(results: ResultsOption = Path("results"), reports: ReportsOption = Path("reports")) -> None:
    """Render the reports from the records, without running anything."""
    from benchmark.files import check_writable
    from benchmark.reporting.terminal import publish

    check_writable(reports)
    publish(results, reports, make_console())


@app.command(
    epilog="Examples: amendbench export --task class-forget --methods scrub --output card.yaml | "
    "amendbench export --suite standard --format json"
)
def export(
    suite: SuiteOption = "embedded",
    task: TaskOption = None,
    scenarios: ScenariosOption = None,
    methods: MethodsOption = None,
    format: Annotated[str, typer.Option(help="model-index or json.")] = "model-index",
    output: Annotated[Path | None, typer.Option(help="A file; standard output if left out.")] = None,
    source: Annotated[str | None, typer.Option(help="Address of the page that the numbers stand on.")] = None,
    results: ResultsOption = Path("results"),
) -> None:
    """Write the board's numbers for other programs: a model card's metadata, or a plain list."""
    from benchmark.reporting import export_command

    export_command.export(suite, task, names(scenarios), names(methods), format, output, results, source)


@app.command(
    "list",
    epilog="Examples: amendbench list | amendbench list methods | amendbench list suites",
    context_settings={"allow_extra_args": True},  # an argument would have typer import pydantic: see UNASKED
    options_metavar="[OPTIONS] [WHAT]",
)
def list_(context: typer.Context) -> None:
    """List what is registered: tasks, methods, suites, data, models or metrics; all if left out."""
    from benchmark.commands.listing import print_listing

    what, *more = context.args or ["all"]
    if more:
        raise InputError(f"list takes one section, and got {len(more)} more: {' '.join(more)}")
    print_listing(what)
