"""The command line: python -m benchmark, or the console script amendbench.

Exit codes: 0 fine, 1 some cells failed, 2 bad input, 3 nothing could be measured, 130 interrupted.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.errors import InputError, WorkersLost

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.running.records import Record

app = typer.Typer(
    name="amendbench",
    help="How well can a trained vision model be amended? Methods under one protocol, with a leaderboard.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

#: Of click, or of the copy of it that typer brings.
USAGE_ERROR: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _whole(text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number") from None


TaskOption = Annotated[str | None, typer.Option(help="One task, for example class-forget; all if left out.")]
SuiteOption = Annotated[str, typer.Option(help="A suite's name, or a path to a TOML file.")]
ScenariosOption = Annotated[str | None, typer.Option(help="Scenarios, separated by commas; all if left out.")]
MethodsOption = Annotated[str | None, typer.Option(help="Methods, separated by commas; all if left out.")]
SeedsOption = Annotated[int, typer.Option(parser=_whole, metavar="N", help="Seeds 0 to N - 1 of every scenario.")]
ResultsOption = Annotated[Path, typer.Option(help="Folder of the records.")]
ReportsOption = Annotated[Path, typer.Option(help="Folder of the rendered reports.")]
JobsOption = Annotated[
    int | None, typer.Option(parser=_whole, metavar="N", help="Cells at once; one a core if left out.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")]


def _console() -> Console:
    """Standard output; as wide as the board where it is not a terminal."""
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=230)


def _names(text: str | None) -> list[str] | None:
    """Names with commas between; None, for all, where nothing was given."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def _within(value: int, least: int, most: int, name: str) -> int:
    if not least <= value <= most:
        raise InputError(f"{name} must be {least} to {most}, not {value}")
    return value


@app.command(
    epilog="Examples: amendbench bench --task class-forget | "
    "amendbench bench --task class-forget --methods svd-forgetting,scrub --seeds 10 --jobs 2 | "
    "amendbench bench --task label-free-forget --scenarios mnist5k-class-removal --methods laf --ensemble 32"
)
def bench(
    task: TaskOption = None,
    suite: SuiteOption = "embedded",
    scenarios: ScenariosOption = None,
    methods: MethodsOption = None,
    seeds: SeedsOption = 3,
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Run cells again that are cached.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    ensemble: Annotated[
        int,
        typer.Option(
            parser=_whole, metavar="N", help="Compare N unlearned with N retrained models of one forget set, too."
        ),
    ] = 0,
) -> None:
    """Run a suite's cells that are not cached, then print and render the board."""
    from benchmark import environment
    from benchmark.reporting.board import build_board
    from benchmark.reporting.ensembles import summary
    from benchmark.reporting.terminal import print_board, publish
    from benchmark.running import ensembles, pool, session
    from benchmark.running.files import check_writable
    from benchmark.running.plan import make_plan
    from benchmark.running.records import RecordStore
    from benchmark.suite import load_suite, select

    console = _console()
    chosen = select(load_suite(suite), task, _names(scenarios), _names(methods))
    _within(seeds, 1, 100_000, "seeds")
    if ensemble:
        _within(ensemble, ensembles.FEWEST, ensembles.MOST, "ensemble")
    workers = _within(pool.default_jobs(chosen.threads, device) if jobs is None else jobs, 1, 1024, "jobs")
    session.check_device(device)
    store = RecordStore(results)
    if not dry_run:
        environment.machine()
        store.check_writable()
        check_writable(reports)
    plan = make_plan(chosen, range(seeds), device, store, fresh=fresh)
    console.print(f"[bold]suite {chosen.name}[/], seeds 0 to {seeds - 1}: {len(chosen.scenarios)} scenarios")
    session.describe(plan, workers, device, console)
    members = ensembles.members_folder()
    grown = None
    if ensemble:
        grown = ensembles.plan_members(chosen, ensemble, device, RecordStore(members), store, fresh=fresh)
        console.print(f"[bold]ensembles[/] of {ensemble} models, kept in {members}:")
        session.describe(grown, workers, device, console)
    if dry_run:
        return
    for each in (plan, grown) if grown is not None else (plan,):
        session.check_data(each)

    def first_board(found: list[Record]) -> None:
        console.print("[bold]the first seed is done[/]; the others follow")
        print_board(build_board(found, chosen), console)

    setting = pool.Setting(results, environment.cache_root(), device, chosen.threads, chosen.timeout)
    grown_records: list[Record] = []
    try:
        records = session.execute(plan, setting, workers, console, early=first_board)
        if grown is not None:
            apart = dataclasses.replace(setting, results=members)
            grown_records = session.execute(grown, apart, workers, console)
            for compared in ensembles.compare(grown, grown_records, RecordStore(members), ensemble):
                console.print(f"wrote {ensembles.write(compared, results)}: {summary(compared)}")
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is kept, and the same command does the rest")
        raise typer.Exit(130) from None
    print_board(build_board(records, chosen), console)
    publish(results, reports, console)
    everything = [*records, *grown_records]
    failed = [record for record in everything if record.status != "ok"]
    if failed:
        console.print(f"[red]{len(failed)} of {len(everything)} cells have no result[/]; they run again next time")
    if failed and len(failed) == len(everything):
        raise typer.Exit(3)
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Example: amendbench leaderboard --suite embedded --task class-forget --format json")
def leaderboard(
    suite: SuiteOption = "embedded",
    task: TaskOption = None,
    format: Annotated[str, typer.Option(help="table or json.")] = "table",
    results: ResultsOption = Path("results"),
) -> None:
    """Print the board of the records that are there."""
    import msgspec

    from benchmark.errors import unknown
    from benchmark.reporting.board import build_board
    from benchmark.reporting.terminal import print_board
    from benchmark.running.records import RecordStore
    from benchmark.suite import load_suite
    from benchmark.tasks import TASKS

    if format not in ("table", "json"):
        raise unknown("format", format, ("table", "json"))
    if task is not None:
        TASKS.get(task)
    defined = load_suite(suite)
    rows = build_board(RecordStore(results).all(defined.name), defined, task)
    if format == "json":
        print(json.dumps(msgspec.to_builtins(rows), indent=1))
    elif rows:
        print_board(rows, _console())
    else:
        raise InputError(f"there are no such records in {results}; run: amendbench bench --suite {suite}")


@app.command(epilog="Example: amendbench report --results results --reports reports")
def report(results: ResultsOption = Path("results"), reports: ReportsOption = Path("reports")) -> None:
    """Render the reports from the records, without running anything."""
    from benchmark.reporting.terminal import publish
    from benchmark.running.files import check_writable

    check_writable(reports)
    publish(results, reports, _console())


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

    export_command.export(suite, task, _names(scenarios), _names(methods), format, output, results, source)


@app.command(epilog="Example: amendbench status --suite embedded --seeds 10")
def status(
    suite: SuiteOption = "embedded",
    task: TaskOption = None,
    seeds: SeedsOption = 3,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
) -> None:
    """Say what is done, failed and left, from files alone."""
    from benchmark.running.plan import make_plan
    from benchmark.running.records import RecordStore
    from benchmark.running.session import check_device_name
    from benchmark.suite import load_suite, select

    store = RecordStore(results)
    chosen = select(load_suite(suite), task, None, None)
    check_device_name(device)
    plan = make_plan(chosen, range(_within(seeds, 1, 100_000, "seeds")), device, store)
    print(f"{'scenario':28} {'done':>6} {'elsewhere':>10} {'failed':>7} {'left':>6}")
    for name in chosen.scenarios:
        done = elsewhere = failed = left = 0
        for cell in (cell for cell in plan.cells if cell.scenario == name):
            if cell.hash in plan.cached:
                done += 1
                continue
            record = store.read(cell.file)
            failed += record is not None and record.status != "ok"
            elsewhere += record is not None and record.status == "ok"
            left += record is None
        print(f"{name:28} {done:6} {elsewhere:10} {failed:7} {left:6}")
    print("elsewhere: a result is there, of another machine or of other code; bench runs the cell again")


@app.command("list", epilog="Examples: amendbench list | amendbench list methods | amendbench list suites")
def list_(
    what: Annotated[
        str, typer.Argument(help="tasks, methods, suites, data, models or metrics; all if left out.")
    ] = "all",
) -> None:
    """List what is registered."""
    from benchmark.listing import print_listing

    print_listing(what)


@app.command(epilog="Example: amendbench tune --task class-forget --methods scrub,ssd --jobs 2")
def tune(
    task: TaskOption = None,
    suite: SuiteOption = "embedded",
    scenarios: ScenariosOption = None,
    methods: MethodsOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "cpu",
    results: ResultsOption = Path("results"),
) -> None:
    """Choose hyper-parameters on the selection split and on seeds that are never reported; write them to the suite."""
    from benchmark import environment, tuning
    from benchmark.running import pool, session
    from benchmark.running.records import RecordStore
    from benchmark.suite import load_suite, select

    console = _console()
    chosen = select(load_suite(suite), task, _names(scenarios), None)
    workers = _within(pool.default_jobs(chosen.threads, device) if jobs is None else jobs, 1, 1024, "jobs")
    session.check_device(device)
    environment.machine()
    wanted = tuning.wanted(chosen, _names(methods))
    RecordStore(results).check_writable()
    try:
        tuning.tune(chosen, wanted, workers, device, results, console)
    except KeyboardInterrupt:
        console.print("interrupted; what was tuned is written, the rest is not")
        raise typer.Exit(130) from None


def main(arguments: list[str] | None = None) -> None:
    """Entry point: bad input is one line on standard error and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    command: Any = typer.main.get_command(app)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        code = command.main(args=given or ["--help"], prog_name="amendbench", standalone_mode=False)
    except InputError as error:
        code = _bad_input(str(error))
    except USAGE_ERROR as error:
        code = _bad_input(error.format_message())
    except (typer.Abort, KeyboardInterrupt):
        print("amendbench: interrupted; what was written stays, and the same command does the rest", file=sys.stderr)
        code = 130
    except WorkersLost as error:
        print(f"amendbench: {error}; what was finished is kept", file=sys.stderr)
        code = 1
    raise SystemExit(code if isinstance(code, int) else 0)


def _bad_input(message: str) -> int:
    print(f"amendbench: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
